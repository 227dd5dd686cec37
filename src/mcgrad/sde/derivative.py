"""Derivatives of a function of the state along directions, while it is traced and on plain arrays.

Milstein's scheme reads the derivative of the diffusion. While f is traced, this is forward mode on the equations of the
step. On plain arrays the function is traced at its first call, and its equations are interpreted at each.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.differentiate.modes import pushed_forward
from mcgrad.ir import build
from mcgrad.ir.interpret import Interpreter
from mcgrad.ir.ops import OPS
from mcgrad.ir.program import Level, Var, toposort
from mcgrad.sde.state import shape_of
from mcgrad.trace.intercept import intercepted
from mcgrad.trace.nested import leaves, mapped
from mcgrad.trace.operands import operand
from mcgrad.trace.tracer import Tracer, unwrap

MOVING = ("view", "assembly")  # categories of ops that only move elements
NOTHING, SEVERAL = 0.0, 1.0  # zeros are what is padded; elements have numbers from 2 on

_numbers = itertools.count(1 << 24)  # of leaves, none of which are equal


def along(values: Any, x: Any, direction: Any) -> Any:
    """Return the derivative of values along a direction, nested as they are; 0 where a leaf does not depend on x.

    Parameters
    ----------
    values : nested arrays
        Functions of x.
    x : nested Tracers
        The state, each leaf another Var.
    direction : nested arrays
        Nested as x, of shapes that broadcast to its leaves'.
    """
    seeds = {}
    for path, leaf in leaves(x).items():
        step = build.apply("float", operand(unwrap(leaves(direction)[path])))
        seeds[leaf._var] = build.broadcast(step, leaf.shape)
    flat = {path: value for path, value in leaves(values).items() if isinstance(value, Tracer)}
    tangents = dict(zip(flat, pushed_forward([value._var for value in flat.values()], seeds), strict=True))
    found = {path: 0.0 if (t := tangents.get(path)) is None else Tracer(t) for path in leaves(values)}
    return mapped(lambda path, _: found[path], values)


def reads_own_alone(values: Any, x: Any) -> dict[str, bool | None]:
    """Return of each leaf of values whether its element i depends on no other number of x than element i of that leaf.

    Parameters
    ----------
    values : nested arrays
        Functions of x, nested as it is.
    x : nested Tracers

    Returns
    -------
    dict from path to bool, or None where a leaf depends on nothing of x.
    """
    found: dict[str, bool | None] = {}
    for path, value in leaves(values).items():
        read = {source: _sources(value, leaf._var) for source, leaf in leaves(x).items()}
        own, size = read.pop(path), leaves(x)[path].size
        if not own.any() and not any(each.any() for each in read.values()):
            found[path] = None
            continue
        diagonal = own.size == size and bool(
            ((own == NOTHING) | (own.ravel() == _numbered(size)).reshape(own.shape)).all()
        )
        found[path] = diagonal and not any(each.any() for each in read.values())
    return found


def _sources(value: Any, source: Var) -> npt.NDArray[np.float64]:
    """Return which element of a Var each element of a value depends on: `NOTHING`, `SEVERAL`, or its number."""
    known: dict[Var, npt.NDArray[np.float64]] = {source: _numbered(source.size).reshape(source.shape)}
    order = toposort([value._var]) if isinstance(value, Tracer) else ()
    for var in order:
        if var in known or not any(arg in known for arg in var.args):
            continue
        given = [known.get(arg, np.full(arg.shape, NOTHING)) for arg in var.args]
        if OPS[var.op].category in MOVING:
            leaf_values = {arg: each[..., None] for arg, each in zip(var.args, given, strict=True)}
            known[var] = Interpreter([var], var.args)(leaf_values)[0][..., 0]
        elif OPS[var.op].category == "elementwise":
            known[var] = reduce(_either, given)
        else:
            known[var] = np.full(var.shape, SEVERAL)
    return known[value._var] if order and value._var in known else np.full(shape_of(value), NOTHING)


def _either(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(b == NOTHING, a, np.where((a == NOTHING) | (a == b), b, SEVERAL))


def _numbered(size: int) -> npt.NDArray[np.float64]:
    return np.arange(size, dtype=np.float64) + 2.0


class Traced:
    """A function of a state and further values that takes derivatives in the state, called with what a step has.

    Parameters
    ----------
    function : callable
        Called with a state of Tracers, each of another Var, and the rest; returns nested arrays.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._of_numbers: tuple[list[Var], Interpreter, Any] | None = None

    def __call__(self, *arguments: Any) -> Any:
        """Return the function's values: of a state of Tracers Tracers, of plain arrays plain arrays."""
        if all(isinstance(value, Tracer) for value in leaves(arguments[0]).values()):
            return self._function(*arguments)
        flat = [*leaves(arguments).values()]
        given = [_as_float(value) for value in flat]
        plain = not any(isinstance(value, Tracer) for value in flat)
        if plain and self._of_numbers is not None:
            return self._interpreted([var.attrs.array for var in given])
        made = {path: Tracer(_leaf(var)) for path, var in zip(leaves(arguments), given, strict=True)}
        with intercepted():
            result = self._function(*mapped(lambda path, _: made[path], arguments))
        sources = [value._var for value in made.values()]
        roots = [build.apply("float", operand(unwrap(value))) for value in leaves(result).values()]
        if plain and all(var.args or var in sources or var.is_const for var in toposort(roots)):
            self._of_numbers = sources, Interpreter(roots, sources), result
            return self._interpreted([var.attrs.array for var in given])
        values = build.again(roots, dict(zip(sources, given, strict=True)), {})
        paths = dict(zip(leaves(result), values, strict=True))
        return mapped(lambda path, _: Tracer(paths[path]), result)

    def _interpreted(self, numbers: list[npt.NDArray[Any]]) -> Any:
        assert self._of_numbers is not None
        sources, interpreter, nesting = self._of_numbers
        found = interpreter({var: array[..., None] for var, array in zip(sources, numbers, strict=True)})
        values = dict(zip(leaves(nesting), found, strict=True))
        return mapped(lambda path, _: values[path][..., 0], nesting)


def _as_float(value: Any) -> Var:
    return build.apply("float", operand(unwrap(value)))


def _leaf(var: Var) -> Var:
    return build.argument(next(_numbers), var.shape, Level.DRAW)
