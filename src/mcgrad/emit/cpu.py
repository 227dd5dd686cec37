"""Write a scheduled Program as a Numba function over chunks of draws.

The function runs blocks of lanes: for each block it fills rows of noise, runs the steps over the workspace `ws`, and
adds the lane sums of every output, shifted by a pivot near its mean, to float64 sums. All arrays are one-dimensional:

    c   draw-independent values        t   integers: loop extents, then tables of rows
    ws  rows of lanes                  x0, x1, ...  draw-independent matrices
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mcgrad.emit.access import Access, resolve
from mcgrad.emit.layout import DRAWS_PER_GROUP, TILE_ROWS, Layout, Rows, lay_out
from mcgrad.emit.lower import contraction_labels, lower
from mcgrad.emit.nest import NestWriter
from mcgrad.emit.schedule import (
    ASSEMBLY,
    REDUCTIONS,
    Call,
    Nest,
    OuterMoments,
    Product,
    Schedule,
    Tile,
    computed,
    schedule,
    squeeze,
)
from mcgrad.emit.text import INFIX, SPECIAL, Source
from mcgrad.emit.tile import tile
from mcgrad.ir.ops import OPS
from mcgrad.ir.program import Output, Program, Var


@dataclass
class Emitted:
    """Source of a chunk function, and what has to be passed to it.

    Parameters
    ----------
    source : str
    lanes : int
    rows : int
        Rows of the workspace.
    scalars : list of (Var, offset)
        Draw-independent Vars, and where their elements start in `c`.
    matrices : list of (Var, axes)
        Draw-independent operands of matrix products, the order of axes they are wanted in.
    tables : int64 array
        The argument `t`.
    outputs : list of (Output, offset)
        Random outputs, and where their elements start in the sums.
    shifted : bool array
        Which components of the sums are shifted by the pivot.
    natives : list
        The user's own Numba functions, known to the source as native0, native1, ...
    uses_blas : bool
        Whether the function calls BLAS, whose address it then needs.
    """

    source: str = ""
    lanes: int = 0
    rows: int = 0
    scalars: list[tuple[Var, int]] = field(default_factory=list)
    matrices: list[tuple[Var, tuple[int, ...]]] = field(default_factory=list)
    tables: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    outputs: list[tuple[Output, int]] = field(default_factory=list)
    shifted: npt.NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, bool))
    natives: list[object] = field(default_factory=list)
    uses_blas: bool = False


def emit(program: Program, careful: bool = False) -> Emitted:
    """Write the chunk function of a simplified Program.

    Parameters
    ----------
    program : Program
    careful : bool
        Write the variant that looks at every draw: it counts those with a non-finite output and leaves them out.
    """
    plan = tile(schedule(lower(program), careful))
    return Writer(plan, lay_out(plan)).write(careful)


class Writer:
    """Writes one chunk function; `NestWriter` writes the nests."""

    def __init__(self, plan: Schedule, layout: Layout) -> None:
        self.plan, self.layout = plan, layout
        self.source = Source()
        self.result = Emitted(lanes=layout.lanes, rows=layout.total)
        self.names = {var: f"v{i}" for i, var in enumerate(plan.program.equations())}
        self._scalars: dict[Var, int] = {}
        self._matrices: dict[tuple[Var, tuple[int, ...]], int] = {}
        self.made = {var for step in plan.steps if isinstance(step, Tile) for var in computed(step)}
        self._tables: dict[bytes, int] = {}
        self._table_parts: list[npt.NDArray[np.int64]] = []
        self._offsets: dict[str, int] = {}
        self._natives: list[object] = []
        offset = 0
        for out in plan.program.outputs:
            if out.var.random:
                self.result.outputs.append((out, offset))
                self._offsets[out.path] = offset
                offset += out.var.size
        outer = {step.output.path for step in plan.steps if isinstance(step, OuterMoments)}
        self.result.shifted = np.repeat(
            [out.path not in outer for out, _ in self.result.outputs], [out.var.size for out, _ in self.result.outputs]
        )

    # --- arguments of the function ---
    def scalar_offset(self, var: Var) -> int:
        """Where a draw-independent Var starts in `c`."""
        if var not in self._scalars:
            self._scalars[var] = sum(other.size for other in self._scalars)
        return self._scalars[var]

    def table(self, values: npt.ArrayLike) -> int:
        """Where these integers start in `t`."""
        array = np.ascontiguousarray(values, np.int64).ravel()
        key = array.tobytes()
        if key not in self._tables:
            self._tables[key] = sum(part.size for part in self._table_parts)
            self._table_parts.append(array)
        return self._tables[key]

    def extent(self, n: int) -> str:
        """A loop extent, read at run time so that LLVM does not unroll short loops in full."""
        return f"at(t, {self.table([n])})"

    def moment_offset(self, out: Output) -> int:
        """Where an output starts in the sums."""
        return self._offsets[out.path]

    def base(self, access: Access) -> Rows:
        """The rows of what an access reads."""
        return self.layout.rows[access.base]

    @property
    def uses_blas(self) -> bool:
        """Whether the function calls BLAS."""
        return bool(self._matrices) or any(isinstance(step, OuterMoments) for step in self.plan.steps)

    # --- the whole ---
    def write(self, careful: bool) -> Emitted:
        """Write the function and fill in its arguments."""
        body = Source()
        body._depth = 1
        outer, self.source = self.source, body
        with body.block(f"for block in range(start // {self.layout.lanes}, (stop - 1) // {self.layout.lanes} + 1):"):
            self._block(careful)
        self.source = outer
        self._head(careful)
        outer.lines += body.lines
        result = self.result
        result.source = str(outer)
        result.scalars = list(self._scalars.items())
        result.matrices = list(self._matrices)
        result.tables = np.concatenate([*self._table_parts, np.zeros(1, np.int64)])
        result.natives = self._natives
        result.uses_blas = self.uses_blas
        return result

    def _head(self, careful: bool) -> None:
        bits = self.plan.program.dtype[-2:]
        ops = {var.op for var in self.plan.program.body() if OPS[var.op].group == "elementwise"}
        ops |= {op for op in ("maximum", "minimum") if any(v.op == op[:3] for v in self.plan.program.body())}
        special = sorted(ops & SPECIAL)
        elementary = sorted(ops - SPECIAL - set(INFIX))
        kinds = sorted({var.attrs[1] for var in self.plan.program.noise()})
        add = self.source.add
        add("import numpy as np", "from numba import njit, uint32, uint64", "")
        if self.uses_blas:
            add("from mcgrad.kernels.blas import gemm")
        add("from mcgrad.kernels.intrinsics import accumulate, prefer_vector_width, select")
        add("from mcgrad.kernels.jit import LOOP")
        lanes = "add_rows at at_sum fill mask_finite mask_lanes mask_rows put put_sum square_rows"
        add(f"from mcgrad.kernels.lanes import {', '.join(lanes.split())}")
        add(f"from mcgrad.kernels.rows import {', '.join(f'{kind}_row{bits}' for kind in kinds)}")
        if elementary:
            add(f"from mcgrad.kernels.elementary{bits} import {', '.join(elementary)}")
        if special:
            add(f"from mcgrad.kernels.special{bits} import {', '.join(special)}")
        matrices = "".join(f", x{i}" for i in range(len(self._matrices)))
        add("", f"real = np.float{bits}", "", "", "@njit(cache=True, **LOOP)")
        add(f"def chunk(key0, key1, start, stop, c, t, ws, pivot, sums, squares, counts, omit, blas{matrices}):")
        self.source._depth = 1
        add(f'"""{"Careful s" if careful else "S"}hifted sums and squares over the draws start .. stop."""')
        add(
            "prefer_vector_width()",
            f"mask_lanes(ws, {self._at(self.layout.mask)}, {self.layout.lanes}, 1, 0, 0, 1 << 62)",
        )
        add(f"rows = ws.reshape((ws.size // {self.layout.lanes}, {self.layout.lanes}))", "partial = False")
        for var, rows_ in self.layout.rows.items():
            if var.op in ASSEMBLY:
                count = var.size * self.layout.lanes
                add(f"fill(ws, {self._at(rows_.offset)}, {count}, real(0))  # {self.names[var]}, {var.op}")
        self.source._depth = 0

    def _at(self, row: int) -> int:
        return row * self.layout.lanes

    def _block(self, careful: bool) -> None:
        lanes, add = self.layout.lanes, self.source.add
        groups = DRAWS_PER_GROUP[self.plan.program.dtype]
        add(f"base = block * {lanes}")
        add(f"group = uint64(base // {groups})")
        changed = "True" if careful else f"partial or base < start or base + {lanes} > stop"
        with self.source.block(f"if {changed}:"):
            add(f"mask_lanes(ws, {self._at(self.layout.mask)}, {lanes}, {groups}, base, start, stop)")
            add(f"partial = base < start or base + {lanes} > stop")
        for step in self.plan.steps:
            if isinstance(step, Nest):
                NestWriter(self, step).write()
            elif isinstance(step, Product):
                self._product(step.var)
            elif isinstance(step, Tile):
                self._tile(step)
            elif isinstance(step, OuterMoments):
                self._outer_moments(step.output, careful)
            elif isinstance(step, Call):
                self._call(step.var)
            else:
                self._finite()

    # --- steps other than nests ---
    def _tile(self, step: Tile) -> None:
        for inner in step.steps:
            if isinstance(inner, Nest):
                NestWriter(self, inner, tiled=True).write_starts()
        extent = self.extent(step.extent)
        with self.source.block(f"for t0 in range(0, {extent}, {TILE_ROWS}):"):
            self.source.add(f"t1 = min(t0 + {TILE_ROWS}, {extent})")
            for inner in step.steps:
                if isinstance(inner, Nest):
                    NestWriter(self, inner, tiled=True).write()
                else:
                    self._product(inner.var, tiled=True)

    def _product(self, var: Var, tiled: bool = False) -> None:
        """Multiply a draw-independent matrix and the lane block of the operand, by BLAS."""
        parts = contraction_labels(var)
        fixed, operand = var.args[parts.fixed], var.args[1 - parts.fixed]
        extent = dict(zip(parts.matrix, fixed.shape, strict=True)) | dict(zip(parts.lanes, operand.shape, strict=True))
        batch, m, k, p = (
            int(np.prod([extent[x] for x in labels], initial=1))
            for labels in (parts.batch, parts.rows, parts.contracted, parts.columns)
        )
        matrix, flipped = self._matrix(fixed, parts)
        lanes, lead = self.layout.lanes, m if flipped else k
        x, y = (self._at(self.layout.rows[v].offset) for v in (resolve(operand).base, var))
        first, rows, inner, beta = "0", str(m), str(k), "real(0)"
        if tiled and resolve(operand).base in self.made:  # contracts over the rows of the tile
            first, inner, beta = f"t0 * {1 if not flipped else m}", "t1 - t0", "select(t0 == 0, real(0), real(1))"
            x_at = f"{x}" if resolve(operand).base in self.plan.local else f"{x} + t0 * {lanes}"
            y_at = str(y)
        elif tiled:  # computes the rows of the tile
            first, rows = f"t0 * {k if not flipped else 1}", "t1 - t0"
            x_at, y_at = str(x), str(y) if var in self.plan.local else f"{y} + t0 * {lanes}"
        elif batch > 1:
            first, x_at, y_at = f"b * {m * k}", f"{x} + b * {k * p * lanes}", f"{y} + b * {m * p * lanes}"
        else:
            x_at, y_at = str(x), str(y)
        call = (
            f"gemm(blas, {matrix}, {first}, {lead}, {int(flipped)}, ws, {x_at}, {p * lanes}, 0, "
            f"ws, {y_at}, {rows}, {p * lanes}, {inner}, {beta})"
        )
        self.source.add(f"# {self.names[var]} = {var.op}({var.attrs}), by BLAS")
        if tiled or batch == 1:
            self.source.add(call)
        else:
            with self.source.block(f"for b in range({self.extent(batch)}):"):
                self.source.add(call)

    def _matrix(self, fixed: Var, parts: contraction_labels) -> tuple[str, bool]:
        """The argument that holds a draw-independent matrix, and whether its rows and contracted axes are swapped."""
        wanted = parts.batch + parts.rows + parts.contracted
        swapped = parts.batch + parts.contracted + parts.rows
        order = list(range(len(fixed.shape)))
        if fixed.op == "transpose":  # its operand is given as it is
            fixed, order = fixed.args[0], [fixed.attrs.index(i) for i in order]
        natural = [parts.matrix[i] for i in order]
        flipped = natural == swapped
        key = (fixed, tuple(natural.index(x) for x in (swapped if flipped else wanted)))
        return f"x{self._matrices.setdefault(key, len(self._matrices))}", flipped

    def _outer_moments(self, out: Output, careful: bool) -> None:
        """Moments of an outer product x y: over the lanes, X Y^T and the same of squares."""
        lanes, add, first = self.layout.lanes, self.source.add, self.moment_offset(out)
        x, y = out.var.args
        add(f"# moments of {out.path} = {out.var.op}({out.var.attrs}): products over the lanes, by BLAS")
        factors = [self._at(self.layout.rows[resolve(arg).base].offset + resolve(arg).offset) for arg in (x, y)]
        with self.source.block("if True:" if careful else "if partial:"):
            for factor, arg in zip(factors, (x, y), strict=True):
                add(f"mask_rows(ws, {factor}, {arg.size}, {lanes}, {self._at(self.layout.mask)})")
        squared = [self._at(self.layout.scratch), self._at(self.layout.scratch + x.size)]
        product = self._at(self.layout.scratch + x.size + y.size)
        for target, factor, arg in zip(squared, factors, (x, y), strict=True):
            add(f"square_rows(ws, {target}, {factor}, {arg.size * lanes})")
        for name, (a, b) in (("sums", factors), ("squares", squared)):
            operands = f"ws, {a}, {lanes}, 0, ws, {b}, {lanes}, 1, ws, {product}"
            add(f"gemm(blas, {operands}, {x.size}, {y.size}, {lanes}, real(0))")
            add(f"add_rows({name}, {first}, ws, {product}, {out.var.size})")

    def _call(self, var: Var) -> None:
        """Gather each lane's draw into an array, call the user's function, scatter what it gives."""
        lanes, add = self.layout.lanes, self.source.add
        z, *rest = var.args
        function = var.attrs.value if var.op == "native_value" else var.attrs.value_and_grad
        if function not in self._natives:
            self._natives.append(function)
        call = f"native{self._natives.index(function)}"
        access = resolve(z)
        if not access.is_whole:
            raise AssertionError("a draw that is a view must be copied first")
        first, target = self._at(self.layout.rows[access.base].offset), self._at(self.layout.rows[var].offset)
        add(f"# {self.names[var]}: {function.__name__}, lane by lane")
        args = []
        for i, arg in enumerate(rest):
            offset = self.scalar_offset(arg)
            name = f"a{i}_"
            shape = f"({', '.join(map(str, arg.shape))},)"
            add(f"{name} = " + (f"c[{offset}:{offset + arg.size}].reshape({shape})" if arg.shape else f"c[{offset}]"))
            args.append(name)
        add(f"z_ = np.empty({z.size}, real)")
        if var.op == "native_gradient":
            add(f"g_ = np.empty({z.size}, real)")
        with self.source.block(f"for w in range({lanes}):"):
            with self.source.block(f"for i in range({z.size}):"):
                load = "at_sum" if access.base.op in REDUCTIONS else "at"
                add(f"z_[i] = {load}(ws, {first} + i * {lanes} + w)")
            if var.op == "native_value":
                add(f"put(ws, {target} + w, {call}({', '.join(['z_', *args])}))")
            else:
                add(f"{call}({', '.join(['z_', 'g_', *args])})")
                with self.source.block(f"for i in range({z.size}):"):
                    add(f"put(ws, {target} + i * {lanes} + w, g_[i])")

    def _finite(self) -> None:
        """Mark and count the draws of which any output is not finite."""
        lanes, add = self.layout.lanes, self.source.add
        row = self._at(self.layout.finite)
        add("# draws of which an output is not finite", f"fill(ws, {row}, {lanes}, real(0))")
        for out, _ in self.result.outputs:
            outer = out.var not in self.layout.rows and out.var.op == "einsum"
            for var in out.var.args if outer else (out.var,):
                NestWriter(self, Nest(squeeze(var.shape))).write_finite(var, row)
        add(f"mask_finite(ws, {row}, {lanes}, {self._at(self.layout.mask)}, omit, counts)")
