"""The worker processes of ``mcgrad run --workers N``: made when they are needed, and made again when one is killed."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

from mcgrad.errors import ExecutorError
from mcgrad.jobs import signals
from mcgrad.tasks.futures import FuturesAdapter
from mcgrad.tasks.task import Done, Payload, Task

KILLED = 1.0  # seconds to wait until a killed process has ended
IN_TURN = 3  # pools that are made one after the other, of which none completes a task, before a run ends


class Processes:
    """An adapter of processes of this machine, for all jobs of a batch.

    When one of them is killed, such as by the system where memory is short, a new pool of them is made, and the tasks
    that were not done are done there. They do not receive Ctrl-C, and they end when this process ends, however it does.

    Parameters
    ----------
    count : int
        How many there are.
    """

    def __init__(self, count: int) -> None:
        self._count, self._in_turn = count, 0
        self._lock = threading.Lock()
        self._pool: ProcessPoolExecutor | None = None
        self._tasks: FuturesAdapter | None = None

    def workers(self) -> int:
        """Return the number of processes."""
        return self._count

    def submit(self, payload: Payload, task: Task, number: int, missed_by: str | None) -> Future[Done]:
        """Submit a task to the pool, which is made if there is none, or if it has lost a process."""
        for _ in range(IN_TURN + 1):
            pool, tasks = self._running()
            try:
                future = tasks.submit(payload, task, number, missed_by)
            except BrokenExecutor:
                self._forget(pool)
                continue
            future.add_done_callback(partial(self._ended, pool))
            return future
        raise ExecutorError(self._gone())

    def describe(self) -> str:
        """Return how many there are."""
        return f"{self._count} worker process{'es' * (self._count > 1)}"

    def lost(self, error: Exception | None) -> str | None:
        """Return nothing: a pool that is lost is made again."""
        return None

    def dropped(self, error: Exception) -> bool:
        """Whether a task is to be submitted again: where the pool has lost a process."""
        return isinstance(error, BrokenExecutor)

    def cancel(self, pending: Sequence[Any]) -> None:
        """Cancel tasks that have not begun; after a signal, end the processes, too."""
        if signals.received():
            self.close(now=True)
        elif self._tasks:
            self._tasks.cancel(pending)

    def close(self, now: bool = False) -> None:
        """End the processes: once their tasks are done, or now."""
        with self._lock:
            pool, self._pool, self._tasks = self._pool, None, None
        if pool and now:
            _kill(pool)
        if pool:
            pool.shutdown(wait=not now, cancel_futures=True)

    def _running(self) -> tuple[ProcessPoolExecutor, FuturesAdapter]:
        with self._lock:
            if self._pool is None or self._tasks is None:
                if self._in_turn > IN_TURN:
                    raise ExecutorError(self._gone())
                self._in_turn += 1
                self._pool = _started(self._count)
                self._tasks = FuturesAdapter(self._pool)
            return self._pool, self._tasks

    def _gone(self) -> str:
        return (
            f"worker processes have ended {IN_TURN + 1} times without completing a task: they were killed, perhaps for "
            "want of memory. Use fewer --workers; --resume goes on from the checkpoint, with them or without"
        )

    def _ended(self, pool: ProcessPoolExecutor, future: Future[Done]) -> None:
        """Note that a task is done, or that its pool is broken."""
        if future.cancelled():
            return
        if isinstance(future.exception(), BrokenExecutor):
            self._forget(pool)
        else:
            self._in_turn = 0

    def _forget(self, pool: ProcessPoolExecutor) -> None:
        with self._lock:
            if self._pool is pool:
                self._pool = self._tasks = None


def _started(count: int) -> ProcessPoolExecutor:
    """Return a pool whose processes have been started, which do not receive SIGINT."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_end_with_parent)
    with _without_interrupts():
        for _ in range(count):
            pool.submit(os.getpid)  # starts a process, as none is idle yet
    return pool


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Block SIGINT in this thread: processes that it starts have it blocked for good."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    """End this worker when its parent ends, also by ``kill -9``: it would wait for tasks for ever."""
    threading.Thread(target=_end_after_parent, name="mcgrad-parent", daemon=True).start()


def _end_after_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)


def _kill(pool: ProcessPoolExecutor) -> None:
    """Kill the processes of a pool, whatever they do, and wait until they have ended."""
    processes = list((getattr(pool, "_processes", None) or {}).values())
    for process in processes:
        with contextlib.suppress(Exception):  # it was not started
            process.kill()
    for process in processes:
        with contextlib.suppress(Exception):
            process.join(KILLED)
