"""Memory of a worker on a device, and on the host beside it, that is kept from call to call."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.backends.cuda.driver import Device, Memory, Pinned


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
