"""Evaluate a function written in JAX with NumPy's functions: its jaxpr, equation by equation."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend import core

from mcgrad.errors import TraceError
from mcgrad.jax.jaxprs.calls import CALLS, LOOPS, OF_CONSTANTS, RANDOM
from mcgrad.jax.jaxprs.elementwise import ELEMENTWISE
from mcgrad.jax.jaxprs.indexed import INDEXED
from mcgrad.jax.jaxprs.matrices import MATRICES
from mcgrad.jax.jaxprs.moving import MOVING
from mcgrad.jax.jaxprs.named import body, named
from mcgrad.jax.jaxprs.reductions import REDUCTIONS
from mcgrad.jax.jaxprs.remedies import KEYS, VALUES, remedy
from mcgrad.jax.jaxprs.scatters import SCATTERS
from mcgrad.jax.jaxprs.sorting import SORTING
from mcgrad.jax.jaxprs.windowed import WINDOWED
from mcgrad.trace.frames import Line, line_of, owner, replayed, replaying
from mcgrad.trace.refuse import refusal
from mcgrad.trace.tracer import Tracer

RULES: dict[str, Callable[..., Any]] = {**ELEMENTWISE, **MOVING, **REDUCTIONS}
SINGLE = {**INDEXED, **SCATTERS, **WINDOWED}  # for traced values, with one result
SEVERAL = {**MATRICES, **SORTING}  # and with a list of them
CONCRETE = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
    jax.errors.NonConcreteBooleanIndexError,
)


def replay(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return function(*args, **kwargs), whose arguments are trees of Tracers, NumPy arrays and numbers.

    Floats and Tracers are abstract while JAX traces the function, integers and booleans are as they are.

    Returns
    -------
    Tracer or array, or a tree of them, as the function nests its result.

    Raises
    ------
    TraceError
        A primitive that has no counterpart, or code that needs the value of what is abstract.
    """
    leaves, tree = jax.tree.flatten((args, kwargs))
    traced = [isinstance(x, Tracer) or np.asarray(x).dtype.kind == "f" for x in leaves]
    values = [x if isinstance(x, Tracer) else np.asarray(x, np.float64)
              for x, abstract in zip(leaves, traced, strict=True) if abstract]  # fmt: skip

    def of_abstract(*given: Any) -> Any:
        rest = iter(given)
        whole = [next(rest) if abstract else x for x, abstract in zip(leaves, traced, strict=True)]
        positional, named = jax.tree.unflatten(tree, whole)
        return function(*positional, **named)

    with jax.enable_x64(True), np.errstate(all="ignore"):
        try:
            shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in values]
            closed, result = jax.make_jaxpr(of_abstract, return_shape=True)(*shapes)
        except CONCRETE as error:
            first = str(error).partition("\n")[0]
            raise TraceError(f"{first} ({VALUES})", *(line_of(error) or ())) from error
        results = evaluate(closed.jaxpr, closed.consts, values)
    return jax.tree.unflatten(jax.tree.structure(result), results)


def evaluate(jaxpr: core.Jaxpr, consts: Sequence[Any], args: Sequence[Any], of_user: bool = True) -> list[Any]:
    """Return the results of a jaxpr.

    Parameters
    ----------
    jaxpr : Jaxpr
    consts, args : sequence of Tracer or array
    of_user : bool
        Whether it is of the user's code: each equation has its line then. JAX keeps the jaxprs of its own functions,
        with the lines that called them first.
    """
    known: dict[core.Var, Any] = dict(zip(jaxpr.constvars, map(_array, consts), strict=True))
    known |= zip(jaxpr.invars, args, strict=True)

    def value(atom: core.Var | core.Literal) -> Any:
        return _plain(atom.val) if isinstance(atom, core.Literal) else known[atom]

    for equation in jaxpr.eqns:
        line = functools.partial(_line, equation, replayed()) if of_user else replayed()
        with replaying(line):
            results = _results(equation, [value(atom) for atom in equation.invars], of_user)
        known |= zip(equation.outvars, results, strict=True)
    return [value(atom) for atom in jaxpr.outvars]


def _array(value: Any) -> Any:
    """Return a constant that a jaxpr holds as a NumPy array; a key of random numbers stays as it is.

    Raises
    ------
    TraceError
        A value that JAX itself traces: f is inside a function that is jitted, differentiated or mapped.
    """
    if isinstance(value, jax.core.Tracer):
        raise refusal("a value of a transformation of JAX around f, which f reads,", "give it in params= or data=")
    return value if jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key) else _plain(value)


def _plain(value: Any) -> Any:
    """Return a value as an array of a dtype that NumPy has: narrow floats as float32."""
    array = np.asarray(value)
    return array.astype(np.float32) if jax.numpy.issubdtype(array.dtype, np.floating) and array.itemsize < 4 else array


def _results(equation: core.JaxprEqn, args: list[Any], of_user: bool) -> list[Any]:
    """Return the results of one equation: by a rule, or by JAX itself where no argument is traced."""
    name = equation.primitive.name
    traced = any(isinstance(x, Tracer) for x in args)
    if name in RANDOM:
        raise refusal(f"jax.random, as the primitive {name},", KEYS)
    if name in CALLS and (traced or name not in OF_CONSTANTS):
        function = _jax_function(equation)
        results = named(function, equation, args) if traced else None
        if results is not None:
            return results
        return CALLS[name](functools.partial(evaluate, of_user=of_user and function is None), equation, args)
    if name in RULES:
        result = {"dtype": equation.outvars[0].aval.dtype} if name == "div" else {}  # of integers it is another op
        made = RULES[name](*args, **equation.params, **result)
        made = list(made) if equation.primitive.multiple_results else [made]
        return [x if isinstance(x, Tracer) else _plain(x) for x in made]
    if not traced:
        return _computed(equation, args)
    if name in SINGLE:
        return [SINGLE[name](*args, **equation.params)]
    if name in SEVERAL:
        return list(SEVERAL[name](*args, **equation.params))
    raise refusal(f"the primitive {name} of JAX", remedy(name))


def _computed(equation: core.JaxprEqn, args: list[Any]) -> list[Any]:
    """Return the results of an equation of constants, which JAX computes."""
    for name in _primitives(equation.params):
        if name in RANDOM:
            raise refusal(f"jax.random, as the primitive {name},", KEYS)
    with jax.ensure_compile_time_eval():
        given = [jax.numpy.asarray(x, atom.aval.dtype) for x, atom in zip(args, equation.invars, strict=True)]
        made = equation.primitive.bind(*given, **equation.params)
        return [_plain(x) for x in (made if equation.primitive.multiple_results else [made])]


def _primitives(params: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of the primitives in the jaxprs among an equation's parameters, and in those that they hold."""
    for value in params.values():
        for inside in value if isinstance(value, tuple | list) else (value,):
            if isinstance(inside, core.Jaxpr | core.ClosedJaxpr):
                for equation in inside.eqns:
                    yield equation.primitive.name
                    yield from _primitives(equation.params)


def _jax_function(equation: core.JaxprEqn) -> str | None:
    """Return the name of JAX's own function that an equation calls, or None where it is the user's."""
    inside = body(equation)
    if equation.primitive.name in LOOPS or inside is None:
        return None
    jaxpr = inside.jaxpr if isinstance(inside, core.ClosedJaxpr) else inside
    name, _, where = (jaxpr.debug_info.func_src_info or "").partition(" at ")
    return name if owner(where.rpartition(":")[0]) == "jax" else None


def _line(equation: core.JaxprEqn, outer: Callable[[], Line | None] | None) -> Line | None:
    """Return the line of the user's code that made an equation, or that of the equation around it."""
    traceback = equation.source_info.traceback
    for frame in traceback.frames if traceback else []:
        if owner(frame.file_name) is None:
            return frame.file_name, frame.line_num
    return outer() if outer is not None else None
