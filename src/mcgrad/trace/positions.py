"""np.argmax, np.argmin and np.argsort: where elements are, as whole numbers that jump and have no derivative."""

from __future__ import annotations

from typing import Any

import numpy as np

from mcgrad.ir import build
from mcgrad.ir.build import apply
from mcgrad.ir.program import Var
from mcgrad.trace.operands import axis_of, operand
from mcgrad.trace.shaping import moveaxis, ravel


def argmax(a: Any, axis: Any = None, *, keepdims: bool = False) -> Var:
    """np.argmax; NaN, which is no index, where one of the elements is NaN."""
    return _first("max", a, axis, keepdims)


def argmin(a: Any, axis: Any = None, *, keepdims: bool = False) -> Var:
    """np.argmin; NaN, which is no index, where one of the elements is NaN."""
    return _first("min", a, axis, keepdims)


def argsort(a: Any, axis: Any = -1, kind: Any = None, *, stable: Any = None) -> Var:
    """np.argsort, always stable, by comparing all pairs; NaN where one of the elements is NaN.

    The rank of an element is the number of those before it: smaller ones, and equal ones that come first.
    """
    x = apply("float", operand(a))
    if axis is None:
        x, axis = ravel(x), 0
    axis = axis_of(axis, len(x.shape))
    n = x.shape[axis]
    x = moveaxis(x, axis, -1)
    own, others = build.reshape(x, (*x.shape, 1)), build.reshape(x, (*x.shape[:-1], 1, n))
    earlier = np.tri(n, k=-1, dtype=bool)
    before = apply("where", earlier, apply("less_equal", others, own), apply("less", others, own))
    rank = build.reduce("sum", apply("float", before), (len(x.shape),))
    numbers = np.arange(float(n))
    here = apply("equal", build.reshape(rank, (*rank.shape[:-1], 1, n)), numbers[:, None])
    order = build.reduce("sum", apply("where", here, numbers, 0.0), (len(x.shape),))
    spoilt = apply("isnan", build.reduce("max", x, (len(x.shape) - 1,))) if n else build.const(False)
    order = apply("where", build.reshape(spoilt, (*spoilt.shape, 1)), np.nan, order)
    return moveaxis(order, -1, axis)


def _first(extreme: str, a: Any, axis: Any, keepdims: bool) -> Var:
    x = apply("float", operand(a))
    ndim = len(x.shape)
    if axis is None:
        x, axis = ravel(x), 0
    axis = axis_of(axis, len(x.shape))
    n, kept = x.shape[axis], tuple(1 if i == axis else m for i, m in enumerate(x.shape))
    if not n:
        raise ValueError(f"attempt to get arg{extreme} of an empty sequence")
    best = build.reshape(build.reduce(extreme, x, (axis,)), kept)
    numbers = np.arange(float(n)).reshape([-1 if i == axis else 1 for i in range(len(x.shape))])
    found = build.reduce("min", apply("where", apply("equal", x, best), numbers, float(n)), (axis,))
    found = apply("where", apply("less", found, float(n)), found, np.nan)
    return build.reshape(found, kept if len(kept) == ndim else (1,) * ndim) if keepdims else found
