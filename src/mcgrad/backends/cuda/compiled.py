"""One variant of a Program's kernel: emitted source, and the code compiled for each device it runs on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from mcgrad.backends.cuda.constants import Constants
from mcgrad.backends.cuda.driver import Device
from mcgrad.backends.cuda.resident import Matrices
from mcgrad.codegen.cuda.kernel import Emitted
from mcgrad.errors import BackendError
from mcgrad.toolchain import ptx

MOST_WORKSPACE = 1 << 28  # bytes, of all thread blocks of a launch
BLOCKS = 16  # thread blocks on each multiprocessor, where each has a workspace


class Compiled:
    """A kernel.

    Parameters
    ----------
    emitted : Emitted
    dtype : str

    Attributes
    ----------
    components : int
    constants : Constants
    matrices : Matrices
        Matrices that do not change, on the devices.
    """

    def __init__(self, emitted: Emitted, dtype: str) -> None:
        self.emitted, self.dtype = emitted, np.dtype(dtype)
        self.components = emitted.components
        self.constants = Constants(emitted, dtype)
        self.matrices = Matrices(emitted, self.dtype)
        self._lock = threading.RLock()
        self._functions: dict[int, tuple[Any, Any]] = {}

    def on(self, device: Device) -> tuple[Any, Any]:
        """Return the kernel, and the kernel that adds up its partials, loaded on the current device."""
        found = self._functions.get(device.index)
        if found is None:
            with self._lock:
                found = self._functions[device.index] = (self._load(device), _merge(device))
        return found

    def grid(self, device: Device, chunks: int) -> int:
        """Return the number of thread blocks: one for each chunk, or fewer, where each has a workspace."""
        workspace = self.emitted.workspace * self.dtype.itemsize
        if not workspace:
            return chunks
        return max(min(chunks, device.processors * BLOCKS, MOST_WORKSPACE // workspace), 1)

    def _load(self, device: Device) -> Any:
        emitted = self.emitted
        if emitted.shared > device.shared:
            raise BackendError(f"{device} has {device.shared:,} bytes of shared memory a block, not {emitted.shared:,}")
        with compiling(device):
            code = ptx.ptx(emitted.source, "kernel", device.cc, emitted.user_functions)
        return device.load(code, emitted.shared, keep=not emitted.user_functions)


@contextmanager
def compiling(device: Device) -> Iterator[None]:
    """Raise a BackendError where Numba or NVVM fail, such as for a user's function that does not compile for GPUs."""
    try:
        yield
    except BackendError as error:
        raise BackendError(f"the kernel does not compile for {device}: {error}") from error
    except Exception as error:
        raise BackendError(f"the kernel does not compile for {device}: {type(error).__name__}: {error}") from error


def _merge(device: Device) -> Any:
    with compiling(device):
        from mcgrad.kernels import merge

        code = ptx.function_ptx(merge.merge, merge.SIGNATURE, device.cc)
    return device.load(code)
