"""The location of the elements of a Var: ops that only move elements change the indices by which others are read.

An Access maps the index of an element to a row of the Var that was really computed: an offset and a stride for each
axis, or, where no strides can say it, a table of rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mcgrad.ir.interpret import IMPL
from mcgrad.ir.ops import VIEWS
from mcgrad.ir.program import Shape, Var

Strided = tuple[int, tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class Access:
    """Element (i, j, ...) is row `offset + strides . (i, j, ...)` of `base`, or row `table[i, j, ...]`.

    Where `anywhere`, a row of another element may be read in its place.
    """

    base: Var
    shape: Shape
    offset: int
    strides: tuple[int, ...]
    table: npt.NDArray[np.int64] | None = None
    anywhere: bool = False

    @property
    def key(self) -> tuple[object, ...]:
        """Equal keys read equal rows."""
        table = None if self.table is None else self.table.tobytes()
        return (self.base, self.shape, self.offset, self.strides, table)

    def squeezed(self) -> Access:
        """The same without axes of extent 1."""
        kept = [i for i, n in enumerate(self.shape) if n != 1]
        shape = tuple(self.shape[i] for i in kept)
        table = None if self.table is None else self.table.reshape(shape)
        return Access(
            self.base, shape, self.offset, tuple(self.strides[i] for i in kept) if self.strides else (), table
        )

    @property
    def is_whole(self) -> bool:
        """Whether this reads all of `base` in its own C order."""
        if self.table is not None or self.offset != 0 or self.anywhere:
            return False
        return math.prod(self.shape) == self.base.size and _effective(self.shape, self.strides) == _effective(
            self.shape, c_strides(self.shape)
        )

    def rows(self) -> npt.NDArray[np.int64]:
        """The row of every element, as an array of the shape."""
        if self.table is not None:
            return self.table
        rows = np.full(self.shape, self.offset, np.int64)
        for axis, stride in enumerate(self.strides):
            extent = self.shape[axis]
            rows += (np.arange(extent) * stride).reshape([extent if i == axis else 1 for i in range(len(self.shape))])
        return rows


def c_strides(shape: Shape) -> tuple[int, ...]:
    """Strides, in elements, of an array in C order."""
    strides, step = [], 1
    for extent in reversed(shape):
        strides.append(step)
        step *= extent
    return tuple(reversed(strides))


def _effective(shape: Shape, strides: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(s for n, s in zip(shape, strides, strict=True) if n != 1)


def whole(var: Var) -> Access:
    """Read all of a Var in C order."""
    return Access(var, var.shape, 0, c_strides(var.shape))


def resolve(var: Var) -> Access:
    """Follow the view ops down to what is really computed, or given."""
    if var.op not in VIEWS:
        return whole(var)
    inner = resolve(var.args[0])
    strided = STRIDED.get(var.op) if inner.table is None else None
    found = strided(var, inner) if strided else None
    return _through_table(var, inner) if found is None else Access(inner.base, var.shape, *found)


def _transpose(var: Var, inner: Access) -> Strided:
    return inner.offset, tuple(inner.strides[axis] for axis in var.attrs.axes)


def _broadcast(var: Var, inner: Access) -> Strided:
    new = len(var.shape) - len(inner.shape)
    extents = zip(inner.strides, inner.shape, var.shape[new:], strict=True)
    return inner.offset, (0,) * new + tuple(s if n == m else 0 for s, n, m in extents)


def _slice(var: Var, inner: Access) -> Strided:
    bounds = list(zip(var.attrs.bounds, inner.strides, strict=True))
    return inner.offset + sum(start * s for (start, _, _), s in bounds), tuple(step * s for (_, _, step), s in bounds)


def _flip(var: Var, inner: Access) -> Strided:
    axes, strides = var.attrs.axes, inner.strides
    offset = inner.offset + sum((inner.shape[axis] - 1) * strides[axis] for axis in axes)
    return offset, tuple(-s if i in axes else s for i, s in enumerate(strides))


def _reshape(var: Var, inner: Access) -> Strided | None:
    """Strides of the reshape if NumPy makes it a view; the memory of the array is not read."""
    dummy = np.lib.stride_tricks.as_strided(np.empty(1, np.int8), inner.shape, inner.strides)
    try:
        return inner.offset, tuple(np.reshape(dummy, var.shape, copy=False).strides)
    except ValueError:
        return None


def _part(var: Var, inner: Access) -> Strided:
    (stride,) = inner.strides
    return inner.offset + var.attrs.start * stride, tuple(stride * s for s in c_strides(var.shape))


STRIDED: dict[str, Callable[[Var, Access], Strided | None]] = {  # offset and strides, where a view keeps to such
    "transpose": _transpose,
    "broadcast": _broadcast,
    "slice": _slice,
    "flip": _flip,
    "reshape": _reshape,
    "part": _part,
}


def _through_table(var: Var, inner: Access) -> Access:
    """The row of each element: what the view does to an array of the rows."""
    moved = IMPL[var.op](var, inner.rows()[..., None])[..., 0]
    table = np.array(moved, np.int64, order="C")  # np.ascontiguousarray would give a single row an axis
    affine = _affine(table)
    if affine is not None:
        return Access(inner.base, var.shape, *affine)
    return Access(inner.base, var.shape, 0, (), table)


def _affine(table: npt.NDArray[np.int64]) -> Strided | None:
    """Offset and strides that give the same rows, if there are any."""
    if table.size == 0:
        return None
    first = table[(0,) * table.ndim]
    strides = [
        int(table[tuple(1 if i == axis else 0 for i in range(table.ndim))] - first) if n > 1 else 0
        for axis, n in enumerate(table.shape)
    ]
    guess = np.full(table.shape, first, np.int64)
    for axis, stride in enumerate(strides):
        n = table.shape[axis]
        guess += (np.arange(n) * stride).reshape([n if i == axis else 1 for i in range(table.ndim)])
    return (int(first), tuple(strides)) if np.array_equal(guess, table) else None
