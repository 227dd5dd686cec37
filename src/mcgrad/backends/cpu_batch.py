"""Many rows on the CPU: the number of draws a row decides what the lanes of a block carry."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy.typing as npt

from mcgrad.backends.base import Array, BoundRows, Known, Part, RowPartial
from mcgrad.backends.chunks import Chunk
from mcgrad.backends.cpu_at_addresses import RowsAtAddresses, suits
from mcgrad.backends.cpu_row_lanes import CompiledRowLanes, CpuRowLanes, Places
from mcgrad.backends.cpu_rows import CpuRows
from mcgrad.ir.spaces import Values
from mcgrad.noise.rows import Seeds

if TYPE_CHECKING:
    import numpy as np

    from mcgrad.backends.cpu import CpuKernel


class CpuBatch:
    """A compiled Program with values for the inputs of many rows.

    Lanes carry rows of the batch where the draws of a row would leave a block partly empty, if such a function can be
    written and its block stays in cache, else the draws of one row. Where a row has no more than two draws, as in
    a step of training, they carry no more of it. So what a row's moments are depends on the Program and the range of
    its draws alone.

    Parameters
    ----------
    kernel : CpuKernel
    inputs : mapping from Input to array
        Those by row have the rows on the first axis.
    numbers : int array, shape (rows,)
    """

    def __init__(self, kernel: CpuKernel, inputs: Values, numbers: npt.NDArray[np.int64]) -> None:
        self._kernel, self._inputs, self._numbers = kernel, inputs, numbers
        self._over_draws: dict[CpuKernel, CpuRows] = {}
        self._over_rows: dict[CompiledRowLanes, CpuRowLanes] = {}

    def over_draws(self, n: int) -> CpuRows:
        """Lanes carry draws; few lanes, where n draws would leave most of a block empty."""
        kernel = self._kernel.for_rows(n)
        found = self._over_draws.get(kernel)
        if found is None:
            found = self._over_draws[kernel] = CpuRows(kernel.rows, kernel, self._inputs, self._numbers)
        return found

    def over_rows(self, start: int, stop: int) -> CpuRowLanes | None:
        """Lanes carry rows, if they can."""
        compiled = lanes_of_rows(self._kernel, start, stop)
        if compiled is None:
            return None
        found = self._over_rows.get(compiled)
        if found is None:
            found = self._over_rows[compiled] = CpuRowLanes(compiled, self._kernel, self._inputs, self._numbers)
        return found

    def chosen(self, start: int, stop: int) -> BoundRows:
        """What averages the draws start .. stop of each row."""
        return self.over_rows(start, stop) or self.over_draws(stop - start)

    def chunks(self, n: int) -> Iterable[Chunk]:
        """Cut the rows into ranges."""
        return self.chosen(0, n).chunks(n)

    def partial(self, seed: Seeds, start: int, stop: int, rows: tuple[int, int], omit: bool) -> RowPartial:
        """Average over the draws start .. stop of each row in a range."""
        return self.chosen(start, stop).partial(seed, start, stop, rows, omit)

    def means(self, seed: int, start: int, stop: int) -> tuple[Array, Array] | None:
        """Return the means by row, and totals, that `partial` has of all rows; None where others average them."""
        over_rows = self.over_rows(start, stop)
        return None if over_rows is None else over_rows.means(seed, start, stop)

    def at_addresses(
        self, known: Sequence[Known], start: int, stop: int, parts: Sequence[Part], weight: float, kept: slice
    ) -> RowsAtAddresses | None:
        """Return what has means of all rows at other arrays, whose addresses are given; None where nothing has.

        Parameters
        ----------
        known, start, stop, parts, weight, kept
            As for `RowsAtAddresses`; arrays by row have one axis of rows.
        """
        over_rows = self.over_rows(start, stop) if len(self._numbers) else None
        if over_rows is None or not suits(over_rows.compiled):
            return None
        return RowsAtAddresses(over_rows.compiled, known, self._inputs, self._numbers, start, stop, parts, weight, kept)

    def partial_into(
        self, places: Places, seed: Seeds, start: int, stop: int, rows: tuple[int, int], omit: bool
    ) -> RowPartial:
        """Average as `partial` does, with means and norms in these arrays if lanes carry rows."""
        over_rows = self.over_rows(start, stop)
        if over_rows is None:
            return self.over_draws(stop - start).partial(seed, start, stop, rows, omit)
        return over_rows.partial(seed, start, stop, rows, omit, places)


def lanes_of_rows(kernel: CpuKernel, start: int, stop: int) -> CompiledRowLanes | None:
    """Return what averages the draws start .. stop of rows that lanes carry; None where they carry draws."""
    if stop - start >= kernel.block:
        return None
    pair = kernel.program.dtype == "float32" and start // 2 == (stop - 1) // 2
    return kernel.row_pairs if pair else kernel.row_lanes
