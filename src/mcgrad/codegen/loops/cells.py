"""What the nodes of a loop tree compute with: values, numbers, and cells of memory that indices and buffers name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mcgrad.ir.attributes import Literal as Array
from mcgrad.ir.program import Output, Var

Role = Literal["value", "running", "noise", "mask", "finite"]
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
    table : Array, optional
        Integers, in C order.
    since : str
        The axis of the tile from whose first element on rows are counted.
    """

    offset: int
    strides: tuple[int, ...] = ()
    axes: tuple[str, ...] = ()
    table: Array | None = None
    since: str = ""

    @property
    def is_constant(self) -> bool:
        """Whether no loop changes it."""
        return self.table is None and not self.since and not any(self.strides)


@dataclass(frozen=True)
class Buffer:
    """Rows of the workspace that the allocator places together.

    Parameters
    ----------
    role : {"value", "running", "noise", "mask", "finite"}
        The elements of a Var; the running value of a scan; one row of noise that is not kept; for each lane whether its
        draw counts; and whether an output of it is not finite.
    var : Var, optional
        Whose rows these are.
    """

    role: Role
    var: Var | None = None


@dataclass(frozen=True)
class Row:
    """The lanes' elements in one row of a buffer.

    Parameters
    ----------
    buffer : Buffer
    index : Index
        Of the element among those of the buffer, in C order.
    added : bool
        Whether loops add to rows of this buffer: such rows lie apart from all others.
    """

    buffer: Buffer
    index: Index
    added: bool = False


@dataclass(frozen=True)
class Lane:
    """A row at its final place: the lanes' elements from an address of the workspace on."""

    address: Value | int
    added: bool = False


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
