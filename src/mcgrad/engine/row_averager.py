"""Average a Program over the draws of many rows, on the chosen backend, or on the next best one where that fails.

What `Averager` does for one problem. A kernel that takes many rows at once has ranges of them in several threads, and
partials are merged in the order of the rows; other kernels take row by row.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import replace
from itertools import chain, islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mcgrad.arrays import all_to_host
from mcgrad.backends import chunks
from mcgrad.backends.base import (
    BoundRows,
    Kernel,
    Partial,
    RowPartial,
    Shift,
    limits_of_rows,
    load_rows,
)
from mcgrad.backends.row_by_row import by_row, together
from mcgrad.engine.call import Call, PartOfRows, RowState, RunState
from mcgrad.engine.dispatch import Dispatched, Running
from mcgrad.engine.groups import Groups
from mcgrad.engine.row_fold import RowFold
from mcgrad.engine.run import resumes, run
from mcgrad.engine.shard import DrawsOfShard, RowsOfShard, Shard
from mcgrad.engine.threads import in_order, thread_count
from mcgrad.errors import BackendError
from mcgrad.ir.spaces import RowInput, Values
from mcgrad.noise.rows import first_of_row, seed_of
from mcgrad.tasks.fold import Parts
from mcgrad.tasks.remote import Work
from mcgrad.tasks.runs import bound_rows

MANY = 16  # chunks of draws in a row, from which on a row is spread over all threads

Numbers = npt.NDArray[np.int64]


class RowAverage(NamedTuple):
    """Moments of the random outputs, with the time that the run took, in seconds, and the name of its backend."""

    partial: RowPartial
    seconds: float
    backend: str


class RowAverager:
    """Averages one Program over many rows.

    Parameters
    ----------
    dispatched : Dispatched
        The Program on its backend.
    groups : Groups
        Of draws that are averaged together.
    omit : bool
        Whether draws with a non-finite output are left out.
    threads : int, optional
        Default: by the environment and the processors, at each call.
    """

    def __init__(self, dispatched: Dispatched, groups: Groups, omit: bool, threads: int | None) -> None:
        self._dispatched, self._groups, self._omit, self._threads = dispatched, groups, omit, threads
        self._by_row, self._empty = by_row(dispatched.program), together(dispatched.program, [])
        self._not_long: tuple[Kernel, int, int] | None = None

    def __call__(self, values: Values, numbers: Numbers, call: Call) -> RowAverage:
        """Average over the draws of a call, of each row.

        Parameters
        ----------
        values : mapping from Input to array
            Those by row with the rows on the first axis.
        numbers : int array, shape (rows,)
        call : Call
        """
        while True:
            running = self._dispatched.running
            try:
                return self._on(running, values, numbers, call)
            except BackendError as error:
                if call.part:  # another backend has other ranges, and so do its shards
                    raise
                self._dispatched.fall_back(running, error)
                values, call = all_to_host(values), replace(call, resume=None)  # another backend has other ranges

    def resumes(self, values: Values, numbers: Numbers, call: Call) -> bool:
        """Return whether a run goes on from the state of a call: a range of rows, or a chunk of one, ends there."""
        kernel, state = self._dispatched.running.kernel, call.resume
        if not isinstance(state, RowState | RowsOfShard) or state.rows > len(numbers):
            return False
        start, stop = self._groups.of(call.first), self._groups.of(call.stop)
        is_long, given = self._is_long(kernel, start, stop), _ranges_given(call)
        if is_long:
            ranges: Iterable[tuple[int, int]] = ((row, row + 1) for row in range(len(numbers)))
        else:
            ranges = self._ranges(kernel, values, numbers, stop - start) if given is None else given
        if isinstance(state, RowsOfShard) and not (state.of(call.part) and state.ends_at(ranges)):
            return False
        if not is_long:
            return state.row is None and chunks.ends_at(ranges, state.rows)
        if state.row is None:
            return True
        if state.rows == len(numbers):
            return False
        offset = self._offset(numbers[state.rows])
        row = replace(state.row, stop=offset + self._groups.of(state.row.stop))
        return resumes(kernel.chunks(offset + start, stop - start), row)

    def part(self, values: Values, numbers: Numbers, call: Call, shard: Shard) -> PartOfRows:
        """Return which rows of a call a shard has: ranges of rows; where rows are long, whole rows.

        Parameters are as for a call.
        """
        kernel = self._dispatched.running.kernel
        start, stop = self._groups.of(call.first), self._groups.of(call.stop)
        if self._is_long(kernel, start, stop):
            return PartOfRows(*shard.of_items(len(numbers)))
        ranges = shard.of_ranges(self._ranges(kernel, values, numbers, stop - start))
        first = ranges[0][0] if ranges else 0
        own = tuple((begin - first, end - first) for begin, end in ranges)
        return PartOfRows(first, ranges[-1][1] if ranges else first, own)

    def _ranges(self, kernel: Kernel, values: Values, numbers: Numbers, n: int) -> Iterable[tuple[int, int]]:
        """Return the ranges of the rows of a call; only some of the values need to be there."""
        return self._bound(kernel, {**self._ones(values, len(numbers)), **values}, numbers).chunks(n)

    def _ones(self, values: Values, rows: int) -> Values:
        """Return ones for inputs that are not among the values: ranges of rows do not depend on them."""
        missing = [var for var in self._dispatched.program.equations() if var.op == "input" and var.attrs not in values]
        return {
            var.attrs: np.ones((rows, *var.shape) if isinstance(var.attrs, RowInput) else var.shape) for var in missing
        }

    def _on(self, running: Running, values: Values, numbers: Numbers, call: Call) -> RowAverage:
        kernel, resume = running.kernel, call.resume
        assert not isinstance(resume, RunState | DrawsOfShard)
        if not getattr(kernel, "takes_device_arrays", False):
            values = all_to_host(values)
        start, stop = self._groups.of(call.first), self._groups.of(call.stop)
        is_long = self._is_long(kernel, start, stop)
        if not is_long:
            load_rows(kernel, start, stop)
        with kernel.limits() if is_long else limits_of_rows(kernel, start, stop):
            whole = RowFold(len(numbers), self._empty, running.backend.name, call)
            (self._long_rows if is_long else self._rows)(kernel, values, numbers, call, whole)
            return RowAverage(whole.partial, whole.seconds, whole.backend)

    def _rows(self, kernel: Kernel, values: Values, numbers: Numbers, call: Call, whole: RowFold) -> None:
        """Average ranges of rows, each in one thread."""
        start, stop = self._groups.of(call.first), self._groups.of(call.stop)
        bound = self._bound(kernel, values, numbers)
        into = getattr(bound, "partial_into", None)

        def partial(rows: tuple[int, int]) -> RowPartial:
            if into is None:
                return bound.partial(call.of_rows, start, stop, rows, self._omit)
            found: RowPartial = into(whole.places(rows), call.of_rows, start, stop, rows, self._omit)
            return found

        given = _ranges_given(call)
        cut = bound.chunks(stop - start) if given is None else given
        ranges = chunks.after(cut, whole.rows)
        two = list(islice(ranges, 2))
        if len(two) == 1 and not call.watch:
            whole.add(two[0], partial(two[0]))
            return
        parts: Generator[tuple[tuple[int, int], RowPartial], None, None]
        if call.remote and len(two) > 1:
            work = Work(self._dispatched.program, values, whole.backend, self._omit)
            parts = call.remote.of_rows(work, (start, stop), cut, two[0][0], numbers, call.of_rows)
        else:
            parts = in_order(partial, chain(two, ranges), self._workers(kernel) if len(two) > 1 else 1)
        with closing(parts):
            for rows, part in parts:
                whole.add(rows, part)
                if call.watch:
                    call.watch(whole.state())

    def _bound(self, kernel: Kernel, values: Values, numbers: Numbers) -> BoundRows:
        return bound_rows(self._dispatched.program, kernel, values, numbers)

    def _long_rows(self, kernel: Kernel, values: Values, numbers: Numbers, call: Call, whole: RowFold) -> None:
        """Average row by row, each over chunks of draws in all threads."""
        begun = whole.row
        for row in range(whole.rows, len(numbers)):
            of_row = {name: x[row] if name in self._by_row else x for name, x in values.items()}
            own = replace(call, seed=seed_of(call.of_rows, row))
            part = self._long_row(kernel, of_row, numbers[row], own, whole, begun)
            whole.add((row, row + 1), together(self._dispatched.program, [part]))
            begun = None
            if call.watch:
                call.watch(whole.state())

    def _long_row(
        self, kernel: Kernel, values: Values, number: np.int64, call: Call, whole: RowFold, begun: RunState | None
    ) -> Partial:
        """Average one row, of which some draws may be done."""
        offset, groups, watch = self._offset(number), self._groups, call.watch

        def after_chunk(stop: int, shift: Shift, parts: Parts) -> None:
            if watch and stop < offset + groups.of(call.stop):
                draw = (stop - offset) * groups.size
                watch(whole.state(RunState(draw, shift, parts, whole.seconds, whole.backend)))

        first, n, omit = offset + groups.of(call.first), groups.of(call.n), self._omit
        resume = begun and replace(begun, stop=offset + groups.of(begun.stop))
        work = Work(self._dispatched.program, values, whole.backend, omit)
        elsewhere = call.remote.of_draws(work, kernel, call.seed, first, n) if call.remote else None
        bound, cut, workers = kernel.bind(values), kernel.chunks(first, n), lambda: self._workers(kernel)
        return run(bound, call.seed, cut, workers, omit, after_chunk, resume, elsewhere)

    def _offset(self, number: np.int64) -> int:
        return first_of_row(int(number), self._dispatched.program.dtype)

    def _workers(self, kernel: Kernel) -> int:
        return kernel.workers(thread_count(self._threads))

    def _is_long(self, kernel: Kernel, start: int, stop: int) -> bool:
        """Whether the draws of one row are work for many threads: by the Program and their number alone."""
        asked = kernel, start, stop
        if asked == self._not_long:  # as in the last call
            return False
        if len(list(islice(kernel.chunks(start, stop - start), MANY))) == MANY:
            return True
        self._not_long = asked
        return False


def _ranges_given(call: Call) -> tuple[tuple[int, int], ...] | None:
    """Return the ranges of rows of a shard, which are those of the whole batch."""
    return call.part.ranges if isinstance(call.part, PartOfRows) else None
