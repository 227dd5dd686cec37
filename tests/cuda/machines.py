"""How the stand-in for CuPy runs kernels: by what their Program means, or the emitted source in numba's simulator."""

from __future__ import annotations

import ctypes
from types import FunctionType, SimpleNamespace
from typing import Any

import numpy as np

from mcgrad.backends.cuda import compiled, conditions, in_stream as cuda_in_stream
from mcgrad.backends.host_values import HostValues
from mcgrad.ir.interpret import Interpreter
from mcgrad.ir.noise_vars import draws
from mcgrad.ir.program import Program
from mcgrad.kernels import in_stream
from mcgrad.noise.generators import POINT_SETS
from mcgrad.toolchain.ptx import Ptx
from tests.cuda.fake_cupy import Machine, install

COMMON = ["uint32", "uint32", "int64", "int64", "int64", "int32", "boolean", "pointer float64"]


def seed_of(noise: Any, key: int, dtype: str) -> int:
    """Return the seed that a kernel reads, by its key: of points by the head of their table in memory."""
    if not any(var.attrs.generator in POINT_SETS for var in noise):
        return key
    if dtype == "float64":
        return int(ctypes.c_uint64.from_address(key + 8).value)
    return int.from_bytes(bytes((ctypes.c_uint8 * 8).from_address(key + 4)), "little")


def reference(emitted: Any, dtype: str, constants: Any) -> Any:
    """Return a kernel that fills its partials by the reference, and looks at the constants that it was passed."""
    roots = [out.var for out, _ in emitted.outputs]
    size = sum(var.size for var, _ in emitted.scalars)
    known = [var for var, _ in emitted.scalars] + [var for var, _ in emitted.matrices]
    host = HostValues(known, dtype)
    hoisted = [var for var in Program(tuple(out for out, _ in emitted.outputs), dtype).hoisted() if not var.is_const]
    body, constant = Interpreter(roots, hoisted, dtype), HostValues(hoisted, dtype)
    noise = [var for var in body.inputs if var.op == "noise"]

    def check(numbers: Any, matrices: Any) -> None:
        """The constants are those of the inputs that were bound last."""
        values = iter(host(constants.seen))
        for var, first in emitted.scalars:
            np.testing.assert_array_equal(numbers[first : first + var.size], next(values).ravel())
        for (_, axes), flat in zip(emitted.matrices, matrices, strict=True):
            expected = next(values).transpose(axes).ravel()
            np.testing.assert_array_equal(flat[: expected.size], expected)

    def run(grid: int, threads: int, shared: int, key0: Any, key1: Any, start: int, stop: int, base: int,
            chunks: int, omit: bool, out: Any, *rest: Any) -> None:  # fmt: skip
        if emitted.key_in_memory:
            key0, key1 = int(key0[0]), int(key1[0])
        assert threads == emitted.threads
        assert 1 <= grid <= chunks
        assert base <= start < stop <= base + chunks * emitted.chunk
        k = emitted.components
        if emitted.by_value:
            numbers, shift, matrices = np.array(rest[:size], dtype), np.array(rest[size:], dtype), ()
            assert len(shift) == k
        else:
            numbers, shift, matrices = rest[0][:size], rest[1][:k], rest[4:]
        check(numbers, matrices)
        given = {var: value[..., None] for var, value in zip(hoisted, constant(constants.seen), strict=True)}
        rows = out[: emitted.rows * chunks].reshape(emitted.rows, chunks)
        seed = seed_of(noise, key0 + (key1 << 32), dtype)
        for chunk in range(chunks):
            first = max(start, base + chunk * emitted.chunk)
            n = min(stop, base + (chunk + 1) * emitted.chunk) - first
            leaves = given | {var: draws(var, seed, first, first + n, dtype) for var in noise}
            with np.errstate(all="ignore"):
                values = np.concatenate([np.broadcast_to(v, (*r.shape, n)).reshape(-1, n)
                                         for r, v in zip(roots, body(leaves), strict=True)])  # fmt: skip
                if emitted.rows > 2 * k:
                    good = np.isfinite(values).all(axis=0)
                    rows[2 * k, chunk], rows[2 * k + 1, chunk] = (good.sum() if omit else n), (~good).sum()
                    values = values[:, good] if omit else values
                d = (values - shift[:, None]).astype(np.float64)
                rows[:k, chunk], rows[k : 2 * k, chunk] = d.sum(axis=1), np.square(d).sum(axis=1)

    return run


def add_up(grid: int, threads: int, shared: int, partials: Any, chunks: int, totals: Any) -> None:
    """Do what kernels/merge.py does."""
    totals[:grid] = partials[: grid * chunks].reshape(grid, chunks).sum(axis=1)


def scalar_kernel(function: Any) -> Any:
    """Return a kernel of kernels/in_stream.py as a function of the machine: its code, for one thread of a block."""

    def array(size: int, dtype: Any) -> Any:
        return np.zeros(size, np.int32)

    cuda = SimpleNamespace(syncthreads=lambda: None, shared=SimpleNamespace(array=array))

    def of(python: Any, **more: Any) -> Any:
        plain = {
            "float64": float,
            "int32": int,
            "uint64": int,
            "int64": int,
            "THREADS": 1,
            "cuda": cuda,
            "at": at,
            "put": put,
        }
        return FunctionType(python.__code__, {**python.__globals__, **plain, **more})

    def at(memory: Any, index: int) -> Any:
        assert 0 <= index < memory.size
        return memory[index].item()

    def put(memory: Any, index: int, value: Any) -> None:
        assert 0 <= index < memory.size
        memory[index] = value

    python = getattr(function, "py_func", function)
    body = of(python, moments=of(in_stream.moments.py_func))

    def run(grid: int, threads: int, shared: int, *arguments: Any) -> None:
        cuda.threadIdx, cuda.gridDim = SimpleNamespace(x=0), SimpleNamespace(x=grid)
        for block in range(grid * threads if python in (in_stream.shift, in_stream.row_ids) else grid):
            cuda.blockIdx = SimpleNamespace(x=block)
            body(*arguments)

    return run


IN_STREAM = {
    "key": ["uint32", "uint32", "pointer uint32"],
    "shift": ["pointer float64", "int32", "int64", "int32", "pointer real"],
    "results": (
        ["pointer float64", "int32", "int32", "int64", "int32", "int32", "pointer real", "float64", "float64"]
        + ["pointer int32", "pointer float64", "pointer uint8", "pointer int32", "int32", "int32", "pointer uint8"]
        + ["pointer result"] * 3 + ["pointer int64", "int32"]
    ),
}  # fmt: skip


def arguments(emitted: Any, dtype: str) -> list[str]:
    """Types of a kernel's arguments."""
    common = [*["pointer uint32"] * 2, *COMMON[2:]] if emitted.key_in_memory else COMMON
    if emitted.by_value:
        return [*common, *[dtype] * (sum(var.size for var, _ in emitted.scalars) + emitted.components)]
    pointers = [f"pointer {dtype}"] * 2
    if emitted.workspace or emitted.matrices or emitted.shared:
        pointers += [f"pointer {emitted.tables.dtype}", *[f"pointer {dtype}"] * (1 + len(emitted.matrices))]
    return [*common, *pointers]


def machine(monkeypatch: Any, run: Any = reference, merge: Any = add_up, **options: Any) -> Machine:
    """Install a machine whose kernels are what `run` makes of an Emitted."""
    made = install(Machine(**options), monkeypatch)

    def load(self: Any, device: Any) -> Any:
        dtype = str(self.dtype)
        image = made.kernel(run(self.emitted, dtype, self.constants), arguments(self.emitted, dtype))
        return device.load(Ptx("", "kernel", image), self.emitted.shared, keep=False)

    def load_merge(device: Any) -> Any:
        return device.load(Ptx("", "merge", made.kernel(merge, ["pointer float64", "int32", "pointer float64"])))

    def compute(self: Any, inputs: Any) -> Any:
        self.seen = {path: getattr(x, "_host", x) for path, x in inputs.items()}
        return original(self, inputs)

    def load_in_stream(device: Any, dtype: Any, result: Any) -> list[Any]:
        kinds = {"real": str(dtype), "result": str(result)}
        return [
            device.load(Ptx("", name, made.kernel(scalar_kernel(getattr(in_stream, name)), [
                f"pointer {kinds[kind[8:]]}" if kind[8:] in kinds else kind for kind in types])), keep=False)
            for name, types in IN_STREAM.items()
        ]  # fmt: skip

    def load_bounds(device: Any, dtype: Any) -> Any:
        types = [f"pointer {dtype}", "int64", "float64", "float64", "pointer uint8"]
        return device.load(Ptx("", "bounds", made.kernel(scalar_kernel(in_stream.bounds), types)), keep=False)

    original = compiled.Constants.__call__
    monkeypatch.setattr(compiled.Constants, "__call__", compute)
    monkeypatch.setattr(compiled.Compiled, "_load", load)
    monkeypatch.setattr(compiled, "_merge", load_merge)
    monkeypatch.setattr(cuda_in_stream, "functions", load_in_stream)
    monkeypatch.setattr(conditions, "function", load_bounds)
    return made
