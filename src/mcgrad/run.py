"""Run a bound kernel over a range of draws: chunks to threads, partials merged in the order of the draws."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

from mcgrad.arguments import count
from mcgrad.backends.base import Bound, Partial
from mcgrad.errors import ParameterError, shown
from mcgrad.machine import available_processors

THREADS_VARIABLE = "MCGRAD_NUM_THREADS"
AHEAD = 2  # chunks handed out for each thread before the oldest is waited for


@dataclass(frozen=True, slots=True)
class Reached:
    """How far a run has come: what it takes to go on from there.

    Parameters
    ----------
    stop : int
        The next draw: a chunk ends here.
    partial : Partial
        Over all draws before it.
    seconds : float
        Wall-clock time so far.
    backend : str
        Where it ran.
    """

    stop: int
    partial: Partial
    seconds: float
    backend: str


Watch = Callable[[int, Partial], None]  # told the next draw and what the draws before it gave


def thread_count(threads: int | None) -> int:
    """Return the number of threads: as given, or $MCGRAD_NUM_THREADS, or the processors this process may use.

    Raises
    ------
    ParameterError
        Not a whole number of at least 1.
    """
    if threads is not None:
        return count("threads", threads, 1)
    given = os.environ.get(THREADS_VARIABLE)
    if given is None:
        return available_processors()
    if not given.strip().isdecimal():
        raise ParameterError(THREADS_VARIABLE, shown(given), "a whole number of at least 1")
    return count(THREADS_VARIABLE, int(given), 1)


@cache
def pool(threads: int) -> ThreadPoolExecutor:
    """The pool of this many threads, kept for the life of the process."""
    return ThreadPoolExecutor(threads, thread_name_prefix=f"mcgrad-{threads}")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=pool.cache_clear)  # threads do not survive a fork


def run(
    bound: Bound,
    seed: int,
    chunks: list[tuple[int, int]],
    workers: int,
    omit: bool,
    watch: Watch | None = None,
    reached: Reached | None = None,
) -> Partial:
    """Average over chunks of draws.

    Parameters
    ----------
    bound : Bound
    seed : int
    chunks : list of (int, int)
        Ranges of draws, one after the other without a gap.
    workers : int
        Number of threads.
    omit : bool
        Whether draws with a non-finite output are left out.
    watch : callable, optional
        Called after each chunk, in their order.
    reached : Reached, optional
        Go on from here, the end of a chunk.

    Returns
    -------
    Partial
        The same bits for any number of workers, and from wherever it went on.
    """
    total = bound.partial(seed, *chunks[0], omit)  # in this thread: it compiles, and finds the pivot
    left = chunks[1:]
    if reached:
        total, left = reached.partial, [chunk for chunk in chunks if chunk[0] >= reached.stop]
    elif watch:
        watch(chunks[0][1], total)
    if workers == 1 or len(left) <= 1:
        for start, stop in left:
            total = _merged(total, bound.partial(seed, start, stop, omit))
            if watch:
                watch(stop, total)
        return total
    waiting: deque[tuple[int, Future[Partial]]] = deque()
    rest = iter(left)
    executor = pool(workers)
    try:
        while True:
            while len(waiting) < AHEAD * workers and (chunk := next(rest, None)) is not None:
                waiting.append((chunk[1], executor.submit(bound.partial, seed, *chunk, omit)))
            if not waiting:
                return total
            stop, oldest = waiting.popleft()
            total = _merged(total, oldest.result())
            if watch:
                watch(stop, total)
    finally:  # an interrupt or an error: leave no chunk behind
        for _, future in waiting:
            future.cancel()
        for _, future in waiting:
            if not future.cancelled():
                future.exception()


def _merged(total: Partial, part: Partial) -> Partial:
    return Partial(total.moments.merge(part.moments), total.nonfinite + part.nonfinite)
