"""What comes before a job runs: is it complete, how far had it come, compile it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mcgrad import __version__, checkpoint
from mcgrad.backends.registry import AUTO
from mcgrad.checkpoint import Identity
from mcgrad.errors import ParameterError
from mcgrad.estimator import Estimator
from mcgrad.job import Job
from mcgrad.jobfile import Entry
from mcgrad.run import Reached
from mcgrad.verification import REFERENCE

AHEAD = 2  # jobs prepared while one runs; each holds its data and its compiled code

Item = TypeVar("Item")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Complete:
    """A job whose result is there already, at `path`."""

    job: Job
    path: Path


@dataclass(frozen=True)
class Ready:
    """A job that may run.

    Parameters
    ----------
    job : Job
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

    job: Job
    estimator: Estimator
    seconds: float
    identity: Identity
    reached: Reached | None
    note: str


def prepare(entry: Entry, resume: bool) -> Complete | Ready:
    """Read a job and compile it; with `resume`, see whether its result is there, or else how far it had come."""
    job, note = entry.job(), ""
    if resume and (result := job.out.with_name(f"{job.out.name}.json")).exists():
        try:
            _refuse_other(job, result)
            return Complete(job, result)
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
    return Ready(job, estimator, seconds, identity, reached, note)


def in_turn(items: Iterable[Item], work: Callable[[Item], Made]) -> Generator[tuple[Item, Future[Made]], None, None]:
    """Yield each item with what `work` makes of it, in a thread of its own that is a few items ahead."""
    executor = ThreadPoolExecutor(1, thread_name_prefix="mcgrad-prepare")
    waiting: deque[tuple[Item, Future[Made]]] = deque()
    try:
        for item in items:
            waiting.append((item, executor.submit(work, item)))
            if len(waiting) > AHEAD:
                yield waiting.popleft()
        while waiting:
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
