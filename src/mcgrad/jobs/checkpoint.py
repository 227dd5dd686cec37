"""Checkpoints: files with the state of a run, from which a later process continues it.

A run calls a `CheckpointWriter` with its `RunState` after each chunk of draws; `mcgrad run --resume` calls `read`, and
gives the state to `Estimator.run`. Both need the `Identity` of the run, so that a run continues from its own checkpoint
alone.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mcgrad.backends.base import Partial, Shift
from mcgrad.engine.call import RunState, State
from mcgrad.errors import ParameterError, renamed, shown
from mcgrad.results import record
from mcgrad.results.estimate import Estimate
from mcgrad.results.strict_json import DIGEST, dumps, loads, signed, verify_digest
from mcgrad.system.atomic import write

FORMAT = "mcgrad.Checkpoint/4"
SHARE = 0.01  # of the time, at most, goes into writing


@dataclass(frozen=True)
class Identity:
    """What two runs must have in common for one to continue the other.

    Parameters
    ----------
    n, seed : int
    dtype : str
    omitted : bool
        Whether non-finite draws are left out.
    problem : str
        Fingerprint of integrand, distribution, parameters and data.
    version : str
        Version of mcgrad. Other versions may cut the draws into other chunks, and differ in the last digits.
    """

    n: int
    seed: int
    dtype: str
    omitted: bool
    problem: str
    version: str


def path_for(stem: Path) -> Path:
    """Return the path of the checkpoint that belongs to results with this path, without the ending."""
    return stem.with_name(f".{stem.name}.checkpoint.json")


def is_of_others(path: Path) -> bool:
    """Return whether there is a complete file that is no checkpoint; a damaged one may be a checkpoint."""
    if not os.path.isfile(path):  # false for a path that is too long, too
        return False
    try:
        fields = loads(str(path), path.read_bytes(), "JSON")
    except (OSError, ParameterError):
        return False
    return not str(fields.get("format")).startswith(FORMAT.partition("/")[0])


class CheckpointWriter:
    """Writes the state of a run to a file from time to time; called with the state after each chunk of draws.

    Parameters
    ----------
    path : Path
    identity : Identity
    every : float
        Seconds between two; more where writing takes more than a hundredth of them.
    warn : callable
        Called with a message, once, where the file cannot be written. The run goes on, and the next checkpoint is tried
        in its turn.
    clock : callable
        Seconds.

    Attributes
    ----------
    written : int
        Draws in the file.
    """

    def __init__(
        self,
        path: Path,
        identity: Identity,
        every: float,
        warn: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path, self._identity, self._every, self._warn, self._clock = path, identity, every, warn, clock
        self.written = 0
        self._warned = False
        self._due = clock() + every
        self._state: RunState | None = None  # not in the file yet

    def __call__(self, state: State) -> None:
        """Keep the state of the run, and write it if the last checkpoint was long enough ago."""
        assert isinstance(state, RunState)  # jobs are of one problem
        self._state = state
        if self._clock() >= self._due:
            self.flush(last=False)

    def flush(self, last: bool = True) -> None:
        """Write the last state unless the file has it already; `last` says that the run has ended."""
        if self._state is None:
            return
        start = self._clock()
        try:
            write(self.path, to_json(self._identity, self._state).encode())
            self.written, self._state = self._state.stop, None
        except OSError as error:
            if not self._warned:
                further = "" if last else ": the run goes on, and tries again"
                self._warn(f"{self.path} cannot be written ({error.strerror}){further}")
            self._warned = True
        end = self._clock()
        self._due = end + max(self._every, (end - start) / SHARE)

    def remove(self) -> None:
        """Remove the file. An error is ignored: where there are results, --resume does not read the checkpoint."""
        with suppress(OSError):
            self.path.unlink()


def to_json(identity: Identity, state: RunState) -> str:
    """Return a checkpoint as text that :func:`read` understands, exactly."""
    fields = {
        "format": FORMAT,
        **asdict(identity),
        "backend": state.backend,
        "stop": state.stop,
        "seconds": state.seconds,
        "shift": state.shift.tolist(),
        "nonfinite": state.partial.nonfinite,
        "moments": record.of_moments(state.partial.moments),
    }
    return dumps(signed(fields))


def read(path: Path, identity: Identity) -> RunState:
    """Read a checkpoint.

    Parameters
    ----------
    path : Path
    identity : Identity
        Of the run that is to continue.

    Raises
    ------
    ParameterError
        The file is damaged, or of another run. The message has the field that differs.
    """
    fields = _fields(path)
    with _in(path):
        if fields.get("format") != FORMAT:
            raise ParameterError("format", shown(fields.get("format", "no format")), repr(FORMAT))
        verify_digest("", fields)
    _refuse_other(path, fields, asdict(identity))
    with _in(path):
        stop = record.integer("stop", fields.get("stop"), 1, identity.n)
        nonfinite = record.integer("nonfinite", fields.get("nonfinite"), 0, stop)
        moments = record.moments(fields.get("moments"))
        shift = _shift(fields.get("shift"), len(moments.mean), identity.dtype)
        seconds, backend = record.seconds(fields.get("seconds")), record.word("backend", fields.get("backend"))
    return RunState(stop, shift, Partial(moments, nonfinite), seconds, backend)


def _shift(given: Any, size: int, dtype: str) -> Shift:
    accepted = f"a list of {size} finite numbers, or of none"
    if not isinstance(given, list) or len(given) not in (0, size) or not all(type(x) in (int, float) for x in given):
        raise ParameterError("shift", shown(given), accepted)
    try:
        with np.errstate(over="ignore"):
            found = np.array([float(x) for x in given], dtype)
    except OverflowError:
        found = np.array([math.inf])
    if not np.isfinite(found).all():
        raise ParameterError("shift", "numbers that are too large", accepted)
    return found


def read_result(path: Path, identity: Identity) -> Estimate:
    """Read the result of a complete run, of any version.

    Parameters
    ----------
    path : Path
        What `save` wrote.
    identity : Identity
        Of the run that it should be of.

    Raises
    ------
    ParameterError
        The file is damaged, of another run, or of a version that wrote no digest. The message has the field.
    """
    fields = _fields(path)
    with _in(path):
        estimate = Estimate.from_dict(fields)
        if DIGEST not in fields:
            raise ParameterError(DIGEST, "nothing, as in results of earlier versions", "a result with a digest")
    _refuse_other(path, fields, {name: value for name, value in asdict(identity).items() if name != "version"})
    if estimate.ranges != ((0, identity.n),):
        raise ParameterError(f"{path}, ranges", shown(estimate.ranges), f"the draws 0 to {identity.n - 1:,}")
    return estimate


def _fields(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ParameterError(str(path), str(error), "a whole file that mcgrad wrote") from None
    return loads(str(path), content, "a whole file that mcgrad wrote")


def _in(path: Path) -> AbstractContextManager[None]:
    """Name the file before a field that is refused."""
    return renamed(lambda name: f"{path}, {name}")


def _refuse_other(path: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name, value in wanted.items():
        if found.get(name) != value:
            if name == "problem":
                raise ParameterError(
                    f"{path}, problem", "another integrand, distribution, parameters or data", "those of the job"
                )
            raise ParameterError(f"{path}, {name}", shown(found.get(name)), shown(value))
