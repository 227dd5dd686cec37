"""Work out a task, in the thread that calls: what executors run in their workers."""

from __future__ import annotations

import pickle
import time

from mcgrad.backends.registry import kind_of
from mcgrad.errors import BackendError
from mcgrad.system.kind import kind_here
from mcgrad.tasks.kernels import held, worker
from mcgrad.tasks.runs import Run
from mcgrad.tasks.task import Done, Task


def work(task: Task, content: bytes | None = None) -> Done:
    """Average over the draws, or the rows, of a task.

    Parameters
    ----------
    task : Task
    content : bytes, optional
        Of its payload: needed where this process does not have it from an earlier task.

    Returns
    -------
    Done
        The same bits in any process of one kind; `missing` where the process has no such payload.

    Raises
    ------
    BackendError
        The backend cannot run here, or failed.
    ParameterError
        Functions of the integrand cannot be loaded here.
    """
    begun = time.perf_counter()
    payload = held(task.digest, content)
    if payload is None:
        return Done((), 0.0, worker(), kind_here(""), missing=True)
    run: Run = pickle.loads(task.run or payload.content.run)
    try:
        average = run.ready(payload, task)
        ready = time.perf_counter()
        pieces = average()
    except BackendError as error:
        raise BackendError(f"{error} (on {worker()})") from error
    seconds, kind = time.perf_counter() - ready, kind_of(payload.content.backend)
    return Done(pieces, seconds, worker(), kind, ready - begun)
