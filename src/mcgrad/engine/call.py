"""A call of a runner: the draws to average over, and the states of a run, from which a later one continues."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from mcgrad.backends.base import Partial, RowPartial, Shift
from mcgrad.backends.chunks import Chunk
from mcgrad.backends.registry import kinds_of
from mcgrad.noise.rows import Seeds
from mcgrad.system.kind import Kinds
from mcgrad.tasks.fold import Parts, total
from mcgrad.tasks.remote import Remote

if TYPE_CHECKING:
    from mcgrad.engine.shard import ShardState


@dataclass(frozen=True, slots=True)
class RunState:
    """The state of a run after a chunk: another run, in any process, continues from it.

    Parameters
    ----------
    stop : int
        The next draw: a chunk ends here.
    shift : array
        About which the sums of all chunks after the first are taken.
    parts : tuple of Partial or None
        What is merged of the draws before `stop`: the state of a `Fold`.
    seconds : float
        Wall-clock time so far.
    backend : str
        Name of the backend.
    kinds : tuple of Kind
        Of the processes that averaged so far.
    """

    stop: int
    shift: Shift
    parts: Parts
    seconds: float
    backend: str
    kinds: Kinds = ()

    @property
    def partial(self) -> Partial:
        """Over all draws before `stop`."""
        return total(self.parts)

    @property
    def place(self) -> str:
        """Where the run is, as text."""
        return f"draw {self.stop:,}"


@dataclass(frozen=True, slots=True)
class RowState:
    """The state of a run over the rows of a batch, after a range of rows, or after a chunk of the draws of a long row.

    Parameters
    ----------
    rows : int
        Rows that are done: a range of rows ends here.
    partial : RowPartial
        Over these rows.
    row : RunState or None
        Of the next row, where some of its draws are done.
    seconds, backend, kinds
        As of a `RunState`.
    replicates : (int, int), optional
        Of a batch over points, how many replicates are done, and how many there are. All rows are then done in those;
        `partial` has the moments of the means of replicates, and for its sums those of their totals, with the roots of
        sums of squared deviations in the place of variances.
    """

    rows: int
    partial: RowPartial
    row: RunState | None
    seconds: float
    backend: str
    replicates: tuple[int, int] | None = None
    kinds: Kinds = ()

    @property
    def place(self) -> str:
        """Where the run is, as text."""
        if self.replicates:
            return f"replicate {self.replicates[0]:,}"
        return f"{f'{self.row.place} of ' if self.row else ''}row {self.rows:,}"


@dataclass(frozen=True, slots=True)
class PartOfDraws:
    """The draws start .. stop of a call whose chunks are those of all its draws: of a shard."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class PartOfRows:
    """Rows of a larger batch, or replicates of a larger point set: of a shard.

    Parameters
    ----------
    start, stop : int
        Which rows of the whole, or replicates, the rows of the call are.
    ranges : tuple of (int, int), optional
        The ranges that they are cut into, counted from `start`.
    whole : (int, int), optional
        Of a point set: the first draw and the number of draws of all replicates.
    """

    start: int
    stop: int
    ranges: tuple[Chunk, ...] | None = None
    whole: tuple[int, int] | None = None


State: TypeAlias = RunState | RowState
Watch: TypeAlias = Callable[[Any], None]  # of a State, or of a ShardState in a shard


@dataclass(frozen=True, slots=True)
class Call:
    """What a runner is asked for: the draws first .. first + n of a seed, of a batch those of each row.

    Parameters
    ----------
    seed, first, n : int
    watch : callable, optional
        Called with the state after each chunk of draws, or range of rows.
    resume : RunState or RowState, optional
        Continue from this state of an earlier run.
    seeds : uint64 array, shape (rows,), optional
        Of the rows of a batch that have a seed each, in place of `seed`.
    first_replicate : int
        Of a point set, the number of the first replicate.
    remote : Remote, optional
        Runs on an executor rather than in threads of this process.
    replicates : int, optional
        Of a shard of a run over a point set, how many replicates.
    part : PartOfDraws or PartOfRows, optional
        Of a shard, what is worked out; states are then of the shard.
    """

    seed: int
    first: int
    n: int
    watch: Watch | None = None
    resume: State | ShardState | None = None
    seeds: npt.NDArray[np.uint64] | None = None
    first_replicate: int = 0
    remote: Remote | None = None
    replicates: int | None = None
    part: PartOfDraws | PartOfRows | None = None

    @property
    def draws(self) -> tuple[int, int]:
        """The draws that are averaged, from the first to the end."""
        return (self.part.start, self.part.stop) if isinstance(self.part, PartOfDraws) else (self.first, self.stop)

    @property
    def of_rows(self) -> Seeds:
        """The seed of all rows, or the seeds of each."""
        return self.seed if self.seeds is None else self.seeds

    @property
    def stop(self) -> int:
        """The end of the draws."""
        return self.first + self.n

    def kinds(self, backend: str) -> Kinds:
        """Return the kinds of the processes that have averaged so far, on backends whose names are joined by "+"."""
        if self.remote is None and self.resume is None:
            return kinds_of(backend)
        elsewhere = self.remote.kinds if self.remote else ()
        earlier = self.resume.kinds if self.resume else ()
        names = backend.split("+")
        return tuple(sorted({*kinds_of(backend), *(kind for kind in (*elsewhere, *earlier) if kind.backend in names)}))

    def drawn(self, state: State) -> int:
        """Return how many draws are done: with a `RowState` those of all rows together."""
        if isinstance(state, RunState):
            return state.stop - self.first
        if state.replicates:
            return state.rows * self.n * state.replicates[0] // state.replicates[1]
        return state.rows * self.n + (state.row.stop - self.first if state.row else 0)
