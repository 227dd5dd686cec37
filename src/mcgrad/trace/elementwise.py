"""NumPy's functions, other than ufuncs, that work element by element."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mcgrad.ir import build
from mcgrad.ir.build import apply
from mcgrad.ir.program import Shape, Var
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
