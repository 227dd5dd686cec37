"""One variant of a Program's kernel, for one problem or for rows: emitted source, and the code for each device."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from mcgrad.arrays import all_to_host
from mcgrad.backends.base import Array
from mcgrad.backends.cuda.constants import Constants
from mcgrad.backends.cuda.driver import Device
from mcgrad.backends.cuda.resident import Matrices
from mcgrad.backends.host_rows import HostRows
from mcgrad.backends.rescaled import RANGES
from mcgrad.backends.row_by_row import summed
from mcgrad.codegen.cuda.kernel import Emitted
from mcgrad.codegen.cuda.rows import EmittedRows
from mcgrad.errors import BackendError
from mcgrad.ir.noise_vars import keys_of
from mcgrad.ir.program import Program, toposort
from mcgrad.ir.spaces import Values
from mcgrad.noise.keys import Keys
from mcgrad.toolchain import ptx

MOST_WORKSPACE = 1 << 28  # bytes, of all thread blocks of a launch; on devices with more memory a part of that
PART = 32
BLOCKS = 16  # thread blocks on each multiprocessor, where each has a workspace


class Compiled:
    """A kernel.

    Parameters
    ----------
    emitted : Emitted
    dtype : str
    keys : Keys
        Of the Program's noise.

    Attributes
    ----------
    components : int
    constants : Constants
    matrices : Matrices
        Matrices that do not change, on the devices.
    """

    def __init__(self, emitted: Emitted, dtype: str, keys: Keys) -> None:
        self.emitted, self.dtype, self.keys = emitted, np.dtype(dtype), keys
        self.components = emitted.components
        self.constants = Constants(emitted, dtype)
        self.matrices = Matrices(emitted, self.dtype)
        self._lock = threading.RLock()
        self._functions: dict[int, tuple[Any, ...]] = {}

    def on(self, device: Device) -> tuple[Any, ...]:
        """Return the kernel, and what goes on with its partials, loaded on the current device."""
        found = self._functions.get(device.index)
        if found is None:
            with self._lock:
                found = self._functions[device.index] = (self._load(device), *self._others(device))
        return found

    def _others(self, device: Device) -> tuple[Any, ...]:
        """Load the kernels that go on with the partials: the one that adds them up."""
        return (_merge(device),)

    def grid(self, device: Device, chunks: int) -> int:
        """Return the number of thread blocks: one for each chunk, or fewer, where each has a workspace."""
        workspace = self.emitted.workspace * self.dtype.itemsize
        if not workspace:
            return chunks
        most = max(MOST_WORKSPACE, device.memory // PART)
        return max(min(chunks, device.processors * BLOCKS, most // workspace), 1)

    def _load(self, device: Device) -> Any:
        emitted = self.emitted
        if emitted.shared > device.shared:
            raise BackendError(f"{device} has {device.shared:,} bytes of shared memory a block, not {emitted.shared:,}")
        with compiling(device):
            code = ptx.ptx(emitted.source, "kernel", device.cc, emitted.user_functions)
        return device.load(code, emitted.shared, keep=not emitted.user_functions)


class CompiledRows(Compiled):
    """A kernel over rows of a batch, and how to compute the values by row that it reads.

    Parameters
    ----------
    program : Program
    emitted : EmittedRows
        Of this Program.

    Attributes
    ----------
    columns, summed : int
        Components with moments by row, and components that are summed over the rows.
    places, places_of_totals : int32 array
        The column of each component, -1 for those that are summed; which these are.
    limits : Range
        Within what limits squares keep their digits.
    """

    emitted: EmittedRows

    def __init__(self, program: Program, emitted: EmittedRows) -> None:
        super().__init__(emitted, program.dtype, keys_of(program))
        over_rows = summed(program)
        self.places = np.where(over_rows, -1, np.cumsum(~over_rows) - 1).astype(np.int32)
        self.places_of_totals = np.flatnonzero(over_rows).astype(np.int32)
        self.summed = len(self.places_of_totals)
        self.columns = self.components - self.summed
        self.limits = RANGES[self.dtype.itemsize]
        roots = [var for var, _ in (*emitted.by_row, *emitted.stacked)]
        self._by_row = HostRows(roots, program.dtype)
        self._needed = {var.attrs for var in toposort(roots) if var.op == "input"}
        self.bytes_by_row = self.dtype.itemsize * sum(var.size for var in roots)

    def own(self, inputs: Values, rows: tuple[int, int]) -> list[Array]:
        """Compute the values by row of a range: the constants of each row, and the matrices of each."""
        emitted, count = self.emitted, rows[1] - rows[0]
        given = all_to_host({name: inputs[name] for name in self._needed})  # those of all rows may be on a device
        found = iter(self._by_row.of_rows(given, *rows))
        constants = np.empty((count, emitted.stride), self.dtype)
        for (var, first), value in zip(emitted.by_row, found, strict=False):
            constants[:, first : first + var.size] = value.reshape(var.size, -1).T
        matrices = zip(emitted.stacked, found, strict=True)
        return [constants, *(np.moveaxis(x.transpose(*axes, -1), -1, 0) for (_, axes), x in matrices)]

    def _others(self, device: Device) -> tuple[Any, ...]:
        """Load the kernels that make moments of rows, and sums over rows, of the partials."""
        return _row_kernels(device)


@contextmanager
def compiling(device: Device) -> Iterator[None]:
    """Raise a BackendError where Numba or NVVM fail, such as for a user's function that does not compile for GPUs."""
    try:
        yield
    except BackendError as error:
        raise BackendError(f"the kernel does not compile for {device}: {error}") from error
    except Exception as error:
        raise BackendError(f"the kernel does not compile for {device}: {type(error).__name__}: {error}") from error


def _row_kernels(device: Device) -> tuple[Any, Any]:
    with compiling(device):
        from mcgrad.kernels import cuda_rows

        merge = ptx.function_ptx(cuda_rows.merge_rows, cuda_rows.MERGE_SIGNATURE, device.cc)
        add = ptx.function_ptx(cuda_rows.add_rows, cuda_rows.ADD_SIGNATURE, device.cc)
    return device.load(merge), device.load(add)


def _merge(device: Device) -> Any:
    with compiling(device):
        from mcgrad.kernels import merge

        code = ptx.function_ptx(merge.merge, merge.SIGNATURE, device.cc)
    return device.load(code)
