"""NumPy's sums, products, extremes, moments and running versions of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mcgrad.ir import build
from mcgrad.ir.program import Var
from mcgrad.trace.contract import summed_product
from mcgrad.trace.operands import as_dtype, axes_of, axis_of, operand
from mcgrad.trace.shaping import ravel, section


def with_kept_axes(result: Var, x: Var, axes: tuple[int, ...], keepdims: bool) -> Var:
    """Put the reduced axes back with extent 1 if `keepdims`."""
    return build.reshape(result, tuple(1 if i in axes else n for i, n in enumerate(x.shape))) if keepdims else result


def _reduced(op: str, x: Var, axis: Any, keepdims: bool) -> Var:
    axes = axes_of(axis, len(x.shape))
    if op in ("max", "min") and 0 in (x.shape[i] for i in axes):
        raise ValueError(f"zero-size array to reduction operation {op}imum which has no identity")
    return with_kept_axes(build.reduce(op, x, axes), x, axes, keepdims)


def sum(a: Any, axis: Any = None, dtype: Any = None, *, keepdims: bool = False) -> Var:
    """np.sum."""
    x = operand(a)
    axes = axes_of(axis, len(x.shape))
    product = summed_product(x, axes)
    result = _reduced("sum", x, axis, keepdims) if product is None else with_kept_axes(product, x, axes, keepdims)
    return as_dtype(result, dtype, "np.sum")


def prod(a: Any, axis: Any = None, dtype: Any = None, *, keepdims: bool = False) -> Var:
    """np.prod."""
    return as_dtype(_reduced("prod", operand(a), axis, keepdims), dtype, "np.prod")


def max(a: Any, axis: Any = None, *, keepdims: bool = False) -> Var:
    """np.max."""
    x = operand(a)
    return any(x, axis, keepdims=keepdims) if x.kind == "bool" else _reduced("max", x, axis, keepdims)


def min(a: Any, axis: Any = None, *, keepdims: bool = False) -> Var:
    """np.min."""
    x = operand(a)
    return all(x, axis, keepdims=keepdims) if x.kind == "bool" else _reduced("min", x, axis, keepdims)


def any(a: Any, axis: Any = None, *, keepdims: bool = False) -> Var:
    """np.any."""
    return build.apply("less", 0.0, _reduced("sum", _truth(a), axis, keepdims))


def all(a: Any, axis: Any = None, *, keepdims: bool = False) -> Var:
    """np.all."""
    return build.apply("equal", _reduced("sum", build.apply("logical_not", _truth(a)), axis, keepdims), 0.0)


def count_nonzero(a: Any, axis: Any = None, *, keepdims: bool = False) -> Var:
    """np.count_nonzero."""
    return _reduced("sum", _truth(a), axis, keepdims)


def _truth(a: Any) -> Var:
    x = operand(a)
    return x if x.kind == "bool" else build.apply("not_equal", x, 0.0)


def mean(a: Any, axis: Any = None, dtype: Any = None, *, keepdims: bool = False) -> Var:
    """np.mean."""
    x = operand(a)
    total = _reduced("sum", x, axis, keepdims)
    return as_dtype(build.apply("divide", total, float(_count(x, axis))), dtype, "np.mean")


def _count(x: Var, axis: Any) -> int:
    return int(np.prod([x.shape[i] for i in axes_of(axis, len(x.shape))], initial=1))


def var(a: Any, axis: Any = None, dtype: Any = None, *, ddof: float = 0, keepdims: bool = False) -> Var:
    """np.var, in two passes."""
    x = operand(a)
    deviation = build.apply("subtract", x, mean(x, axis, keepdims=True))
    squares = _reduced("sum", build.apply("multiply", deviation, deviation), axis, keepdims)
    return as_dtype(build.apply("divide", squares, _count(x, axis) - ddof), dtype, "np.var")


def std(a: Any, axis: Any = None, dtype: Any = None, *, ddof: float = 0, keepdims: bool = False) -> Var:
    """np.std."""
    return build.apply("sqrt", var(a, axis, dtype, ddof=ddof, keepdims=keepdims))


def ptp(a: Any, axis: Any = None, *, keepdims: bool = False) -> Var:
    """np.ptp."""
    return build.apply("subtract", max(a, axis, keepdims=keepdims), min(a, axis, keepdims=keepdims))


def average(a: Any, axis: Any = None, weights: Any = None, *, keepdims: bool = False) -> Var:
    """np.average."""
    x = operand(a)
    if weights is None:
        return mean(x, axis, keepdims=keepdims)
    w = operand(weights)
    if w.shape != x.shape:
        if axis is None or len(w.shape) != 1 or w.shape[0] != x.shape[axis_of(axis, len(x.shape))]:
            raise ValueError(f"weights of shape {w.shape} fit neither {x.shape} nor its axis {axis}")
        axis = axis_of(axis, len(x.shape))
        w = build.broadcast(build.reshape(w, tuple(w.size if i == axis else 1 for i in range(len(x.shape)))), x.shape)
    total = _reduced("sum", build.apply("multiply", x, w), axis, keepdims)
    return build.apply("divide", total, _reduced("sum", w, axis, keepdims))


# --- running ---------------------------------------------------------------------------------------------------------
def _running(op: str) -> Callable[..., Var]:
    def scan(a: Any, axis: Any = None, dtype: Any = None) -> Var:
        x = operand(a)
        if axis is None:
            x, axis = ravel(x), 0
        return as_dtype(build.scan(op, x, axis_of(axis, len(x.shape))), dtype, f"np.{op}")

    return scan


cumsum = _running("cumsum")
cumprod = _running("cumprod")


def running_extreme(op: str) -> Callable[..., Var]:
    """np.maximum.accumulate and np.minimum.accumulate, in log2(extent) doublings."""

    def scan(array: Any, axis: Any = 0) -> Var:
        x = operand(array)
        axis = axis_of(axis, len(x.shape))
        extent, reach = x.shape[axis], 1
        while reach < extent:
            later = build.apply(op, section(x, axis, reach, extent), section(x, axis, 0, extent - reach))
            x = build.concatenate([section(x, axis, 0, reach), later], axis)
            reach *= 2
        return x

    return scan


def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Var:
    """np.diff."""
    x = operand(a)
    axis = axis_of(axis, len(x.shape))
    edge = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
    ends = [None if end is None else operand(end) for end in (prepend, append)]
    before, after = ([] if end is None else [end if end.shape else build.broadcast(end, edge)] for end in ends)
    x = build.concatenate([*before, x, *after], axis)
    if n < 0:
        raise ValueError(f"order must be non-negative but got {n}")
    for _ in range(n):
        extent = x.shape[axis]
        if extent:
            x = _difference(section(x, axis, 1, extent), section(x, axis, 0, extent - 1))
    return x


def _difference(later: Var, earlier: Var) -> Var:
    if later.kind == "bool":
        return build.apply("logical_xor", later, earlier)
    return build.apply("subtract", later, earlier)


def trapezoid(y: Any, x: Any = None, dx: float = 1.0, axis: int = -1) -> Var:
    """np.trapezoid."""
    values = operand(y)
    axis = axis_of(axis, len(values.shape))
    extent = values.shape[axis]
    middle = build.apply("add", section(values, axis, 1, extent), section(values, axis, 0, extent - 1))
    if x is None:
        return build.apply("multiply", build.reduce("sum", middle, (axis,)), 0.5 * dx)
    points = operand(x)
    steps = diff(points, axis=0 if len(points.shape) == 1 else axis)
    if len(points.shape) == 1:
        steps = build.reshape(steps, tuple(steps.size if i == axis else 1 for i in range(len(values.shape))))
    return build.reduce("sum", build.apply("multiply", build.apply("multiply", steps, middle), 0.5), (axis,))
