"""Workers: a stream of a device with the memory for launches, used by one host thread at a time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, Generic, Protocol, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from mcgrad.backends.cuda.buffer import Buffer
from mcgrad.backends.cuda.compiled import Compiled
from mcgrad.backends.cuda.constants import RootValues
from mcgrad.backends.cuda.driver import Device, Event, Memory, within
from mcgrad.backends.cuda.launch import COMMON, MERGE, MERGE_OFFSETS, OFFSETS, Arguments
from mcgrad.backends.cuda.resident import DeviceMatrix, Numbers
from mcgrad.backends.cuda.tables import Tables

MERGE_THREADS = 256


class Worker:
    """Launches kernels and waits for their sums.

    Memory grows to the largest size needed, and is reused: a call like the last one allocates nothing.
    """

    def __init__(self, device: Device) -> None:
        self.device = device
        self._stream = device.stream()
        self._merge = Arguments(MERGE_OFFSETS, 0, np.dtype(np.float64), 0)
        self._totals, self._partials = (Buffer(np.float64, self._stream) for _ in range(2))
        self._tables = Tables(self._stream)
        self._prepared: WeakKeyDictionary[Compiled, Prepared] = WeakKeyDictionary()

    def run(
        self,
        compiled: Compiled,
        values: RootValues,
        shift: npt.NDArray[Any],
        draws: tuple[int, int, int],
        omit: bool,
        ready: Event | None,
    ) -> npt.NDArray[np.float64]:
        """Launch a kernel over draws and return the rows of its sums; its device is current.

        Parameters
        ----------
        compiled : Compiled
        values : RootValues
            Draw-independent values.
        shift : array
        draws : (int, int, int)
            Seed, first draw, end.
        omit : bool
        ready : Event, optional
            The launch waits for it on the device.
        """
        device, stream, emitted = self.device, self._stream, compiled.emitted
        seed, start, stop = draws
        key = self._tables.key(compiled.keys, seed, device)
        function, merge = compiled.on(device)
        prepared = self._prepared.get(compiled)
        if prepared is None:
            prepared = self._prepared[compiled] = Prepared(compiled, stream)
        base = start // emitted.chunk * emitted.chunk
        chunks = -(-(stop - base) // emitted.chunk)
        grid = compiled.grid(device, chunks)
        found = self._totals.host(emitted.rows)
        totals = self._totals.host_address
        out = totals if chunks == 1 else self._partials.there(emitted.rows * chunks)
        if ready is None:
            arguments = prepared.prepare(values, shift, grid, device, stream)
        else:
            device.after(stream, ready)
            with within(stream):  # orders copies of arrays on the device
                arguments = prepared.prepare(values, shift, grid, device, stream)
        COMMON.pack_into(
            arguments.head, 0, key & 0xFFFFFFFF, key >> 32, start, stop, base, chunks, omit, out
        )  # fmt: skip
        device.launch(function, grid, emitted.threads, emitted.shared, arguments.address, stream)
        if chunks > 1:
            MERGE.pack_into(self._merge.head, 0, out, chunks, totals)
            device.launch(merge, emitted.rows, MERGE_THREADS, 0, self._merge.address, stream)
        device.wait(stream)
        return found.copy()

    def synchronize(self) -> None:
        """Wait for all launches, so that this worker can be used again."""
        self.device.wait(self._stream)


class Prepared:
    """The arguments of one kernel on one worker, and the memory that they point to."""

    def __init__(self, compiled: Compiled, stream: int) -> None:
        emitted, dtype = compiled.emitted, compiled.dtype
        self._emitted = emitted
        self._matrices, self._mine = compiled.matrices, dict[int, DeviceMatrix]()
        self._scalars = len(emitted.scalars)
        self._on_device: list[DeviceMatrix] = []
        if emitted.by_value:
            self._slices = [slice(first, first + var.size) for var, first in emitted.scalars]
            self._constants = sum(var.size for var, _ in emitted.scalars)
            self._arguments = Arguments(OFFSETS, self._constants + emitted.components, dtype, 0)
            return
        self._arguments = Arguments(OFFSETS, 0, dtype, 4 + len(emitted.matrices))
        self._numbers = Numbers(emitted, dtype, stream)
        self._tables: Memory | None = None
        self._workspace = Buffer(dtype, stream)

    def prepare(self, values: RootValues, shift: npt.NDArray[Any], grid: int, device: Device, stream: int) -> Arguments:
        """Copy values and shift into the arguments, or into the memory that they point to."""
        if not self._emitted.by_value:
            self._point(values, shift, grid, device, stream)
            return self._arguments
        numbers = self._arguments.numbers
        for part, value in zip(self._slices, values.values, strict=True):
            numbers[part] = value.ravel()
        numbers[self._constants :] = shift
        return self._arguments

    def _point(self, values: RootValues, shift: npt.NDArray[Any], grid: int, device: Device, stream: int) -> None:
        k = self._scalars
        self._numbers.update(values.values[:k], shift, device, stream)
        matrices = RootValues(values.values[k:], values.lasting[k:])
        self._on_device = self._matrices.upload(matrices, self._mine, device, stream)
        tables = self._tables or self._upload(self._emitted.tables, device, stream)
        self._arguments.pointers[:] = [
            self._numbers.address,
            self._numbers.shift,
            tables.address,
            self._workspace.there(self._emitted.workspace * grid),
            *(matrix.address for matrix in self._on_device),
        ]

    def _upload(self, tables: npt.NDArray[Any], device: Device, stream: int) -> Memory:
        self._tables = Memory(tables.nbytes, stream)
        device.copy(self._tables.address, tables.ctypes.data, tables.nbytes, stream)
        return self._tables


class Synchronizes(Protocol):
    """A worker of any kind."""

    def synchronize(self) -> None:
        """Wait for all launches, so that this worker can be used again."""


Kind = TypeVar("Kind", bound=Synchronizes)


class Workers(Generic[Kind]):
    """The workers of one kind on one device, made when needed, and shared by all kernels."""

    def __init__(self, device: Device, kind: Callable[[Device], Kind]) -> None:
        self.device, self._kind = device, kind
        self._free: deque[Kind] = deque()

    @contextmanager
    def taken(self) -> Iterator[Kind]:
        """Return a worker that no other thread uses, until the context ends; its device is current."""
        try:
            worker = self._free.pop()
        except IndexError:
            worker = self._kind(self.device)
        try:
            yield worker
        except BaseException:
            with suppress(Exception):
                worker.synchronize()
            raise
        finally:
            self._free.append(worker)


_lock = threading.RLock()


@cache
def _workers(device: Device, kind: Callable[[Device], Any]) -> Workers[Any]:
    return Workers(device, kind)


def workers(device: Device, kind: Callable[[Device], Kind]) -> Workers[Kind]:
    """Return the workers of a device, of a class of these."""
    with _lock:
        return _workers(device, kind)
