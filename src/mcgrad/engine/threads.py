"""The number of threads of a call, thread pools, and parallel work on items in order.

`engine.run` averages over chunks by `in_order`, which takes a function of one item and yields results in the order of
the items, whichever thread computed them.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from functools import lru_cache
from itertools import islice
from threading import Barrier, Event, Lock, Thread
from typing import Generic, TypeGuard, TypeVar

from mcgrad.backends.blas_threads import limit_worker
from mcgrad.errors import ParameterError, shown
from mcgrad.inputs.arguments import count
from mcgrad.system import workers
from mcgrad.system.machine import available_processors

THREADS_VARIABLE = "MCGRAD_NUM_THREADS"
MOST_THREADS = 4096  # more than the processors of any machine, and no more than systems let a process start
POOLS = 4  # pools that are kept, of different numbers of threads
AHEAD = 2  # items submitted for each thread ahead of the oldest result

Item = TypeVar("Item")
Result = TypeVar("Result")


def thread_count(threads: int | None) -> int:
    """Return the number of threads: as given, or $MCGRAD_NUM_THREADS, or the processors this process may use now.

    In a worker that `system.workers` knows, it is the worker's share, if that is less.

    Raises
    ------
    ParameterError
        Not a whole number from 1 to 4096.
    """
    if threads is not None:
        return count("threads", threads, 1, MOST_THREADS)
    given = threads_given()
    if not given:
        processors, share = available_processors(), workers.share()
        return processors if share is None else min(processors, share.threads)
    if not given.isdecimal():
        raise ParameterError(THREADS_VARIABLE, shown(given), f"a whole number from 1 to {MOST_THREADS}, or nothing")
    return count(THREADS_VARIABLE, int(given), 1, MOST_THREADS)


def threads_given() -> str:
    """Return $MCGRAD_NUM_THREADS without surrounding white space; empty where it is unset or blank."""
    return os.environ.get(THREADS_VARIABLE, "").strip()


@lru_cache(POOLS)
def pool(threads: int) -> ThreadPoolExecutor:
    """Return a pool of this many threads. The threads of pools that are no longer kept end with their last run.

    They are started in another thread than the main one, where no signal raises an exception: a thread whose start
    is interrupted is unknown to its executor, which never ends it, and Python would wait for it for ever at its end.

    Raises
    ------
    RuntimeError
        No thread can start.
    """
    executor = ThreadPoolExecutor(threads, thread_name_prefix=f"mcgrad-{threads}")
    starter = Thread(target=_start, args=(executor, threads), name=f"mcgrad-{threads}-start", daemon=True)
    starter.start()
    starter.join()
    return executor


def _start(executor: ThreadPoolExecutor, threads: int) -> None:
    """Start all threads of an executor, or as many as can start: it starts one where no other waits for work."""
    all_started, started = Barrier(threads), deque[Future[int]]()
    try:
        started.extend(executor.submit(all_started.wait) for _ in range(threads))
    except RuntimeError:
        all_started.abort()
    wait(started)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=pool.cache_clear)  # threads do not survive a fork


def _pool_if_any(threads: int) -> ThreadPoolExecutor | None:
    try:
        return pool(threads)
    except RuntimeError:  # no thread can start, or the process is ending
        return None


def in_order(
    work: Callable[[Item], Result], items: Iterator[Item], threads: int
) -> Generator[tuple[Item, Result], None, None]:
    """Yield each item with the result of `work`, in the order of the items; several threads work ahead of that.

    An item that no thread of the pool has started when its result is due is computed in this thread. So a run ends
    even if all threads of the pool are blocked on it, as in estimates inside an integrand, and where the pool has no
    threads, as at the end of the process, or in a child that is forked between two results. When the generator is
    closed, or ends by an exception or interrupt, it waits for the items that were started and drops the others; a
    second interrupt ends the wait, and still no other item starts.
    """
    if threads == 1:
        for item in items:
            yield item, work(item)
        return
    process = os.getpid()
    executor = _pool_if_any(threads)
    waiting: deque[tuple[Item, Future[Result] | None]] = deque()
    on_workers = _OnWorkers(work)

    def submit(item: Item) -> Future[Result] | None:
        nonlocal executor
        try:
            if executor and os.getpid() == process:  # in a forked child the locks of the pool may stay held
                return executor.submit(on_workers.work, item)
        except RuntimeError:  # no thread can start, or the process is ending
            executor = None
        return None

    def begun(future: Future[Result] | None) -> TypeGuard[Future[Result]]:
        return future is not None and os.getpid() == process and not future.cancel()

    try:
        while True:
            waiting.extend((item, submit(item)) for item in islice(items, AHEAD * threads - len(waiting)))
            if not waiting:
                return
            item, oldest = waiting[0]
            result = oldest.result() if begun(oldest) else work(item)
            waiting.popleft()
            yield item, result
    finally:
        if os.getpid() == process:
            on_workers.end()


class _OnWorkers(Generic[Item, Result]):
    """The work of one run on threads of a pool, which it counts.

    An interrupt may come right after an item was submitted, before the run knows its future. So the end of a run does
    not depend on futures: the count is changed by threads of the pool, where no signal raises an exception.
    """

    def __init__(self, work: Callable[[Item], Result]) -> None:
        self._work = work
        self._lock, self._begun, self._over = Lock(), 0, False
        self._left = Event()  # set by the last that ends after the end of the run

    def work(self, item: Item) -> Result:
        """Do the work on an item, unless the run is over."""
        with self._lock:
            if self._over:
                raise CancelledError
            self._begun += 1
        try:
            limit_worker()
            return self._work(item)
        finally:
            with self._lock:
                self._begun -= 1
                is_last = self._over and not self._begun
            if is_last:
                self._left.set()

    def end(self) -> None:
        """Let no item begin any more, and wait for those that have begun."""
        with self._lock:
            self._over = True
            begun = self._begun
        if begun:
            self._left.wait()
