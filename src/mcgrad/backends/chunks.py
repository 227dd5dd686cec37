"""Ranges of draws cut into chunks, which are worked out one by one: there may be billions of them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import dropwhile, takewhile

Chunk = tuple[int, int]  # first draw, end
RADIX = 64  # parts of a span


class Chunks:
    """Ranges of draws, one after the other without a gap, in memory that does not grow with their number.

    They end at the end of the first chunk, then at the multiples of a step, and at the end of the draws; those that
    would be longer than the longest allowed are cut further, from the last block before their start.

    A *span* of level l is the chunks between two consecutive multiples of step * RADIX**l, counted from the last
    multiple of the step that is not beyond the first draw; the first span of a level begins with the first draw. A
    chunk is of level 0. Moments are merged span by span (`tasks.fold`).

    Parameters
    ----------
    first, stop : int
        The draws.
    head : int
        Where the first chunk ends, from which kernels take their shift: beyond `first` and not beyond `stop`.
    step : int
        A multiple of `block`.
    block : int
    most : int, optional
        The longest that a chunk may be, a multiple of `block`.
    """

    __slots__ = ("block", "first", "head", "most", "step", "stop")

    def __init__(self, first: int, stop: int, head: int, step: int, block: int, most: int | None = None) -> None:
        self.first, self.stop, self.head, self.step, self.block, self.most = first, stop, head, step, block, most

    def __iter__(self) -> Iterator[Chunk]:
        return self.after(self.first)

    def after(self, start: int) -> Iterator[Chunk]:
        """Yield the chunks from `start` on, the first draw or the end of a chunk."""
        while start < self.stop:
            stop = self._end(start)
            yield start, stop
            start = stop

    def ends_at(self, draw: int) -> bool:
        """Whether a chunk ends at a draw."""
        return self.first < draw <= self.stop and self._end(draw - 1) == draw

    def level(self, stop: int) -> int:
        """Return how many levels of spans end where a chunk ends."""
        count, rest = divmod(stop - self._base, self.step * RADIX)
        if rest or not count:
            return 0
        level = 1
        while count % RADIX == 0:
            count, level = count // RADIX, level + 1
        return level

    def open_levels(self, stop: int) -> tuple[bool, ...]:
        """Return of which levels there are spans that end at or before a draw and belong to a span that does not.

        Parameters
        ----------
        stop : int
            The end of a chunk.
        """
        count, rest = divmod(stop - self._base, self.step * RADIX)
        found = [rest > 0]
        while count:
            count, digit = divmod(count, RADIX)
            found.append(digit > 0)
        return tuple(found)

    def spans(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """Yield the longest spans between two ends of chunks, in order: first draw, end and level of each."""
        while start < stop:
            end, level = self._end(start), 0
            while (wider := self._span_end(start, level + 1)) and wider <= stop:
                end, level = wider, level + 1
            yield start, end, level
            start = end

    def _span_end(self, start: int, level: int) -> int:
        """Return where the span of a level ends that begins at a draw; 0 where none does."""
        width = self.step * RADIX**level
        count, rest = divmod(start - self._base, width)
        return self._base + (count + 1) * width if not rest or start == self.first else 0

    def left(self, start: int) -> int:
        """Return about how many chunks there are from a draw on."""
        return -(-(self.stop - start) // self._longest)

    def reach(self, start: int, count: int) -> int:
        """Return where about `count` chunks end that begin at a draw: if they are many, at the end of a span.

        Parameters
        ----------
        start : int
            The end of a chunk, before the last.
        count : int
            At least 1. From half a span on, the chunks may be as many as those of a span.
        """
        if count < RADIX // 2:
            return self._end(min(start + count * self._longest, self.stop) - 1)
        draw = min(start + max(count, RADIX) * self._longest, self.stop)
        if draw == self.stop:
            return draw
        found, width = self._end(draw - 1), self.step * RADIX
        while (end := self._base + (draw - self._base) // width * width) > start:
            found, width = end, width * RADIX
        return found

    def scaled(self, factor: int) -> Chunks:
        """Return the same chunks of draws that are `factor` draws each."""
        most = None if self.most is None else self.most * factor
        first, stop, head, step, block = (x * factor for x in (self.first, self.stop, self.head, self.step, self.block))
        return Chunks(first, stop, head, step, block, most)

    @property
    def _longest(self) -> int:
        """The most draws in a chunk."""
        return self.step if self.most is None else min(self.step, self.most)

    @property
    def _base(self) -> int:
        """From where the multiples of spans count."""
        return self.first // self.step * self.step

    def _end(self, draw: int) -> int:
        """Return where the chunk ends that a draw is in."""
        if draw < self.head:
            start, stop = self.first, self.head
        else:
            start = max(draw // self.step * self.step, self.head)
            stop = min((draw // self.step + 1) * self.step, self.stop)
        if self.most is None:
            return stop
        base = start // self.block * self.block
        return min(base + ((draw - base) // self.most + 1) * self.most, stop)


@dataclass(frozen=True, slots=True)
class Cut:
    """How a range of draws is cut into chunks.

    Parameters
    ----------
    most : float
        The most work in a chunk, in multiplications: progress is shown after each.
    least : float
        The least, below which handing a chunk to another worker takes longer than the chunk.
    chunks : int
        A range is cut in about as many, within these limits.
    """

    most: float
    least: float
    chunks: int = 64


CORE = Cut(most=4e8, least=2e7)  # some ten milliseconds of one core


def split(
    n: int, first: int, block: int, work: float, cut: Cut = CORE, most: int | None = None, short: bool = True
) -> Chunks:
    """Cut the draws first .. first + n into chunks at multiples of `block`.

    The cut depends on the Program and the range alone, never on threads or time, so the partials and the order
    in which they merge are always the same.

    Parameters
    ----------
    n, first : int
        How many draws, and which is the first.
    block : int
    work : float
        Of a draw, in multiplications.
    cut : Cut
    most : int, optional
        The longest that a chunk may be, a multiple of `block`.
    short : bool
        Whether the first chunk, which has no shift yet and may have to be averaged twice, ends at the first multiple of
        `block`. Otherwise it is like the others.
    """
    work = max(work, 1.0)
    chunk = max(min(cut.most / work, n / cut.chunks), cut.least / work)
    step = max(int(chunk // block), 1) * block
    head = block if short else step
    return Chunks(first, first + n, min((first // head + 1) * head, first + n), step, block, most)


def whole(n: int, first: int) -> Chunks:
    """Return the draws first .. first + n as one chunk."""
    return Chunks(first, first + n, first + n, n, n)


def after(chunks: Iterable[Chunk], start: int) -> Iterator[Chunk]:
    """Return the chunks from `start` on, where one of them ends."""
    return chunks.after(start) if isinstance(chunks, Chunks) else dropwhile(lambda chunk: chunk[0] < start, chunks)


def ends_at(chunks: Iterable[Chunk], draw: int) -> bool:
    """Whether one of some chunks ends at a draw."""
    return chunks.ends_at(draw) if isinstance(chunks, Chunks) else any(stop == draw for _, stop in chunks)


def level(chunks: Iterable[Chunk], stop: int) -> int:
    """Return how many levels of spans end where a chunk ends: none in chunks that are listed."""
    return chunks.level(stop) if isinstance(chunks, Chunks) else 0


def open_levels(chunks: Iterable[Chunk], stop: int) -> tuple[bool, ...]:
    """Return of which levels spans are merged at the end of a chunk, but not yet those of the level above."""
    return chunks.open_levels(stop) if isinstance(chunks, Chunks) else (True,)


def spans(chunks: Iterable[Chunk], start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """Yield the longest spans between two ends of chunks, in order: first draw, end and level of each."""
    if isinstance(chunks, Chunks):
        yield from chunks.spans(start, stop)
        return
    for begin, end in takewhile(lambda chunk: chunk[0] < stop, after(chunks, start)):
        yield begin, end, 0


def left(chunks: Iterable[Chunk], start: int) -> int:
    """Return about how many chunks there are from a draw on: very many where they come one by one."""
    if isinstance(chunks, Chunks):
        return chunks.left(start)
    return sum(begin >= start for begin, _ in chunks) if isinstance(chunks, Sequence) else sys.maxsize
