"""Run a user's function on Tracers and return what it computes, as Vars."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mcgrad.errors import ParameterError, TraceError, shown
from mcgrad.ir import build
from mcgrad.ir.infer import recorded
from mcgrad.ir.program import Var, toposort
from mcgrad.trace import intercept, nested, overruns
from mcgrad.trace.filled import plain
from mcgrad.trace.foreign import library_refusal, refuse_untraceable
from mcgrad.trace.operands import operand
from mcgrad.trace.refuse import refusal_of as _at
from mcgrad.trace.repeat import difference, has_state
from mcgrad.trace.roll import rolled
from mcgrad.trace.tracer import Tracer, unwrap, wrap
from mcgrad.trace.unrolled import warn_if_long
from mcgrad.tree import flatten, unflatten

PURE = (
    "a function may depend on its arguments alone, as its draws share one Program. Random numbers belong in q, "
    "mg.Joint(z=q, noise=mg.Normal(0.0, 1.0)), where each draw has its own; counters, iterators and what else changes "
    "from call to call have to be read outside and given in params= or data="
)
LOCKED = "all draws read this array: write to a copy, x = x.copy()"
RETURNED = "an integrand returns a number, an array or a dict of arrays for each draw"


def trace(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Call `function` on Tracers and return its result as a tree of Vars.

    A function that may hold state is traced twice, and both results have to be the same Program: what it reads besides
    its arguments is constant in the Program, so random numbers or a counter inside it would be frozen.

    Parameters
    ----------
    function : callable
        Plain NumPy code.
    args, kwargs : tuple and dict of trees
        Each Var in nested dicts becomes a Tracer; other values reach the function as they are.

    Returns
    -------
    Var, or dict, tuple or list of them, as the function nests its result.

    Raises
    ------
    TraceError
        Code that cannot be traced, a result that is not made of real arrays, or another Program at the second trace.
        What the function itself raises passes through, with a note of the shapes it was called with.
    """
    refuse_untraceable(function)
    with recorded() as made:
        found = _traced(function, args, kwargs)
    _check_arguments(found, function, args, kwargs)
    if not has_state(function):
        return _rolled(found, made)
    _check_repeats(found, function, args, kwargs)
    with recorded() as new:
        result = _rolled(found, made)
    with overruns.collected():
        again = lambda: _leaves(_traced(function, args, kwargs)).values()  # noqa: E731
        warn_if_long([*_leaves(result).values()], [*made, *new], again)
    return result


def _rolled(found: Any, made: Sequence[Var]) -> Any:
    """Return a result, computed with loops where equations repeat."""
    flat = _leaves(found)
    new = dict(zip(flat, rolled(list(flat.values()), made), strict=True))
    return nested.mapped(lambda path, value: new.get(path, value), found)


def _leaves(found: Any) -> dict[str, Var]:
    return {path: var for path, var in nested.leaves(found).items() if isinstance(var, Var)}


def _check_repeats(found: Any, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Refuse a function that is another one when it is called again."""
    try:
        with overruns.collected():
            again = _traced(function, args, kwargs)
        differs = difference(found, again)
    except Exception as error:
        raised = f"raises {type(error).__name__} ({error}) when it is called a second time"
        raise _at(function, f"{_name(function)} {raised}, after a first call without an error; {PURE}") from error
    if differs:
        raise _at(function, f"{_name(function)} is not the same function at each call: {differs}; {PURE}")


def _traced(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    traced = tuple(_wrapped(tree) for tree in args)
    named = {name: _wrapped(tree, LOCKED) for name, tree in kwargs.items()}
    imported = intercept.loaded()
    try:
        try:
            with intercept.intercepted(), overruns.collected() as noted:
                result = function(*traced, **named)
        except TraceError:
            if intercept.loaded() == imported:
                raise
            with intercept.intercepted(), overruns.collected() as noted:  # f imports SciPy: again, now that it is there
                result = function(*traced, **named)
    except TraceError:
        raise
    except Exception as error:
        refused = _refused(error) or library_refusal(error)
        if refused is not None:
            raise refused from error
        error.add_note(f"mcgrad: raised while tracing {_name(function)} with {_shapes(args)}")
        raise
    overruns.noted(noted)
    found = _unwrapped(result, function)
    return nested.mapped(lambda path, x: overruns.spoiled(x, noted), found) if noted else found


def _check_arguments(
    found: Any, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> None:
    """Refuse results that read values of a step of a loop outside of that."""
    roots = [var for value in nested.leaves(found).values() if isinstance(var := value, Var)]
    given = {var for tree in (*args, *kwargs.values()) for var in nested.leaves(tree).values() if isinstance(var, Var)}
    if any(var.op == "argument" and var not in given for var in toposort(roots)):
        raise _at(
            function,
            f"{_name(function)} reads a value of a step of mg.scan outside of the step; return it there, in the carry "
            "or in y",
        )


def _refused(error: BaseException) -> TraceError | None:
    """Return the refusal that NumPy turned into an error of its own, if there is one."""
    cause = error.__cause__
    while cause is not None and not isinstance(cause, TraceError):
        cause = cause.__cause__
    return cause


def _wrapped(tree: Any, locked: str = "") -> Any:
    if isinstance(tree, Mapping):
        return {name: _wrapped(value, locked) for name, value in tree.items()}
    return wrap(tree, locked)


def _unwrapped(result: Any, function: Callable[..., Any]) -> Any:
    result = plain(result)
    if isinstance(result, Tracer):
        return unwrap(result)
    if isinstance(result, Mapping):
        return {name: _unwrapped(value, function) for name, value in result.items()}
    if isinstance(result, tuple | list):
        return type(result)(_unwrapped(part, function) for part in result)
    if isinstance(result, bool | int | float | np.generic | np.ndarray) and np.asarray(result).dtype.kind in "biuf":
        return build.const(result)
    if result is None:
        given, remedy = "returns None", "end it with a return statement"
    elif isinstance(result, complex | np.complexfloating) or (
        isinstance(result, np.ndarray) and result.dtype.kind == "c"
    ):
        given, remedy = "returns a complex value", "return its real part, imaginary part or absolute value"
    else:
        given, remedy = f"returns {shown(result)} of type {type(result).__name__}", "return an array or a number"
    raise _at(function, f"{_name(function)} {given}; {remedy}")


def trace_integrand(
    f: Callable[..., Any], z: Any, params: Mapping[str, Any] | None = None, data: Mapping[str, Any] | None = None
) -> Any:
    """Trace an integrand f(z, **params, **data) of one draw.

    Parameters
    ----------
    f : callable
    z : Var or nested dict of Var
        The draw.
    params : dict from name to Var or nested dict of Var
    data : dict from name to Var or array
        Float data as Vars; integers and booleans as arrays, so that they can index.

    Returns
    -------
    Var of kind "float", or nested dict of them: a number or an array of numbers for each draw.

    Raises
    ------
    ParameterError
        A parameter or data name that f does not accept, or an argument of f that nothing gives.
    TraceError
        Untraceable code, or a result that is not made of arrays of real numbers, or that does not depend on z.
    """
    params, data = dict(params or {}), dict(data or {})
    refuse_untraceable(f)
    _check_signature(f, z, params, data)
    result = trace(f, (z,), {**params, **data})
    try:
        leaves = flatten(result)
    except ParameterError as error:
        raise _at(f, f"{_name(f)} returns a dict with the name {error.given}; accepted: {error.accepted}") from None
    for path, leaf in leaves.items():
        if not isinstance(leaf, Var):
            raise _at(f, f"{_name(f)} returns a {type(leaf).__name__}; {RETURNED}, such as np.stack([...])")
        if not leaf.size:
            inside = f" in {path}" if path else ""
            raise _at(f, f"{_name(f)} returns an array without elements{inside}, of shape {leaf.shape}; {RETURNED}")
    if not leaves:
        raise _at(f, f"{_name(f)} returns an empty dict; {RETURNED}")
    if not any(leaf.by_draw for leaf in leaves.values()):
        draws = set(flatten(z).values())
        if not any(var in draws for var in toposort(leaves.values())):
            raise _at(
                f, f"{_name(f)} ignores z: its result does not depend on the draw, so there is nothing to estimate"
            )
    return unflatten({path: operand(build.apply("float", leaf)) for path, leaf in leaves.items()})


def trace_number(
    f: Callable[..., Any], z: Any, params: Mapping[str, Any] | None = None, data: Mapping[str, Any] | None = None
) -> Var:
    """Trace an integrand of one draw that has to return one number.

    Raises
    ------
    ParameterError, TraceError
        As `trace_integrand`, and where the result is not one number.
    """
    result = trace_integrand(f, z, params, data)
    if not isinstance(result, Var):
        raise _at(f, f"{_name(f)} returns a {type(result).__name__}; a log joint returns one number for each draw")
    if result.shape != ():
        raise _at(f, f"{_name(f)} returns an array of shape {result.shape}; a log joint returns one number for "
                     "each draw: sum or average it, np.sum(...) or np.mean(...)")  # fmt: skip
    return result


def _check_signature(f: Callable[..., Any], z: Any, params: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    both = [name for name in params if name in data]
    if both:
        raise ParameterError(both[0], "in params and in data", "one of the two")
    try:
        signature = inspect.signature(f)
    except (TypeError, ValueError):
        return
    accepted = {p.name for p in signature.parameters.values() if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
    names = [p.name for p in signature.parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    takes_any = any(p.kind == p.VAR_KEYWORD for p in signature.parameters.values())
    unnamed = {p.name for p in signature.parameters.values() if p.kind is p.POSITIONAL_ONLY}
    for argument, given in (("params", params), ("data", data)):
        for name in given:
            if name in unnamed and names[:1] != [name]:
                raise ParameterError(
                    f"{argument}[{name!r}]",
                    f"a name that {_name(f)} takes by position alone",
                    "f(z, *, name), without /",
                )
            if names[:1] == [name] and name in accepted:
                raise ParameterError(f"{argument}[{name!r}]", "the name of the draw in f", "another name")
            if not takes_any and name not in accepted:
                others = ", ".join(p for p in signature.parameters if p != next(iter(names), None))
                raise ParameterError(
                    f"{argument}[{name!r}]",
                    f"a name that {_name(f)} does not accept",
                    others or f"none: {_name(f)} takes the draw only",
                )
    try:
        signature.bind(z, **params, **data)
    except TypeError as error:
        raise ParameterError(
            _name(f), f"{error}", "an integrand f(z, **params, **data) whose every argument is given"
        ) from None


def _name(f: Callable[..., Any]) -> str:
    name = getattr(f, "__name__", type(f).__name__)
    return "the function" if name == "<lambda>" or name.startswith("_") else str(name)


def _shapes(args: tuple[Any, ...]) -> str:
    shapes = {path: var.shape for tree in args[:1] for path, var in flatten(tree).items() if isinstance(var, Var)}
    draws = " and ".join(f"z{f'[{path!r}]' if path else ''} of shape {shape}" for path, shape in shapes.items())
    return f"{draws}: one draw, without an axis of draws" if draws else "no draw"
