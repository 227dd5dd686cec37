"""Averages over the rows of a batch that are ordered in a stream of a device: nothing waits for them.

The launches are those of `row_launch`, with memory of the call's own. Moments stay on the device, as CuPy's arrays.
Rows whose squares have left the range of sums are not averaged again: they are among the sums as they are.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mcgrad.arrays import cupy, joined, on_device, to_device
from mcgrad.backends.cuda.compiled import CompiledRows, compiling
from mcgrad.backends.cuda.copies import Copies, keep
from mcgrad.backends.cuda.driver import Device, within
from mcgrad.backends.cuda.in_stream import FIRST
from mcgrad.backends.cuda.kernel import CudaKernel
from mcgrad.backends.cuda.launch import launch
from mcgrad.backends.cuda.row_launch import THREADS, RowLaunch
from mcgrad.backends.cuda.rows import MOST_BYTES
from mcgrad.backends.cuda.stream_run import Key, Lasting, key_of, placed
from mcgrad.backends.host_values import HostValues
from mcgrad.errors import BackendError
from mcgrad.ir.spaces import Input, Values
from mcgrad.toolchain import ptx


class RowArrays(NamedTuple):
    """Moments of many rows, as `RowPartial` has them, in float64 on the device."""

    counts: Any
    means: Any
    norms: Any
    nonfinite: Any
    totals: Any
    variances: Any


@dataclass(frozen=True)
class PreparedRows:
    """What all runs of one kernel over rows share on one device."""

    run: Any
    merge: Any
    add: Any
    key: Any
    ids: Any
    columns: Any
    places: Any
    tables: Any
    zeros: Any


class RowsInStream:
    """Runs of a Program with rows in streams of devices.

    Parameters
    ----------
    kernel : CudaKernel
    n : int
        Draws of each row, by which the kernel over rows is chosen.
    checked : bool
        Whether draws that are not finite are counted, or left out.
    """

    def __init__(self, kernel: CudaKernel, n: int, checked: bool) -> None:
        self.compiled: CompiledRows = kernel.row_variant(n, checked)
        emitted, dtype = self.compiled.emitted, kernel.program.dtype
        self.limits = self.compiled.limits
        shared = [var for var, _ in (*emitted.scalars, *emitted.matrices)]
        own = [var for var, _ in (*emitted.by_row, *emitted.stacked)]
        self._shared, self._own = HostValues(shared, dtype), HostValues(own, dtype)
        self._copies = Copies()
        self._prepared: dict[int, PreparedRows] = {}
        self._lasting: dict[tuple[int, int], Lasting] = {}
        self._lock = threading.RLock()

    def on_device(self, inputs: Values, device: Device, stream: int) -> dict[Input, Any]:
        """Return inputs as arrays on a device: those of the host are copied where an earlier call had others."""
        return self._copies(inputs, device, stream)

    def __call__(
        self,
        inputs: Values,
        rows: int,
        seed: int | Key,
        draws: tuple[int, int],
        omit: bool,
        device: Device,
        stream: int,
    ) -> RowArrays:
        """Average over some draws of all rows, whose numbers are 0, 1, 2 ...

        Parameters
        ----------
        inputs : mapping from Input to array
            On the device, those by row with the rows on the first axis.
        rows : int
            At least one.
        seed : int or Key
        draws : (int, int)
            First draw of each row, end.
        omit : bool
        device : Device
        stream : int
            Address of the stream, in which the inputs are ready, and the moments will be.
        """
        with device.current(), within(stream):
            shared, capturing = self._prepared.get(device.index), device.is_capturing(stream)
            if shared is None:
                if capturing:
                    raise BackendError(FIRST)
                shared = self._prepare(device)
            elif capturing:
                keep(self, shared, *self._copies.all(), *self._lasting.values())
            run = _Run(self, shared, device, stream)
            found = run.averaged(self._values(inputs, rows, device), rows, seed, draws, omit)
            if self._prepared.get(device.index) is None:
                device.wait(stream)
                self._prepared[device.index] = shared
            return found

    def _prepare(self, device: Device) -> PreparedRows:
        compiled = self.compiled
        with self._lock, compiling(device):
            from mcgrad.kernels import in_stream as kernels

            run, merge, add = compiled.on(device)
            key, ids = row_functions(device, kernels)
            return PreparedRows(
                run,
                merge,
                add,
                key,
                ids,
                columns=to_device(compiled.places),
                places=to_device(compiled.places_of_totals),
                tables=to_device(compiled.emitted.tables),
                zeros=to_device(np.zeros(max(compiled.components, 1), compiled.dtype)),
            )

    def _values(self, inputs: Values, rows: int, device: Device) -> list[Any]:
        """Return constants that all rows share, those by row, and the matrices in the order of arguments."""
        emitted, dtype, library = self.compiled.emitted, self.compiled.dtype, cupy()
        shared = [self._placed(i, x, device) for i, x in enumerate(self._shared(inputs))]
        own, k, m = self._own.rows(inputs), len(emitted.scalars), len(emitted.by_row)
        constants = library.empty((max(sum(var.size for var, _ in emitted.scalars), 1),), dtype)
        for (var, first), value in zip(emitted.scalars, shared[:k], strict=True):
            constants[first : first + var.size] = value.ravel()
        by_row = library.empty((rows, max(emitted.stride, 1)), dtype)
        for (var, first), value in zip(emitted.by_row, own[:m], strict=True):
            by_row[:, first : first + var.size] = value.reshape(var.size, value.shape[-1]).T
        matrices = iter([placed(x, dtype, axes) for (_, axes), x in zip(emitted.matrices, shared[k:], strict=True)])
        stacked = iter([_stacked(x, axes, rows, dtype) for (_, axes), x in zip(emitted.stacked, own[m:], strict=True)])
        return [constants, by_row, *(next(stacked if is_own else matrices) for is_own in emitted.order)]

    def _placed(self, i: int, value: Any, device: Device) -> Any:
        """Return a value on the device; what the host has computed is the same in all calls."""
        if on_device(value):
            return value
        found = self._lasting.get((device.index, i))
        if found is None:
            found = self._lasting[device.index, i] = Lasting(value, to_device(value))
        return found.there


def row_functions(device: Device, kernels: Any) -> list[Any]:
    """Return the kernels `key` and `row_ids`."""
    wanted = (kernels.key, kernels.KEY), (kernels.row_ids, kernels.ROW_IDS)
    return [device.load(ptx.function_ptx(function, signature, device.cc)) for function, signature in wanted]


def _stacked(x: Any, axes: tuple[int, ...], rows: int, dtype: np.dtype[Any]) -> Any:
    """Return matrices by row, the rows first."""
    moved = np.moveaxis(x.transpose(*axes, -1), -1, 0)
    return placed(np.broadcast_to(moved, (rows, *moved.shape[1:])), dtype)


class _Run:
    """One run: its launches, and its memory, which is released in the order of the stream."""

    def __init__(self, of: RowsInStream, shared: PreparedRows, device: Device, stream: int) -> None:
        self._compiled, self._shared, self._device, self._stream = of.compiled, shared, device, stream

    def averaged(self, values: list[Any], rows: int, seed: int | Key, draws: tuple[int, int], omit: bool) -> RowArrays:
        """Launch the kernels, a range of rows after the other."""
        emitted, (start, stop) = self._compiled.emitted, draws
        ids = self._ids(rows, seed)
        each = 8 * emitted.rows * (emitted.parts(start, stop) + 1)
        step = max(min(rows, MOST_BYTES // each), 1)
        parts = [
            self._range(values, ids, (first, min(first + step, rows)), draws, omit) for first in range(0, rows, step)
        ]
        if len(parts) == 1:
            return parts[0]
        *by_row, totals, variances = zip(*parts, strict=True)
        counts, means, norms, nonfinite = map(joined, by_row)
        total, variance = sum(totals[1:], totals[0]), sum(variances[1:], variances[0])
        return RowArrays(counts, means, norms, nonfinite, total, variance)

    def _ids(self, rows: int, seed: int | Key) -> Any:
        """Return the numbers and seeds of the rows."""
        library, shared, device, stream = cupy(), self._shared, self._device, self._stream
        words, ids = library.empty((2,), np.uint32), library.empty((rows, 2), np.uint64)
        key = key_of(seed, shared.key, words.data.ptr, device, stream)
        launch(device, stream, shared.ids, -(-rows // THREADS), THREADS, "QQqQ", *key, rows, ids.data.ptr)
        return ids

    def _range(
        self, values: list[Any], ids: Any, rows: tuple[int, int], draws: tuple[int, int], omit: bool
    ) -> RowArrays:
        """Average some of the rows."""
        compiled, shared, library, (first, end) = self._compiled, self._shared, cupy(), rows
        launches = RowLaunch(compiled, self._device, end - first, draws)
        partials, results = (library.empty((size,), np.float64) for size in (launches.partials, launches.results))
        found = launches.found(results)
        self._device.clear(found.odd.data.ptr, found.odd.nbytes, self._stream)
        workspace = library.empty((max(compiled.emitted.workspace * launches.grid, 1),), compiled.dtype)
        pointers, tables = self._pointers(values, rows, workspace), (shared.columns.data.ptr, shared.places.data.ptr)
        place, out, goal = ids.data.ptr + 16 * first, partials.data.ptr, results.data.ptr
        functions = shared.run, shared.merge, shared.add
        launches(functions, place, pointers, tables, out, goal, omit, True, self._stream)
        sums = found.sums.sum(0)
        return RowArrays(found.counts, found.means, found.norms, found.nonfinite, sums[0], sums[1])

    def _pointers(self, values: list[Any], rows: tuple[int, int], workspace: Any) -> list[int]:
        """Return the addresses that the kernel takes: of values by row those of the first row of the range."""
        emitted, (first, _) = self._compiled.emitted, rows
        constants, by_row, *matrices = values
        found = [constants.data.ptr, by_row.data.ptr + first * by_row.shape[1] * by_row.itemsize]
        if emitted.teams:
            return found
        found += [self._shared.zeros.data.ptr, self._shared.tables.data.ptr, workspace.data.ptr]
        for x, is_own in zip(matrices, emitted.order, strict=True):
            found.append(x.data.ptr + (first * x[0].nbytes if is_own else 0))
        return found
