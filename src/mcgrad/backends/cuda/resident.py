"""Copy constants and matrices to a device's memory: only those that have changed since the last launch."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.arrays import as_dtype, contiguous, on_device
from mcgrad.backends.cuda.constants import RootValues
from mcgrad.backends.cuda.driver import Device, Memory, Pinned
from mcgrad.codegen.cuda.kernel import Emitted

ALIGNED = 4  # elements of the vectors that kernels read


class Numbers:
    """Constants, and the shift after them, in the memory of one worker.

    Parameters
    ----------
    emitted : Emitted
    dtype : dtype
    stream : int
        The worker's.

    Attributes
    ----------
    address : int
        Of the constants.
    shift : int
        Address of the shift.
    """

    def __init__(self, emitted: Emitted, dtype: np.dtype[Any], stream: int) -> None:
        self._ends: list[tuple[int, int]] = [(first, first + var.size) for var, first in emitted.scalars]
        size = -(-max((end for _, end in self._ends), default=0) // ALIGNED) * ALIGNED
        self._ends.append((size, size + emitted.components))
        self._dtype, self._staging = dtype, Pinned(size + emitted.components, dtype)
        self._memory = Memory(self._staging.array.nbytes, stream)
        self._held: list[Any] = [None] * len(self._ends)
        self.address = self._memory.address
        self.shift = self.address + size * dtype.itemsize

    def update(self, values: list[Any], shift: npt.NDArray[Any], device: Device, stream: int) -> None:
        """Copy the values that are other objects than at the last call; adjacent ones in one copy."""
        runs: list[list[int]] = []
        given = [*values, shift]
        for i, ((first, end), value) in enumerate(zip(self._ends, given, strict=True)):
            if self._held[i] is value:
                continue
            if on_device(value):
                source = contiguous(as_dtype(value, self._dtype))
                device.copy(self._at(first), source.data.ptr, source.nbytes, stream)
                given[i] = value, source  # keeps them alive until they are copied
                continue
            self._staging.array[first:end] = value.ravel()
            if runs and runs[-1][1] == first:
                runs[-1][1] = end
            else:
                runs.append([first, end])
        for first, end in runs:
            offset, nbytes = first * self._dtype.itemsize, (end - first) * self._dtype.itemsize
            device.copy(self.address + offset, self._staging.address + offset, nbytes, stream)
        self._held = given

    def _at(self, first: int) -> int:
        return self.address + first * self._dtype.itemsize


class Matrices:
    """The matrices of a kernel: those that do not change once on each device, the others for each worker."""

    def __init__(self, emitted: Emitted, dtype: np.dtype[Any]) -> None:
        self._axes, self._dtype = [axes for _, axes in emitted.matrices], dtype
        self._lock = threading.RLock()
        self._lasting: dict[tuple[int, int], DeviceMatrix] = {}

    def upload(
        self, values: RootValues, mine: dict[int, DeviceMatrix], device: Device, stream: int
    ) -> list[DeviceMatrix]:
        """Return the matrices on a device, copied there where they are not.

        Parameters
        ----------
        values : RootValues
            Of the matrices alone.
        mine : dict
            Matrices of the worker, by position; changed ones are replaced.
        device, stream
        """
        found = []
        for i, (value, lasts) in enumerate(zip(values.values, values.lasting, strict=True)):
            known = self._lasting.get((device.index, i)) if lasts else mine.get(i)
            if known is None or known.value is not value:
                known = DeviceMatrix(value, self._axes[i], self._dtype, device, stream)
                if lasts:
                    with self._lock:
                        device.wait(stream)  # other streams read it, too
                        self._lasting[device.index, i] = known
                else:
                    mine[i] = known
            found.append(known)
        return found


class DeviceMatrix:
    """One matrix on a device, at `address`."""

    def __init__(self, value: Any, axes: tuple[int, ...], dtype: np.dtype[Any], device: Device, stream: int) -> None:
        self.value = value
        self._source = source = contiguous(as_dtype(value.transpose(axes), dtype))  # keeps it alive while it is read
        there = on_device(source)
        if there and source.device.id == device.index and source.data.ptr % (ALIGNED * dtype.itemsize) == 0:
            self.address = int(source.data.ptr)
            return
        self._memory = Memory(source.nbytes, stream)
        self.address = self._memory.address
        device.copy(self.address, source.data.ptr if there else source.ctypes.data, source.nbytes, stream)
