"""Tasks on a Dask cluster, by its own client: what no concurrent.futures executor can do.

A payload is scattered once and fetched by each worker once, from the others; workers may come and go; the scheduler
does the tasks of a dead worker again.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack
from itertools import count
from time import monotonic
from typing import Any
from uuid import uuid4

from mcgrad import __version__
from mcgrad.errors import ExecutorError, ParameterError, shown
from mcgrad.tasks.content import PLAIN
from mcgrad.tasks.dask_workers import ON_WORKER, as_text, check_workers, unfit
from mcgrad.tasks.task import Payload, Task

RUNNING = "a Client that is connected and not asynchronous"
COUNT = 1.0  # seconds for which a number of workers is kept
ANSWER = 5.0  # seconds to wait for the scheduler's answer to that
FIRST = 1  # priority of a task that is submitted again: its range comes before those of others
MOVED = "scheduler-connection-lost"  # why Dask cancels the futures of a client that has lost its scheduler


def dask_adapter(executor: Any) -> DaskAdapter:
    """Return the adapter of a Client, or of the executor that `Client.get_executor` returns.

    Raises
    ------
    ParameterError
        Something else of Dask's, or an asynchronous client.
    ExecutorError
        The client is closed, or workers lack mcgrad or Numba, or have other versions.
    """
    from distributed import Client
    from distributed.cfexecutor import ClientExecutor

    client = executor._client if isinstance(executor, ClientExecutor) else executor
    if not isinstance(client, Client):
        raise ParameterError("executor", shown(executor), "a dask.distributed.Client, such as Client(cluster)")
    if client.asynchronous:
        raise ParameterError("executor", f"{shown(client)}, which is asynchronous", RUNNING)
    return DaskAdapter(client)


class DaskAdapter:
    """A Dask cluster.

    Tasks depend on no data, so that the scheduler gives each to any worker that is idle. A worker that lacks the
    payload says so, and its task is submitted again, to that worker, with the payload as its dependency. Workers keep
    what they made of a payload themselves, as Dask drops copies of data that no task waits for.

    In a task of Dask's own, whose thread would otherwise stay taken, the thread leaves the worker's pool until `close`.

    Parameters
    ----------
    client : dask.distributed.Client
    """

    def __init__(self, client: Any) -> None:
        self._address = client.scheduler.address if client.scheduler else "a closed client"
        self._client, self._run, self._numbers = client, f"mcgrad-{uuid4().hex}", count()
        self._payload: tuple[str, Any] = "", None  # the digest of what was scattered last, and its Future
        self._counted, self._workers = float("-inf"), 0
        self._task = ExitStack()
        self._here("its client is closed")
        if _in_a_task_of(client):
            from distributed import worker_client

            self._task.enter_context(worker_client())
        try:
            check_workers(client)
        except BaseException:
            self._task.close()
            raise

    def workers(self) -> int:
        """Return the number of threads of all workers, as the scheduler knew it within the last second."""
        now = monotonic()
        if now - self._counted > COUNT and self._client.status == "running":
            self._counted = now
            try:
                found = self._client.sync(self._client.scheduler.ncores, callback_timeout=ANSWER)
                self._workers = sum(found.values())
            except (OSError, TimeoutError):  # it is busy, or it is gone and futures fail
                pass
        return self._workers

    def submit(self, payload: Payload, task: Task, number: int, missed_by: str | None) -> Any:
        """Submit a task; with the payload, and to the worker that missed it, where one did."""
        self._here("the connection to it is lost")
        content, options = None, {}
        if missed_by is not None:
            content, options = self._scattered(payload), {"workers": [missed_by], "allow_other_workers": True}
        key = (self._run, next(self._numbers))
        priority = FIRST if missed_by is not None else 0
        return self._client.submit(
            ON_WORKER,
            __version__,
            pickle.dumps(task, PLAIN),
            content,
            key=key,
            pure=False,
            priority=priority,
            fifo_timeout="0s",
            **options,
        )

    def describe(self) -> str:
        """Return its scheduler's address."""
        return f"the Dask cluster of {self._address}"

    def lost(self, error: Exception | None) -> str | None:
        """Return why it is gone, or cannot go on: no scheduler, workers that die of one task, or that lack packages."""
        from distributed import KilledWorker

        if self._client.status != "running" or getattr(error, "reason", None) == MOVED:
            return "the connection to the scheduler is lost"
        if isinstance(error, KilledWorker):
            limit = "distributed.scheduler.allowed-failures"
            return (
                f"{error.allowed_failures + 1} workers have died while they did one task, the last of them"
                f" {error.last_worker.address}; look at their logs, most often for memory (the limit is Dask's {limit})"
            )
        if isinstance(error, ImportError):
            wrong = unfit(self._client)
            return as_text(wrong) if wrong else None
        return None

    def dropped(self, error: Exception) -> bool:
        """Whether to submit a task again: one that was cancelled, as when the payload went with its last worker."""
        if not isinstance(error, CancelledError) or self.lost(error):
            return False
        self._payload = "", None
        return True

    def cancel(self, pending: Sequence[Any]) -> None:
        """Cancel tasks that have not begun. Those that have go on to their end, and their results are dropped."""
        if pending and self._client.status == "running":
            self._client.cancel(list(pending))

    def close(self) -> None:
        """Release the payload in the cluster, and return to the worker's pool of threads from a task of Dask's."""
        self._payload = "", None
        self._task.close()

    def _scattered(self, payload: Payload) -> Any:
        """Return the future of the payload, which is sent to one worker, from where others fetch it."""
        digest, future = self._payload
        if digest != payload.digest or future.status != "finished":
            key = f"{self._run}-payload-{next(self._numbers)}"
            future = self._client.scatter({key: payload.content})[key]
            self._payload = payload.digest, future
        return future

    def _here(self, gone: str) -> None:
        if self._client.status != "running":
            raise ExecutorError(f"{self.describe()} cannot be used: {gone}")


def _in_a_task_of(client: Any) -> bool:
    """Whether this thread works on a task of the same cluster."""
    from distributed import get_worker

    try:
        worker = get_worker()
    except ValueError:  # no worker here
        return False
    return bool(worker.scheduler.address == client.scheduler.address)
