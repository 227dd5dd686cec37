"""How the stand-in for CuPy averages rows: by what their Program means, or by the emitted kernels in the simulator."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from mcgrad.backends.base import Partial
from mcgrad.backends.cuda import compiled, rows_in_stream
from mcgrad.backends.host_values import HostValues
from mcgrad.backends.rescaled import Range, exponents
from mcgrad.codegen.cuda.rows import EmittedRows
from mcgrad.ir.interpret import Interpreter
from mcgrad.ir.noise_vars import draws
from mcgrad.ir.program import Level, Program, toposort
from mcgrad.moments import Moments
from mcgrad.noise.rows import first_of_row
from mcgrad.toolchain.ptx import Ptx
from tests.cuda import machines
from tests.cuda.fake_cupy import Machine

ROWS = ["int64", "int64", "int64", "int32", "int32", "int32", "boolean", "pointer uint64", "pointer float64"]
MERGE_ROWS = ["pointer float64", "int32", "int32", "int32", "boolean", "float64", "float64", "pointer int32", "int32"]
MERGE_ROWS += ["pointer float64"]
ADD_ROWS = ["pointer float64", "int32", "int32", "int32", "pointer int32", "int32", "pointer float64"]


def reference_rows(compiled: Any) -> Any:
    """Return a kernel over rows that fills its partials by the reference, and looks at the values it was passed."""
    emitted, dtype = compiled.emitted, str(compiled.dtype)
    roots = [out.var for out, _ in emitted.outputs]
    hoisted = [var for var in Program(tuple(out for out, _ in emitted.outputs), dtype).hoisted() if not var.is_const]
    body, constant = Interpreter(roots, hoisted, dtype), HostValues(hoisted, dtype)
    noise = [var for var in body.inputs if var.op == "noise"]
    host = HostValues(
        [var for var, _ in (*emitted.scalars, *emitted.by_row, *emitted.matrices, *emitted.stacked)], dtype
    )
    layout = [*emitted.scalars, *emitted.by_row]

    def check(inputs: Any, row: int, c: Any, cr: Any, matrices: Any) -> None:
        values = iter(host(inputs))
        for i, (var, first) in enumerate(layout):
            memory = c if i < len(emitted.scalars) else cr[row * emitted.stride :]
            np.testing.assert_allclose(memory[first : first + var.size], next(values).ravel(), rtol=1e-6)
        flat = {by_row: iter([x for x, own in zip(matrices, emitted.order, strict=True) if own == by_row])
                for by_row in (False, True)}  # fmt: skip
        for by_row, kept in ((False, emitted.matrices), (True, emitted.stacked)):
            for var, axes in kept:
                given = next(flat[by_row])[row * var.size if by_row else 0 :][: var.size]
                np.testing.assert_allclose(given, next(values).transpose(axes).ravel(), rtol=1e-6)

    def run(grid: int, threads: int, shared: int, start: int, stop: int, length: int, parts: int, units: int,
            team: int, omit: bool, ids: Any, out: Any, c: Any, cr: Any, *rest: Any) -> None:  # fmt: skip
        assert (threads, length, parts) == (emitted.threads, emitted.chunk, emitted.parts(start, stop))
        assert threads % 32 == 0 or not emitted.teams
        assert grid >= 1
        assert grid == -(-units * team // threads) or not emitted.teams
        rows, k = units // parts, emitted.components
        out[units * emitted.rows :][:rows] = 0.0
        for row in range(rows):
            inputs = {name: x[row] if name in compiled.names_by_row else x for name, x in compiled.given.inputs.items()}
            check(inputs, row, c, cr, rest[3:])
            given = {var: value[..., None] for var, value in zip(hoisted, constant(inputs), strict=True)}
            number, key = map(int, ids[2 * row : 2 * row + 2])
            seed = machines.seed_of(noise, key, dtype)
            for part in range(parts):
                base = start // emitted.aligned * emitted.aligned + part * length
                first, n = max(base, start), min(base + length, stop) - max(base, start)
                first += first_of_row(number, dtype)
                leaves = given | {var: draws(var, seed, first, first + n, dtype) for var in noise}
                with np.errstate(all="ignore"):
                    values = np.concatenate([np.broadcast_to(v, (*r.shape, n)).reshape(-1, n)
                                             for r, v in zip(roots, body(leaves), strict=True)])  # fmt: skip
                    good = np.isfinite(values).all(axis=0) | (not emitted.checked)
                    used = values[:, good | (not omit)].astype(np.float64)
                    partial = out[(row * parts + part) * emitted.rows :][: emitted.rows]
                    partial[: 2 * k] = 0.0
                    if used.size:
                        partial[:k], partial[k : 2 * k] = used.mean(axis=1), used.var(axis=1) * used.shape[1]
                    partial[2 * k :] = used.shape[1], (~good).sum()

    return run


def merge_rows(grid: int, threads: int, shared: int, partials: Any, rows: int, parts: int, components: int, omit: bool,
               least: float, floor: float, columns: Any, width: int, results: Any) -> None:  # fmt: skip
    """Do what `merge_rows` of kernels/cuda_rows.py does."""
    size = 2 * components + 2
    each = partials[: rows * parts * size].reshape(rows, parts, size)
    odd = partials[rows * parts * size :][:rows]
    means, norms = results[: 2 * rows * width].reshape(2, rows, width)
    rest = results[2 * rows * width :][: 3 * rows].reshape(3, rows)
    for row in range(rows):
        moments = Moments(0, np.full(components, np.nan), np.full(components, np.nan))
        for part in each[row]:
            if part[-2]:
                more = Moments(int(part[-2]), part[:components].copy(), np.sqrt(part[components:-2]))
                moments = moments.merge(more) if moments.count else more
        rest[0, row], rest[1, row] = moments.count, each[row, :, -1].sum()
        partial = Partial(moments, int(rest[1, row]))
        odd[row] = rest[2, row] = exponents(partial, Range(least, floor, 1, 2), omit).any()
        for k, column in enumerate(columns[:components]):
            if column >= 0:
                means[row, column], norms[row, column] = moments.mean[k], moments.norm[k]
            else:
                each[row, 0, [k, components + k]] = moments.mean[k], np.square(moments.stderr[k])


def add_rows(grid: int, threads: int, shared: int, partials: Any, rows: int, parts: int, components: int, places: Any,
             count: int, totals: Any) -> None:  # fmt: skip
    """Do what `add_rows` of kernels/cuda_rows.py does."""
    size = 2 * components + 2
    each = partials[: rows * parts * size].reshape(rows, parts, size)[:, 0]
    kept = partials[rows * parts * size :][:rows] == 0
    into = totals[: 2 * count * -(-rows // 256)].reshape(-1, 2, count)
    for group, found in enumerate(into):
        own = slice(256 * group, 256 * (group + 1))
        for which, place in enumerate((places[:count], components + places[:count])):
            found[which] = each[own][kept[own]][:, place].sum(axis=0)


def arguments(emitted: EmittedRows, dtype: str) -> list[str]:
    """Types of a kernel's arguments."""
    blocks = [f"pointer {dtype}", "pointer int32", *[f"pointer {dtype}"] * (1 + len(emitted.order))]
    return [*ROWS, *[f"pointer {dtype}"] * 2, *([] if emitted.teams else blocks)]


def machine(monkeypatch: Any, rows: Any = (reference_rows, merge_rows, add_rows), **options: Any) -> Machine:
    """Install a machine whose kernels over rows are what the first of `rows` makes of a CompiledRows, and the rest."""
    made = machines.machine(monkeypatch, **options)
    compute = compiled.CompiledRows.own

    def load(self: Any, device: Any) -> Any:
        image = made.kernel(rows[0](self), arguments(self.emitted, str(self.dtype)))
        return device.load(Ptx("", "kernel", image), self.emitted.shared, keep=False)

    def load_row_functions(device: Any, kernels: Any) -> list[Any]:
        types = {"key": machines.IN_STREAM["key"], "row_ids": ["pointer uint32"] * 2 + ["int32", "pointer uint64"]}
        images = [made.kernel(machines.scalar_kernel(getattr(kernels, name)), of) for name, of in types.items()]
        return [device.load(Ptx("", name, image), keep=False) for name, image in zip(types, images, strict=True)]

    def load_row_kernels(device: Any) -> Any:
        images = [made.kernel(*pair) for pair in zip(rows[1:], (MERGE_ROWS, ADD_ROWS), strict=True)]
        return tuple(device.load(Ptx("", "rows", image)) for image in images)

    def own(self: Any, inputs: Any, span: tuple[int, int], compute: Any = compute) -> Any:
        """Keep the inputs of the rows that this thread launches for."""
        self.names_by_row = {var.attrs for var in toposort(out.var for out, _ in self.emitted.outputs)
                             if var.op == "input" and var.level is Level.ROW}  # fmt: skip
        host = {name: np.asarray(getattr(x, "_host", x)) for name, x in inputs.items()}
        self.given = threading.local() if not hasattr(self, "given") else self.given
        self.given.inputs = {name: x[slice(*span)] if name in self.names_by_row else x for name, x in host.items()}
        return compute(self, inputs, span) if compute else None

    original, original_range = rows_in_stream.RowsInStream._values, rows_in_stream._Run._range

    def values(self: Any, inputs: Any, rows: int, device: Any) -> Any:
        """Keep the inputs of all rows."""
        self.compiled.inputs_in_stream = inputs
        return original(self, inputs, rows, device)

    def in_range(self: Any, given: Any, ids: Any, rows: tuple[int, int], *others: Any) -> Any:
        own(self._compiled, self._compiled.inputs_in_stream, rows, None)
        return original_range(self, given, ids, rows, *others)

    monkeypatch.setattr(compiled.CompiledRows, "_load", load)
    monkeypatch.setattr(compiled.CompiledRows, "own", own)
    monkeypatch.setattr(compiled, "_row_kernels", load_row_kernels)
    monkeypatch.setattr(rows_in_stream, "row_functions", load_row_functions)
    monkeypatch.setattr(rows_in_stream.RowsInStream, "_values", values)
    monkeypatch.setattr(rows_in_stream._Run, "_range", in_range)
    return made
