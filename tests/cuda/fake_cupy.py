"""A stand-in for CuPy whose devices are host memory: the calls that `mcgrad.backends.cuda.driver` makes, and arrays.

Streams queue work until a wait for them, as devices may; events and waits order them. Memory
is full of NaN when it is new. Kernels are Python functions: their arguments are read from the table of addresses as the
driver reads them, by their declared types, and pointers become arrays that end where their allocation ends.
"""

from __future__ import annotations

import ctypes
import itertools
import sys
import threading
import time
import warnings
from collections import deque
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

MEGABYTE = 1 << 20
TYPES = {
    "uint32": ctypes.c_uint32,
    "int32": ctypes.c_int32,
    "int64": ctypes.c_int64,
    "boolean": ctypes.c_bool,
    "float32": ctypes.c_float,
    "float64": ctypes.c_double,
}


class CUDARuntimeError(RuntimeError):
    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


class CUDADriverError(RuntimeError):
    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


class OutOfMemoryError(MemoryError):
    pass


class CompileException(Exception):  # noqa: N818 - CuPy's name
    pass


CUDARuntimeError.__module__ = "cupy_backends.cuda.api.runtime"  # by which errors of CuPy are recognized
CUDADriverError.__module__ = "cupy_backends.cuda.api.driver"
OutOfMemoryError.__module__ = "cupy.cuda.memory"
CompileException.__module__ = "cupy.cuda.compiler"


class Machine:
    """Devices, memory and streams, and the module that stands for CuPy.

    Parameters
    ----------
    devices : int
    memory : int
        Bytes of each.
    driver : int
        Version of CUDA that the driver is for; 0 for no driver.
    release : int
        Major version of CuPy: 14 takes streams by the protocol, and deprecates what 13 takes them by.
    """

    def __init__(self, devices: int = 1, memory: int = 1 << 34, driver: int = 12090, release: int = 14) -> None:
        self.devices, self.memory, self.driver, self.release = devices, memory, driver, release
        self.blocks: dict[int, tuple[Any, int | None]] = {}  # address: bytes, device (None for the host)
        self.kernels: dict[int, tuple[Any, list[str]]] = {}
        self.streams: dict[int, deque[Any]] = {0: deque()}
        self.events: dict[int, Any] = {}
        self.numbers = itertools.count(100)
        self.launches: list[tuple[int, int]] = []  # device, blocks of the grid
        self.copies: list[int] = []  # bytes
        self.asked: set[str] = set()  # functions of NumPy that arrays answered
        self.transfers = 0  # of arrays to the host
        self.eager = False  # whether streams work at once, as arrays do whose functions read what kernels write
        self.waits = 0  # of the host, for a stream or an event
        self.allocations = 0  # of memory on devices, by CuPy's own allocator
        self.capturing: dict[int, list[Any]] = {}  # what was put into streams whose work goes to a graph
        self.faults: list[Exception] = []  # to be raised by what comes next
        self.array_faults: list[Exception] = []  # to be raised by the next computation with arrays
        self.bound: set[tuple[int, int]] = set()  # threads and the devices whose contexts they have
        self.used = [0] * max(devices, 1)
        self.local = threading.local()
        self.lock = threading.RLock()
        self.cupy = _module(self)

    # Memory

    @property
    def device(self) -> int:
        return getattr(self.local, "device", 0)

    def cuda_alloc(self, nbytes: int) -> Any:
        """Allocate as CuPy does: by the allocator of the innermost context."""
        stack = getattr(self.local, "allocators", [])
        return stack[-1](nbytes) if stack else self.alloc(nbytes)

    def alloc(self, nbytes: int, device: int | None = -1) -> Any:
        self.fault()
        self.allocations += 1
        device = self.device if device == -1 else device
        if device is not None:
            if self.used[device] + nbytes > self.memory:
                raise OutOfMemoryError(f"Out of memory allocating {nbytes:,} bytes.")
            self.used[device] += nbytes
        block = np.full(nbytes, 0xFF, np.uint8)
        self.blocks[block.ctypes.data] = (block, device)
        return SimpleNamespace(ptr=block.ctypes.data, block=block)

    def pinned(self, nbytes: int) -> Any:
        def address(self: Any) -> int:
            return ctypes.addressof(self)

        held = type("Pinned", (ctypes.c_char * nbytes,), {"ptr": property(address)})()
        block = np.frombuffer(held, np.uint8)
        self.blocks[held.ptr] = (block, None)
        return held

    def view(self, address: int, dtype: Any = np.uint8, nbytes: int | None = None, device: int | None = None) -> Any:
        """Return memory from an address on, as far as it was allocated; where a kernel reads it, only what it may."""
        for start, (block, owner) in list(self.blocks.items()):
            if start <= address < start + block.size:
                assert device is None or owner is None or owner == device, f"memory of device {owner}, not {device}"
                part = block[address - start :][:nbytes]
                assert nbytes is None or part.size == nbytes, "a copy beyond the end of its memory"
                return part[: part.size // np.dtype(dtype).itemsize * np.dtype(dtype).itemsize].view(dtype)
        assert device is None, "a pointer to nowhere"
        assert nbytes is not None, "a pointer to nowhere"
        return np.frombuffer((ctypes.c_char * nbytes).from_address(address), dtype)  # pageable memory of the host

    # Streams

    def do(self, stream: int, work: Any) -> None:
        self.fault()
        if self.eager and stream not in self.capturing:
            work()
            return
        (self.capturing[stream] if stream in self.capturing else self.streams[stream]).append(work)

    def replay(self, graph: list[Any]) -> None:
        """Do what a stream that was captured holds, as its graph does."""
        for work in graph:
            work()

    def finish(self, stream: int, until: Any = None) -> None:
        with self.lock:
            queue = self.streams[stream]
            while queue and not (until is not None and until.done):
                queue.popleft()()

    def synchronize(self, stream: int, until: Any = None) -> None:
        """Let the host wait for a stream."""
        assert stream not in self.capturing, "a wait for a stream that is captured"
        self.waits += 1
        self.finish(stream, until)

    def clear(self, to: int, value: int, nbytes: int, stream: int) -> None:
        self.do(stream, lambda: self.view(to, nbytes=nbytes).fill(value))

    def copy(self, to: int, source: int, nbytes: int, kind: int, stream: int) -> None:
        assert kind == 4
        self.copies.append(nbytes)

        def work() -> None:
            self.view(to, nbytes=nbytes)[:] = self.view(source, nbytes=nbytes)

        self.do(stream, work)

    def record(self, event: int, stream: int) -> None:
        mark = SimpleNamespace(done=False, stream=stream)
        self.events[event] = mark

        def work() -> None:
            mark.done, mark.time = True, time.perf_counter()

        self.do(stream, work)

    def wait_for(self, stream: int, event: int) -> None:
        mark = self.events[event]
        self.do(stream, lambda: self.finish(mark.stream, mark))

    # Kernels

    def kernel(self, function: Any, types: list[str]) -> bytes:
        """Register a kernel, and return the image by which `Module.load` will find it."""
        number = next(self.numbers)
        self.kernels[number] = function, types
        return str(number).encode()

    def launch(self, f: int, gx: int, gy: int, gz: int, bx: int, by: int, bz: int, shared: int, stream: int,
               arguments: int, extra: int) -> None:  # fmt: skip
        assert (gy, gz, by, bz, extra) == (1, 1, 1, 1, 0)
        assert gx >= 1
        assert (threading.get_ident(), self.device) in self.bound, "a launch without a context"
        function, types = self.kernels[f]
        device = self.device
        table = (ctypes.c_void_p * len(types)).from_address(arguments)
        values = [self.argument(kind, address, device) for kind, address in zip(types, table, strict=True)]
        self.launches.append((device, gx))
        self.do(stream, lambda: function(gx, bx, shared, *values))

    def argument(self, kind: str, address: int, device: int) -> Any:
        if not kind.startswith("pointer"):
            return TYPES[kind].from_address(address).value
        return self.view(ctypes.c_uint64.from_address(address).value, kind.removeprefix("pointer "), device=device)

    def fault(self) -> None:
        if self.faults:
            raise self.faults.pop(0)

    # Versions and properties

    def count(self) -> int:
        if not self.driver or self.driver < 12000:
            raise CUDARuntimeError(35, "cudaErrorInsufficientDriver: CUDA driver version is insufficient")
        if not self.devices:
            raise CUDARuntimeError(100, "cudaErrorNoDevice: no CUDA-capable device is detected")
        return self.devices

    def properties(self, index: int) -> dict[str, Any]:
        return {
            "name": b"Fake GPU",
            "major": 9,
            "minor": 0,
            "multiProcessorCount": 4,
            "totalGlobalMem": self.memory,
            "sharedMemPerBlockOptin": 232448,
        }

    def set_device(self, index: int) -> None:
        assert 0 <= index < self.devices
        self.local.device = index

    def new_stream(self) -> int:
        number = next(self.numbers)
        self.streams[number] = deque()
        return number


class Stream:
    """A stream, and while it is entered the current one."""

    def __init__(self, machine: Machine, ptr: int) -> None:
        self.machine, self.ptr = machine, ptr

    def __enter__(self) -> Stream:
        self.machine.local.__dict__.setdefault("stack", []).append(self.ptr)
        return self

    def __exit__(self, *error: object) -> None:
        self.machine.local.stack.pop()

    def synchronize(self) -> None:
        self.machine.synchronize(self.ptr)


class Event:
    """An event that remembers when the device came to it."""

    def __init__(self, machine: Machine) -> None:
        self.machine, self.ptr = machine, next(machine.numbers)

    def record(self, stream: Stream | None = None) -> None:
        self.machine.record(self.ptr, stream.ptr if stream else 0)

    def synchronize(self) -> None:
        mark = self.machine.events[self.ptr]
        self.machine.synchronize(mark.stream, mark)


class Allocating:
    """A context in which an allocator is the thread's."""

    def __init__(self, machine: Machine, allocator: Any) -> None:
        self.machine, self.allocator = machine, allocator

    def __enter__(self) -> None:
        self.machine.local.__dict__.setdefault("allocators", []).append(self.allocator)

    def __exit__(self, *error: object) -> None:
        self.machine.local.allocators.pop()


def _module(machine: Machine) -> Any:
    runtime = SimpleNamespace(
        CUDARuntimeError=CUDARuntimeError,
        getDeviceCount=machine.count,
        getDeviceProperties=machine.properties,
        driverGetVersion=lambda: machine.driver,
        runtimeGetVersion=lambda: 12090,
        memGetInfo=lambda: (machine.memory - machine.used[machine.device], machine.memory),
        getDevice=lambda: machine.device,
        setDevice=machine.set_device,
        free=lambda address: machine.bound.add((threading.get_ident(), machine.device)),
        streamCreateWithFlags=lambda flags: machine.new_stream(),
        streamSynchronize=machine.synchronize,
        streamIsCapturing=lambda stream: stream in machine.capturing,
        memsetAsync=machine.clear,
        streamWaitEvent=machine.wait_for,
        eventCreateWithFlags=lambda flags: next(machine.numbers),
        eventRecord=machine.record,
        eventDestroy=lambda event: machine.events.pop(event, None),
        memcpyAsync=machine.copy,
    )
    driver = SimpleNamespace(
        CUDADriverError=CUDADriverError,
        CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES=8,
        launchKernel=machine.launch,
        funcSetAttribute=lambda function, attribute, value: None,
    )

    class Module:
        def load(self, image: bytes) -> None:
            machine.fault()
            self.ptr = int(image)

        def get_function(self, name: str) -> Any:
            return SimpleNamespace(ptr=self.ptr, module=self)

    class External(Stream):
        def __init__(self, ptr: int) -> None:
            if machine.release >= 14:
                warnings.warn("ExternalStream is deprecated. Use Stream.from_external()", DeprecationWarning, 2)
            super().__init__(machine, ptr)

    class New(Stream):
        def __init__(self) -> None:
            super().__init__(machine, machine.new_stream())

    def from_external(cls: Any, theirs: Any) -> Stream:
        made = cls.__new__(cls)
        Stream.__init__(made, machine, theirs.__cuda_stream__()[1])
        return made

    if machine.release >= 14:
        New.from_external = classmethod(from_external)

    def current() -> Stream:
        stack = getattr(machine.local, "stack", [])
        return Stream(machine, stack[-1] if stack else 0)

    module: Any = ModuleType("cupy")
    module.__spec__ = ModuleSpec("cupy", None)
    module.cuda = SimpleNamespace(
        alloc=machine.cuda_alloc,
        using_allocator=lambda allocator: Allocating(machine, allocator),
        UnownedMemory=lambda address, nbytes, owner, device=-1: SimpleNamespace(ptr=address, owner=owner),
        MemoryPointer=lambda memory, offset: SimpleNamespace(ptr=memory.ptr + offset, memory=memory),
        alloc_pinned_memory=machine.pinned,
        memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
        runtime=runtime,
        driver=driver,
        Module=Module,
        Stream=New,
        Event=lambda: Event(machine),
        get_elapsed_time=lambda a, b: 1000 * (machine.events[b.ptr].time - machine.events[a.ptr].time),
        ExternalStream=External,
        get_current_stream=current,
    )
    from tests.cuda.fake_arrays import array_class

    module.ndarray = array_class(machine)
    module.asarray = module.ndarray.of
    module.empty = lambda shape, dtype: module.ndarray.of(np.zeros(shape, dtype))
    module.from_dlpack = module.ndarray.of
    return module


def install(machine: Machine, monkeypatch: Any) -> Machine:
    """Put a machine in CuPy's place."""
    from mcgrad.backends.cuda import backend, driver, worker

    monkeypatch.setitem(sys.modules, "cupy", machine.cupy)
    monkeypatch.setitem(sys.modules, "cupyx.scipy.special", machine.cupy.ndarray.special)
    for cached in (driver.devices, driver.obstacle, worker._workers):
        cached.cache_clear()
    monkeypatch.setattr(backend, "_missing", lambda: None)
    monkeypatch.setattr(backend, "has_driver", lambda: True)
    return machine
