"""Elements found by traced numbers: along an axis by an index, of sorted knots by an interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from mcgrad.ir import build
from mcgrad.ir.build import apply
from mcgrad.ir.program import Var
from mcgrad.trace import shaping
from mcgrad.trace.operands import axis_of, holds_var, index_remedy, operand
from mcgrad.trace.refuse import refusal
from mcgrad.trace.whole import is_not_negative, is_whole

MOST = 1 << 24  # elements that float32 can number
COMPARED, FEW = 32, 12  # sorted numbers up to which all are compared; and so if they lie evenly


# --- by index --------------------------------------------------------------------------------------------------------
def gather(x: Var, index: Var, axis: int = 0) -> Var:
    """Return the elements of x along an axis at traced whole numbers; NaN for a number that is no index of it.

    The derivative goes to the element that is chosen; it is zero in the index.
    """
    axis = axis_of(axis, len(x.shape))
    ndim = len(index.shape)
    return shaping.moveaxis(gather_joint(x, [axis], [index]), range(ndim), range(axis, axis + ndim))


def gather_joint(x: Var, axes: Sequence[int], indices: Sequence[Var]) -> Var:
    """Return the elements of x at indices along some axes, of one shape: these axes come first in the result."""
    table = shaping.moveaxis(x, axes, range(len(axes)))
    if len(axes) == 1:
        return build.gather(table, _index(indices[0], x.shape[axes[0]], axes[0]))
    size = math.prod(x.shape[axis] for axis in axes)
    joint: Var = build.const(0.0)
    for axis, index in zip(axes, indices, strict=True):
        extent = x.shape[axis]
        joint = apply("add", apply("multiply", joint, float(extent)), place(index, extent, axis))
    return build.gather(build.reshape(table, (size, *table.shape[len(axes) :])), _numbered(joint, size))


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
    table, index = shaping.moveaxis(x, axis, -1), shaping.moveaxis(indices, axis, -1)
    ahead = np.broadcast_shapes(table.shape[:-1], index.shape[:-1])
    table, index = (build.broadcast(a, (*ahead, a.shape[-1])) for a in (table, index))
    return shaping.moveaxis(build.gather(table, _index(index, x.shape[axis], axis), len(ahead)), -1, axis)


def take(a: Any, indices: Any, axis: Any = None, *, mode: Any = "raise") -> Var:
    """np.take."""
    if not holds_var(indices):
        return shaping.take(a, indices, axis, mode=mode)
    x, indices = operand(a), operand(indices)
    if axis is None:
        x, axis = shaping.ravel(x), 0
    return gather(x, _in_mode(indices, x.shape[axis_of(axis, len(x.shape))], mode), axis)


def choose(a: Any, choices: Any, *, mode: Any = "raise") -> Var:
    """np.choose: for each index the element, at its place, of the choice of that number."""
    index = operand(a)
    given = list(choices) if isinstance(choices, list | tuple) else operand(choices)
    if isinstance(given, Var):
        given = [build.reshape(shaping.section(given, 0, k, k + 1), given.shape[1:]) for k in range(given.shape[0])]
    options = [operand(choice) for choice in given]
    shape = np.broadcast_shapes(index.shape, *(choice.shape for choice in options))
    table = shaping.stack([build.broadcast(choice, shape) for choice in options], -1)
    index = build.broadcast(_in_mode(index, len(options), mode), shape)
    return build.gather(table, index, len(shape))


def _in_mode(index: Var, extent: int, mode: Any) -> Var:
    """Indices as NumPy's modes change them."""
    check_whole(index)
    if mode == "raise":
        return index
    if mode == "clip":
        return apply("minimum", apply("maximum", index, 0.0), extent - 1.0)
    if mode == "wrap":
        turns = apply("floor", apply("multiply", index, 1.0 / extent))
        rest = apply("subtract", index, apply("multiply", turns, float(extent)))
        rest = apply("where", apply("less", rest, 0.0), apply("add", rest, float(extent)), rest)
        return apply("where", apply("less", rest, float(extent)), rest, apply("subtract", rest, float(extent)))
    raise ValueError(f"clipmode must be one of 'clip', 'raise', or 'wrap' (got {mode!r})")


def place(index: Var, extent: int, axis: int) -> Var:
    """Return where an index is along an axis; NaN where it is none."""
    k = _index(index, extent, axis)
    inside = apply("logical_and", apply("less_equal", 0.0, k), apply("less", k, float(extent)))
    return apply("where", inside, k, np.nan)


def _index(index: Var, extent: int, axis: int) -> Var:
    """Check what is to index an axis; count negative numbers from its end."""
    check_whole(index)
    if not extent:
        raise IndexError(f"index is out of bounds for axis {axis} with size 0")
    k = _numbered(apply("float", index), extent)
    if is_not_negative(k):
        return k
    return apply("where", apply("less", k, 0.0), apply("add", k, float(extent)), k)


def _numbered(index: Var, extent: int) -> Var:
    if extent > MOST:
        raise refusal(f"indexing one of {extent} elements by a traced number",
                      f"in float32 numbers count to {MOST}: choose among parts of the array first")  # fmt: skip
    return index


def check_whole(index: Var) -> None:
    """Refuse what is not made of whole numbers: in NumPy floats are no indices."""
    if not is_whole(index):
        raise refusal(
            "indexing by numbers that may have fractions",
            index_remedy(index) or "cut them off, z[k.astype(int)], or use np.where(condition, a, b)",
        )


# --- among sorted numbers --------------------------------------------------------------------------------------------
def searchsorted(a: Any, v: Any, side: str = "left") -> Var:
    """np.searchsorted: how many elements of a sorted array are smaller, or not larger; NaN lies above all numbers."""
    edges, x = apply("float", operand(a)), apply("float", operand(v))
    if len(edges.shape) != 1:
        raise ValueError("object too deep for desired array")
    if side not in ("left", "right"):
        raise ValueError(f"side must be 'left' or 'right' (got {side!r})")
    _numbered(edges, edges.size)
    below = "less" if side == "left" else "less_equal"
    if edges.size > FEW and _is_even(edges):
        found = _stepped(edges, x, below)
    elif edges.size > COMPARED:
        found = _halved(edges, x, below)
    else:
        each = apply("float", apply(below, edges, build.reshape(x, (*x.shape, 1))))
        found = build.reduce("sum", each, (len(x.shape),))
    return apply("where", apply("isnan", x), float(edges.size), found)


def _is_even(edges: Var) -> bool:
    """Whether numbers known while tracing lie so evenly that a product tells their places to a half, in float32."""
    if not edges.is_const or edges.size > MOST >> 6:
        return False
    knots = edges.attrs.array
    if not (np.all(np.isfinite(knots)) and knots[-1] > knots[0]):
        return False
    scale = (len(knots) - 1) / (knots[-1] - knots[0])
    apart = np.abs((knots - knots[0]) * scale - np.arange(len(knots)))
    return bool(np.all(apart < 0.25) and np.max(np.abs(knots)) * scale < MOST / 20)


def _stepped(edges: Var, x: Var, below: str) -> Var:
    """Guess how many numbers that lie evenly are below x, and look at two: all before them are, and none after."""
    knots, n = edges.attrs.array, float(edges.size)
    scale = (n - 1) / (knots[-1] - knots[0])
    guess = apply("floor", apply("multiply", apply("subtract", x, knots[0]), scale))
    guess = apply("stop", apply("minimum", apply("maximum", guess, 0.0), n - 2))
    found = guess
    for further in (0.0, 1.0):
        edge = build.gather(edges, apply("add", guess, further))
        found = apply("add", found, apply("float", apply(below, edge, x)))
    return found


def _halved(edges: Var, x: Var, below: str) -> Var:
    """Search in halves, among so many numbers as a power of two less one; those after the last are infinite."""
    steps = edges.size.bit_length()
    beyond = build.broadcast(build.const(np.inf), ((1 << steps) - 1 - edges.size,))
    numbers = build.concatenate([edges, beyond], 0)
    found: Var = build.broadcast(build.const(0.0), x.shape)
    for step in reversed(range(steps)):
        last = build.gather(numbers, apply("add", found, float((1 << step) - 1)))
        found = apply("add", found, apply("where", apply(below, last, x), float(1 << step), 0.0))
    return apply("minimum", found, float(edges.size))


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
        piece = apply("subtract", searchsorted(knots, point, "right"), 1.0)
        inside = apply("stop", apply("maximum", apply("minimum", piece, n - 2.0), 0.0))  # it does not jump there
        start, base, slope = (build.gather(build.as_var(v), inside) for v in (knots[:-1], low, slopes))
        on_line = apply("add", base, apply("multiply", slope, apply("subtract", point, start)))
        result = apply("where", apply("less", point, knots[-1]), on_line, result)
    result = apply("where", apply("less", point, knots[0]), first if left is None else operand(left), result)
    result = apply("where", apply("less", knots[-1], point), last if right is None else operand(right), result)
    return apply("where", apply("isnan", point), point, result)


def _known(call: str, name: str, value: Any) -> Any:
    if holds_var(value):
        raise refusal(f"{call} with a traced value for {name}=", "give it as an array that is known while tracing")
    return value
