"""Run a bound kernel over a range of draws: chunks to threads, partials merged in the order of the draws."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache

from mcgrad.arguments import count
from mcgrad.backends.base import Bound, Partial
from mcgrad.errors import ParameterError, shown

THREADS_VARIABLE = "MCGRAD_NUM_THREADS"
AHEAD = 2  # chunks handed out for each thread before the oldest is waited for

Report = Callable[[int], None]  # told the number of draws done so far


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
def available_processors() -> int:
    """Processors that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def pool(threads: int) -> ThreadPoolExecutor:
    """The pool of this many threads, kept for the life of the process."""
    return ThreadPoolExecutor(threads, thread_name_prefix=f"mcgrad-{threads}")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=pool.cache_clear)  # threads do not survive a fork


def run(
    bound: Bound, seed: int, chunks: list[tuple[int, int]], workers: int, omit: bool, report: Report | None = None
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
    report : callable, optional
        Called with the number of draws done, after each chunk.

    Returns
    -------
    Partial
        The same bits for any number of workers.
    """
    first = chunks[0][0]
    total = bound.partial(seed, *chunks[0], omit)  # in this thread: it compiles, and finds the pivot
    if report:
        report(chunks[0][1] - first)
    if workers == 1 or len(chunks) <= 2:
        for start, stop in chunks[1:]:
            total = _merged(total, bound.partial(seed, start, stop, omit))
            if report:
                report(stop - first)
        return total
    waiting: deque[tuple[int, Future[Partial]]] = deque()
    rest = iter(chunks[1:])
    executor = pool(workers)
    try:
        while True:
            while len(waiting) < AHEAD * workers and (chunk := next(rest, None)) is not None:
                waiting.append((chunk[1], executor.submit(bound.partial, seed, *chunk, omit)))
            if not waiting:
                return total
            stop, oldest = waiting.popleft()
            total = _merged(total, oldest.result())
            if report:
                report(stop - first)
    finally:  # an interrupt or an error: leave no chunk behind
        for _, future in waiting:
            future.cancel()
        for _, future in waiting:
            if not future.cancelled():
                future.exception()


def _merged(total: Partial, part: Partial) -> Partial:
    return Partial(total.moments.merge(part.moments), total.nonfinite + part.nonfinite)
