"""The identity of a run: what a checkpoint or a result must have in common with a job to be of it."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from mcgrad import __version__
from mcgrad.engine.call import Call, RowState, RunState, State
from mcgrad.engine.estimator import Estimator
from mcgrad.engine.shard import DrawsOfShard, RowsOfShard, Shard, ShardState
from mcgrad.engine.until import Looks, UntilState
from mcgrad.errors import renamed
from mcgrad.results.batch_estimate import BatchEstimate
from mcgrad.results.estimate import Estimate
from mcgrad.results.stopping import StoppingRule

AnyState: TypeAlias = State | UntilState | ShardState


@dataclass(frozen=True)
class Identity:
    """What two runs must have in common for one to continue the other.

    Parameters
    ----------
    n, seed : int
        Of a run that stops, the most draws.
    dtype : str
    omitted : bool
        Whether non-finite draws are left out.
    problem : str
        Fingerprint of integrand, distribution, parameters and data.
    version : str
        Version of mcgrad. Other versions may cut the draws into other chunks, and differ in the last digits.
    until : dict or None
        The rule of a run that stops, as fields.
    shard : list of int, or None
        Of a shard, its number and how many there are.
    """

    n: int
    seed: int
    dtype: str
    omitted: bool
    problem: str
    version: str
    until: dict[str, Any] | None = field(default=None, kw_only=True)
    shard: list[int] | None = field(default=None, kw_only=True)

    @property
    def looks(self) -> Looks | None:
        """Where the run looks at its error, if it does."""
        if self.until is None:
            return None
        return Looks(StoppingRule(**self.until), self.seed, 0, self.own_rows, self.of_points)

    def drawn(self, state: AnyState) -> int:
        """Return how many draws are done in a state of the run."""
        if isinstance(state, UntilState):
            assert self.looks
            return self.looks.drawn(state)
        if isinstance(state, DrawsOfShard):
            return state.done - state.start
        if isinstance(state, RowsOfShard):
            return state.rows * self.of_each + (state.row.stop if state.row else 0)
        return Call(self.seed, 0, self.n).drawn(state)

    def place(self, state: AnyState) -> str:
        """Return where a run is in a state, as text."""
        if isinstance(state, UntilState):
            return state.place
        if isinstance(state, DrawsOfShard | RowsOfShard):
            return f"{state.place} of {state.stop - state.start:,}"
        replicates = state.replicates if isinstance(state, RowState) else None
        last = replicates[1] if replicates else self.n if isinstance(state, RunState) else self.size
        return f"{state.place} of {last:,}"

    def expected(self, state: AnyState | None) -> int:
        """Return with how many draws the run is expected to end."""
        if isinstance(state, DrawsOfShard):
            return state.stop - state.start
        if isinstance(state, RowsOfShard):
            return (state.stop - state.start) * self.of_each
        if self.looks is None:
            return self.n * self.own_rows
        assert not isinstance(state, State)
        return self.looks.expected(state.looks, state.accuracy) if state else self.looks.expected(0, None)

    @property
    def size(self) -> int:
        """Number of rows: 1 without a batch."""
        return 1

    @property
    def own_rows(self) -> int:
        """Number of rows with draws of their own."""
        return 1

    @property
    def of_points(self) -> int:
        """Number of replicates of a point set: 1 of independent draws."""
        return 1

    @property
    def of_each(self) -> int:
        """Draws of each row of a shard, or of each of its replicates, of all rows together."""
        return self.n // self.of_points * (1 if self.of_points == 1 else self.own_rows)

    def of_result(self, estimate: Estimate | BatchEstimate) -> bool:
        """Whether a result is of a run of this kind, with one problem or the same rows."""
        return isinstance(estimate, Estimate)


@dataclass(frozen=True)
class PointIdentity(Identity):
    """What two runs over replicates of a point set must have in common; `problem` is also of its generator.

    Parameters
    ----------
    replicates : int
    """

    replicates: int

    def drawn(self, state: AnyState) -> int:
        """Return how many draws are done in a state of the run, whose rows are replicates."""
        if not isinstance(state, State):
            return super().drawn(state)
        return Call(self.seed, 0, self.n // self.replicates).drawn(state)

    def place(self, state: AnyState) -> str:
        """Return where a run is in a state, as text: its rows are replicates."""
        return super().place(state).replace("row", "replicate")

    @property
    def size(self) -> int:
        """Number of replicates."""
        return self.replicates

    @property
    def of_points(self) -> int:
        """Number of replicates."""
        return self.replicates

    def of_result(self, estimate: Estimate | BatchEstimate) -> bool:
        """Whether a result is of a run with the same replicates."""
        if not isinstance(estimate, Estimate) or not estimate.replicates:
            return False
        return estimate.replicates.numbers == ((0, self.replicates),)


@dataclass(frozen=True)
class BatchIdentity(Identity):
    """What two runs over a batch must have in common.

    Parameters
    ----------
    batch_shape : list of int
    reduce : str or None
    rows : str
        Hash of the numbers of the rows.
    common_noise : bool
    replicates : int
        Of a point set, or 1.
    """

    batch_shape: list[int]
    reduce: str | None
    rows: str
    common_noise: bool
    replicates: int

    @property
    def size(self) -> int:
        """Number of rows."""
        return math.prod(self.batch_shape)

    @property
    def own_rows(self) -> int:
        """Number of rows with draws of their own."""
        return 1 if self.common_noise else self.size

    @property
    def of_points(self) -> int:
        """Number of replicates of a point set: 1 of independent draws."""
        return self.replicates

    def of_result(self, estimate: Estimate | BatchEstimate) -> bool:
        """Whether a result is of a run with the same rows."""
        if not isinstance(estimate, BatchEstimate):
            return False
        found = list(estimate.batch_shape), estimate.reduce, hash_of_rows(estimate.rows), estimate.total is not None
        replicates = estimate.replicates.numbers if estimate.replicates else ((0, 1),)
        mine = self.batch_shape, self.reduce, self.rows, self.common_noise
        return found == mine and replicates == ((0, self.replicates),)


def hash_of_rows(numbers: npt.NDArray[np.int64]) -> str:
    """Return a hash of the numbers of rows, in C order."""
    return hashlib.blake2b(np.ascontiguousarray(numbers, "<i8").tobytes(), digest_size=16).hexdigest()


def identity_of(
    estimator: Estimator,
    n: int | None,
    seed: int,
    omitted: bool,
    rows: Any = None,
    until: StoppingRule | None = None,
    shard: Shard | None = None,
) -> Identity:
    """Return the identity of a run.

    Parameters
    ----------
    estimator : Estimator
    n : int or None
        Draws of a run without a rule.
    seed : int
    omitted : bool
        Whether non-finite draws are left out.
    rows : array_like of int, optional
        The numbers of the rows of a batch.
    until : StoppingRule, optional
        Of a run that stops.
    shard : Shard, optional

    Raises
    ------
    ParameterError
        Names `rows`, where they do not fit, or the argument of the rule that does not.
    """
    numbers, batch, fields = estimator.row_numbers(rows), estimator.derived.batch, None
    if until is not None:
        with renamed(lambda name: f"until.{name}"):
            until = estimator.looks(until, seed, rows=rows).rule
        n, fields = until.bounds[1], until.to_fields()
    assert n is not None
    common = (n, seed, estimator.dtype, omitted, estimator.fingerprint, __version__)
    sampler, part = estimator.derived.sampler, [shard.number, shard.count] if shard else None
    replicates = sampler.replicates if sampler.is_point_set else 1
    if numbers is None or batch is None:
        if sampler.is_point_set:
            return PointIdentity(*common, replicates, until=fields, shard=part)
        return Identity(*common, until=fields, shard=part)
    of_rows = list(numbers.shape), batch.reduce, hash_of_rows(numbers), batch.common_noise, replicates
    return BatchIdentity(*common, *of_rows, until=fields, shard=part)
