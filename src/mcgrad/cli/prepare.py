"""What comes before a job runs: is it complete, how far had it come, compile it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from mcgrad import __version__, checkpoint
from mcgrad.backends.registry import AUTO
from mcgrad.checkpoint import Identity
from mcgrad.errors import ParameterError
from mcgrad.estimator import Estimator
from mcgrad.job import Job
from mcgrad.run import Reached
from mcgrad.verification import REFERENCE

AHEAD = 2  # jobs prepared while one runs; each holds its compiled code


@dataclass(frozen=True)
class Complete:
    """A job whose result is there."""

    path: Path


@dataclass(frozen=True)
class Ready:
    """A job that may run.

    Parameters
    ----------
    estimator : Estimator
    seconds : float
        What compiling or loading it took.
    identity : Identity
        What a checkpoint of it has to match.
    reached : Reached or None
        How far an earlier run had come.
    note : str
        How it starts, where there is something to say.
    """

    estimator: Estimator
    seconds: float
    identity: Identity
    reached: Reached | None
    note: str


def prepare(job: Job, resume: bool) -> Complete | Ready:
    """Compile a job, unless `resume` finds its result, and find how far it had come."""
    note = ""
    if resume and (result := job.out.with_name(f"{job.out.name}.json")).exists():
        try:
            _refuse_other(job, result)
            return Complete(result)
        except ParameterError as error:
            note = f"runs again: {error}"
    start = time.perf_counter()
    estimator = job.estimator()
    seconds = time.perf_counter() - start
    identity, reached = _identity(job, estimator, estimator.backend), None
    if resume and (path := checkpoint.path_for(job.out)).exists():
        try:
            reached = checkpoint.read(path, identity)
            if reached.stop not in estimator.stops(job.n):
                raise ParameterError(f"{path}, stop", f"{reached.stop:,}", "a draw at which a chunk ends")
            note = f"resumed at draw {reached.stop:,} of {job.n:,}"
        except ParameterError as error:
            reached, note = None, f"starts anew: {error}"
    return Ready(estimator, seconds, identity, reached, note)


def in_turn(jobs: list[Job], work: Callable[[Job], Complete | Ready]) -> Iterator[tuple[Job, Future[Complete | Ready]]]:
    """Yield each job with what `work` makes of it, in a thread of its own, some jobs ahead of the one that is yielded."""
    executor = ThreadPoolExecutor(1, thread_name_prefix="mcgrad-prepare")
    waiting: deque[tuple[Job, Future[Complete | Ready]]] = deque()
    rest = iter(jobs)
    try:
        while True:
            while len(waiting) <= AHEAD and (job := next(rest, None)) is not None:
                waiting.append((job, executor.submit(work, job)))
            if not waiting:
                return
            yield waiting.popleft()
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


def _identity(job: Job, estimator: Estimator, backend: str) -> Identity:
    omitted = job.nonfinite == "omit"
    return Identity(estimator.problem, job.n, job.seed, estimator.dtype, omitted, backend, __version__)


def _refuse_other(job: Job, path: Path) -> None:
    """Refuse a result that is not this job's."""
    traced = job.estimator(REFERENCE)  # compiles nothing
    found = checkpoint.read_result(path, _identity(job, traced, job.backend), job.backend == AUTO)
    if found.nonfinite and job.nonfinite == "raise":
        raise ParameterError(f"{path}, nonfinite", f"{found.nonfinite:,}", "0")
