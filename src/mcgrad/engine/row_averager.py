"""Average a Program over the draws of many rows, on the chosen backend, or on the next best one where that fails.

What `Averager` does for one problem. A kernel that takes many rows at once has ranges of them in several threads, and
partials are merged in the order of the rows; other kernels take row by row.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from itertools import chain, islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mcgrad.arrays import all_to_host
from mcgrad.backends.base import AveragesRows, BoundRows, Kernel, Partial, RowPartial
from mcgrad.backends.row_by_row import RowByRow, by_row, together
from mcgrad.engine.dispatch import Dispatched, Running
from mcgrad.engine.groups import Groups
from mcgrad.engine.run import run
from mcgrad.engine.threads import in_order, thread_count
from mcgrad.errors import BackendError
from mcgrad.ir.spaces import Values
from mcgrad.noise.rows import first_of_row

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
        self._by_row = by_row(dispatched.program)

    def __call__(
        self,
        values: Values,
        numbers: Numbers,
        seed: int,
        first: int,
        n: int,
        watch: Callable[[int], None] | None = None,
    ) -> RowAverage:
        """Average over the draws first .. first + n of each row.

        Parameters
        ----------
        values : mapping from Input to array
            Those by row with the rows on the first axis.
        numbers : int array, shape (rows,)
        seed, first, n : int
        watch : callable, optional
            Called with the number of rows done.
        """
        while True:
            running = self._dispatched.running
            try:
                return self._on(running, values, numbers, seed, first, n, watch)
            except BackendError as error:
                self._dispatched.fall_back(running, error)
                values = all_to_host(values)

    def _on(
        self,
        running: Running,
        values: Values,
        numbers: Numbers,
        seed: int,
        first: int,
        n: int,
        watch: Callable[[int], None] | None,
    ) -> RowAverage:
        kernel, name = running.kernel, running.backend.name
        if not getattr(kernel, "takes_device_arrays", False):
            values = all_to_host(values)
        start, stop = self._groups.of(first), self._groups.of(first + n)
        with kernel.limits():
            begin = time.perf_counter()
            if _is_long(kernel, start, stop):
                partial = self._long_rows(kernel, values, numbers, seed, start, stop, watch)
            else:
                partial = self._rows(kernel, values, numbers, seed, start, stop, watch)
            return RowAverage(partial, time.perf_counter() - begin, name)

    def _rows(
        self,
        kernel: Kernel,
        values: Values,
        numbers: Numbers,
        seed: int,
        start: int,
        stop: int,
        watch: Callable[[int], None] | None,
    ) -> RowPartial:
        """Average ranges of rows, each in one thread."""
        bound: BoundRows
        if isinstance(kernel, AveragesRows):
            bound = kernel.bind_rows(values, numbers)
        else:
            bound = RowByRow(self._dispatched.program, kernel, values, numbers)

        def partial(rows: tuple[int, int]) -> RowPartial:
            return bound.partial(seed, start, stop, rows, self._omit)

        ranges = iter(bound.chunks(stop - start))
        two = list(islice(ranges, 2))
        threads = self._workers(kernel) if len(two) > 1 else 1
        whole = _Whole(len(numbers), together(self._dispatched.program, []))
        with closing(in_order(partial, chain(two, ranges), threads)) as parts:
            for rows, part in parts:
                whole.add(rows, part)
                if watch:
                    watch(rows[1])
        return whole.partial

    def _long_rows(
        self,
        kernel: Kernel,
        values: Values,
        numbers: Numbers,
        seed: int,
        start: int,
        stop: int,
        watch: Callable[[int], None] | None,
    ) -> RowPartial:
        """Average row by row, each over chunks of draws in all threads."""
        parts: list[Partial] = []
        for row, number in enumerate(numbers):
            bound = kernel.bind({name: x[row] if name in self._by_row else x for name, x in values.items()})
            offset = first_of_row(int(number), self._dispatched.program.dtype)
            cut = kernel.chunks(offset + start, stop - start)
            parts.append(run(bound, seed, cut, lambda: self._workers(kernel), self._omit))
            if watch:
                watch(row + 1)
        return together(self._dispatched.program, parts)

    def _workers(self, kernel: Kernel) -> int:
        return kernel.workers(thread_count(self._threads))


def _is_long(kernel: Kernel, start: int, stop: int) -> bool:
    """Whether the draws of one row are work for many threads: by the Program and their number alone."""
    return len(list(islice(kernel.chunks(start, stop - start), MANY))) == MANY


class _Whole:
    """A RowPartial of all rows, which is filled range by range."""

    def __init__(self, rows: int, empty: RowPartial) -> None:
        k, s = empty.means.shape[1], len(empty.totals)
        self.partial = RowPartial(
            np.zeros(rows, np.int64),
            np.zeros((rows, k)),
            np.zeros((rows, k)),
            np.zeros(rows, np.int64),
            np.zeros(s),
            np.zeros(s),
        )

    def add(self, rows: tuple[int, int], part: RowPartial) -> None:
        whole, where = self.partial, slice(*rows)
        whole.counts[where], whole.nonfinite[where] = part.counts, part.nonfinite
        whole.means[where], whole.norms[where] = part.means, part.norms
        with np.errstate(invalid="ignore", over="ignore"):
            np.add(whole.totals, part.totals, out=whole.totals)
            np.add(whole.variances, part.variances, out=whole.variances)
