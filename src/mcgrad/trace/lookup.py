"""Elements found by a traced number: of a table by an index, of sorted knots by an interval.

All elements are compared with the number, so that draws stay in step: for tables of some tens of elements.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mcgrad.ir import build
from mcgrad.ir.build import apply
from mcgrad.ir.program import Var, toposort
from mcgrad.trace import shaping
from mcgrad.trace.operands import axis_of, holds_var, operand
from mcgrad.trace.refuse import refusal


def gather(x: Var, index: Var, axis: int = 0) -> Var:
    """Return the elements of x along an axis at traced whole numbers; NaN for a number that is no index of it.

    The derivative goes to the element that is chosen; it is zero in the index.
    """
    axis = axis_of(axis, len(x.shape))
    _check_whole(index)
    n = x.shape[axis]
    rest = (*x.shape[:axis], *x.shape[axis + 1 :])
    table = shaping.moveaxis(apply("float", x), axis, -1)
    k = build.reshape(index, (*index.shape, *(1 for _ in rest)))
    return shaping.moveaxis(_chosen(table, k, n), range(len(index.shape)), range(axis, axis + len(index.shape)))


def take_along_axis(arr: Any, indices: Any, axis: Any = -1) -> Var:
    """np.take_along_axis, of indices known while tracing or not."""
    x = operand(arr)
    if axis is None:
        x, axis = shaping.ravel(x), 0
    axis = axis_of(axis, len(x.shape))
    if not isinstance(indices, Var):
        return shaping.rearranged(x, lambda places: np.take_along_axis(places, np.asarray(indices), axis))
    if len(indices.shape) != len(x.shape):
        raise ValueError("`indices` and `arr` must have the same number of dimensions")
    _check_whole(indices)
    table = shaping.moveaxis(apply("float", x), axis, -1)
    table = build.reshape(table, (*table.shape[:-1], 1, x.shape[axis]))  # one choice more for each index along the axis
    return shaping.moveaxis(_chosen(table, shaping.moveaxis(indices, axis, -1), x.shape[axis]), -1, axis)


def _check_whole(index: Var) -> None:
    """Refuse what is not made of whole numbers: in NumPy floats are no indices."""
    whole: set[Var] = set()
    for var in toposort([index]):
        if var.op in ("floor", "ceil", "float"):
            is_whole = True
        elif var.op == "const":
            is_whole = var.kind == "bool" or bool(np.all(var.attrs.array == np.floor(var.attrs.array)))
        else:
            is_whole = var.op in WHOLE and all(arg in whole or arg.kind == "bool" for arg in var.args)
        if is_whole:
            whole.add(var)
    if index not in whole:
        raise refusal("indexing by numbers that may have fractions",
                      "cut them off, z[k.astype(int)], or use np.where(condition, a, b)")  # fmt: skip


WHOLE = {  # ops whose result is whole if the arguments are
    "add", "subtract", "negative", "multiply", "minimum", "maximum", "absolute", "sign", "where", "stop", "copy", "sum",
    "prod", "max", "min", "cumsum", "cumprod", "reshape", "transpose", "broadcast", "slice", "flip", "take", "pad",
    "concatenate", "scatter_add", "einsum",
}  # fmt: skip


def _chosen(table: Var, index: Var, n: int) -> Var:
    """The element of the last axis of a table, of n elements, at each index; the other axes broadcast."""
    k = apply("stop", index)
    k = apply("where", apply("less", k, 0.0), apply("add", k, float(n)), k)
    hits = apply("equal", build.reshape(k, (*k.shape, 1)), np.arange(n, dtype=float))
    chosen = apply("where", hits, table, 0.0)
    chosen = build.reduce("sum", chosen, (len(chosen.shape) - 1,))
    found = build.reduce("sum", apply("float", hits), (len(hits.shape) - 1,))
    return apply("where", apply("less", 0.0, found), chosen, np.nan)


def take(a: Any, indices: Any, axis: Any = None, *, mode: Any = "raise") -> Var:
    """np.take; of traced indices with the default mode."""
    if not isinstance(indices, Var):
        return shaping.take(a, indices, axis, mode=mode)
    if mode != "raise":
        raise refusal(f"np.take with mode={mode!r} and traced indices", "use np.clip or % before")
    x = operand(a)
    return gather(shaping.ravel(x), indices) if axis is None else gather(x, indices, axis)


def searchsorted(a: Any, v: Any, side: str = "left") -> Var:
    """np.searchsorted: how many elements of a sorted array are smaller, or not larger; NaN lies above all numbers."""
    edges, x = operand(a), apply("float", operand(v))
    if len(edges.shape) != 1:
        raise ValueError("object too deep for desired array")
    if side not in ("left", "right"):
        raise ValueError(f"side must be 'left' or 'right' (got {side!r})")
    last = build.reshape(x, (*x.shape, 1))
    below = apply("less" if side == "left" else "less_equal", edges, last)
    above = apply("logical_or", below, apply("isnan", last))
    return build.reduce("sum", apply("float", above), (len(x.shape),))


def digitize(x: Any, bins: Any, right: bool = False) -> Var:
    """np.digitize, of bins that increase or decrease and that are known while tracing."""
    edges = np.asarray(_known("np.digitize", "bins", bins), float)
    if np.all(np.diff(edges) >= 0):
        return searchsorted(edges, x, "left" if right else "right")
    if not np.all(np.diff(edges) <= 0):
        raise ValueError("bins must be monotonically increasing or decreasing")
    return apply("subtract", float(len(edges)), searchsorted(edges[::-1], x, "left" if right else "right"))


def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None) -> Var:
    """np.interp, in knots known while tracing: the piece of the line that x lies in.

    At a knot the derivative is that of the piece above it; outside of the knots it is zero.
    """
    knots = np.asarray(_known("np.interp", "xp", xp), float)
    point, values = apply("float", operand(x)), apply("float", operand(fp))
    if knots.ndim != 1 or values.shape != knots.shape or not knots.size:
        raise ValueError(f"fp and xp are not of the same length: {values.shape}, {knots.shape}")
    n = len(knots)
    first, last = (build.reshape(build.slice_(values, [(k, k + 1, 1)]), ()) for k in (0, n - 1))
    result = build.broadcast(last, point.shape)
    if n > 1:
        low, high = (build.slice_(values, [(k, n - 1 + k, 1)]) for k in (0, 1))
        with np.errstate(divide="ignore", invalid="ignore"):
            widths = np.diff(knots)
            slopes = apply("divide", apply("subtract", high, low), np.where(widths > 0, widths, 1.0))
        piece = apply("subtract", searchsorted(knots, apply("stop", point), "right"), 1.0)
        inside = apply("maximum", apply("minimum", piece, n - 2.0), 0.0)
        start, base, slope = (gather(build.as_var(v), inside) for v in (knots[:-1], low, slopes))
        on_line = apply("add", base, apply("multiply", slope, apply("subtract", point, start)))
        result = apply("where", apply("less", point, knots[-1]), on_line, result)
    result = apply("where", apply("less", point, knots[0]), first if left is None else operand(left), result)
    result = apply("where", apply("less", knots[-1], point), last if right is None else operand(right), result)
    return apply("where", apply("isnan", point), point, result)


def _known(call: str, name: str, value: Any) -> Any:
    if holds_var(value):
        raise refusal(f"{call} with a traced value for {name}=", "give it as an array that is known while tracing")
    return value
