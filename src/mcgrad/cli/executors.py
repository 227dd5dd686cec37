"""The executor of ``mcgrad run``: worker processes of this machine, or a Dask cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mcgrad.cli.processes import Processes
from mcgrad.errors import ParameterError, shown
from mcgrad.inputs.arguments import count
from mcgrad.jobs import signals
from mcgrad.system.packages import DASK, install

MOST = 4096
CONNECT = 10.0  # seconds


@dataclass(frozen=True)
class Workers:
    """Where the jobs of a batch run.

    Parameters
    ----------
    executor : Processes or dask.distributed.Client
    require_same : bool
        Whether workers of other kinds than this process are refused.
    """

    executor: Any
    require_same: bool = False

    def __len__(self) -> int:
        """How many tasks run at a time, now."""
        if isinstance(self.executor, Processes):
            return self.executor.workers()
        return sum(self.executor.nthreads().values())

    def describe(self) -> str:
        """Return what they are, for people."""
        if isinstance(self.executor, Processes):
            return self.executor.describe()
        return f"{len(self)} workers of the Dask scheduler {self.executor.scheduler.address}"


@contextmanager
def executor_of(workers: Any, scheduler: str | None, require_same: bool) -> Iterator[Workers | None]:
    """Return a context with what runs the jobs; None for the threads of this process.

    Parameters
    ----------
    workers : int or None
        Number of worker processes.
    scheduler : str or None
        Address of a Dask scheduler.
    require_same : bool

    Raises
    ------
    ParameterError
        Both are given, the number is none, or no scheduler answers.
    """
    if scheduler is not None and workers is not None:
        raise ParameterError("--scheduler", f"{scheduler!r}, and --workers", "one of the two")
    if workers is not None:
        processes = Processes(count("--workers", workers, 1, MOST))
        try:
            yield Workers(processes, require_same)
        finally:
            processes.close(now=signals.received() is not None)
    elif scheduler is not None:
        with _client(scheduler) as client:
            yield Workers(client, require_same)
    elif require_same:
        raise ParameterError("--require-same", "without --workers or --scheduler", "one of the two beside it")
    else:
        yield None


@contextmanager
def _client(address: str) -> Iterator[Any]:
    """Return a context with a client of a Dask scheduler."""
    try:
        from distributed import Client
    except ImportError:
        accepted = f"an installation with Dask: {install(DASK)}"
        raise ParameterError("--scheduler", f"{address!r} without dask.distributed", accepted) from None
    try:
        client = Client(address, timeout=CONNECT, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        accepted = "the address of a Dask scheduler that runs, such as tcp://localhost:8786"
        raise ParameterError("--scheduler", f"{shown(address)} ({error})", accepted) from None
    with client:
        yield client
