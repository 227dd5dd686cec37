"""Average a Program over the points of many replicates of a point set: each is a row with a seed of its own.

So replicates run as the rows of a batch do: in threads, by kernels that take many rows at once, with the same bits in
any order. The result is about the means over the points of each: so many independent observations, however many points
there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from mcgrad.backends.base import Partial, RowPartial
from mcgrad.engine.call import Call, PartOfRows, RowState, State
from mcgrad.engine.epilogue import Finisher
from mcgrad.engine.row_averager import RowAverager
from mcgrad.engine.row_epilogue import Finished
from mcgrad.engine.shard import RowsOfShard
from mcgrad.inputs.sampler import Sampler
from mcgrad.ir.spaces import Values
from mcgrad.moments import Moments
from mcgrad.noise.replicates import seeds_of_replicates
from mcgrad.results.replicates import ReplicateMeans
from mcgrad.results.row_moments import RowMoments
from mcgrad.system.kind import Kinds

NONE = np.zeros(0)


class Average(NamedTuple):
    """Means of the replicates, moments of these, with the time in seconds and the name of the backend."""

    replicates: ReplicateMeans
    partial: Partial
    seconds: float
    backend: str


def of_replicates(call: Call, done: int, count: int) -> Iterator[Call]:
    """Yield the call for each replicate of a batch but those that are done, of so many."""
    for seed in seeds_of_replicates(call.seed, call.first_replicate, count)[done:]:
        first, n = call.first // count, call.n // count
        yield replace(call, seed=int(seed), first=first, n=n, watch=None, resume=None, part=None)


class MeansOfReplicates:
    """Moments of the means of replicates of a batch, to which each adds its own.

    Parameters
    ----------
    count : int
        Of all replicates.
    begun : RowState or RowsOfShard, optional
        Of an earlier run, after some of them.
    part : PartOfRows, optional
        Of a shard, the replicates: then the means of each are kept, too.

    Attributes
    ----------
    done : int
    """

    def __init__(self, count: int, begun: RowState | RowsOfShard | None = None, part: PartOfRows | None = None) -> None:
        self._count, self.done = count, 0
        self._part, self._kept = part, list[tuple[int, RowPartial]]()
        self._rows: RowMoments | None = None
        self._totals, self._nonfinite = Moments(0, NONE, NONE), np.zeros(0, np.int64)
        if isinstance(begun, RowsOfShard):
            for _, partial in begun.partials:
                self.add(finished_of(partial))
        elif begun and begun.replicates:
            partial, self.done = begun.partial, begun.replicates[0]
            self._rows = RowMoments(partial.counts, partial.means, partial.norms, NONE, NONE)
            self._totals, self._nonfinite = Moments(self.done, partial.totals, partial.variances), partial.nonfinite

    def add(self, found: Finished) -> None:
        """Take the means of one replicate: those of rows without a draw that counts are left out."""
        moments = found.moments
        counts = (moments.counts > 0).astype(np.int64)
        one = RowMoments(counts, moments.means, np.zeros_like(moments.norms), NONE, NONE)
        self._rows = one if self._rows is None else self._rows.merge(one, 0.0)
        self._totals = self._totals.merge(Moments(1, moments.totals, np.zeros_like(moments.totals)))
        self._nonfinite = self._nonfinite + found.nonfinite if self.done else found.nonfinite
        self.done += 1
        if self._part:
            sums = moments.totals, moments.variances, moments.degrees
            rows = RowPartial(moments.counts, moments.means, moments.norms, found.nonfinite, *sums)
            self._kept.append((self.done, rows))

    def state(self, seconds: float, backend: str, kinds: Kinds) -> RowState | RowsOfShard:
        """Return the state of the run."""
        if self._part:
            return RowsOfShard(self._part.start, self._part.stop, (*self._kept,), None, seconds, backend, kinds)
        assert self._rows is not None
        rows, totals = self._rows, self._totals
        sums = totals.mean, totals.norm, np.zeros_like(totals.mean)
        partial = RowPartial(rows.counts, rows.means, rows.norms, self._nonfinite, *sums)
        return RowState(len(rows.counts), partial, None, seconds, backend, (self.done, self._count), kinds)

    @property
    def finished(self) -> Finished:
        """The moments."""
        assert self._rows is not None
        totals, rows = self._totals, self._rows
        variances = np.square(totals.stderr)
        degrees = np.full(len(totals.mean), totals.count - 1.0)
        moments = RowMoments(rows.counts, rows.means, rows.norms, totals.mean, variances, degrees)
        return Finished(moments, self._nonfinite)


def finished_of(partial: RowPartial) -> Finished:
    """Return the completed moments of one replicate of a batch from a state of a shard."""
    sums = partial.totals, partial.variances, partial.degrees
    return Finished(RowMoments(partial.counts, partial.means, partial.norms, *sums), partial.nonfinite)


class ReplicateAverager:
    """Averages one Program over replicates.

    Parameters
    ----------
    sampler : Sampler
        Of a point set.
    rows : RowAverager
        Of the Program.
    finish : Finisher
    omit : bool
        Whether draws with a non-finite output are left out.
    random : int
        Coordinates of a draw that points do not have.
    """

    def __init__(self, sampler: Sampler, rows: RowAverager, finish: Finisher, omit: bool, random: int) -> None:
        self._sampler, self._rows, self._finish, self._omit, self._random = sampler, rows, finish, omit, random

    def __call__(self, values: Values, call: Call) -> Average:
        """Average over the draws of a call, with values of the inputs."""
        rows = np.zeros(self._count(call), np.int64)
        partial, seconds, backend = self._rows(values, rows, self._of_each(call))
        replicates, found = self._finished(partial, values, call)
        return Average(replicates, found, seconds, backend)

    def resumes(self, call: Call) -> bool:
        """Return whether a run goes on from the state of a call."""
        return self._rows.resumes({}, np.zeros(self._count(call), np.int64), self._of_each(call))

    def drawn(self, state: State, call: Call) -> int:
        """Return how many draws are done."""
        assert isinstance(state, RowState)
        return replace(call, n=call.n // self._count(call)).drawn(state)

    def _count(self, call: Call) -> int:
        """Return the number of replicates of a call: fewer in a shard."""
        return self._sampler.replicates if call.replicates is None else call.replicates

    def _of_each(self, call: Call) -> Call:
        """Return the call for each replicate."""
        count = self._count(call)
        seeds = seeds_of_replicates(call.seed, call.first_replicate, count)
        return replace(call, first=call.first // count, n=call.n // count, seeds=seeds)

    def _finished(self, partial: RowPartial, values: Values, call: Call) -> tuple[ReplicateMeans, Partial]:
        """Complete the means of each replicate, and the moments of these means."""
        start = call.first_replicate
        numbers = ((start, start + len(partial.counts)),)
        generator, whole = self._sampler.generator, self._finish.means(partial.means, values)
        if np.isfinite(np.add.reduce(whole, axis=None)):
            found = ReplicateMeans(generator, numbers, partial.counts, whole, random=self._random)
            return found, Partial(found.moments, int(partial.nonfinite.sum()))
        alone = [self._one(partial, i, values) for i in range(len(partial.counts))]
        counts = np.array([each.moments.count for each in alone], np.int64)
        means = np.stack([each.moments.mean for each in alone])
        replicates = ReplicateMeans(generator, numbers, counts, means, random=self._random)
        return replicates, Partial(replicates.moments, sum(each.nonfinite for each in alone))

    def _one(self, partial: RowPartial, i: int, values: Values) -> Partial:
        moments = Moments(int(partial.counts[i]), partial.means[i], partial.norms[i])
        return self._finish.estimate(Partial(moments, int(partial.nonfinite[i])), values, self._omit)
