"""The state of a path: an array, or nested dicts and tuples of arrays, and what functions of it return."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mcgrad.errors import ParameterError
from mcgrad.reals import function as check_function, real_array
from mcgrad.trace.nested import leaves, mapped
from mcgrad.trace.refuse import refusal_of
from mcgrad.trace.tracer import Tracer, holds_tracer

Shape = tuple[int, ...]


def start(x0: Any) -> Any:
    """Return the first state, nested as it was given, of floats or stand-ins for them."""
    x0 = without_lists(x0)
    if not leaves(x0):
        raise ParameterError("x0", "nothing", "an array, or nested dicts and tuples of arrays")

    def leaf(path: str, x: Any) -> Any:
        if isinstance(x, Tracer):
            return x
        found = np.asarray(real_array(f"x0{path}", x, "numbers", "iuf"))
        return found if found.dtype.kind == "f" else found.astype(np.float64)

    return mapped(leaf, x0)


def without_lists(x: Any) -> Any:
    """Return nested values with arrays in the place of lists."""
    if isinstance(x, list):
        return np.stack([without_lists(part) for part in x]) if holds_tracer(x) else np.asarray(x)
    if isinstance(x, Mapping):
        return {key: without_lists(part) for key, part in x.items()}
    if isinstance(x, tuple):
        return getattr(type(x), "_make", tuple)(map(without_lists, x))
    return x


def shape_of(x: Any) -> Shape:
    """Return the shape of an array or a stand-in."""
    return x.shape if isinstance(x, Tracer) else np.shape(x)


def shapes(x: Any) -> dict[str, Shape]:
    """Return the shape of each leaf by its path."""
    return {path: shape_of(leaf) for path, leaf in leaves(x).items()}


def leafwise(function: Callable[..., Any], x: Any, *others: Any) -> Any:
    """Return what a function makes of each leaf of x and those of others at the same path, nested as x is."""
    flat = [leaves(other) for other in others]
    return mapped(lambda path, leaf: function(leaf, *(each[path] for each in flat)), x)


def called(function: Callable[..., Any], x: Any, arguments: tuple[Any, ...], name: str) -> Any:
    """Call a function of the state, and check that the result is nested as the state is.

    Parameters
    ----------
    function : callable
    x : nested arrays
        The state.
    arguments : tuple
        What to call the function with.
    name : str
        What it is, for the error.
    """
    check_function(name, function, "a function of t and x, such as lambda t, x: 0.2 * x")
    found = function(*arguments)
    expected = list(leaves(x))
    if list(leaves(found)) != expected or any(leaf is None for leaf in leaves(found).values()):
        given = ", ".join(path or "one array" for path in leaves(found)) or "None"
        raise refusal_of(
            function,
            f"{name} returns {given}; the state is {', '.join(path or 'one array' for path in expected)}, and {name} "
            "returns values nested as the state is",
        )
    return found


def fits(shape: Shape, of: Shape) -> bool:
    """Whether an array of a shape broadcasts to another shape."""
    try:
        return np.broadcast_shapes(shape, of) == of
    except ValueError:
        return False


def check_shapes(function: Callable[..., Any], x: Any, found: Any, name: str) -> None:
    """Refuse values whose shapes do not broadcast to those of the state."""
    for path, shape in shapes(found).items():
        own = shapes(x)[path]
        if not fits(shape, own):
            raise refusal_of(
                function,
                f"{name}{path} has shape {shape}, and the state{path} has shape {own}: {name} returns values of the "
                f"state's shape, or begin with x0{path} = np.broadcast_to(x0{path}, {shape})",
            )
