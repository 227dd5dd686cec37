"""The attributes of equations: what an equation holds besides its arguments, as a record with named fields for each op.

Records compare by their contents. Which op has which one is in the table of ops; input and noise leaves have records of
their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import prod
from string import ascii_letters
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.ir.body import Body
from mcgrad.ir.lookup import Table

LETTERS = ascii_letters.replace("Z", "")  # for the axes of an Einsum; the interpreter gives Z to the draws


class Literal:
    """An array inside a Program, compared by its contents."""

    __slots__ = ("_hash", "array")

    def __init__(self, array: npt.ArrayLike) -> None:
        self.array = np.array(array)
        self.array.flags.writeable = False
        self._hash = hash((self.array.shape, self.array.dtype.str, self.array.tobytes()))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Literal)
            and self._hash == other._hash
            and self.array.dtype == other.array.dtype
            and np.array_equal(self.array, other.array, equal_nan=self.array.dtype.kind == "f")
            and self.array.tobytes() == other.array.tobytes()  # tells -0.0 from 0.0
        )

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        if self.array.size <= 8:
            return np.array2string(self.array, separator=", ", threshold=8, max_line_width=200).replace("\n", "")
        return f"<{'x'.join(map(str, self.array.shape))} {self.array.dtype}>"


class Attributes:
    """The base class of all records; prints as the fields do."""

    __slots__ = ()

    def items(self) -> list[tuple[str, Any]]:
        """Return the names and values of the fields, in order."""
        return [(field.name, getattr(self, field.name)) for field in fields(self)]  # type: ignore[arg-type]

    def __str__(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.items())


@dataclass(frozen=True, slots=True)
class Reshape(Attributes):
    """The shape of the result, of the same size."""

    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Transpose(Attributes):
    """For each axis of the result the axis of the argument that it is."""

    axes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Broadcast(Attributes):
    """The shape of the result; the argument's ends it, or has extents of 1 there."""

    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Slice(Attributes):
    """Of each axis start, stop and step, where 0 <= start and 0 < step."""

    bounds: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Flip(Attributes):
    """The axes along which the order is reversed."""

    axes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Pad(Attributes):
    """How many zeros come before and after the elements of each axis, and between neighbours."""

    widths: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Take(Attributes):
    """The flat index, in C order, of each element of the result in the argument."""

    index: Literal


@dataclass(frozen=True, slots=True)
class Gather(Attributes):
    """How many axes come first in the array, the index and the result alike; elements are chosen along the next one.

    Element (b, m, r) of the result, each of these any number of axes, is element (b, index[b, m], r) of the array.
    """

    batch: int

    def split(self, x: tuple[int, ...]) -> tuple[tuple[int, ...], int, tuple[int, ...]]:
        """Return the extents of an array's axes b, that of the index, and those of r."""
        return x[: self.batch], x[self.batch], x[self.batch + 1 :]


@dataclass(frozen=True, slots=True)
class Scatter(Attributes):
    """How many elements the result has: element k is the sum of those of the first argument whose place is k.

    Places are the second argument, of the same shape, cut to whole numbers; what is none adds to nothing.
    """

    size: int


@dataclass(frozen=True, slots=True)
class ScatterAdd(Attributes):
    """The flat index, in C order, of each element of the argument in the result, and the shape of that."""

    index: Literal
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Concatenate(Attributes):
    """The axis along which the arguments follow each other."""

    axis: int


@dataclass(frozen=True, slots=True)
class Reduce(Attributes):
    """The axes that a reduction removes, in increasing order."""

    axes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Scan(Attributes):
    """The axis that a scan runs along, and whether it begins at its end."""

    axis: int
    reverse: bool


@dataclass(frozen=True, slots=True)
class Einsum(Attributes):
    """One letter for each axis: of each argument, no letter twice in one, and of the result."""

    inputs: tuple[str, ...]
    output: str

    def extents(self, shapes: Sequence[tuple[int, ...]]) -> dict[str, int]:
        """Return the extent of each letter, for arguments of some shapes."""
        return {
            letter: extent
            for letters, shape in zip(self.inputs, shapes, strict=True)
            for letter, extent in zip(letters, shape, strict=True)
        }

    def __str__(self) -> str:
        return f"{','.join(self.inputs)}->{self.output}"


@dataclass(frozen=True, slots=True)
class Solve(Attributes):
    """Whether the system is that of the transposed matrix."""

    transposed: bool


@dataclass(frozen=True, slots=True)
class Lookup(Attributes):
    """The function whose array stands for each element of the argument."""

    table: Table


@dataclass(frozen=True, slots=True)
class Call(Attributes):
    """A pair of the user's Numba functions, and the shape of the result."""

    function: Any
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Argument(Attributes):
    """The number of an argument of a body, and how often its value changes: a `program.Level`."""

    number: int
    level: int


@dataclass(frozen=True, slots=True)
class Loop(Attributes):
    """A body that runs `length` times, and what its arguments are.

    Parameters
    ----------
    body : Body
        Its first `carries` arguments are carries, which the first results give to the next step; of the next `scanned`
        arguments each step has its own element along the first axis; the others are the same in all steps. The results
        after the carries are stacked.
    carries, scanned, length : int
    reverse : bool
        Whether the steps run from the last to the first.
    running : int, optional
        A carry that is zero, in all its elements, once further steps change no other carry: steps in which it is zero
        for all draws may be left out, where nothing reads what they stack.
    """

    body: Body
    carries: int
    scanned: int
    length: int
    reverse: bool
    running: int | None = None

    def places(self) -> list[tuple[int, tuple[int, ...]]]:
        """Where each result begins in the vector of all results, and its shape: of a stacked one, with all steps."""
        found, start = [], 0
        for i, result in enumerate(self.body.results):
            shape = result.shape if i < self.carries else (self.length, *result.shape)
            found.append((start, shape))
            start += prod(shape)
        return found

    @property
    def carried(self) -> int:
        """How many numbers the carries have: the first ones of the vector."""
        return sum(prod(result.shape) for result in self.body.results[: self.carries])

    def __str__(self) -> str:
        order = ", from the last" * self.reverse + f", while {self.running}" * (self.running is not None)
        return f"{self.length} steps{order}, {self.carries} carried, {self.scanned} by step"


@dataclass(frozen=True, slots=True)
class Part(Attributes):
    """Where the elements of the result begin in a vector, and their shape."""

    start: int
    shape: tuple[int, ...]
