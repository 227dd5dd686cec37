"""The operands of loop-tree nodes: values, numbers, and cells of memory that indices and buffers name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from mcgrad.ir import attributes
from mcgrad.ir.ops import REDUCTIONS
from mcgrad.ir.program import Output, Shape, Var

Role = Literal["value", "running", "carried", "noise", "parts", "mask", "finite", "shares", "draws", "sums", "taken"]
Beside = Literal["", "chosen", "others", "draws"]
Region = Literal["constants", "shift", "sums", "squares"]


@dataclass(frozen=True)
class Value:
    """A number with a name: one for each lane, or one for all of them."""

    name: str
    lanewise: bool = True


@dataclass(frozen=True)
class Number:
    """A literal of the Program's dtype."""

    value: float


@dataclass(frozen=True)
class Index:
    """`offset + strides . axes`; with a table, `offset + table[strides . axes]`; less the start of a tile, if in one.

    Parameters
    ----------
    offset : int
    strides : tuple of int
    axes : tuple of str
        Of the loops around it, one for each stride.
    extents : tuple of int
        Of these axes.
    table : attributes.Literal, optional
        Integers, in C order.
    since : str
        The axis of the tile from whose first element on rows are counted.
    ring : (int, int), optional
        A first row and a power of two: the index is that of a row in a ring of so many, from the first row on.
    """

    offset: int
    strides: Shape = ()
    axes: tuple[str, ...] = ()
    extents: Shape = ()
    table: attributes.Literal | None = None
    since: str = ""
    ring: tuple[int, int] | None = None

    @property
    def is_constant(self) -> bool:
        """Whether no loop changes it."""
        return self.table is None and not self.since and not any(self.strides)

    def plus(self, offset: int) -> Index:
        """The same, further on."""
        return replace(self, offset=self.offset + offset)

    def numbers(self) -> npt.NDArray[np.int64]:
        """What the index is for all numbers of the axes, as an array of the extents."""
        if self.table is not None:
            return self.offset + self.table.array.reshape(self.extents)
        numbers = np.full(self.extents, self.offset, np.int64)
        for axis, stride in enumerate(self.strides):
            extent = self.extents[axis]
            numbers += (np.arange(extent) * stride).reshape([extent if i == axis else 1 for i in range(numbers.ndim)])
        return numbers


@dataclass(frozen=True)
class Buffer:
    """Rows of the workspace that the allocator places together.

    Parameters
    ----------
    role : str
        Of a Var: its elements; the running value of a scan; the carries of a loop, whose value has the stacked results
        alone; one row of noise that is not kept; the parts of a matrix product's sums that several threads make. Of a
        kernel: for each lane whether its draw counts, and whether an output of it is not finite; threads' shares of
        sums; where lanes carry rows of a batch, elements of outputs on the way to their moments, and of each row what
        these are about, and the sums of deviations from it and of the squares of these.
    var : Var, optional
        Whose rows these are.
    within : str
        The axis of the tile of whose elements alone the rows are kept; "" where all are.
    ring : int
        If not zero, a power of two: only so many elements are kept, each in the row of the one that many before it.
    """

    role: Role
    var: Var | None = None
    within: str = ""
    ring: int = 0

    @property
    def is_added_to(self) -> bool:
        """Whether lane loops add to these rows, or change them in each step; they then lie apart from all others."""
        if self.role == "value":
            return self.var is not None and self.var.op in REDUCTIONS
        return self.role in ("running", "carried", "draws", "sums")


@dataclass(frozen=True)
class Row:
    """The lanes' elements in one row of a buffer; `index` is that of the element in C order."""

    buffer: Buffer
    index: Index = Index(0)


@dataclass(frozen=True)
class Lane:
    """A row at its final place: the lanes' elements from an address of the workspace on.

    Parameters
    ----------
    address : Value or int
    is_added_to : bool
        As of its buffer.
    beside : {"", "chosen", "others", "draws"}
        In a loop in which a gather reads rows: whether some gather reads these, or none does. "draws": elements of an
        output on the way to their moments.
    """

    address: Value | int
    is_added_to: bool = False
    beside: Beside = ""


@dataclass(frozen=True)
class Element:
    """One number of an array that is the same for all lanes."""

    region: Region
    of: Var | Output
    index: Index


@dataclass(frozen=True)
class Register:
    """A running number outside memory."""

    value: Value


Cell = Row | Lane | Element | Register
Operand = Value | Number | Row | Lane
