"""The share of the machine of a worker: how many threads one process of a pool, or one task, is meant to use.

A pool of processes has as many of them as there are processors, more often than not: if each started that many threads,
threads would wait for processors. Nothing is imported here: a pool whose module is not loaded has no worker here.
"""

from __future__ import annotations

import os
import sys
from typing import NamedTuple

POOLS = {  # by the module of what their processes run
    "multiprocessing.pool": "multiprocessing.Pool",
    "concurrent.futures.process": "ProcessPoolExecutor",
    "loky.process_executor": "loky",
    "joblib.externals.loky.process_executor": "joblib",
    "torch.utils.data._utils.worker": "DataLoader",
}
NUMBA_VARIABLE = "NUMBA_NUM_THREADS"  # joblib sets it: inner_max_num_threads, or the processors divided by n_jobs
RAY_VARIABLE = "OMP_NUM_THREADS"  # Ray sets it: the processors that a task or an actor asks for


class Share(NamedTuple):
    """How many threads a worker is meant to use.

    Parameters
    ----------
    threads : int
    why : str
        What says so, for `mcgrad info`.
    """

    threads: int
    why: str


def share() -> Share | None:
    """Return the share of the worker that calls this; None where the caller is no worker that is recognised.

    Notes
    -----
    A task of Dask has the threads of its worker, which tasks that run at once have in common. A task of Ray has the
    processors that it asks for. A process of a pool has one thread, or ``$NUMBA_NUM_THREADS``.
    """
    return _of_dask() or _of_ray() or _of_pool()


def _of_dask() -> Share | None:
    module = sys.modules.get("distributed.worker")
    try:
        return Share(module.get_worker().state.nthreads, "a Dask worker") if module else None
    except (AttributeError, ValueError):  # it is being imported; no task runs in this thread
        return None


def _of_ray() -> Share | None:
    module = sys.modules.get("ray._private.worker")
    try:
        is_worker = module and module.global_worker.mode == module.WORKER_MODE
    except AttributeError:  # it is being imported, or is of a version that has other names
        return None
    return Share(_number(RAY_VARIABLE), "a Ray worker") if is_worker else None


def _of_pool() -> Share | None:
    processes = sys.modules.get("multiprocessing.process")
    if processes is None:
        return None
    target = getattr(processes.current_process(), "_target", None)  # what the process runs
    name = POOLS.get(getattr(target, "__module__", ""))
    return None if name is None else Share(_number(NUMBA_VARIABLE), f"a process of {name}")


def _number(variable: str) -> int:
    """Return the number in an environment variable, or 1 where there is none."""
    given = os.environ.get(variable, "")
    return max(int(given), 1) if given.isdecimal() else 1
