"""Tables of point sets in the memory of one worker: kernels read the address of one in the place of a seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.backends.cuda.driver import Device, Memory
from mcgrad.noise.keys import Keys

MOST_BYTES = 1 << 28  # that are kept from call to call


class Tables:
    """Copies tables when they are first needed.

    Parameters
    ----------
    stream : int
        The worker's.
    """

    def __init__(self, stream: int) -> None:
        self._stream = stream
        self._held: dict[tuple[Keys, int], tuple[Memory, npt.NDArray[Any]]] = {}

    def key(self, keys: Keys, seed: int, device: Device) -> int:
        """Return what a kernel reads in the place of a seed: of a point set where the table of the replicate is."""
        return int(self.keys(keys, np.array([seed], np.uint64), device)[0])

    def keys(self, keys: Keys, seeds: npt.NDArray[np.uint64], device: Device) -> npt.NDArray[np.uint64]:
        """Return the same for many seeds; the tables stay where they are until the next call."""
        if not keys.of_points:
            return seeds
        if sum(memory.nbytes for memory, _ in self._held.values()) > MOST_BYTES:
            self._held.clear()
        distinct, places = np.unique(seeds, return_inverse=True)
        found = np.array([self._address(keys, int(seed), device) for seed in distinct], np.uint64)
        return found[places]

    def _address(self, keys: Keys, seed: int, device: Device) -> int:
        held = self._held.get((keys, seed))
        if held is None:
            table = keys.in_memory(seed)
            memory = Memory(table.nbytes, self._stream)
            device.copy(memory.address, table.ctypes.data, table.nbytes, self._stream)
            held = self._held[keys, seed] = memory, table  # the host's array is read by the copy, which may be later
        return held[0].address
