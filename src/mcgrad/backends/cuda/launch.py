"""The arguments of our kernels in memory, as their PTX declares them, with the table of addresses for a launch.

What every chunk kernel takes first (`emit.kernel.ARGUMENTS`) is packed at once, by `COMMON`; then come numbers, or
pointers. A boolean is a byte.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt

COMMON = struct.Struct("=IIqqqi?3xQ")  # key0 key1 start stop base chunks omit out
PLACES = (0, 4, 8, 16, 24, 32, 36, 40)
MERGE = struct.Struct("=Qi4xQ")  # partials chunks totals
MERGE_PLACES = (0, 8, 16)


class Arguments:
    """Arguments of one kernel.

    Parameters
    ----------
    places : tuple of int
        Where the arguments of the head start, in bytes.
    numbers : int
        How many floats follow, by value.
    dtype : dtype
        Of those.
    pointers : int
        How many pointers follow.

    Attributes
    ----------
    head : memoryview
        To be packed into.
    numbers, pointers : array
        To be filled.
    address : int
        Of the table of addresses.
    """

    def __init__(self, places: tuple[int, ...], numbers: int, dtype: np.dtype[Any], pointers: int) -> None:
        head = np.zeros(COMMON.size, np.uint8)
        self.head = head.data
        self.numbers: npt.NDArray[Any] = np.zeros(numbers, dtype)
        self.pointers = np.zeros(pointers, np.uint64)
        addresses = [head.ctypes.data + place for place in places]
        for array in (self.numbers, self.pointers):
            addresses += [array.ctypes.data + i * array.itemsize for i in range(array.size)]
        self._table = np.array(addresses, np.uint64)
        self.address = int(self._table.ctypes.data)
