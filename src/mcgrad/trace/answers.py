"""Answers to calls that NumPy's and SciPy's own functions would not pass on to a Tracer among their arguments.

NumPy looks at the arguments that it takes for arrays, and at no list of numbers. So here a call is answered where a
Tracer is anywhere among the arguments, in nested lists and tuples, too. Calls without one are NumPy's or SciPy's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mcgrad.trace import array_constructors, linear_algebra, scipy_special
from mcgrad.trace.array_functions import BUILDERS
from mcgrad.trace.filled import fillable, plain_within
from mcgrad.trace.operands import operand
from mcgrad.trace.tracer import Tracer, call, call_function, holds_tracer, only_defaults, unwrap

Function = Callable[..., Any]
Answer = Callable[[Function, tuple[Any, ...], dict[str, Any]], Any]


def answer_function(function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Answer a call of np.mean or another function that is no ufunc."""
    args, kwargs = plain_within(args), {name: plain_within(value) for name, value in kwargs.items()}
    if function in BUILDERS and holds_tracer((*args, *kwargs.values())):
        return call_function(function, args, kwargs)
    return function(*args, **kwargs)


def answer_ufunc(function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Answer a call of np.exp or another ufunc, or of a method of one: with arrays for lists that hold Tracers."""
    return function(*map(_array, args), **kwargs)


def answer_filled(function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Answer a call of np.empty or another function that makes arrays which f may fill."""
    return fillable(answer_function(function, args, kwargs))


def answer_constructor(function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Answer a call of np.array or a relative."""
    given, name = args[0] if args else kwargs.get("object", kwargs.get("a")), function.__name__
    if not holds_tracer(given):
        return function(*args, **kwargs)
    result = call(f"np.{name}", array_constructors.FUNCTIONS[name], args, kwargs)
    unchanged = name != "array" and isinstance(given, Tracer) and result._var is given._var
    return given if unchanged else result


def call_scipy(module: str, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call what stands for a plain function of SciPy's, with a Tracer among the arguments."""
    shown = f"{module}.{name}"
    functions = scipy_special.FUNCTIONS if module == "scipy.special" else linear_algebra.SCIPY
    if name in functions:
        return call(shown, functions[name], args, kwargs)
    only_defaults(shown, kwargs)
    return Tracer(scipy_special.UFUNCS[name](*(operand(x) for x in unwrap(args))))


def _array(value: Any) -> Any:
    is_list = isinstance(value, list | tuple) and holds_tracer(value)
    return Tracer(operand(unwrap(value))) if is_list else value
