"""Checkpoints: files with the state of a run, from which a later process continues it.

A run calls a `CheckpointWriter` with its `RunState` after each chunk of draws; `mcgrad run --resume` calls `read`, and
gives the state to `Estimator.run`. Both need the `Identity` of the run, so that a run continues from its own checkpoint
alone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, fields as dataclass_fields
from pathlib import Path
from typing import Any

from mcgrad.errors import ParameterError, renamed, shown
from mcgrad.jobs import shardfile, states
from mcgrad.jobs.identity import AnyState, Identity
from mcgrad.jobs.shardfile import ShardFile
from mcgrad.results.batch_estimate import BatchEstimate
from mcgrad.results.estimate import Estimate
from mcgrad.results.files import result_of
from mcgrad.results.strict_json import DIGEST, dumps, loads, signed, verify_digest
from mcgrad.system.atomic import write

KIND = states.OF_DRAWS.partition("/")[0]  # how the formats of checkpoints start, in any version
SHARE = 0.01  # of the time, at most, goes into writing


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
    return not str(fields.get("format")).startswith(KIND)


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
        self._state: AnyState | None = None  # not in the file yet

    def __call__(self, state: AnyState) -> None:
        """Keep the state of the run, and write it if the last checkpoint was long enough ago."""
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
            self.written, self._state = self._identity.drawn(self._state), None
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


def to_json(identity: Identity, state: AnyState) -> str:
    """Return a checkpoint as text that :func:`read` understands, exactly."""
    fields = states.to_fields(state)
    return dumps(signed({"format": fields["format"], **asdict(identity), **fields}))


def read(path: Path, identity: Identity) -> AnyState:
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
    fields = shardfile.content(path)
    with _in(path):
        if fields.get("format") not in states.FORMATS:
            accepted = f"{states.OF_DRAWS!r}, of a batch {states.OF_ROWS!r}, or {states.OF_LOOKS!r}"
            raise ParameterError("format", shown(fields.get("format", "no format")), accepted)
        verify_digest("", fields)
    _refuse_other(path, fields, asdict(identity))
    with _in(path):
        return states.from_fields(fields, identity.n, identity.size, identity.dtype)


def read_result(path: Path, identity: Identity) -> Estimate | BatchEstimate:
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
    fields = shardfile.content(path)
    with _in(path):
        estimate = result_of(fields)
        if DIGEST not in fields:
            raise ParameterError(DIGEST, "nothing, as in results of earlier versions", "a result with a digest")
    compared = {field.name: getattr(identity, field.name) for field in dataclass_fields(Identity)}
    for name in ("version", "until", "shard", *(["n"] if identity.until else [])):
        del compared[name]
    _refuse_other(path, fields, compared)
    stopping = fields.get("stopping") or {"rule": None}
    _refuse_other(path, {"until": stopping["rule"]}, {"until": identity.until})
    if not identity.of_result(estimate):
        raise ParameterError(f"{path}, rows", "another batch, or other rows or options of it", "those of the job")
    n = estimate.n if identity.until else identity.n
    if estimate.ranges != ((0, n),):
        raise ParameterError(f"{path}, ranges", shown(estimate.ranges), f"the draws 0 to {n - 1:,}")
    return estimate


def read_shard(path: Path, identity: Identity) -> ShardFile:
    """Read the file of a shard that is done; parameters and errors are as for :func:`read`."""
    found = shardfile.read(path)
    _refuse_other(path, {**found.identity, "shard": [found.shard.number, found.shard.count]}, asdict(identity))
    return found


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
