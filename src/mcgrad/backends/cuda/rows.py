"""Many rows of a batch on CUDA devices in one launch: ranges of rows, and what becomes of those that need more care."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import nullcontext
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mcgrad.arrays import all_to_host, any_on_device
from mcgrad.backends.base import RowPartial
from mcgrad.backends.chunks import Chunk, Chunks, Cut
from mcgrad.backends.cuda import driver
from mcgrad.backends.cuda.compiled import CompiledRows
from mcgrad.backends.cuda.constants import RootValues
from mcgrad.backends.cuda.driver import Event, current_stream
from mcgrad.backends.cuda.row_worker import RowWorker
from mcgrad.backends.cuda.worker import workers
from mcgrad.backends.row_by_row import RowByRow, put_rows
from mcgrad.ir.spaces import Values
from mcgrad.noise.rows import Seeds, seeds_of

if TYPE_CHECKING:
    from mcgrad.backends.cuda.kernel import CudaKernel

RANGE = Cut(most=4e10, least=4e9, chunks=16)  # about a millisecond or more, while the host reads another range
MOST_BYTES = 1 << 26  # of the partials, values and results of a range
MOST_PARTS = 1 << 10  # of a row, from which on it fills a device alone


class CudaRows:
    """A compiled Program with values for the inputs of many rows.

    Rows whose moments are not finite, or whose squares have vanished, are averaged again: by the variant that looks at
    every draw, and where squares leave the range of sums there, too, one by one. So are rows with so many draws that
    each fills a device.

    Parameters
    ----------
    kernel : CudaKernel
    inputs : mapping from Input to array
        Those by row have the rows on the first axis.
    numbers : int array, shape (rows,)
    """

    def __init__(self, kernel: CudaKernel, inputs: Values, numbers: npt.NDArray[np.int64]) -> None:
        self.kernel, self.numbers = kernel, numbers
        own = all_to_host({name: x for name, x in inputs.items() if name in kernel.by_row})
        self.inputs: Values = {**inputs, **own}
        self._components, self._totals = len(kernel.over_rows), int(np.count_nonzero(kernel.over_rows))
        self._lock = threading.RLock()
        self._shared: dict[CompiledRows, tuple[RootValues, Event | None]] = {}

    def chunks(self, n: int) -> Iterable[Chunk]:
        """Cut the rows into ranges: all in one launch where that is short, and the memory of a range is limited."""
        rows = len(self.numbers)
        if self._is_long(n):
            return self._one_by_one.chunks(n)
        compiled = self.kernel.row_variant(n, False)
        parts = compiled.emitted.parts(0, n) + 1
        each = 8 * (compiled.emitted.rows * parts + 2 * compiled.columns + 6) + compiled.bytes_by_row
        work = max(self.kernel.work * n, 1.0)
        step = max(min(RANGE.most / work, rows / RANGE.chunks), RANGE.least / work)
        step = max(int(min(step, MOST_BYTES / each)), 1)
        return Chunks(0, rows, min(step, rows), step, 1)

    def partial(self, seed: Seeds, start: int, stop: int, rows: tuple[int, int], omit: bool) -> RowPartial:
        """Average over the draws start .. stop of each row in a range."""
        if self._is_long(stop - start):
            return self._one_by_one.partial(seed, start, stop, rows, omit)
        return self._at_once(seed, start, stop, rows, omit, False)

    def _at_once(
        self, seed: Seeds, start: int, stop: int, rows: tuple[int, int], omit: bool, checked: bool
    ) -> RowPartial:
        """Average by a variant, and rows whose squares left the range of sums otherwise."""
        count = rows[1] - rows[0]
        if start == stop or not count or not self._components:
            return self._nothing(count, stop - start)
        found, odd = self._launched(seed, start, stop, rows, omit, checked)
        if odd.any():
            where = np.flatnonzero(odd)
            again, seeds = self._of(rows[0] + where), seeds_of(seed, rows[0] + where)
            which = seeds, start, stop, (0, len(where)), omit
            put_rows(found, where, again._one_by_one.partial(*which) if checked else again._at_once(*which, True))
        return found

    def _launched(
        self, seed: Seeds, start: int, stop: int, rows: tuple[int, int], omit: bool, checked: bool
    ) -> tuple[RowPartial, npt.NDArray[np.bool_]]:
        """Launch the kernels on the device with the fewest launches under way."""
        where = slice(*rows)
        compiled = self.kernel.row_variant(stop - start, checked)
        shared, ready = self._values(compiled)
        own, seeds = compiled.own(self.inputs, rows), seeds_of(seed, where)
        with self.kernel.turns.next() as device, device.current(), workers(device, RowWorker).taken() as worker:
            return worker.run(compiled, shared, ready, own, self.numbers[where], seeds, (start, stop), omit)

    def _values(self, compiled: CompiledRows) -> tuple[RootValues, Event | None]:
        """Compute what all rows share."""
        with self._lock:
            if compiled not in self._shared:
                resident = any_on_device(self.inputs.values())
                with driver.computing() if resident else nullcontext():
                    values = compiled.constants(self.inputs)
                    self._shared[compiled] = values, Event() if resident or current_stream() else None
            return self._shared[compiled]

    def _of(self, rows: npt.NDArray[np.intp]) -> CudaRows:
        """Return the same for some of the rows."""
        inputs = {name: x[rows] if name in self.kernel.by_row else x for name, x in self.inputs.items()}
        return CudaRows(self.kernel, inputs, self.numbers[rows])

    @property
    def _one_by_one(self) -> RowByRow:
        return RowByRow(self.kernel.program, self.kernel, self.inputs, self.numbers)

    def _is_long(self, n: int) -> bool:
        """Whether a row fills a device, or the memory of a range: by the Program and n alone."""
        emitted = self.kernel.row_variant(n, False).emitted
        parts = emitted.parts(0, n)
        return parts > MOST_PARTS or 8 * parts * emitted.rows > MOST_BYTES

    def _nothing(self, rows: int, n: int) -> RowPartial:
        """Return the moments of no rows, no draws, or no components."""
        columns, totals = self._components - self._totals, np.full(self._totals, np.nan if rows else 0.0)
        return RowPartial(
            counts=np.full(rows, n, np.int64),
            means=np.full((rows, columns), np.nan),
            norms=np.full((rows, columns), np.nan),
            nonfinite=np.zeros(rows, np.int64),
            totals=totals,
            variances=totals.copy(),
        )
