"""Run a bound kernel over a range of draws: chunks to threads, partials merged in the order of the draws."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, islice
from typing import TypeGuard

from mcgrad.backends.base import Bound, Partial
from mcgrad.backends.blas_threads import limit_worker
from mcgrad.backends.chunks import Chunk, beginning
from mcgrad.errors import ParameterError, shown
from mcgrad.inputs.arguments import count
from mcgrad.system.machine import available_processors

THREADS_VARIABLE = "MCGRAD_NUM_THREADS"
MOST_THREADS = 4096  # beyond the processors of any machine; as many as a system lets a process start, or fewer
POOLS = 4  # of different numbers of threads that are kept
AHEAD = 2  # chunks handed out for each thread before the oldest is waited for


@dataclass(frozen=True, slots=True)
class RunState:
    """How far a run has come: what another run needs to go on from there.

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


Watch = Callable[[int, Partial], None]  # called with the next draw and the partial of those before it


def thread_count(threads: int | None) -> int:
    """Return the number of threads: as given, or $MCGRAD_NUM_THREADS, or the processors this process may use now.

    Raises
    ------
    ParameterError
        Not a whole number from 1 to 4096.
    """
    if threads is not None:
        return count("threads", threads, 1, MOST_THREADS)
    given = threads_given()
    if not given:
        return available_processors()
    if not given.isdecimal():
        raise ParameterError(THREADS_VARIABLE, shown(given), f"a whole number from 1 to {MOST_THREADS}, or nothing")
    return count(THREADS_VARIABLE, int(given), 1, MOST_THREADS)


def threads_given() -> str:
    """Return $MCGRAD_NUM_THREADS without white space around it; nothing where it is unset, empty or blank."""
    return os.environ.get(THREADS_VARIABLE, "").strip()


@lru_cache(POOLS)
def pool(threads: int) -> ThreadPoolExecutor:
    """Return a pool of this many threads. Those of pools that are not kept any more end with the last run there."""
    return ThreadPoolExecutor(threads, thread_name_prefix=f"mcgrad-{threads}")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=pool.cache_clear)  # threads do not survive a fork


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
        Returns the number of threads; not called where there is one chunk.
    omit : bool
        Whether draws with a non-finite output are left out.
    watch : callable, optional
        Called after each chunk, in their order.
    resume : RunState, optional
        What a run had come to at the end of a chunk: it goes on from there.

    Returns
    -------
    Partial
        The same bits for any number of workers, and from wherever it went on.
    """
    left = iter(chunks)
    start, stop = next(left)
    total = bound.partial(seed, start, stop, omit)  # in this thread: it compiles, and finds the shift
    if resume:
        total, left = resume.partial, beginning(chunks, resume.stop)
    elif watch:
        watch(stop, total)
    two = list(islice(left, 2))
    if not two:
        return total
    threads = workers() if len(two) > 1 else 1
    partials = _in_turn if threads == 1 else _on_threads
    with closing(partials(bound, seed, chain(two, left), threads, omit)) as parts:
        for stop, part in parts:
            total = _merged(total, part)
            if watch:
                watch(stop, total)
    return total


Parts = Generator[tuple[int, Partial], None, None]  # the end of a chunk, and what the chunk gave, in their order


def _in_turn(bound: Bound, seed: int, chunks: Iterator[Chunk], threads: int, omit: bool) -> Parts:
    for start, stop in chunks:
        yield stop, bound.partial(seed, start, stop, omit)


def _on_threads(bound: Bound, seed: int, chunks: Iterator[Chunk], threads: int, omit: bool) -> Parts:
    """Average over chunks on threads of the pool, and in this thread where they have not begun with the oldest one.

    So a run ends even if all threads of the pool wait for it, as they do where the integrand itself estimates, and
    where there are no threads, as at the end of the process, or in a child that `watch` forks.
    """
    process = os.getpid()
    executor: ThreadPoolExecutor | None = pool(threads)
    waiting: deque[tuple[Chunk, Future[Partial] | None]] = deque()

    def submit(chunk: Chunk) -> Future[Partial] | None:
        nonlocal executor
        try:
            if executor and os.getpid() == process:  # in a child locks of the pool may stay taken
                return executor.submit(_partial, bound, seed, *chunk, omit)
        except RuntimeError:  # no thread can be started, or the process ends
            executor = None
        return None

    def begun(future: Future[Partial] | None) -> TypeGuard[Future[Partial]]:
        return future is not None and os.getpid() == process and not future.cancel()

    try:
        while True:
            waiting.extend((chunk, submit(chunk)) for chunk in islice(chunks, AHEAD * threads - len(waiting)))
            if not waiting:
                return
            (start, stop), oldest = waiting[0]
            part = oldest.result() if begun(oldest) else bound.partial(seed, start, stop, omit)
            waiting.popleft()
            yield stop, part
    finally:  # also after an error or an interrupt: no chunk runs on
        for _, future in waiting:
            if begun(future):
                future.exception()


def _partial(bound: Bound, seed: int, start: int, stop: int, omit: bool) -> Partial:
    limit_worker()
    return bound.partial(seed, start, stop, omit)


def _merged(total: Partial, part: Partial) -> Partial:
    return Partial(total.moments.merge(part.moments), total.nonfinite + part.nonfinite)
