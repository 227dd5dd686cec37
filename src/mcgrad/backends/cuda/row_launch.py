"""The launches that average some rows of a batch, in their order, and the sizes of what they write.

Three kernels run in turn: that of the Program leaves partials, `merge_rows` makes moments of rows of these, and
`add_rows` the sums over rows (`kernels/cuda_rows.py`). Where their memory is, and who waits, is for the caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from mcgrad.backends.cuda.compiled import CompiledRows
from mcgrad.backends.cuda.driver import Device
from mcgrad.backends.cuda.launch import launch
from mcgrad.codegen.cuda import row_registers

THREADS, SIDE, TOGETHER = 256, 32, 256  # those of `kernels/cuda_rows.py`


class Found(NamedTuple):
    """What the kernels find, in float64, of an array in host memory or on a device: views.

    Parameters
    ----------
    means, norms : array, shape (rows, columns)
    counts, nonfinite : array, shape (rows,)
        Draws used, and those that are not finite.
    odd : array, shape (rows,)
        1 where squares did not keep their digits; zero before.
    sums : array, shape (groups, 2, summed)
        Sums of means and of their variances, over `TOGETHER` rows each.
    """

    means: Any
    norms: Any
    counts: Any
    nonfinite: Any
    odd: Any
    sums: Any


class RowLaunch:
    """Launches over some rows.

    Parameters
    ----------
    compiled : CompiledRows
    device : Device
    rows : int
        At least one.
    draws : (int, int)
        First draw of each row, end.

    Attributes
    ----------
    grid : int
        Blocks of threads of the Program's kernel.
    partials, results : int
        How many float64 the partials take, and what the kernels find.
    """

    def __init__(self, compiled: CompiledRows, device: Device, rows: int, draws: tuple[int, int]) -> None:
        emitted, (start, stop) = compiled.emitted, draws
        self._compiled, self._device, self._rows, self._draws = compiled, device, rows, draws
        self._parts = emitted.parts(start, stop)
        self._units, self._groups = rows * self._parts, -(-rows // TOGETHER)
        self._team = row_registers.team(stop - start, str(compiled.dtype))
        together = emitted.threads // self._team
        self.grid = -(-self._units // together) if emitted.teams else compiled.grid(device, self._units)
        self.partials = self._units * emitted.rows + rows
        k, s = compiled.columns, compiled.summed
        self._ends = np.cumsum([0, rows * k, rows * k, rows, rows, rows, 2 * self._groups * s]).tolist()
        self.results = self._ends[-1]

    def found(self, results: Any) -> Found:
        """Return the parts of an array of `results` numbers."""
        means, norms, counts, nonfinite, odd, sums = (results[a:b] for a, b in pairwise(self._ends))
        shape = self._rows, self._compiled.columns
        sums = sums.reshape(self._groups, 2, self._compiled.summed)
        return Found(means.reshape(shape), norms.reshape(shape), counts, nonfinite, odd, sums)

    def __call__(
        self,
        functions: Sequence[Any],
        ids: int,
        pointers: Sequence[int],
        tables: tuple[int, int],
        out: int,
        results: int,
        omit: bool,
        all_rows: bool,
        stream: int,
    ) -> None:
        """Launch the kernels.

        Parameters
        ----------
        functions : sequence
            What `CompiledRows.on` returns.
        ids, out, results : int
            Addresses of the numbers and seeds of the rows, of the partials, and of what is found.
        pointers : sequence of int
            Further arguments of the Program's kernel.
        tables : (int, int)
            Addresses of `CompiledRows.places` and `places_of_totals`.
        omit : bool
        all_rows : bool
            Whether odd rows, too, are among the sums.
        stream : int
        """
        device, compiled, emitted = self._device, self._compiled, self._compiled.emitted
        rows, parts, units, components, k = self._rows, self._parts, self._units, compiled.components, compiled.columns
        run, merge, add = functions
        head = *self._draws, emitted.chunk, parts, units, self._team, omit, ids, out, *pointers
        form = f"qqqqqqqQQ{'Q' * len(pointers)}"
        launch(device, stream, run, self.grid, emitted.threads, form, *head, shared=emitted.shared)
        limits = compiled.limits
        merging = out, rows, parts, components, omit, limits.least, limits.floor, tables[0], k, results
        launch(device, stream, merge, -(-rows * components // THREADS), THREADS, "QqqqqddQqQ", *merging)
        if not compiled.summed:
            return
        if all_rows:
            device.clear(out + 8 * units * emitted.rows, 8 * rows, stream)
        adding = out, rows, parts, components, tables[1], compiled.summed, results + 8 * self._ends[-2]
        blocks = self._groups * -(-compiled.summed // SIDE)
        launch(device, stream, add, blocks, THREADS, "QqqqQqQ", *adding)
