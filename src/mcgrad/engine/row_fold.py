"""The moments of all rows of a batch, which are put in their places range by range, in the order of the ranges."""

from __future__ import annotations

import time

import numpy as np

from mcgrad.backends.base import Array, RowPartial
from mcgrad.engine.call import Call, PartOfRows, RowState, RunState
from mcgrad.engine.shard import DrawsOfShard, RowsOfShard
from mcgrad.moments import Float64Array


class RowFold:
    """The moments of all rows, which are filled range by range: some at the start, where an earlier run goes on.

    Parameters
    ----------
    rows : int
        How many there are.
    empty : RowPartial
        Of no row.
    backend : str
    call : Call, optional
        With the state of an earlier run, if there is one; of a shard, the partial of each range is kept, too.

    Attributes
    ----------
    rows : int
        How many rows are done.
    row : RunState or None
        Of the next row, where an earlier run began with it.
    """

    def __init__(
        self,
        rows: int,
        empty: RowPartial,
        backend: str,
        call: Call | None = None,
    ) -> None:
        resume, part = (call.resume, call.part) if call else (None, None)
        assert not isinstance(resume, RunState | DrawsOfShard)
        self._call, self._part = call, part if isinstance(part, PartOfRows) else None
        k, self._sums = empty.means.shape[1], len(empty.totals)
        self._counts, self._nonfinite = np.empty((2, rows), np.int64)
        # one piece of memory, as the C library keeps the largest that was freed: pages of a new one cost more than sums
        self._memory = np.empty((2, rows, k))
        self._means, self._norms = self._memory
        self._added: tuple[Array, Array, Array] | None = None  # totals, variances and degrees
        self.rows, self.row, self.backend = 0, resume.row if resume else None, backend
        self._only: RowPartial | None = None
        self._kept: list[tuple[int, RowPartial]] = []
        self._start = time.perf_counter() - (resume.seconds if resume else 0.0)
        if isinstance(resume, RowsOfShard):
            for stop, partial in resume.partials:
                self.add((self.rows, stop), partial)
        elif resume:
            self.add((0, resume.rows), resume.partial)

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return time.perf_counter() - self._start

    @property
    def partial(self) -> RowPartial:
        """Of the rows that are done."""
        if self._only:
            return self._only
        done = slice(self.rows)
        means, norms = self._means[done], self._norms[done]
        return RowPartial(self._counts[done], means, norms, self._nonfinite[done], *self._so_far)

    @property
    def _so_far(self) -> tuple[Array, Array, Array]:
        """Totals, variances and degrees of freedom of the rows that are done."""
        return self._added or (np.zeros(self._sums), np.zeros(self._sums), np.zeros(self._sums))

    def places(self, rows: tuple[int, int]) -> tuple[Float64Array, Float64Array]:
        """Return where the means and the norms of a range of rows belong: `add` copies only what is elsewhere."""
        return self._means[slice(*rows)], self._norms[slice(*rows)]

    def add(self, rows: tuple[int, int], part: RowPartial) -> None:
        """Take the moments of the next rows."""
        where, self.rows = slice(*rows), rows[1]
        if self._part:
            self._kept.append((rows[1], part))
        if rows == (0, len(self._counts)):  # nothing to add up
            self._only = part
            return
        self._counts[where], self._nonfinite[where] = part.counts, part.nonfinite
        if part.means.base is not self._memory:
            self._means[where], self._norms[where] = part.means, part.norms
        if self._sums:
            totals, variances, degrees = self._so_far
            with np.errstate(invalid="ignore", over="ignore"):
                self._added = totals + part.totals, variances + part.variances, degrees + part.total_degrees

    def state(self, row: RunState | None = None) -> RowState | RowsOfShard:
        """Return the state of the run, which does not change later; `row` is of the next row."""
        kinds, part = self._call.kinds(self.backend) if self._call else (), self._part
        if part:
            return RowsOfShard(part.start, part.stop, (*self._kept,), row, self.seconds, self.backend, kinds)
        return RowState(self.rows, self.partial, row, self.seconds, self.backend, kinds=kinds)
