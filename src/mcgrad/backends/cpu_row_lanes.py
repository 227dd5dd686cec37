"""Many rows on the CPU in one call, where lanes carry rows of the batch: for few draws a row."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mcgrad.backends.base import Array, RowPartial
from mcgrad.backends.chunks import CORE, Chunks
from mcgrad.backends.cpu_compiled import Compiled, read_only
from mcgrad.backends.cpu_rows import CpuRows
from mcgrad.backends.host_rows import HostRows
from mcgrad.backends.rescaled import RANGES
from mcgrad.backends.row_by_row import by_row, put_rows
from mcgrad.codegen.cpu.row_lanes import TILE, EmittedRows, emit_rows, writes
from mcgrad.codegen.loops.layout import L2_BYTES
from mcgrad.ir.noise_vars import keys_of
from mcgrad.ir.program import Program, any_by_blas, toposort
from mcgrad.ir.spaces import Values
from mcgrad.noise.rows import Seeds, seeds_of

if TYPE_CHECKING:
    from mcgrad.backends.cpu import CpuKernel

CALLS = 16  # ranges that the rows are cut into at least, if each has the least work of a chunk
MOST_BYTES = 1 << 24  # of the values by row of a range

Places = tuple[Array, Array]  # of means and norms, of shape (rows, K)


class CompiledRowLanes(Compiled):
    """An emitted function over rows of a batch and how to call it.

    Parameters
    ----------
    program : Program
    emitted : EmittedRows
        Of this Program.
    """

    emitted: EmittedRows
    name = "batch"

    def __init__(self, program: Program, emitted: EmittedRows) -> None:
        self.program, self.work = program, max(program.work(), 1.0)
        given = [(var, slice(at, at + var.size)) for var, at in emitted.by_row]
        self.inputs = [(var.attrs, place) for var, place in given if var.op == "input"]
        self.computed = [place for var, place in given if var.op != "input"]
        self.by_row = HostRows([var for var, _ in given if var.op != "input"], program.dtype)
        self.has_pairs = bool(emitted.paired.any())
        self.has_variances = any(out.error for out in program.outputs if out.summed)
        self.values_of_row = sum(var.size for var, _ in emitted.by_row)
        self.block = emitted.lanes // emitted.groups  # rows of the batch
        self.multiplies_before = any_by_blas(toposort(program.hoisted()))
        super().__init__(emitted, program.dtype, keys_of(program))

    def empty_call(self) -> tuple[Any, ...]:
        """The arguments of a call over no rows at all."""
        values = np.empty((self.values_of_row, 0), self.dtype)
        nothing = np.empty(0, self.dtype)
        matrices = [read_only(nothing)] * len(self.emitted.matrices)
        seed = np.empty(0, np.uint64) if self.emitted.seeds else 0
        return self._call(self.take_workspace(), seed, 0, 0, np.empty(0, np.int64), values, (nothing, matrices))[0]

    @property
    def reads_as_given(self) -> bool:
        """Whether all that is read, by row or by all rows, are inputs as they are: nothing is computed of them."""
        return not (self.computed or self.computes)

    def padded(self, rows: int) -> int:
        """Return how many rows fill the blocks that have some number of them."""
        return -(-rows // self.block) * self.block

    def average(
        self,
        seed: Seeds,
        start: int,
        stop: int,
        numbers: npt.NDArray[np.int64],
        values: Array,
        shared: tuple[Array, list[Array]],
        places: Places | None = None,
    ) -> tuple[RowPartial, npt.NDArray[np.bool_]]:
        """Average over the draws start .. stop of some rows.

        Parameters
        ----------
        seed : int, or uint64 array of shape (rows,), as the function is written
        start, stop : int
        numbers : int array, shape (rows,)
        values : array, shape (values of a row, rows)
            Or as many rows as fill blocks: the last are not used.
        shared : (array, list of array)
            What `arguments` returned.
        places : (array, array), optional
            Where means and norms are written to, by default new arrays.

        Returns
        -------
        partial : RowPartial
        odd : bool array, shape (rows,)
            Which rows have to be averaged otherwise: the totals are not right if there are any.
        """
        workspace = self.take_workspace()
        arguments, partial, odd = self._call(workspace, seed, start, stop, numbers, values, shared, places)
        self.function(*arguments)
        self.give_back(workspace)
        if self.has_variances:
            np.maximum(partial.variances, 0.0, out=partial.variances)
        return partial, odd[: len(numbers)] != 0.0

    def _call(
        self,
        workspace: Array,
        seed: Seeds,
        start: int,
        stop: int,
        numbers: npt.NDArray[np.int64],
        values: Array,
        shared: tuple[Array, list[Array]],
        places: Places | None = None,
    ) -> tuple[tuple[Any, ...], RowPartial, Array]:
        """Return the arguments of a call, and the arrays among them that it fills."""
        emitted, rows = self.emitted, len(numbers)
        means, norms = places or (np.empty((rows, emitted.columns)), np.empty((rows, emitted.columns)))
        partial = RowPartial(
            counts=np.full(rows, stop - start, np.int64),
            means=means,
            norms=norms,
            nonfinite=np.zeros(rows, np.int64),
            totals=np.zeros(emitted.summed),
            variances=np.zeros(emitted.summed),
            degrees=rows * emitted.degrees(start, stop) if self.has_pairs else None,
        )
        padded = self.padded(rows)
        if values.shape[1] != padded:
            values = np.pad(values, ((0, 0), (0, padded - rows)), mode="edge")
        odd, into = np.zeros(padded), (means, norms, partial.totals, partial.variances)
        return self.arguments_into(workspace, seed, start, stop, numbers, values, shared, into, odd), partial, odd

    def means(
        self,
        seed: int,
        start: int,
        stop: int,
        numbers: npt.NDArray[np.int64],
        values: Array,
        shared: tuple[Array, list[Array]],
    ) -> tuple[Array, Array, Array, Array]:
        """Return what `average` has without the rest of a partial: means, totals, variances, and which rows are odd.

        Parameters
        ----------
        seed, start, stop, numbers, shared
            As for `average`.
        values : array, shape (values of a row, rows that fill blocks)

        Returns
        -------
        means : array, shape (rows, K)
        totals, variances : array, shape (S,)
        odd : array, shape (rows that fill blocks,)
            Not zero for odd rows.
        """
        means, norms = np.empty((2, len(numbers), self.emitted.columns))
        totals, variances = np.zeros((2, self.emitted.summed))
        odd, workspace = np.zeros(values.shape[1]), self.take_workspace()
        into = means, norms, totals, variances
        self.function(*self.arguments_into(workspace, seed, start, stop, numbers, values, shared, into, odd))
        self.give_back(workspace)
        return means, totals, variances, odd

    def arguments_into(
        self,
        workspace: Array,
        seed: Seeds,
        start: int,
        stop: int,
        numbers: npt.NDArray[np.int64],
        values: Array,
        shared: tuple[Array, list[Array]],
        into: tuple[Array, Array, Array, Array],
        odd: Array,
    ) -> tuple[Any, ...]:
        """Return the arguments of a call, whose values fill blocks; `into` are means, norms, totals and variances."""
        means, norms, totals, variances = into
        rows, padded = len(numbers), values.shape[1]
        all_numbers = np.empty(padded, np.uint32)
        all_numbers[:rows] = numbers
        if padded > rows:
            all_numbers[rows:] = numbers[-1]
        scratch = np.empty(2 * TILE * self.block)
        return (
            *halves(seed, padded), start, stop, shared[0], self.emitted.tables, workspace,
            all_numbers, values.reshape(-1), rows, means.reshape(-1), norms.reshape(-1),
            totals, variances, odd, RANGES[self.dtype.itemsize].least, scratch, self.blas, *shared[1],
        )  # fmt: skip


@np.errstate(over="ignore", invalid="ignore")
def _are_finite(x: Array) -> bool:
    return math.isfinite(np.add.reduce(x)) or bool(np.isfinite(x).all())


def halves(seed: Seeds, size: int) -> tuple[Any, Any]:
    """Return the halves of the seed, or those of each row's, the last of which is repeated."""
    if isinstance(seed, int):
        return np.uint32(seed & 0xFFFFFFFF), np.uint32(seed >> 32)
    padded = np.pad(seed, (0, size - len(seed)), mode="edge") if len(seed) < size else seed
    return (padded & np.uint64(0xFFFFFFFF)).astype(np.uint32), (padded >> np.uint64(32)).astype(np.uint32)


def row_lanes(program: Program, carried: str) -> CompiledRowLanes | None:
    """Compile a Program for lanes that carry rows, unless it calls user functions or a block would leave L2.

    Parameters
    ----------
    program : Program
    carried : {"batch", "pair", "seeds"}
        What the lanes carry, as `filler` has it.
    """
    if not writes(program):
        return None
    emitted = emit_rows(program, carried)
    size = emitted.rows * emitted.lanes * np.dtype(program.dtype).itemsize
    return CompiledRowLanes(program, emitted) if size <= L2_BYTES else None


class CpuRowLanes:
    """A compiled Program with values for the inputs of many rows.

    Rows that have draws which are not finite, or squares beyond the range of sums, are averaged again: by the variant
    that looks at every draw.

    Parameters
    ----------
    compiled : CompiledRowLanes
    kernel : CpuKernel
        Of the same Program.
    inputs : mapping from Input to array
        Those by row have the rows on the first axis.
    numbers : int array, shape (rows,)
    """

    def __init__(
        self, compiled: CompiledRowLanes, kernel: CpuKernel, inputs: Values, numbers: npt.NDArray[np.int64]
    ) -> None:
        self.compiled, self.kernel, self.inputs, self.numbers = compiled, kernel, inputs, numbers
        self._shared = compiled.arguments(inputs)

    def chunks(self, n: int) -> Chunks:
        """Cut the rows into ranges at blocks of lanes."""
        rows, block, work = len(self.numbers), self.compiled.block, self.compiled.work * max(n, 1)
        most = MOST_BYTES // (8 * (self.compiled.values_of_row + self.compiled.emitted.columns + 1))
        step = min(max(rows / CALLS, CORE.least / work), most)
        step = max(int(step // block), 1) * block
        return Chunks(0, rows, min(step, rows), step, block)

    def partial(
        self, seed: Seeds, start: int, stop: int, rows: tuple[int, int], omit: bool, places: Places | None = None
    ) -> RowPartial:
        """Average over the draws start .. stop of each row in a range, with means and norms in given arrays or new."""
        compiled = self.compiled if isinstance(seed, int) else self.kernel.row_lanes_of_seeds
        shared, seeds = self._shared, seeds_of(seed, slice(*rows))
        numbers, values = self.numbers[slice(*rows)], self._values(rows)
        found, odd = compiled.average(seeds, start, stop, numbers, values, shared, places)
        if compiled.emitted.summed:
            if odd.any():
                fine = np.flatnonzero(~odd)
                others, _ = compiled.average(seeds_of(seeds, fine), start, stop, numbers[fine], values[:, fine], shared)
                found.totals[:], found.variances[:] = others.totals, others.variances
            if not self._totals_count(found.totals, found.variances, len(found.counts), stop - start):
                odd[:], found.totals[:], found.variances[:] = True, 0.0, 0.0
        if not odd.any():
            return found
        where = np.flatnonzero(odd)
        again = self._again(seed, start, stop, rows[0] + where, omit)
        put_rows(found, where, again)
        degrees = (len(odd) - len(where)) * compiled.emitted.degrees(start, stop)
        return replace(found, degrees=degrees + again.total_degrees)

    def means(self, seed: int, start: int, stop: int) -> tuple[Array, Array] | None:
        """Return the means by row, and totals, over all rows in one range; None where some are averaged again.

        It may return totals that are not finite, which `partial` averages again.
        """
        compiled, rows = self.compiled, len(self.numbers)
        means, totals, variances, odd = compiled.means(
            seed, start, stop, self.numbers, self._values((0, rows)), self._shared
        )
        has_variances = compiled.has_variances or compiled.has_pairs
        if np.count_nonzero(odd) or (has_variances and not self._totals_count(totals, variances, rows, stop - start)):
            return None
        return means, totals

    def _again(self, seed: Seeds, start: int, stop: int, rows: npt.NDArray[np.intp], omit: bool) -> RowPartial:
        """Average over some rows by the variant that looks at every draw, whose lanes carry draws."""
        names = by_row(self.compiled.program)
        inputs = {name: x[rows] if name in names else x for name, x in self.inputs.items()}
        with self.kernel.limits():
            other = CpuRows(self.kernel.checked_rows, self.kernel, inputs, self.numbers[rows])
            return other.partial(seeds_of(seed, rows), start, stop, (0, len(rows)), omit)

    def _values(self, rows: tuple[int, int]) -> Array:
        """The values by row of a range, the last of which fill the last block."""
        compiled, (start, stop) = self.compiled, rows
        size = stop - start
        values = np.empty((compiled.values_of_row, compiled.padded(size)), compiled.dtype)
        if not values.size:
            return values
        for name, place in compiled.inputs:
            values[place, :size] = self.inputs[name][start:stop].reshape(size, -1).T
        if compiled.computed:
            found = compiled.by_row.of_rows(self.inputs, start, stop)
            for place, value in zip(compiled.computed, found, strict=True):
                values[place, :size] = value.reshape(-1, size)
        values[:, size:] = values[:, size - 1 : size]
        return values

    def _totals_count(self, totals: Array, variances: Array, rows: int, n: int) -> bool:
        """Whether the totals are finite, and their variances, too, with no square vanished, if there are two draws."""
        rows, limits = max(rows, 1), RANGES[self.compiled.dtype.itemsize]
        has_variances = n > 1 and self.compiled.has_variances
        if not _are_finite(totals) or (has_variances and not _are_finite(variances)):
            return False
        if n == 1 or not self.compiled.has_pairs:
            return True
        tiny = np.flatnonzero(variances * n < rows * limits.least)
        totals, variances = totals[tiny], variances[tiny]
        lost = (np.abs(totals) < rows * limits.floor) & ((totals != 0) | (variances != 0))
        return not (lost & self.compiled.emitted.paired[tiny]).any()
