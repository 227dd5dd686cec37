"""CUDA devices: memory, streams, modules, launches. The only file of this package that calls CuPy for them.

CuPy's own launch converts every argument at each call, a microsecond for each; the driver's entry point, which CuPy
publishes, takes a table of addresses that `Arguments` fills once. Kernels write results for the host into pinned host
memory, which a device addresses like its own: nothing is copied after a kernel, the host only waits for the stream.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad import arrays
from mcgrad.arrays import cupy, stream_at
from mcgrad.backends.cuda import faults
from mcgrad.errors import BackendError
from mcgrad.toolchain.ptx import Ptx

RECENT = 256  # kernels that stay loaded though nothing refers to them
NON_BLOCKING = 1  # of a stream: it does not wait for the default one
NO_TIMING = 2  # of an event
COPY = 4  # cudaMemcpyDefault: the direction is found from the addresses
POOL = "mcgrad-"  # prefix of the names of threads that call backends
STATIC_SHARED = 48 << 10  # bytes of shared memory that a kernel may have without an attribute


class Memory:
    """Memory on a device, at `address`.

    CuPy's pool reuses memory that was released in the same stream, whose earlier work is done before later work begins:
    so it is allocated with its stream current.
    """

    def __init__(self, nbytes: int, stream: int) -> None:
        self.nbytes = nbytes
        with within(stream):
            self._held = cupy().cuda.alloc(nbytes)
        self.address = int(self._held.ptr)


class Pinned:
    """Host memory that devices read and write at the same `address`, as `array`: one-dimensional, of a dtype."""

    def __init__(self, count: int, dtype: npt.DTypeLike) -> None:
        nbytes = max(count, 1) * np.dtype(dtype).itemsize
        self._held = cupy().cuda.alloc_pinned_memory(nbytes)
        self.array: npt.NDArray[Any] = np.frombuffer(self._held, dtype, count)
        self.address = int(self._held.ptr)


class Device:
    """One device, in the order in which the driver counts the visible ones.

    Attributes
    ----------
    index : int
    name : str
    cc : (int, int)
        Compute capability.
    processors : int
        Multiprocessors.
    memory : int
        Bytes.
    shared : int
        Bytes of shared memory that a thread block may have.
    """

    def __init__(self, index: int) -> None:
        self._runtime, self._driver = cupy().cuda.runtime, cupy().cuda.driver
        found = self._runtime.getDeviceProperties(index)
        name = found["name"]
        self.index, self.name = index, name.decode() if isinstance(name, bytes) else str(name)
        self.cc = int(found["major"]), int(found["minor"])
        self.processors, self.memory = int(found["multiProcessorCount"]), int(found["totalGlobalMem"])
        self.shared = int(found.get("sharedMemPerBlockOptin", STATIC_SHARED))
        self.lost: str | None = None
        self._lock, self._local = threading.RLock(), threading.local()
        self._functions: dict[Ptx, Any] = {}  # least recently used first

    def __str__(self) -> str:
        return f"CUDA device {self.index} ({self.name})"

    def current(self) -> Current:
        """Make this the calling thread's device in the context, and raise errors of CuPy as BackendErrors."""
        return Current(self)

    def enter(self) -> int:
        """Make this the calling thread's device, and return the previous one."""
        index, previous = self.index, int(self._runtime.getDevice())
        known: set[int] = self._local.__dict__.setdefault("known", set())
        if previous != index or index not in known:
            self._runtime.setDevice(index)
        if index not in known:  # a launch by the driver's entry point needs the context, which the runtime makes
            self._runtime.free(0)
            known.add(index)
        return previous

    def leave(self, previous: int) -> None:
        """Restore the calling thread's device; not in mcgrad's own threads, as it may create a context there."""
        if previous != self.index and not threading.current_thread().name.startswith(POOL):
            self._runtime.setDevice(previous)

    def load(self, ptx: Ptx, shared: int = 0, keep: bool = True) -> Any:
        """Return a kernel that is ready to launch with this much dynamic shared memory; `keep` it for later calls.

        The last `RECENT` are kept; others stay loaded for as long as they are used.
        """
        with self._lock:
            found = self._functions.pop(ptx, None) if keep else None
            if found is None:
                module = cupy().cuda.Module()
                module.load(ptx.image)
                found = module.get_function(ptx.entry)
            if keep:
                self._functions[ptx] = found
                if len(self._functions) > RECENT:
                    del self._functions[next(iter(self._functions))]
        if shared > STATIC_SHARED:
            self._driver.funcSetAttribute(
                found.ptr, self._driver.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, shared
            )
        return found

    def launch(self, function: Any, grid: int, threads: int, shared: int, arguments: int, stream: int) -> None:
        """Launch a kernel; `arguments` is the address of the table of addresses of its arguments, read at once."""
        self._driver.launchKernel(function.ptr, grid, 1, 1, threads, 1, 1, shared, stream, arguments, 0)

    def stream(self) -> int:
        """Make a stream."""
        return int(self._runtime.streamCreateWithFlags(NON_BLOCKING))

    def wait(self, stream: int) -> None:
        """Wait for all work in a stream."""
        self._runtime.streamSynchronize(stream)

    def copy(self, to: int, source: int, nbytes: int, stream: int) -> None:
        """Copy between any two addresses, in the order of the stream."""
        if nbytes:
            self._runtime.memcpyAsync(to, source, nbytes, COPY, stream)

    def clear(self, to: int, nbytes: int, stream: int) -> None:
        """Set bytes to zero, in the order of the stream."""
        self.fill(to, 0, nbytes, stream)

    def fill(self, to: int, byte: int, nbytes: int, stream: int) -> None:
        """Set bytes to a number, in the order of the stream."""
        self._runtime.memsetAsync(to, byte, nbytes, stream)

    def after(self, stream: int, event: Event) -> None:
        """Make later work in a stream start after an event."""
        self._runtime.streamWaitEvent(stream, event.address)

    def is_capturing(self, stream: int) -> bool:
        """Whether what is put into a stream goes to a CUDA graph instead of the device."""
        return bool(self._runtime.streamIsCapturing(stream))

    def free(self) -> tuple[int, int]:
        """Return the number of free bytes, and of all bytes."""
        free, total = self._runtime.memGetInfo()
        return int(free), int(total)

    def failure(self, error: Exception) -> BackendError | None:
        """Return the BackendError for an error of CuPy, or None for other errors."""
        cuda = cupy().cuda
        code = getattr(error, "status", None)
        if isinstance(error, cuda.memory.OutOfMemoryError) or code == faults.OUT_OF_MEMORY:
            return BackendError(faults.out_of_memory(str(self), str(error).rstrip("."), *self._room()))
        if not isinstance(error, cuda.runtime.CUDARuntimeError | cuda.driver.CUDADriverError):
            return None
        message = faults.failed(str(self), int(code or 0), error)
        if code in faults.LOST:
            self.lost = message
        return BackendError(message)

    def _room(self) -> tuple[int, int]:
        try:
            return self.free()
        except RuntimeError:
            return 0, self.memory


class Current:
    """A context in which a device is that of the calling thread."""

    __slots__ = ("_device", "_previous")

    def __init__(self, device: Device) -> None:
        self._device = device

    def __enter__(self) -> None:
        if self._device.lost is not None:
            raise BackendError(self._device.lost)
        self._previous = self._device.enter()

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        with suppress(RuntimeError):  # where the device is lost, the first error is being raised
            self._device.leave(self._previous)
        failure = self._device.failure(error) if isinstance(error, Exception) else None
        if failure is not None:
            raise failure from error


@contextmanager
def computing() -> Iterator[None]:
    """Raise a BackendError with the remedy where CuPy fails as it computes on its current device."""
    with arrays.computing(), devices()[int(cupy().cuda.runtime.getDevice())].current():
        yield


class Event:
    """An event in the current stream, after the work that it holds now."""

    def __init__(self) -> None:
        runtime = cupy().cuda.runtime
        self.address = int(runtime.eventCreateWithFlags(NO_TIMING))
        weakref.finalize(self, runtime.eventDestroy, self.address).atexit = False
        runtime.eventRecord(self.address, current_stream())


def within(stream: int) -> AbstractContextManager[Any]:
    """Return the context in which a stream is CuPy's current one."""
    return stream_at(stream)


def current_stream() -> int:
    """Return the address of CuPy's current stream."""
    return int(cupy().cuda.get_current_stream().ptr)


@cache
def devices() -> tuple[Device, ...]:
    """Return the visible devices; none where there is an `obstacle`."""
    return () if obstacle() else tuple(Device(i) for i in range(cupy().cuda.runtime.getDeviceCount()))


@cache
def obstacle() -> str | None:
    """Return why no device can be used here, or None."""
    try:
        runtime = cupy().cuda.runtime
    except BackendError as error:
        return str(error)
    driver, needed = runtime.driverGetVersion(), runtime.runtimeGetVersion()
    if not driver:
        return "there is no NVIDIA driver here"
    try:
        count = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        code = getattr(error, "status", None)
        if code == faults.TOO_OLD:
            return faults.too_old(driver, needed)
        if code != faults.NO_DEVICE:
            return f"the NVIDIA driver does not start ({error}); nvidia-smi may say why"
        count = 0
    return None if count else "there is a driver, but no device that it shows (see nvidia-smi, $CUDA_VISIBLE_DEVICES)"


def versions() -> tuple[int, int]:
    """Return the versions of CUDA that the driver and CuPy's runtime are for, as NVIDIA counts them."""
    runtime = cupy().cuda.runtime
    return int(runtime.driverGetVersion()), int(runtime.runtimeGetVersion())
