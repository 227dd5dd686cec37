"""Run a bound kernel over a range of draws: chunks to threads, partials merged in the order that the chunks fix."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from itertools import chain, islice, takewhile
from typing import TypeAlias

from mcgrad.backends.base import Bound, Partial, Shift
from mcgrad.backends.chunks import Chunk, after, ends_at, level, spans
from mcgrad.engine.call import RunState
from mcgrad.engine.shard import DrawsOfShard
from mcgrad.engine.threads import in_order
from mcgrad.tasks.fold import Elsewhere, Fold, Parts, Piece, fits, total
from mcgrad.tasks.spans import Spans

AfterChunk: TypeAlias = Callable[[int, Shift, Parts], None]  # called with the next draw, the shift and what is merged


def run(
    bound: Bound,
    seed: int,
    chunks: Iterable[Chunk],
    workers: Callable[[], int],
    omit: bool,
    watch: AfterChunk | None = None,
    resume: RunState | None = None,
    elsewhere: Elsewhere | None = None,
) -> Partial:
    """Average over chunks of draws.

    Parameters
    ----------
    bound : Bound
    seed : int
    chunks : iterable of (int, int)
        Ranges of draws, one after the other without a gap.
    workers : callable
        Returns the number of threads; not called where there are fewer than two chunks after the first.
    omit : bool
        Whether draws with a non-finite output are left out.
    watch : callable, optional
        Called after each chunk, or each piece that comes from elsewhere, in their order.
    resume : RunState, optional
        Continue from this state, at the end of a chunk.
    elsewhere : callable, optional
        Returns the pieces of the draws from one on, with a shift, as other processes work them out. They are asked
        where at least two chunks are left after the first.

    Returns
    -------
    Partial
        The same bits for any number of workers, and for any state from which it continues.
    """
    parts: Parts
    if resume:
        shift, parts, left = resume.shift, resume.parts, after(chunks, resume.stop)
    else:
        left = iter(chunks)
        start, stop = next(left)
        shift, first = bound.shift(seed, start, stop, omit)
        two = list(islice(left, 2))
        if not two and not watch:  # in a call of few draws all else takes microseconds
            return first
        left, parts = chain(two, left), (*[None] * level(chunks, stop), first)
        if watch:
            watch(stop, shift, parts)
    two = list(islice(left, 2))
    if not two:
        return total(parts)
    fold = Fold(chunks, parts)
    if elsewhere and len(two) > 1:
        pieces = elsewhere(shift, two[0][0])
    else:
        pieces = _here(bound, shift, seed, chain(two, left), workers() if len(two) > 1 else 1, omit)
    with closing(pieces):
        for piece in pieces:
            fold.add(piece)
            if watch:
                watch(piece.stop, shift, fold.parts)
    return fold.total


def _here(
    bound: Bound, shift: Shift, seed: int, chunks: Iterator[Chunk], threads: int, omit: bool
) -> Generator[Piece, None, None]:
    """Yield the pieces of chunks, averaged in threads of this process."""

    def partial(chunk: Chunk) -> Partial:
        return bound.partial(shift, seed, *chunk, omit)

    with closing(in_order(partial, chunks, threads)) as parts:
        for (_, stop), part in parts:
            yield Piece(stop, 0, part)


def run_part(
    bound: Bound,
    seed: int,
    chunks: Iterable[Chunk],
    part: Chunk,
    workers: Callable[[], int],
    omit: bool,
    watch: Callable[[int, Shift, Spans], None] | None = None,
    resume: DrawsOfShard | None = None,
) -> Spans:
    """Average over some of the chunks of a run, with the shift of the whole.

    Parameters
    ----------
    bound, seed, chunks, workers, omit
        As for `run`.
    part : (int, int)
        The draws, between two ends of chunks.
    watch : callable, optional
        Called after each chunk with the next draw, the shift and what is merged.
    resume : DrawsOfShard, optional
        Continue from this state.

    Returns
    -------
    Spans
        Pieces that a `Fold` of the whole run takes, with the bits that it would have.
    """
    begin, end = part
    if resume:
        shift, done, merged = resume.shift, resume.done, Spans(chunks, begin, end, resume.pieces, resume.parts)
    else:
        start, stop = next(iter(chunks))
        shift, first = bound.shift(seed, start, stop, omit)
        done, merged = begin, Spans(chunks, begin, end)
        if begin == start:
            done = stop
            merged.add(Piece(stop, 0, first))
            if watch:
                watch(stop, shift, merged)
    left = takewhile(lambda chunk: chunk[0] < end, after(chunks, done))
    two = list(islice(left, 2))
    if not two:
        return merged

    pieces = _here(bound, shift, seed, chain(two, left), workers() if len(two) > 1 else 1, omit)
    with closing(pieces):
        for piece in pieces:
            merged.add(piece)
            if watch:
                watch(piece.stop, shift, merged)
    return merged


def resumes(chunks: Iterable[Chunk], state: RunState) -> bool:
    """Return whether a run over some chunks goes on from a state: one of them ends there, and so do the spans in it."""
    return ends_at(chunks, state.stop) and fits(chunks, state.stop, state.parts)


def resumes_part(chunks: Iterable[Chunk], part: Chunk, state: DrawsOfShard) -> bool:
    """Return whether a run over some of the chunks goes on from a state of a shard."""
    if (state.start, state.stop) != part or not part[0] < state.done <= part[1] or not ends_at(chunks, state.done):
        return False
    begun = state.pieces[-1].stop if state.pieces else part[0]
    whole = [(end, level) for _, end, level in takewhile(lambda span: span[1] <= state.done, spans(chunks, *part))]
    if [(piece.stop, piece.level) for piece in state.pieces] != whole:
        return False
    return (state.done > begun) == bool(state.parts)
