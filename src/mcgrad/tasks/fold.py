"""The order in which moments are merged: a tree that the chunks fix, whoever works out its parts.

The partial of a span is the left fold of those of its parts, spans of one level lower (`backends.chunks`); the total is
the left fold of what is merged of open spans, from the highest level to the lowest. So any worker merges what it worked
out of a whole span, and the bits are those of one thread. Up to `RADIX` steps of chunks it is the left fold of all.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import reduce
from itertools import takewhile
from typing import NamedTuple, TypeAlias

from mcgrad.backends.base import Partial, Shift
from mcgrad.backends.chunks import Chunk, after, level, open_levels, spans

Parts: TypeAlias = tuple[Partial | None, ...]  # by level: what is merged of the spans of that level


class Piece(NamedTuple):
    """The partial of one span.

    Parameters
    ----------
    stop : int
        The draw where the span ends.
    level : int
        Of the span: 0 of a chunk.
    partial : Partial
    """

    stop: int
    level: int
    partial: Partial


Elsewhere: TypeAlias = Callable[[Shift, int], Generator[Piece, None, None]]  # of the draws from one on, with a shift


class Fold:
    """Merges pieces that come in the order of the draws, one after the other without a gap.

    Parameters
    ----------
    chunks : iterable of (int, int)
        Of the run. Spans are those of `Chunks`; of chunks that are listed, each is a span of level 0.
    parts : tuple of Partial or None
        Of an earlier fold of these chunks, from which this one continues.
    """

    __slots__ = ("_chunks", "_parts")

    def __init__(self, chunks: Iterable[Chunk], parts: Parts = ()) -> None:
        self._chunks, self._parts = chunks, [*parts]

    def add(self, piece: Piece) -> None:
        """Merge the next piece."""
        partial, parts, top = piece.partial, self._parts, level(self._chunks, piece.stop)
        parts.extend([None] * (top + 1 - len(parts)))
        for at in range(piece.level, top + 1):
            so_far, parts[at] = parts[at], None
            partial = partial if so_far is None else so_far.merge(partial)
        parts[top] = partial

    @property
    def parts(self) -> Parts:
        """The state, which does not change later."""
        return (*self._parts,)

    @property
    def total(self) -> Partial:
        """Of all draws so far."""
        return total(self._parts)


def total(parts: Sequence[Partial | None]) -> Partial:
    """Return the partial of all draws of a fold."""
    if len(parts) == 1 and parts[0]:  # as in a run of few draws
        return parts[0]
    return reduce(lambda early, late: early.merge(late), (part for part in reversed(parts) if part is not None))


def fits(chunks: Iterable[Chunk], stop: int, parts: Parts) -> bool:
    """Whether parts can be those of a fold of chunks up to a draw, where one of them ends."""
    return tuple(part is not None for part in parts) == open_levels(chunks, stop)


def pieces(chunks: Iterable[Chunk], start: int, stop: int, average: Callable[[Chunk], Partial]) -> Iterator[Piece]:
    """Yield the pieces of the draws between two ends of chunks: each is as long a span as there is.

    Parameters
    ----------
    chunks : iterable of (int, int)
        Of the whole run.
    start, stop : int
    average : callable
        Returns the partial of a chunk.
    """
    for begin, end, height in spans(chunks, start, stop):
        yield Piece(end, height, _merged(chunks, begin, end, average) if height else average((begin, end)))


def _merged(chunks: Iterable[Chunk], start: int, stop: int, average: Callable[[Chunk], Partial]) -> Partial:
    """Return the partial of the chunks of a span."""
    fold = Fold(chunks)
    for chunk in takewhile(lambda chunk: chunk[0] < stop, after(chunks, start)):
        fold.add(Piece(chunk[1], 0, average(chunk)))
    return fold.total
