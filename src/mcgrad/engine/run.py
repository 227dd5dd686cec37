"""Run a bound kernel over a range of draws: chunks to threads, partials merged in the order of the draws."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice

from mcgrad.backends.base import Bound, Partial, Shift
from mcgrad.backends.chunks import Chunk, after
from mcgrad.engine.threads import in_order


@dataclass(frozen=True, slots=True)
class RunState:
    """The state of a run after a chunk: another run, in any process, continues from it.

    Parameters
    ----------
    stop : int
        The next draw: a chunk ends here.
    shift : array
        About which the sums of all chunks after the first are taken.
    partial : Partial
        Over all draws before `stop`.
    seconds : float
        Wall-clock time so far.
    backend : str
        Name of the backend.
    """

    stop: int
    shift: Shift
    partial: Partial
    seconds: float
    backend: str


Watch = Callable[[int, Shift, Partial], None]  # called with the next draw, the shift, and the partial up to that draw


def run(
    bound: Bound,
    seed: int,
    chunks: Iterable[Chunk],
    workers: Callable[[], int],
    omit: bool,
    watch: Watch | None = None,
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
