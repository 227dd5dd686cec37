"""Pack the arguments of kernels in memory, as their PTX declares them, with the table of addresses for a launch.

The first arguments of every chunk kernel (`codegen.cuda.kernel.ARGUMENTS`) are packed at once, by `COMMON`; numbers or
pointers follow. A boolean is a byte.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.backends.cuda.driver import Device

COMMON = struct.Struct("=IIqqqi?3xQ")  # key0 key1 start stop base chunks omit out
OFFSETS = (0, 4, 8, 16, 24, 32, 36, 40)
MERGE = struct.Struct("=Qi4xQ")  # partials chunks totals
MERGE_OFFSETS = (0, 8, 16)


class Arguments:
    """Arguments of one kernel.

    Parameters
    ----------
    offsets : tuple of int
        Where the arguments of the head start, in bytes.
    numbers : int
        Number of floats that follow, by value.
    dtype : dtype
        Dtype of the floats.
    pointers : int
        Number of pointers that follow.

    Attributes
    ----------
    head : memoryview
        The caller packs into it.
    numbers, pointers : array
        The caller fills them.
    address : int
        Of the table of addresses.
    """

    def __init__(self, offsets: tuple[int, ...], numbers: int, dtype: np.dtype[Any], pointers: int) -> None:
        head = np.zeros(COMMON.size, np.uint8)
        self.head = head.data
        self.numbers: npt.NDArray[Any] = np.zeros(numbers, dtype)
        self.pointers = np.zeros(pointers, np.uint64)
        addresses = [head.ctypes.data + offset for offset in offsets]
        for array in (self.numbers, self.pointers):
            addresses += [array.ctypes.data + i * array.itemsize for i in range(array.size)]
        self._table = np.array(addresses, np.uint64)
        self.address = int(self._table.ctypes.data)


class Slots:
    """Arguments of one launch, each in eight bytes, of which a kernel reads as many as it declares.

    Parameters
    ----------
    form : str
        A letter of `struct` for each: q for integers and booleans, Q for addresses, d for float64.
    *values : int or float

    Attributes
    ----------
    address : int
        Of the table of addresses.
    """

    def __init__(self, form: str, *values: float) -> None:
        self._held = np.frombuffer(struct.pack(f"={form}", *values), np.uint64)
        self._table = self._held.ctypes.data + 8 * np.arange(len(values), dtype=np.uint64)
        self.address = int(self._table.ctypes.data)


def launch(
    device: Device, stream: int, function: Any, grid: int, threads: int, form: str, *values: float, shared: int = 0
) -> None:
    """Launch a kernel with the arguments that `Slots` has, and `shared` bytes of dynamic shared memory."""
    slots = Slots(form, *values)  # read by the launch
    device.launch(function, grid, threads, shared, slots.address, stream)
