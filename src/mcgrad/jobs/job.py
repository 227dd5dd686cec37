"""A job, read and checked: integrand, distribution, options of the Estimator, and the path of its results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mcgrad.distributions.base import Distribution
from mcgrad.engine.call import State
from mcgrad.engine.estimator import Estimator
from mcgrad.engine.options import Options, Request
from mcgrad.engine.shard import DrawsOfShard, RowsOfShard, Shard
from mcgrad.engine.shard_run import PartOfRun, ShardRun
from mcgrad.engine.until import UntilState
from mcgrad.errors import renamed
from mcgrad.inputs.arguments import called
from mcgrad.jobs.identity import AnyState
from mcgrad.results.batch_estimate import BatchEstimate
from mcgrad.results.estimate import Estimate
from mcgrad.results.stopping import StoppingRule


@dataclass(frozen=True)
class Location:
    """Where a job is in a job file, for errors.

    Parameters
    ----------
    file : str
        The job file, as given.
    table : str
        Such as "[[job]] 2", or empty.
    options : frozenset of str
        Keys whose values are from the command line.
    """

    file: str
    table: str = ""
    options: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return ", ".join(part for part in (self.file, self.table) if part)

    def key(self, path: str) -> str:
        """Name a key of the job in full."""
        if path.partition(".")[0] in self.options:
            return f"--{path}"
        return ", ".join(part for part in (self.file, self.table, path) if part)


@dataclass(frozen=True)
class Job:
    """One job, read and checked.

    Attributes
    ----------
    name : str
    location : Location
    integrand : callable or Integrand
    q : Distribution
    options : Options
        The keywords of an `Estimator`.
    n : int or None
    seed : int
    compare : bool
        Whether to compare with the NumPy reference, over `n_compare` draws.
    n_compare : int
    out : Path
        Where results go, without the ending.
    rows : int array or None
        The numbers of the rows of a batch.
    until : StoppingRule or None
        When the run stops, in place of `n`.
    shard : Shard or None
        Which part of the run is worked out, if not all.
    surroundings : context manager
        Context for calls of functions from the job's Python files.
    """

    name: str
    location: Location
    integrand: Any
    q: Distribution
    options: Options
    n: int | None
    seed: int
    compare: bool
    n_compare: int
    out: Path
    rows: Any = None
    until: StoppingRule | None = None
    shard: Shard | None = None
    surroundings: AbstractContextManager[None] = field(default_factory=nullcontext)

    @property
    def request(self) -> Request:
        """The arguments of the job's Estimator."""
        return Request(self.integrand, self.q, self.options)

    def estimator(self, backend: str | None = None) -> Estimator:
        """Compile the job, for another backend than its own if one is given."""
        with self.located():
            return Estimator.of(self.request.change(backend=backend or self.options.backend))

    def run(
        self,
        estimator: Estimator,
        watch: Callable[[Any], None],
        resume: AnyState | None,
        executor: Any = None,
        require_same: bool = False,
    ) -> Estimate | BatchEstimate:
        """Run the job; parameters are as for `Estimator.run` and `Estimator.run_until`."""
        where = {"rows": self.rows, "executor": executor, "require_same": require_same}
        assert not isinstance(resume, DrawsOfShard | RowsOfShard)
        if self.until is None:
            assert self.n is not None
            assert not isinstance(resume, UntilState)
            return estimator.run(self.n, self.seed, watch=watch, resume=resume, **where)
        assert not isinstance(resume, State)
        return estimator.run_until(self.until, self.seed, watch=watch, resume=resume, **where)

    def run_shard(
        self, estimator: Estimator, shard: Shard, watch: Callable[[Any], None], resume: AnyState | None
    ) -> ShardRun:
        """Run one shard of the job; parameters are as for `Estimator.run_shard`."""
        assert self.n is not None
        assert not isinstance(resume, State | UntilState)
        return estimator.run_shard(shard, self.n, self.seed, rows=self.rows, watch=watch, resume=resume)

    def part(self, estimator: Estimator, shard: Shard) -> PartOfRun:
        """Return the part of the run that a shard has."""
        assert self.n is not None
        return estimator.part(shard, self.n, self.seed, rows=self.rows)

    def resumes(self, estimator: Estimator, state: AnyState) -> bool:
        """Return whether a run of the job goes on from a state."""
        if isinstance(state, DrawsOfShard | RowsOfShard):
            if not self.shard:
                return False
            part = self.part(estimator, self.shard)
            return part.resumes(replace(part.call, resume=state))
        if self.shard:
            return False
        if isinstance(state, UntilState):
            return self.until is not None and estimator.resumes_until(
                state, estimator.looks(self.until, self.seed, rows=self.rows), self.rows
            )
        return self.n is not None and estimator.resumes(state, self.n, rows=self.rows)

    @contextmanager
    def located(self) -> Iterator[None]:
        """Enter the job's surroundings; rename parameters in errors to their keys in the job file."""
        with renamed(self._key), self.surroundings:
            yield

    def _key(self, parameter: str) -> str:
        """Name the key of the job file that gives a parameter of `Estimator`."""
        head = parameter.partition(".")[0]
        homes = {"distribution": self.q.params, "params": self.options.params or {}, "data": self.options.data or {}}
        home = next((f"{key}." for key, names in homes.items() if head in names), "")
        return self.location.key("integrand" if head in ("f", called(self.integrand)) else f"{home}{parameter}")
