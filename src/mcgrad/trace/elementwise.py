"""NumPy's functions, other than ufuncs, that work element by element."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mcgrad.ir import build
from mcgrad.ir.build import apply
from mcgrad.ir.ops import OPS
from mcgrad.ir.program import Shape, Var, toposort
from mcgrad.trace.operands import DTYPES, operand
from mcgrad.trace.refuse import refusal


def where(condition: Any, *choices: Any) -> Var:
    """np.where with three arguments."""
    if len(choices) != 2:
        raise refusal("np.where(condition) alone", "how many elements it finds depends on the draw; give both values: "
                      "np.where(condition, a, b)")  # fmt: skip
    return apply("where", operand(condition), operand(choices[0]), operand(choices[1]))


def select(condlist: Any, choicelist: Any, default: Any = 0) -> Var:
    """np.select."""
    if len(condlist) != len(choicelist):
        raise ValueError("list of cases must be same length as list of conditions")
    result = operand(default)
    for condition, choice in zip(reversed(condlist), reversed(choicelist), strict=True):
        result = apply("where", operand(condition), operand(choice), result)
    return result


def piecewise(x: Any, condlist: Any, funclist: Any, *args: Any, **kw: Any) -> Var:
    """np.piecewise, with functions that work element by element: the last condition that holds chooses."""
    point = operand(x)
    conditions = _conditions(condlist, point)
    if len(funclist) not in (len(conditions), len(conditions) + 1):
        expected = f"either {len(conditions)} or {len(conditions) + 1} functions"
        raise ValueError(f"with {len(conditions)} condition(s), {expected} are expected")
    functions = list(funclist)
    otherwise = functions.pop() if len(functions) > len(conditions) else 0
    result = _piece(otherwise, point, args, kw)
    for condition, function in zip(conditions, functions, strict=True):
        result = apply("where", condition, _piece(function, point, args, kw), result)
    return build.broadcast(result, point.shape)


def _conditions(condlist: Any, point: Var) -> list[Var]:
    """One condition, or several in a list or along the first axis."""
    if isinstance(condlist, list | tuple) and condlist and isinstance(condlist[0], list | tuple | np.ndarray | Var):
        return [operand(c) for c in condlist]
    conditions = operand(condlist)
    if len(conditions.shape) < min(2, len(point.shape) + 1):
        return [conditions]
    return [build.reshape(build.slice_(conditions, [(k, k + 1, 1), *((0, n, 1) for n in conditions.shape[1:])]),
                          conditions.shape[1:]) for k in range(conditions.shape[0])]  # fmt: skip


def _piece(function: Any, point: Var, args: Any, kw: Any) -> Var:
    """What one function says of all elements; NumPy gives it those alone for which its condition holds."""
    if not callable(function):
        return operand(function)
    value = operand(function(point, *args, **kw))
    changing = {point}
    for var in toposort([value]):
        if var not in changing and any(arg in changing for arg in var.args):
            changing.add(var)
            if OPS[var.op].category != "elementwise" and var.op != "broadcast":
                raise refusal("np.piecewise with a function of several elements together", "which elements it would "
                              "get depends on the draw; use np.where(condition, a, b)")  # fmt: skip
    return value


def nan_to_num(x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Var:
    """np.nan_to_num; the largest number, that an infinity becomes, is that of the estimate's width."""
    if copy is not True:
        raise refusal("np.nan_to_num with copy=False", "use its result: z = np.nan_to_num(z)")
    value = operand(x)
    if value.kind == "bool":
        return value
    largest = apply("stop", apply("nextafter", value, 0.0))
    high, low = (largest if end is None else operand(end) for end in (posinf, neginf))
    infinite = apply("where", apply("less", value, 0.0), low, high)
    number = apply("where", apply("isnan", value), operand(nan), infinite)
    return apply("where", apply("isfinite", value), value, number)


def clip(a: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Var:
    """np.clip; a bound may be None."""
    x = apply("float", operand(a))
    low, high = (a_min if min is None else min), (a_max if max is None else max)
    x = x if low is None else apply("maximum", x, operand(low))
    return x if high is None else apply("minimum", x, operand(high))


def sinc(x: Any) -> Var:
    """np.sinc: sin(pi x) / (pi x)."""
    angle = apply("multiply", operand(x), math.pi)
    zero = apply("equal", angle, 0.0)
    angle = apply("where", zero, 1.0, angle)
    return apply("where", zero, 1.0, apply("divide", apply("sin", angle), angle))


def same(a: Any) -> Var:
    """np.copy, np.real and what else changes nothing."""
    return operand(a)


# --- of the shape alone: plain NumPy values, not traced --------------------------------------------------------------
def shape(a: Any) -> Shape:
    """np.shape."""
    return operand(a).shape


def ndim(a: Any) -> int:
    """np.ndim."""
    return len(operand(a).shape)


def size(a: Any, axis: Any = None) -> int:
    """np.size."""
    x = operand(a)
    return x.size if axis is None else x.shape[axis]


def _like(a: Any, dtype: Any, given: Any) -> tuple[Shape, Any]:
    x = operand(a)
    return (x.shape if given is None else given), (DTYPES[x.kind] if dtype is None else dtype)


def zeros_like(a: Any, dtype: Any = None, *, shape: Any = None) -> Any:
    """np.zeros_like and np.empty_like."""
    return np.zeros(*_like(a, dtype, shape))


def ones_like(a: Any, dtype: Any = None, *, shape: Any = None) -> Any:
    """np.ones_like."""
    return np.ones(*_like(a, dtype, shape))


def full_like(a: Any, fill_value: Any, dtype: Any = None, *, shape: Any = None) -> Any:
    """np.full_like; the value may be traced."""
    extents, kind = _like(a, dtype, shape)
    if isinstance(fill_value, Var):
        return build.broadcast(fill_value, extents)
    return np.full(extents, fill_value, kind)
