"""How the stand-in for CuPy runs kernels: by what their Program means, or the emitted source in numba's simulator."""

from __future__ import annotations

from typing import Any

import numpy as np

from mcgrad.backends.cuda import compiled
from mcgrad.backends.host_values import HostValues
from mcgrad.ir.interpret import Interpreter
from mcgrad.ir.noise_vars import draws
from mcgrad.ir.program import Program
from mcgrad.toolchain.ptx import Ptx
from tests.cuda.fake_cupy import Machine, install

COMMON = ["uint32", "uint32", "int64", "int64", "int64", "int32", "boolean", "pointer float64"]


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

    def run(grid: int, threads: int, shared: int, key0: int, key1: int, start: int, stop: int, base: int,
            chunks: int, omit: bool, out: Any, *rest: Any) -> None:  # fmt: skip
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
        for chunk in range(chunks):
            first = max(start, base + chunk * emitted.chunk)
            n = min(stop, base + (chunk + 1) * emitted.chunk) - first
            leaves = given | {var: draws(var, key0 + (key1 << 32), first, first + n, dtype) for var in noise}
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


def arguments(emitted: Any, dtype: str) -> list[str]:
    """Types of a kernel's arguments."""
    if emitted.by_value:
        return [*COMMON, *[dtype] * (sum(var.size for var, _ in emitted.scalars) + emitted.components)]
    pointers = [f"pointer {dtype}"] * 2
    if emitted.workspace or emitted.matrices or emitted.shared:
        pointers += [f"pointer {emitted.tables.dtype}", *[f"pointer {dtype}"] * (1 + len(emitted.matrices))]
    return [*COMMON, *pointers]


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

    original = compiled.Constants.__call__
    monkeypatch.setattr(compiled.Constants, "__call__", compute)
    monkeypatch.setattr(compiled.Compiled, "_load", load)
    monkeypatch.setattr(compiled, "_merge", load_merge)
    return made
