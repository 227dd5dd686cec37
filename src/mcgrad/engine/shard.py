"""Shards: the parts into which a run is cut, so that machines work them out independently of each other.

A shard has some of the chunks of a run; of a batch some of its ranges of rows, and of a point set some replicates.
Which ones, follows from the run, the number of the shard and the number of shards alone. What it works out is kept
piece by piece as it is merged in the whole run, so that the merge of all shards has the bits of that run.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeAlias

from mcgrad.backends.base import RowPartial, Shift
from mcgrad.backends.chunks import RADIX, Chunk, Chunks
from mcgrad.engine.call import Call, PartOfDraws, PartOfRows, RunState
from mcgrad.errors import ParameterError, shown
from mcgrad.system.kind import Kinds
from mcgrad.tasks.fold import Parts, Piece

MOST_SHARDS = 1_000_000
ACCEPTED = "K/N, the K-th of N shards, such as 3/16"


@dataclass(frozen=True, slots=True)
class Shard:
    """One of the shards of a run.

    Parameters
    ----------
    number, count : int
        Which one, from 1 on, of how many.
    """

    number: int
    count: int

    @classmethod
    def given(cls, name: str, text: str) -> Shard:
        """Return the shard that text such as "3/16" means; raises a ParameterError that names the option."""
        number, slash, count = text.partition("/")
        if not slash or not all(part.isascii() and part.isdecimal() and len(part) < 10 for part in (number, count)):
            raise ParameterError(name, shown(text), ACCEPTED)
        found = cls(int(number), int(count))
        if not 1 <= found.number <= found.count <= MOST_SHARDS:
            raise ParameterError(name, shown(text), f"{ACCEPTED}: 1 <= K <= N <= {MOST_SHARDS:,}")
        return found

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @property
    def ending(self) -> str:
        """What the names of its files end in."""
        return f".shard-{self.number:0{len(str(self.count))}}-of-{self.count}"

    def of_items(self, size: int) -> tuple[int, int]:
        """Return which items of so many it has."""
        return (self.number - 1) * size // self.count, self.number * size // self.count

    def of_ranges(self, ranges: Iterable[Chunk]) -> tuple[Chunk, ...]:
        """Return which ranges of rows it has, those of the run one after the other."""
        listed = [*ranges]
        return tuple(listed[slice(*self.of_items(len(listed)))])

    def of_chunks(self, chunks: Iterable[Chunk]) -> tuple[int, int]:
        """Return which draws it has: between two ends of chunks.

        Shards end where wide spans do, of at most a 64th of a shard, so that each has few pieces. The first has at
        least the first chunk; others may have none, where there are more of them than chunks.
        """
        if isinstance(chunks, Chunks):
            return _end(chunks, self.number - 1, self.count), _end(chunks, self.number, self.count)
        listed = [*chunks]
        ends = [listed[0][0], *(stop for _, stop in listed)]
        start, stop = self.of_items(len(listed))
        return ends[max(start, min(self.number - 1, 1))], ends[max(stop, 1)]


def _end(chunks: Chunks, number: int, count: int) -> int:
    """Return where a shard ends, of so many."""
    if number in (0, count):
        return chunks.stop if number else chunks.first
    size, unit = chunks.stop - chunks.first, chunks.step
    while unit * RADIX * RADIX * count <= size:
        unit *= RADIX
    base = chunks.first // chunks.step * chunks.step
    exact = chunks.first + size * number // count
    return min(max(base + (exact - base + unit // 2) // unit * unit, chunks.head), chunks.stop)


def of_replicates_of_shard(call: Call, shard: Shard, count: int) -> Call:
    """Return the call for the replicates of a shard, of so many in all: over the same points of each."""
    start, stop = shard.of_items(count)
    return replace(
        call,
        first=call.first // count * (stop - start),
        n=call.n // count * (stop - start),
        first_replicate=call.first_replicate + start,
        replicates=stop - start,
        part=PartOfRows(start, stop, whole=(call.first, call.n)),
    )


@dataclass(frozen=True, slots=True)
class DrawsOfShard:
    """What is done of a shard of a run over draws: another run, in any process, continues from it.

    Parameters
    ----------
    start, stop : int
        The draws of the shard.
    done : int
        The next draw: a chunk ends here.
    cut : Chunks or None
        The chunks of the whole run; None where a kernel lists them.
    shift : array
        As of a `RunState`: that of the whole run.
    pieces : tuple of Piece
        Of the draws that are done: spans as long as there are in the shard.
    parts : tuple of Partial or None
        What is merged of the span after these, as a `Fold` has it.
    seconds : float
        Wall-clock time so far.
    backend : str
    kinds : tuple of Kind
        Of the processes that averaged so far.
    """

    start: int
    stop: int
    done: int
    cut: Chunks | None
    shift: Shift
    pieces: tuple[Piece, ...]
    parts: Parts
    seconds: float
    backend: str
    kinds: Kinds = ()

    @property
    def place(self) -> str:
        """Where the run is, as text."""
        return f"draw {self.done - self.start:,}"


@dataclass(frozen=True, slots=True)
class RowsOfShard:
    """What is done of a shard of a run over rows: another run, in any process, continues from it.

    Parameters
    ----------
    start, stop : int
        The rows of the shard; of a point set, its replicates.
    partials : tuple of (int, RowPartial)
        Of each range of rows that is done, with its end, counted from the first row of the shard. Of a batch over
        points, of each replicate that is done: the completed means of all rows.
    row : RunState or None
        Of the next row, where some of its draws are done.
    seconds : float
        Wall-clock time so far.
    backend : str
    kinds : tuple of Kind
        Of the processes that averaged so far.
    """

    start: int
    stop: int
    partials: tuple[tuple[int, RowPartial], ...]
    row: RunState | None
    seconds: float
    backend: str
    kinds: Kinds = ()

    def of(self, part: PartOfDraws | PartOfRows | None) -> bool:
        """Return whether the state is of a part of a call."""
        return isinstance(part, PartOfRows) and (self.start, self.stop) == (part.start, part.stop)

    def ends_at(self, ranges: Iterable[Chunk]) -> bool:
        """Return whether the first of some ranges of rows are those that are done."""
        ends = [end for end, _ in self.partials]
        return ends == [end for _, end in islice(ranges, len(ends))]

    @property
    def rows(self) -> int:
        """How many rows, or replicates, are done."""
        return self.partials[-1][0] if self.partials else 0

    @property
    def place(self) -> str:
        """Where the run is, as text."""
        return f"{f'{self.row.place} of ' if self.row else ''}row {self.rows:,}"


ShardState: TypeAlias = DrawsOfShard | RowsOfShard
