"""Many rows on the CPU in one call, where lanes carry the draws of one row: a compiled loop over a range of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mcgrad.backends.base import Array, RowPartial
from mcgrad.backends.chunks import CORE, Chunks
from mcgrad.backends.cpu_compiled import Compiled, read_only
from mcgrad.backends.host_rows import HostRows
from mcgrad.backends.rescaled import RANGES
from mcgrad.backends.row_by_row import RowByRow, by_row, put_rows, summed
from mcgrad.backends.shifted_moments import FAR
from mcgrad.ir.program import Level, Program
from mcgrad.ir.spaces import Values
from mcgrad.noise.rows import Seeds, draws_of_row, seeds_of
from mcgrad.toolchain.compile import address, load

if TYPE_CHECKING:
    from mcgrad.backends.cpu import CpuKernel

AT_ONCE = 1 << 20  # bytes of values by row up to which those of all rows are computed together
MOST_BYTES = 1 << 24  # of the values by row of a range
SOURCE = '''"""The loop over rows for a chunk function in {dtype} with {matrices} matrices."""

from numba import njit

from mcgrad.kernels.jit import LOOP
from mcgrad.kernels.rows import average_rows

rows = njit(**LOOP)(average_rows)
'''


class RowValues(NamedTuple):
    """What a chunk function reads of some rows: `c`, the values by row in it, and matrices, those by row stacked."""

    c: Array
    by_row: Array
    matrices: tuple[Array, ...]

    def part(self, start: int, stop: int, sizes: tuple[int, ...]) -> RowValues:
        """Return those of the rows start .. stop; `sizes` are of the matrices of a row, 0 for those of all rows."""
        parts = (x[start * size : stop * size] if size else x for x, size in zip(self.matrices, sizes, strict=True))
        return RowValues(self.c.copy(), self.by_row[start:stop], tuple(parts))


class CompiledRows:
    """The loop over rows for the compiled chunk function of a Program.

    Parameters
    ----------
    program : Program
    compiled : Compiled
    checked : bool
        Whether that looks at every draw.
    """

    def __init__(self, program: Program, compiled: Compiled, checked: bool = False) -> None:
        emitted, self.checked = compiled.emitted, checked
        self.program, self.compiled, self.chunk = program, compiled, address(compiled.function)
        self.work = max(program.work(), 1.0)
        self.scalars = [(var, slice(at, at + var.size)) for var, at in emitted.scalars]
        self.host = HostRows([var for var, _ in (*emitted.scalars, *emitted.matrices)], program.dtype)
        own = [range(place.start, place.stop) for var, place in self.scalars if var.level is Level.ROW]
        self.places = np.array([i for places in own for i in places], np.int64)
        self.sizes = tuple(var.size if var.level is Level.ROW else 0 for var, _ in emitted.matrices)
        self.bytes = 8 * (len(self.places) + sum(self.sizes) + 1)  # of a row's values, in float64
        self.over_rows = summed(program)
        self.columns = np.where(self.over_rows, 0 - np.cumsum(self.over_rows), np.cumsum(~self.over_rows) - 1)
        source = SOURCE.format(dtype=program.dtype, matrices=len(self.sizes))
        nothing = read_only(np.empty(0, compiled.dtype))
        no_rows = RowValues(
            np.empty(compiled.size, compiled.dtype),
            np.empty((0, len(self.places)), compiled.dtype),
            (nothing,) * len(self.sizes),
        )
        workspace = compiled.take_workspace()
        self.function = load(
            source, "rows", (), self._call(workspace, 0, 0, 0, False, np.empty(0, np.int64), no_rows)[0]
        )

    def shared(self, inputs: Values) -> tuple[Array, list[Array | None]]:
        """Compute what all rows share: `c` without the values by row, and matrices, None for those by row."""
        values = dict(zip(self.host.shared, self.host.of_all(inputs), strict=True))
        c = np.zeros(self.compiled.size, self.compiled.dtype)
        for var, place in self.scalars:
            if var in values:
                c[place] = values[var].ravel()
        return c, [
            self._flat(values[var].transpose(axes)) if var in values else None
            for var, axes in self.compiled.emitted.matrices
        ]

    def values(self, c: Array, matrices: list[Array | None], inputs: Values, rows: tuple[int, int]) -> RowValues:
        """Compute the values of some rows; `c` and `matrices` are what `shared` returned."""
        own = dict(zip(self.host.by_row, self.host.of_rows(inputs, *rows), strict=True))
        by_row = np.empty((rows[1] - rows[0], len(self.places)), self.compiled.dtype)
        column = 0
        for var, _ in self.scalars:
            if var in own:
                by_row[:, column : column + var.size] = own[var].reshape(var.size, -1).T
                column += var.size
        flat = [
            self._flat(np.moveaxis(own[var].transpose(*axes, -1), -1, 0)) if shared is None else shared
            for (var, axes), shared in zip(self.compiled.emitted.matrices, matrices, strict=True)
        ]
        return RowValues(c.copy(), by_row, tuple(flat))

    def _flat(self, value: Array) -> Array:
        return read_only(np.ascontiguousarray(value, self.compiled.dtype).reshape(-1))

    def average(
        self, seed: Seeds, start: int, stop: int, omit: bool, firsts: Array, values: RowValues
    ) -> tuple[RowPartial, npt.NDArray[np.bool_]]:
        """Average over the draws start .. stop of some rows.

        Parameters
        ----------
        seed : int, or uint64 array of shape (rows,)
        start, stop : int
        omit : bool
        firsts : int64 array, shape (rows,)
            The number of each row's first draw.
        values : RowValues

        Returns
        -------
        partial : RowPartial
        plain : bool array, shape (rows,)
            False for those rows that have to be averaged otherwise: the totals are without them.
        """
        workspace = self.compiled.take_workspace()
        arguments, partial, plain = self._call(workspace, seed, start, stop, omit, firsts, values)
        self.function(*arguments)
        self.compiled.give_back(workspace)
        return partial, plain

    def _call(
        self, workspace: Array, seed: Seeds, start: int, stop: int, omit: bool, firsts: Array, values: RowValues
    ) -> tuple[tuple[Any, ...], RowPartial, npt.NDArray[np.bool_]]:
        """Return the arguments of a call, and the arrays among them that it fills."""
        rows, components, totals = len(firsts), len(self.columns), int(np.count_nonzero(self.over_rows))
        partial = RowPartial(
            counts=np.zeros(rows, np.int64),
            means=np.empty((rows, components - totals)),
            norms=np.empty((rows, components - totals)),
            nonfinite=np.zeros(rows, np.int64),
            totals=np.zeros(totals),
            variances=np.zeros(totals),
        )
        plain, compiled, limits = np.ones(rows, np.bool_), self.compiled, RANGES[self.compiled.dtype.itemsize]
        arguments = (
            self.chunk, *compiled.keys.of_rows(seed, rows), firsts, start, stop, omit, self.checked,
            compiled.emitted.lanes, values.c, self.places, values.by_row, compiled.emitted.tables, workspace,
            np.empty(components, compiled.dtype), np.empty(components), np.empty(components),
            np.zeros(2, np.int64), compiled.blas, values.matrices, self.sizes,
            FAR, limits.least, limits.floor, self.columns, partial.counts, partial.nonfinite, partial.means,
            partial.norms, plain, partial.totals, partial.variances,
        )  # fmt: skip
        return arguments, partial, plain


class CpuRows:
    """A compiled Program with values for the inputs of many rows.

    Rows whose sums are not finite, or whose squares leave the range of these, are averaged again: by the variant that
    looks at every draw, and where squares leave the range there, too, one by one.

    Parameters
    ----------
    compiled : CompiledRows
    kernel : CpuKernel
        Of the same Program.
    inputs : mapping from Input to array
        Those by row have the rows on the first axis.
    numbers : int array, shape (rows,)
    """

    def __init__(
        self, compiled: CompiledRows, kernel: CpuKernel, inputs: Values, numbers: npt.NDArray[np.int64]
    ) -> None:
        self.compiled, self.kernel, self.inputs, self.numbers = compiled, kernel, inputs, numbers
        self.firsts = numbers.astype(np.int64) * draws_of_row(compiled.program.dtype)
        self._shared = compiled.shared(inputs)
        rows = len(self.firsts)
        self._all = compiled.values(*self._shared, inputs, (0, rows)) if rows * compiled.bytes <= AT_ONCE else None

    def chunks(self, n: int) -> Chunks:
        """Cut the rows into ranges with the work of a chunk, whose values by row take little memory."""
        rows, block = len(self.firsts), self.compiled.compiled.emitted.lanes
        work = self.compiled.work * -(-max(n, 1) // block) * block
        step = max(min(CORE.most / work, rows / CORE.chunks), CORE.least / work)
        step = max(int(min(step, MOST_BYTES / self.compiled.bytes)), 1)
        return Chunks(0, rows, min(step, rows), step, 1)

    def partial(self, seed: Seeds, start: int, stop: int, rows: tuple[int, int], omit: bool) -> RowPartial:
        """Average over the draws start .. stop of each row in a range."""
        values = self._values(rows)
        partial, plain = self.compiled.average(
            seeds_of(seed, slice(*rows)), start, stop, omit, self.firsts[slice(*rows)], values
        )
        if not plain.all():
            odd = np.flatnonzero(~plain)
            put_rows(partial, odd, self._again(seed, start, stop, rows[0] + odd, omit))
        return partial

    def _again(self, seed: Seeds, start: int, stop: int, rows: npt.NDArray[np.intp], omit: bool) -> RowPartial:
        """Average over some rows by the variant that looks at every draw, and where that was done, one by one."""
        names = by_row(self.compiled.program)
        inputs = {name: x[rows] if name in names else x for name, x in self.inputs.items()}
        numbers, seed, other = self.numbers[rows], seeds_of(seed, rows), self.kernel.checked_rows
        if other is self.compiled:
            return RowByRow(other.program, self.kernel, inputs, numbers).partial(
                seed, start, stop, (0, len(rows)), omit
            )
        return CpuRows(other, self.kernel, inputs, numbers).partial(seed, start, stop, (0, len(rows)), omit)

    def _values(self, rows: tuple[int, int]) -> RowValues:
        if self._all is None:
            return self.compiled.values(*self._shared, self.inputs, rows)
        return self._all.part(*rows, self.compiled.sizes)
