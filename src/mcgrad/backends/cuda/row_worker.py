"""Workers that average ranges of rows: a stream of a device with memory for launches, for one host thread at a time.

What the host reads is written to its own memory.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from mcgrad.backends.base import RowPartial
from mcgrad.backends.cuda.buffer import Buffer
from mcgrad.backends.cuda.compiled import CompiledRows
from mcgrad.backends.cuda.constants import RootValues
from mcgrad.backends.cuda.driver import Device, Event, Memory, within
from mcgrad.backends.cuda.resident import DeviceMatrix, Numbers
from mcgrad.backends.cuda.row_launch import Found, RowLaunch
from mcgrad.backends.cuda.tables import Tables
from mcgrad.noise.rows import Seeds


class RowWorker:
    """Launches kernels over rows and waits for what they find."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self._stream = stream = device.stream()
        self._partials, self._results = Buffer(np.float64, stream), Buffer(np.float64, stream)
        self._ids, self._tables = Buffer(np.uint64, stream), Tables(stream)
        self._prepared: WeakKeyDictionary[CompiledRows, Prepared] = WeakKeyDictionary()

    def run(
        self,
        compiled: CompiledRows,
        shared: RootValues,
        ready: Event | None,
        own: list[npt.NDArray[Any]],
        numbers: npt.NDArray[np.int64],
        seeds: Seeds,
        draws: tuple[int, int],
        omit: bool,
    ) -> tuple[RowPartial, npt.NDArray[np.bool_]]:
        """Average over some rows; the worker's device is current.

        Parameters
        ----------
        compiled : CompiledRows
        shared : RootValues
            Draw-independent values of all rows.
        ready : Event, optional
            The launch waits for it on the device.
        own : list of array
            Draw-independent values by row, the rows first: constants, then matrices with their axes in order.
        numbers : int array, shape (rows,)
        seeds : int, or uint64 array of shape (rows,)
        draws : (int, int)
            The first draw of each row, the end.
        omit : bool

        Returns
        -------
        partial : RowPartial
        odd : bool array, shape (rows,)
            Which rows have to be averaged otherwise: the totals are without them.
        """
        device, stream, rows = self.device, self._stream, len(numbers)
        functions = compiled.on(device)
        prepared = self._prepared.get(compiled)
        if prepared is None:
            prepared = self._prepared[compiled] = Prepared(compiled, device, stream)
        launch = RowLaunch(compiled, device, rows, draws)
        ids = self._ids.host(2 * rows).reshape(rows, 2)
        keys = self._tables.keys(compiled.keys, np.full(rows, seeds, np.uint64), device)
        ids[:, 0], ids[:, 1] = numbers, keys
        out, found = self._partials.there(launch.partials), launch.found(self._results.host(launch.results))
        found.odd[:] = 0.0
        if ready is not None:
            device.after(stream, ready)
        with within(stream):  # orders copies of arrays on the device
            pointers = prepared.pointers(shared, own, launch.grid)
        there, tables = self._ids.copied(2 * rows, device), (prepared.columns, prepared.places)
        launch(functions, there, pointers, tables, out, self._results.host_address, omit, False, stream)
        device.wait(stream)
        return _read(found)

    def synchronize(self) -> None:
        """Wait for all launches, so that this worker can be used again."""
        self.device.wait(self._stream)


def _read(found: Found) -> tuple[RowPartial, npt.NDArray[np.bool_]]:
    """Copy what the kernels have found."""
    with np.errstate(invalid="ignore", over="ignore"):
        totals, variances = found.sums.sum(axis=0)
    partial = RowPartial(
        counts=found.counts.astype(np.int64),
        means=found.means.copy(),
        norms=found.norms.copy(),
        nonfinite=found.nonfinite.astype(np.int64),
        totals=totals,
        variances=variances,
    )
    return partial, found.odd != 0.0


class Prepared:
    """The memory of one worker that the arguments of one kernel point to.

    Attributes
    ----------
    columns, places : int
        Addresses of what `merge_rows` and `add_rows` read of the components.
    """

    def __init__(self, compiled: CompiledRows, device: Device, stream: int) -> None:
        emitted, dtype = compiled.emitted, compiled.dtype
        self._matrices, self._emitted, self._device, self._stream = compiled.matrices, emitted, device, stream
        self._mine = dict[int, DeviceMatrix]()
        self._numbers = Numbers(emitted, dtype, stream)
        self._zero = np.zeros(emitted.components, dtype)
        self._own = [Buffer(dtype, stream) for _ in range(1 + len(emitted.stacked))]
        self._workspace = Buffer(dtype, stream)
        self._tables = [self._upload(table) for table in (emitted.tables, compiled.places, compiled.places_of_totals)]
        self.columns, self.places = (table.address for table in self._tables[1:])

    def pointers(self, shared: RootValues, own: list[npt.NDArray[Any]], grid: int) -> list[int]:
        """Copy values into the memory, and return the addresses that the kernel takes."""
        emitted, device, stream = self._emitted, self._device, self._stream
        k = len(emitted.scalars)
        self._numbers.update(shared.values[:k], self._zero, device, stream)
        there = RootValues(shared.values[k:], shared.lasting[k:])
        self._on_device = self._matrices.upload(there, self._mine, device, stream)
        constants, *stacked = [self._stack(*pair) for pair in zip(self._own, own, strict=True)]
        pointers = [self._numbers.address, constants]
        if not emitted.teams:
            workspace = self._workspace.there(emitted.workspace * grid)
            matrices, rest = iter(self._on_device), iter(stacked)
            pointers += [self._numbers.shift, self._tables[0].address, workspace]
            pointers += [next(rest) if by_row else next(matrices).address for by_row in emitted.order]
        return pointers

    def _stack(self, buffer: Buffer, values: npt.NDArray[Any]) -> int:
        """Copy values by row to the device."""
        buffer.host(values.size).reshape(values.shape)[...] = values
        return buffer.copied(values.size, self._device)

    def _upload(self, table: npt.NDArray[np.int32]) -> Memory:
        memory = Memory(max(table.nbytes, 1), self._stream)
        self._device.copy(memory.address, table.ctypes.data, table.nbytes, self._stream)
        return memory
