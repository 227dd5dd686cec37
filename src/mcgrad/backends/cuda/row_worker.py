"""Workers that average ranges of rows: a stream of a device with memory for launches, for one host thread at a time.

Three kernels run in turn: that of the Program leaves partials, `merge_rows` makes moments of rows of these, and
`add_rows` the sums over rows (`kernels/cuda_rows.py`). What the host reads is written to its own memory.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from mcgrad.backends.base import RowPartial
from mcgrad.backends.cuda.compiled import CompiledRows
from mcgrad.backends.cuda.constants import RootValues
from mcgrad.backends.cuda.driver import Device, Event, Memory, Pinned, within
from mcgrad.backends.cuda.launch import Slots
from mcgrad.backends.cuda.resident import DeviceMatrix, Numbers
from mcgrad.noise.rows import Seeds

THREADS, SIDE, TOGETHER = 256, 32, 256  # those of `kernels/cuda_rows.py`


class Buffer:
    """Memory on a device, and of the same size on the host; it grows to the largest size needed."""

    def __init__(self, dtype: npt.DTypeLike, stream: int) -> None:
        self._dtype, self._stream = np.dtype(dtype), stream
        self._host: Pinned | None = None
        self._there: Memory | None = None

    def host(self, count: int) -> npt.NDArray[Any]:
        """Return the memory on the host."""
        if self._host is None or self._host.array.size < count:
            self._host = None
            self._host = Pinned(count, self._dtype)
        return self._host.array[:count]

    @property
    def host_address(self) -> int:
        """Where the memory on the host is, for a device, too."""
        return self._host.address if self._host else 0

    def there(self, count: int) -> int:
        """Return the address of the memory on the device."""
        nbytes = max(count, 1) * self._dtype.itemsize
        if self._there is None or self._there.nbytes < nbytes:
            self._there = None  # freed first, so that both sizes need not fit
            self._there = Memory(nbytes, self._stream)
        return self._there.address

    def copied(self, count: int, device: Device) -> int:
        """Copy from the host to the device, and return the address there."""
        address = self.there(count)
        device.copy(address, self.host_address, count * self._dtype.itemsize, self._stream)
        return address


class RowWorker:
    """Launches kernels over rows and waits for what they find."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self._stream = stream = device.stream()
        self._partials, self._results = Buffer(np.float64, stream), Buffer(np.float64, stream)
        self._ids = Buffer(np.uint64, stream)
        self._prepared: WeakKeyDictionary[CompiledRows, Prepared] = WeakKeyDictionary()

    def run(
        self,
        compiled: CompiledRows,
        shared: RootValues,
        ready: Event | None,
        own: list[npt.NDArray[Any]],
        numbers: npt.NDArray[np.int64],
        seeds: Seeds,
        draws: tuple[int, int, int],
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
        draws : (int, int, int)
            The first draw, the end, and how many threads have a part.
        omit : bool

        Returns
        -------
        partial : RowPartial
        odd : bool array, shape (rows,)
            Which rows have to be averaged otherwise: the totals are without them.
        """
        device, stream, emitted = self.device, self._stream, compiled.emitted
        (start, stop, team), rows = draws, len(numbers)
        function, merge, add = compiled.on(device)
        prepared = self._prepared.get(compiled)
        if prepared is None:
            prepared = self._prepared[compiled] = Prepared(compiled, device, stream)
        parts = emitted.parts(start, stop)
        units, each = rows * parts, emitted.threads // team
        grid = -(-units // each) if emitted.teams else compiled.grid(device, units)
        ids = self._ids.host(2 * rows).reshape(rows, 2)
        ids[:, 0], ids[:, 1] = numbers, seeds
        out = self._partials.there(units * emitted.rows + rows)
        groups = -(-rows // TOGETHER)
        k, s = compiled.columns, compiled.summed
        results = self._results.host(2 * rows * k + 3 * rows + 2 * groups * s)
        results[2 * rows * k : 2 * rows * k + 3 * rows] = 0.0
        if ready is not None:
            device.after(stream, ready)
        with within(stream):  # orders copies of arrays on the device
            pointers = prepared.pointers(shared, own, grid)
        head = start, stop, emitted.chunk, parts, units, team, omit, self._ids.copied(2 * rows, device), out
        arguments = Slots(f"qqqqqqqQQ{'Q' * len(pointers)}", *head, *pointers)
        device.launch(function, grid, emitted.threads, emitted.shared, arguments.address, stream)
        components, limits, found = compiled.components, compiled.limits, self._results.host_address
        merging = out, rows, parts, components, omit, limits.least, limits.floor, prepared.columns, k, found
        arguments = Slots("QqqqqddQqQ", *merging)
        device.launch(merge, -(-rows * components // THREADS), THREADS, 0, arguments.address, stream)
        if s:
            totals = found + 8 * rows * (2 * k + 3)
            arguments = Slots("QqqqQqQ", out, rows, parts, components, prepared.places, s, totals)
            device.launch(add, groups * -(-s // SIDE), THREADS, 0, arguments.address, stream)
        device.wait(stream)
        return _read(results, rows, k, s)

    def synchronize(self) -> None:
        """Wait for all launches, so that this worker can be used again."""
        self.device.wait(self._stream)


def _read(results: npt.NDArray[np.float64], rows: int, k: int, s: int) -> tuple[RowPartial, npt.NDArray[np.bool_]]:
    """Copy what the kernels have found."""
    means, norms, counts, nonfinite, odd, totals = np.split(results, np.cumsum([rows * k, rows * k, rows, rows, rows]))
    with np.errstate(invalid="ignore", over="ignore"):
        total, variance = totals.reshape(-(-rows // TOGETHER), 2, s).sum(axis=0)
    partial = RowPartial(
        counts=counts.astype(np.int64),
        means=means.reshape(rows, k).copy(),
        norms=norms.reshape(rows, k).copy(),
        nonfinite=nonfinite.astype(np.int64),
        totals=total,
        variances=variance,
    )
    return partial, odd != 0.0


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
            workspace = self._workspace.there(max(emitted.workspace * grid, 1))
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
