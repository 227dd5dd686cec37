"""Where the elements of a Var live: ops that only move elements cost nothing, they change how others are read.

An Access maps the index of an element to a row of the Var that was really computed: an offset and a stride for each
axis, or, where no strides can say it, a table of rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mcgrad.ir.ops import VIEWS
from mcgrad.ir.program import Shape, Var


@dataclass(frozen=True, eq=False)
class Access:
    """Element (i, j, ...) is row `offset + strides . (i, j, ...)` of `base`, or row `table[i, j, ...]`."""

    base: Var
    shape: Shape
    offset: int
    strides: tuple[int, ...]
    table: npt.NDArray[np.int64] | None = None

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
        if self.table is not None or self.offset != 0:
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
    if inner.table is not None or var.op == "take":
        return _through_table(var, inner)
    return _through_strides(var, inner)


def _through_strides(var: Var, inner: Access) -> Access:
    offset, strides = inner.offset, inner.strides
    if var.op == "transpose":
        strides = tuple(strides[a] for a in var.attrs.axes)
    elif var.op == "broadcast":
        new = len(var.shape) - len(inner.shape)
        strides = (0,) * new + tuple(
            s if n == m else 0 for s, n, m in zip(strides, inner.shape, var.shape[new:], strict=True)
        )
    elif var.op == "slice":
        offset += sum(start * s for (start, _, _), s in zip(var.attrs.bounds, strides, strict=True))
        strides = tuple(step * s for (_, _, step), s in zip(var.attrs.bounds, strides, strict=True))
    elif var.op == "flip":
        offset += sum((inner.shape[a] - 1) * strides[a] for a in var.attrs.axes)
        strides = tuple(-s if i in var.attrs.axes else s for i, s in enumerate(strides))
    else:
        found = _reshaped(inner.shape, strides, var.shape)
        if found is None:
            return _through_table(var, inner)
        strides = found
    return Access(inner.base, var.shape, offset, strides)


def _reshaped(shape: Shape, strides: tuple[int, ...], new: Shape) -> tuple[int, ...] | None:
    """NumPy's own answer to whether a reshape is a view; nothing is ever read."""
    dummy = np.lib.stride_tricks.as_strided(np.empty(1, np.int8), shape, strides)
    try:
        return tuple(np.reshape(dummy, new, copy=False).strides)
    except ValueError:
        return None


def _through_table(var: Var, inner: Access) -> Access:
    rows = inner.rows()
    if var.op == "take":
        table = rows.ravel()[var.attrs.index.array]
    elif var.op == "transpose":
        table = rows.transpose(var.attrs.axes)
    elif var.op == "broadcast":
        table = np.broadcast_to(rows, var.shape)
    elif var.op == "slice":
        table = rows[tuple(slice(*bounds) for bounds in var.attrs.bounds)]
    elif var.op == "flip":
        table = np.flip(rows, var.attrs.axes)
    else:
        table = rows.reshape(var.shape)
    table = np.array(table, np.int64, order="C")  # np.ascontiguousarray would give a single row an axis
    affine = _affine(table)
    if affine is not None:
        return Access(inner.base, var.shape, *affine)
    return Access(inner.base, var.shape, 0, (), table)


def _affine(table: npt.NDArray[np.int64]) -> tuple[int, tuple[int, ...]] | None:
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
