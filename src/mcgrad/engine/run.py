"""Run a bound kernel over a range of draws: chunks to threads, partials merged in the order of the draws."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from itertools import chain, islice
from typing import TypeAlias

from mcgrad.backends.base import Bound, Partial, Shift
from mcgrad.backends.chunks import Chunk, after
from mcgrad.engine.call import RunState
from mcgrad.engine.threads import in_order

AfterChunk: TypeAlias = Callable[[int, Shift, Partial], None]  # called with the next draw, shift and partial so far


def run(
    bound: Bound,
    seed: int,
    chunks: Iterable[Chunk],
    workers: Callable[[], int],
    omit: bool,
    watch: AfterChunk | None = None,
    resume: RunState | None = None,
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
        Called after each chunk, in their order.
    resume : RunState, optional
        Continue from this state, at the end of a chunk.

    Returns
    -------
    Partial
        The same bits for any number of workers, and for any state from which it continues.
    """
    if resume:
        shift, total, left = resume.shift, resume.partial, after(chunks, resume.stop)
    else:
        left = iter(chunks)
        start, stop = next(left)
        shift, total = bound.shift(seed, start, stop, omit)
        if watch:
            watch(stop, shift, total)
    two = list(islice(left, 2))
    if not two:
        return total

    def partial(chunk: Chunk) -> Partial:
        return bound.partial(shift, seed, *chunk, omit)

    with closing(in_order(partial, chain(two, left), workers() if len(two) > 1 else 1)) as parts:
        for (_, stop), part in parts:
            total = _merged(total, part)
            if watch:
                watch(stop, shift, total)
    return total


def _merged(total: Partial, part: Partial) -> Partial:
    return Partial(total.moments.merge(part.moments), total.nonfinite + part.nonfinite)
