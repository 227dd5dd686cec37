"""Emitted kernels under numba's CUDA simulator: threads, barriers and shared memory are its own; numbers are NumPy's.

Pointers are one-dimensional arrays, and every index is checked. What the simulator lacks (shuffles) or cannot run
(intrinsics) is replaced here by plain Python of the same meaning.
"""

from __future__ import annotations

import ast
import importlib
import warnings
from collections.abc import Callable
from types import FunctionType, SimpleNamespace
from typing import Any

import numpy as np

from mcgrad.codegen.cuda.kernel import Emitted
from mcgrad.ir.interpret import IMPL
from mcgrad.ir.program import Program
from mcgrad.noise.philox import philox4x32

WARP = 32
_scratch: dict[int, Any] = {}  # what the threads of a block show each other; blocks run one after the other


def at(memory, index):
    assert 0 <= index < memory.size, f"read at {index} of {memory.size}"
    return memory[index]


def put(memory, index, value):
    assert 0 <= index < memory.size, f"write at {index} of {memory.size}"
    memory[index] = value


def advance(memory, index):
    assert 0 <= index <= memory.size
    return memory[index:]


def array_at(memory, index, shape):
    size = int(np.prod(shape))
    assert 0 <= index <= memory.size - size
    while not isinstance(memory, np.ndarray):  # the simulator's wrappers, which a compiled function does not take
        memory = memory._item if hasattr(memory, "_item") else memory._ary
    return memory[index : index + size].reshape(shape)


def loader(count):
    """Return `load2` or `load4`: their vectors start at multiples of their length."""

    def load(memory, index):
        assert 0 <= index <= memory.size - count, f"read at {index} of {memory.size}"
        assert index % count == 0
        return tuple(memory[index : index + count])

    return load


def store(memory, index, *values):
    assert 0 <= index <= memory.size - len(values), f"write at {index} of {memory.size}"
    assert index % len(values) == 0
    memory[index : index + len(values)] = values


def add_products(sums, x, y):
    pairs = [(a, b) for a in x for b in y]
    assert len(pairs) == len(sums)
    return tuple(s + a * b for s, (a, b) in zip(sums, pairs, strict=True))


def add_moments(sums, shifts, x, y, weights):
    found = []
    for n, (a, b) in enumerate((a, b) for a in x for b in y):
        d = [u * v - shifts[n] for u, v in zip(a, b, strict=True)]
        d = [e if w else 0 * w for e, w in zip(d, weights, strict=True)] if weights else d
        found += [sum(d, sums[2 * n]), sum((e * e for e in d), sums[2 * n + 1])]
    return tuple(found)


def words(c0, c1, c2, c3, key0, key1):
    counter = tuple(np.array([c], np.uint64) for c in (c0, c1, c2, c3))
    return tuple(np.uint32(w[0]) for w in philox4x32(counter, (int(key0), int(key1))))


class Loader:
    """One namespace for a kernel and all device functions it calls: the simulator puts its `cuda` into it."""

    def __init__(self, dtype: str) -> None:
        from numba import float64, int32, int64, types, uint32, uint64

        from mcgrad.kernels.target import cuda

        self.real = np.dtype(dtype).type
        self.names: dict[str, Any] = {
            "np": np,
            "cuda": cuda,
            "float64": float64,
            "int32": int32,
            "int64": int64,
            "types": types,
            "uint32": uint32,
            "uint64": uint64,
            "WARP": WARP,
            "at": at,
            "put": put,
            "subroutine": lambda function, result=None: function,
            "philox4x32": words,
            "select": lambda condition, a, b: a if condition else b,
            "divide": lambda a, b: self.real(np.divide(a, b)),
            "_scratch": _scratch,
        }
        self.names |= {"advance": advance, "array_at": array_at, "load2": loader(2), "load4": loader(4)}
        self.names |= {"add_products": add_products, "add_moments": add_moments}
        self.names |= {"store2": store, "store4": store}
        for name in ("share", "add_shared", "gather_elements"):
            self.names[name] = self.device(name)
        self.names["put_moments"] = self.device("put_moments", "cuda_rows")
        for function in (warp_sum, team_sum, first_of_team, dynamic_shared):
            self.names[function.__name__] = self._own(function)

    def device(self, name: str, module: str = "device") -> Callable[..., Any]:
        """Return a function of kernels/device.py or another file, which calls what is in this namespace."""
        return self._own(getattr(importlib.import_module(f"mcgrad.kernels.{module}"), name).py_func)

    def _own(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return FunctionType(function.__code__, self.names, function.__name__, function.__defaults__)

    def function(self, module: str, name: str) -> Callable[..., Any]:
        """Return a kernel function by its meaning, or as the CPU compiles it."""
        if name in IMPL:
            meaning = IMPL[name]
            boolean = name in ("isfinite", "isnan")
            return lambda *args: (bool if boolean else self.real)(meaning(None, *map(self.real, args)))
        return getattr(importlib.import_module(f"mcgrad.kernels.{module}"), name)

    def load(self, source: str, user_functions: list[Any]) -> dict[str, Any]:
        """Execute an emitted module, its imports of kernels replaced."""
        kept = []
        for node in ast.parse(source).body:
            if isinstance(node, ast.ImportFrom) and node.module == "mcgrad.kernels":
                self.names |= {alias.name: _Module(self, alias.name) for alias in node.names}
            elif not isinstance(node, ast.ImportFrom):
                kept.append(node)
        self.names |= {f"native{i}": function.py_func for i, function in enumerate(user_functions)}
        exec(compile(ast.Module(kept, []), "<emitted>", "exec"), self.names)
        return self.names


class _Module:
    def __init__(self, loader: Loader, name: str) -> None:
        self._loader, self._name = loader, name

    def __getattr__(self, name: str) -> Any:
        return self._loader.function(self._name, name)


def warp_sum(x):
    return team_sum(x, 32)


def team_sum(x, team):
    thread = cuda.threadIdx.x  # noqa: F821 - the simulator's
    cuda.syncthreads()  # noqa: F821
    _scratch[thread] = x
    cuda.syncthreads()  # noqa: F821
    first = thread - thread % team
    values = [_scratch[first + lane] for lane in range(team)]
    step = team // 2
    while step:
        values = [values[lane] + values[lane ^ step] for lane in range(team)]
        step //= 2
    return values[thread % team]


def first_of_team(x, team):
    thread = cuda.threadIdx.x  # noqa: F821 - the simulator's
    cuda.syncthreads()  # noqa: F821
    _scratch[thread] = x
    cuda.syncthreads()  # noqa: F821
    return _scratch[thread - thread % team]


def dynamic_shared(dtype):
    return cuda.shared.array(0, np.dtype(dtype))  # noqa: F821 - the simulator's


def in_place(argument: Any) -> Any:
    """Return an array as one that the simulator does not copy: the parts of one piece of memory may overlap."""
    from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray

    return FakeCUDAArray(argument) if isinstance(argument, np.ndarray) else argument


def kernel(emitted: Emitted, dtype: str) -> Callable[..., None]:
    """Return the kernel: call it as `kernel(grid, *arguments)`."""
    from mcgrad.kernels.target import cuda

    function = cuda.jit(Loader(dtype).load(emitted.source, emitted.user_functions)["kernel"])

    def launch(grid: int, *arguments: Any) -> None:
        with warnings.catch_warnings():  # np.errstate does not reach the simulator's threads
            warnings.simplefilter("ignore", RuntimeWarning)
            function[grid, emitted.threads, 0, emitted.shared](*arguments)

    return launch


def sums(program: Program, emitted: Emitted, inputs: Any, seed: int, start: int, stop: int, shift: Any = 0.0,
         omit: bool = False, grid: int | None = None) -> SimpleNamespace:  # fmt: skip
    """Launch a kernel over the draws start .. stop and add up its partials."""
    from mcgrad.backends.host_values import HostValues

    dtype, base = program.dtype, start // emitted.chunk * emitted.chunk
    chunks = -(-(stop - base) // emitted.chunk)
    out = np.full(emitted.rows * chunks, np.nan)
    values = HostValues([var for var, _ in emitted.scalars] + [key[0] for key in emitted.matrices], dtype)(inputs)
    c = np.zeros(sum(var.size for var, _ in emitted.scalars) + 1, dtype)
    for (var, first), value in zip(emitted.scalars, values, strict=False):
        c[first : first + var.size] = value.ravel()
    p = np.broadcast_to(np.asarray(shift, dtype), (emitted.components,)).copy()
    common = [np.uint32(seed & 0xFFFFFFFF), np.uint32(seed >> 32), np.int64(start), np.int64(stop), np.int64(base)]
    common += [np.int32(chunks), np.bool_(omit), out]
    if emitted.by_value:
        rest = [*c[:-1], *p]
    else:
        matrices = [
            np.ascontiguousarray(value.transpose(axes), dtype).reshape(-1)
            for (_, axes), value in zip(emitted.matrices, values[len(emitted.scalars) :], strict=True)
        ]
        blocks = grid or chunks
        rest = [c, p, emitted.tables, np.zeros(max(emitted.workspace * blocks, 1), dtype), *matrices]
    kernel(emitted, dtype)(grid or chunks, *common, *rest)
    rows = out.reshape(emitted.rows, chunks).sum(axis=1)
    k = emitted.components
    counts = [int(n) for n in rows[2 * k :]]
    return SimpleNamespace(sums=rows[:k], squares=rows[k : 2 * k], counts=counts, partials=out, chunks=chunks)
