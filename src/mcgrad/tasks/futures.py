"""Tasks on an executor of concurrent.futures: processes, threads, loky, mpi4py."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ThreadPoolExecutor, wait
from threading import current_thread
from weakref import WeakKeyDictionary, ref

from mcgrad.errors import ParameterError, shown
from mcgrad.system.machine import available_processors
from mcgrad.tasks.task import Done, Payload, Task
from mcgrad.tasks.work import work

ENDED = (
    "a worker process has ended: it was killed, perhaps for want of memory, or could not start (a program that starts"
    ' processes by "spawn" needs ``if __name__ == "__main__":``), or it does not find mcgrad'
)
SHUT = "it is shut down"
PAYLOADS = 64  # of which an executor is known to have them
_carried: WeakKeyDictionary[Executor, dict[str, int]] = WeakKeyDictionary()  # tasks that carried a payload, by digest


class FuturesAdapter:
    """An executor that cannot address a worker.

    The first tasks of a payload, one for each worker, carry it. Later ones carry its digest, in later calls, too, and a
    task that comes to a worker without the payload is submitted again with it. In threads of this process the payload
    is always at hand.

    Parameters
    ----------
    executor : concurrent.futures.Executor

    Raises
    ------
    ParameterError
        The executor belongs to another process, from which this one was forked, or this is one of its threads: tasks
        would wait for ever.
    """

    def __init__(self, executor: Executor) -> None:
        _refuse_waiting_for_itself(executor)
        self._executor, self._carried = executor, _carried.setdefault(executor, {})
        self._threads = isinstance(executor, ThreadPoolExecutor)

    def workers(self) -> int:
        """Return the number of its workers; that of processors where it does not say."""
        for name in ("_max_workers", "num_workers"):
            found = getattr(self._executor, name, None)
            if isinstance(found, int) and found > 0:
                return found
        return available_processors()

    def submit(self, payload: Payload, task: Task, number: int, missed_by: str | None) -> Future[Done]:
        """Submit a task, with the payload if it is among the first or was missed."""
        carries = self._threads or missed_by is not None or self._first(payload.digest)
        try:
            return self._executor.submit(work, task, payload.content if carries else None)
        except BrokenExecutor:
            raise
        except RuntimeError as error:  # "cannot schedule new futures after shutdown", in the words of each executor
            raise CancelledError(str(error)) from error

    def describe(self) -> str:
        """Return its class and number of workers."""
        return f"{type(self._executor).__name__} of {self.workers()} workers"

    def lost(self, error: Exception | None) -> str | None:
        """Return why it is gone: a broken pool, or one that is shut down."""
        if isinstance(error, BrokenExecutor):
            return ENDED
        return SHUT if isinstance(error, CancelledError) else None

    def dropped(self, error: Exception) -> bool:
        """Whether to submit a task again: never, as such an executor does not go on without a worker."""
        return False

    def cancel(self, pending: Sequence[Future[Done]]) -> None:
        """Cancel tasks that have not begun, and wait for those that have, a second or two."""
        wait([future for future in pending if not future.cancel()])

    def close(self) -> None:
        """Do nothing: workers release payloads by themselves."""

    def _first(self, digest: str) -> bool:
        """Whether a task is among the first of its payload, one for each worker."""
        carried = self._carried.get(digest, 0)
        if carried >= self.workers():
            return False
        if len(self._carried) >= PAYLOADS:
            self._carried.clear()
        self._carried[digest] = carried + 1
        return True


def _refuse_waiting_for_itself(executor: Executor) -> None:
    threads = getattr(executor, "_threads", None)
    threads = threads if isinstance(threads, set) else set()
    if current_thread() in threads or _works_for(executor):
        accepted = "another executor, or none: this is one of its threads, and tasks would wait for it to end"
        raise ParameterError("executor", shown(executor), accepted)
    manager = getattr(executor, "_executor_manager_thread", None)
    if manager is not None and hasattr(manager, "is_alive"):
        threads = {*threads, manager}
    if threads and not any(thread.is_alive() for thread in threads) and not _ended(executor):
        raise ParameterError("executor", f"{shown(executor)}, of the process that forked this one", "one made here")


def _works_for(executor: Executor) -> bool:
    """Whether this thread was started by an executor, which lists it a moment later."""
    return any(isinstance(x, ref) and x() is executor for x in getattr(current_thread(), "_args", ()))


def _ended(executor: Executor) -> bool:
    """Whether an executor is shut down or broken, which is an error of its own."""
    names = ("_shutdown", "_shutdown_thread", "_broken")
    return any(bool(getattr(executor, name, False)) for name in names)
