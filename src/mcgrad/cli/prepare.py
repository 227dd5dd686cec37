"""Prepare jobs: read their files and the state of an earlier run, trace and compile. Then `cli.run` runs them."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from mcgrad.backends.registry import AUTO
from mcgrad.engine.call import RunState
from mcgrad.engine.estimator import Estimator
from mcgrad.errors import BackendError, ParameterError
from mcgrad.jobs import checkpoint
from mcgrad.jobs.identity import AnyState, Identity, identity_of
from mcgrad.jobs.job import Job
from mcgrad.jobs.jobfile import Entry
from mcgrad.results.files import paths
from mcgrad.system.printable import near
from mcgrad.validate.verification import REFERENCE

AHEAD = 2  # jobs prepared while one runs; each holds its data and its compiled code

Item = TypeVar("Item")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Complete:
    """A job whose result is complete already, at `path`."""

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
        Time of compiling or loading it.
    identity : Identity
        For its checkpoints.
    resume : RunState, RowState, UntilState or None
        State of an earlier run, from which it continues.
    note : str
        Message on whether it continues an earlier run, or empty.
    begun : DrawsOfShard, RowsOfShard or None
        Of a shard, its state before anything is done.
    """

    job: Job
    estimator: Estimator
    seconds: float
    identity: Identity
    resume: AnyState | None
    note: str
    begun: AnyState | None = None

    @property
    def expected(self) -> int:
        """With how many draws the run is expected to end."""
        return self.identity.expected(self.resume or self.begun)

    @property
    def done(self) -> int:
        """Draws of the earlier run."""
        return self.identity.drawn(self.resume) if self.resume else 0


def prepare(entry: Entry, resume: bool) -> Complete | Ready:
    """Read and compile a job; with `resume`, first look for its result, then for a checkpoint of an earlier run."""
    with entry.references.surroundings:
        return _prepared(entry.job(), resume, entry.refusal)


def _prepared(job: Job, resume: bool, refusal: ParameterError | None) -> Complete | Ready:
    found, note = _left(job) if resume else (None, "")
    if isinstance(found, Complete):
        return found
    if refusal:
        raise refusal
    start = time.perf_counter()
    estimator, note = _continued(job, found, note) if found else (None, note)
    if estimator is None:
        estimator, found = job.estimator(), None
    begun = job.part(estimator, job.shard).begun if job.shard else None
    return Ready(job, estimator, time.perf_counter() - start, _identity(job, estimator), found, note, begun)


def in_turn(items: Iterable[Item], work: Callable[[Item], Made]) -> Generator[tuple[Item, Future[Made]], None, None]:
    """Yield each item with the result of `work`, which runs in a thread, a few items ahead."""
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


def _left(job: Job) -> tuple[Complete | AnyState | None, str]:
    """Return the result or the state of an earlier run of a job, if there is any, with a message."""
    result, path = paths(job.out)[0], checkpoint.path_for(job.out)
    if not os.path.exists(result) and not os.path.exists(path):  # false for paths that are too long
        return None, ""
    identity, note = _identity(job, job.estimator(REFERENCE)), ""  # traced, not compiled
    if os.path.exists(result):
        try:
            if job.shard:
                _refuse_backend(job, result, checkpoint.read_shard(result, identity).state.backend)
                return Complete(job, result), ""
            estimate = checkpoint.read_result(result, identity)
            _refuse_backend(job, result, estimate.backend)
            nonfinite = int(np.sum(estimate.nonfinite))
            if nonfinite and job.options.nonfinite == "raise":
                raise ParameterError(f"{result}, nonfinite", f"{nonfinite:,}", "0")
            return Complete(job, result), ""
        except ParameterError as error:
            note = f"runs again: {_located(error, result)}"
    if os.path.exists(path):
        try:
            state = checkpoint.read(path, identity)
            _refuse_backend(job, path, state.backend)
            return state, f"resumed at {identity.place(state)}"
        except ParameterError as error:
            note = f"starts anew: {_located(error, path)}"
    return None, note


def _continued(job: Job, state: AnyState, note: str) -> tuple[Estimator | None, str]:
    """Return an estimator that continues an earlier run, on its backend, or the reason why it cannot."""
    try:
        estimator = job.estimator(state.backend)
        if not job.resumes(estimator, state):
            given = f"{state.stop:,}" if isinstance(state, RunState) else state.place
            raise ParameterError(f"{checkpoint.path_for(job.out)}, stop", given, "the end of a chunk, merged as now")
        return estimator, note
    except (BackendError, ParameterError) as error:
        return None, f"starts anew: {_located(error, checkpoint.path_for(job.out))}"


def _identity(job: Job, estimator: Estimator) -> Identity:
    with job.located():
        omitted = job.options.nonfinite == "omit"
        return identity_of(estimator, job.n, job.seed, omitted, job.rows, job.until, job.shard)


def _located(error: Exception, path: Path) -> str:
    """Return the message of an error about a file, with a path relative to the working folder where that is shorter."""
    return str(error).replace(str(path), near(path))


def _refuse_backend(job: Job, path: Path, found: str) -> None:
    if job.options.backend not in (AUTO, found):
        raise ParameterError(f"{path}, backend", repr(found), repr(job.options.backend))
