"""The protocol by which `tasks.ordered` calls an executor, and the choice of an adapter for the one that was given.

Executors are recognised by the module of their type, so that neither Dask nor loky is imported here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any, Protocol, runtime_checkable

from mcgrad.errors import ParameterError, shown
from mcgrad.tasks.task import Done, Payload, Task

ACCEPTED = (
    "a concurrent.futures.Executor, such as ProcessPoolExecutor(4), or a dask.distributed.Client, such as "
    'Client("tcp://HOST:8786")'
)


class Pending(Protocol):
    """A result that is not there yet: a Future of `concurrent.futures`, or of Dask."""

    def result(self) -> Done:
        """Return it, or raise what the task raised; called when it is there."""

    def add_done_callback(self, function: Callable[[Any], object], /) -> None:
        """Call a function, in any thread, when the result is there, or an error, or it is cancelled."""


@runtime_checkable
class Adapter(Protocol):
    """An executor as far as a run needs it. It lasts for one call."""

    def workers(self) -> int:
        """Return how many tasks run at a time, now: 0 where that is not known yet."""

    def submit(self, payload: Payload, task: Task, number: int, missed_by: str | None) -> Pending:
        """Have a task worked out.

        Parameters
        ----------
        payload : Payload
        task : Task
        number : int
            Tasks of lower numbers come first.
        missed_by : str or None
            The worker that lacked the payload when this task was submitted before.
        """

    def describe(self) -> str:
        """Return what the executor is, for messages."""

    def lost(self, error: Exception | None) -> str | None:
        """Say in a clause what is lost, if an error means that the executor is gone; with None, whether it is gone."""

    def dropped(self, error: Exception) -> bool:
        """Whether an error means that a task was not worked out and may be submitted again."""

    def cancel(self, pending: Sequence[Any]) -> None:
        """Cancel tasks that have not begun."""

    def close(self) -> None:
        """Release what the cluster keeps for this call. The executor stays as it is."""


def adapter_of(executor: Any) -> Adapter:
    """Return the adapter of an executor.

    Parameters
    ----------
    executor : concurrent.futures.Executor, dask.distributed.Client or Adapter

    Raises
    ------
    ParameterError
        It is none of these, or one that cannot be used here.
    ExecutorError
        It is closed, or its workers lack what tasks need.
    """
    if isinstance(executor, Adapter):
        return executor
    if type(executor).__module__.partition(".")[0] == "distributed":
        from mcgrad.tasks.dask import dask_adapter

        return dask_adapter(executor)
    if isinstance(executor, Executor):
        from mcgrad.tasks.futures import FuturesAdapter

        return FuturesAdapter(executor)
    raise ParameterError("executor", shown(executor), ACCEPTED)
