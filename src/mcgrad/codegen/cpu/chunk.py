"""Write a scheduled Program as a Numba function over chunks of draws.

The function runs blocks of lanes: for each block it fills rows of noise, runs the steps over the workspace `ws`, and
adds the lane sums of every output, about a shift near its mean, to float64 sums. All arrays are one-dimensional:

    c   draw-independent values        t   integers: loop extents, then tables of rows
    ws  rows of lanes                  x0, x1, ...  draw-independent matrices
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mcgrad.codegen.cpu.calls import write_call
from mcgrad.codegen.cpu.nest import LaneNest
from mcgrad.codegen.cpu.products import write_outer_moments, write_product
from mcgrad.codegen.loops.context import Context
from mcgrad.codegen.loops.layout import TILE_ROWS, lay_out
from mcgrad.codegen.loops.lower import lower
from mcgrad.codegen.loops.schedule import Call, Nest, OuterMoments, Product, Step, Tile, schedule, squeeze
from mcgrad.codegen.loops.tile import tile
from mcgrad.codegen.noise_calls import filler
from mcgrad.codegen.text import INFIX, SPECIAL, Source
from mcgrad.ir.ops import ASSEMBLY, OPS
from mcgrad.ir.program import Output, Program, Var
from mcgrad.noise.laws import DRAWS_PER_GROUP


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
        Which components of the sums are about the shift; the others are about zero.
    user_functions : list
        The user's own Numba functions, known to the source as native0, native1, ...
    uses_blas : bool
        Whether the function calls BLAS, whose address it then needs.
    """

    source: str
    lanes: int
    rows: int
    scalars: list[tuple[Var, int]]
    matrices: list[tuple[Var, tuple[int, ...]]]
    tables: npt.NDArray[np.int64]
    outputs: list[tuple[Output, int]]
    shifted: npt.NDArray[np.bool_]
    user_functions: list[object]
    uses_blas: bool


def emit(program: Program, checked: bool = False) -> Emitted:
    """Write the chunk function of a simplified Program.

    Parameters
    ----------
    program : Program
    checked : bool
        Write the variant that looks at every draw: it counts those with a non-finite output and leaves them out.
    """
    plan = tile(schedule(lower(program), checked))
    context = Context(plan, lay_out(plan), checked)
    lanes = context.layout.lanes
    context.source.indent()
    context.fill(context.first(context.layout.mask), lanes, "real(1)", "mask")
    for var in context.layout.rows:
        if var.op in ASSEMBLY:
            context.fill(context.first_of(var), var.size * lanes, "real(0)", f"{context.names[var]}, {var.op}")
    with context.source.block(f"for block in range(start // {lanes}, (stop - 1) // {lanes} + 1):"):
        _write_block(context)
    outer = {step.output for step in plan.steps if isinstance(step, OuterMoments)}
    return Emitted(
        source=f"{_head(context)}{context.source}",
        lanes=lanes,
        rows=context.layout.total,
        scalars=list(context.scalars.items()),
        matrices=list(context.matrices),
        tables=context.integers(),
        outputs=list(context.outputs.items()),
        shifted=np.array([out not in outer for out in context.outputs for _ in range(out.var.size)], bool),
        user_functions=context.user_functions,
        uses_blas=context.uses_blas,
    )


def _head(context: Context) -> str:
    """Everything before the loop over blocks; written last, when the arguments are known."""
    bits, head = context.bits, Source()
    body = context.plan.program.body()
    ops = {var.op for var in body if OPS[var.op].group == "elementwise"}
    ops |= {op for op in ("maximum", "minimum") if any(var.op == op[:3] for var in body)}
    lanes = "add_rows at at_sum mask_finite mask_lanes mask_rows put put_any put_sum square_rows"
    imports = {
        "blas": ["gemm"] if context.uses_blas else [],
        "intrinsics": ["accumulate", "prefer_vector_width", "select"],
        "jit": ["LOOP", "lane"],
        "workspace": lanes.split(),
        "noise_fill": sorted({filler(var.attrs, context.plan.program.dtype) for var in body if var.op == "noise"}),
    }
    functions = {name: "special" if name in SPECIAL else "elementary" for name in sorted(ops - set(INFIX))}
    head.add("import numpy as np", "from numba import njit, uint32, uint64", "")
    for module, names in imports.items():
        if names:
            head.add(f"from mcgrad.kernels.{module} import {', '.join(names)}")
    for home in sorted(set(functions.values())):
        head.add(f"from mcgrad.kernels import {home}{bits}")
    matrices = "".join(f", x{i}" for i in range(len(context.matrices)))
    head.add("", f"real = np.float{bits}", *(f"{name} = lane({home}{bits}.{name})" for name, home in functions.items()))
    head.add("", "", "@njit(**LOOP)")
    with head.block(
        f"def chunk(key0, key1, start, stop, c, t, ws, shift, sums, squares, counts, omit, blas{matrices}):"
    ):
        head.add(
            f'"""{"Checked s" if context.checked else "S"}hifted sums and squares over the draws start .. stop."""'
        )
        head.add("prefer_vector_width()", "partial = False")
    return str(head)


def _write_block(context: Context) -> None:
    """Everything that is done for one block of lanes."""
    layout, add = context.layout, context.source.add
    groups = DRAWS_PER_GROUP[context.plan.program.dtype]
    outside = f"base < start or base + {layout.lanes} > stop"
    add(f"base = block * {layout.lanes}", f"group = uint64(base // {groups})")
    with context.source.block("if True:" if context.checked else f"if partial or {outside}:"):
        add(f"mask_lanes(ws, {context.first(layout.mask)}, {layout.lanes}, {groups}, base, start, stop)")
        add(f"partial = {outside}")
    for step in context.plan.steps:
        _write_step(context, step)


def _write_step(context: Context, step: Step, tiled: bool = False) -> None:
    if isinstance(step, Nest):
        LaneNest(context, step, tiled).write()
    elif isinstance(step, Product):
        write_product(context, step.var, tiled)
    elif isinstance(step, Tile):
        _write_tile(context, step)
    elif isinstance(step, OuterMoments):
        write_outer_moments(context, step.output)
    elif isinstance(step, Call):
        write_call(context, step.var)
    else:
        _write_finite(context)


def _write_tile(context: Context, step: Tile) -> None:
    for inner in step.steps:
        if isinstance(inner, Nest):
            LaneNest(context, inner, tiled=True).write_starts()
    extent = context.integer(step.extent)
    with context.source.block(f"for t0 in range(0, {extent}, {TILE_ROWS}):"):
        context.source.add(f"t1 = min(t0 + {TILE_ROWS}, {extent})")
        for inner in step.steps:
            _write_step(context, inner, tiled=True)


def _write_finite(context: Context) -> None:
    """Mark and count the draws of which any output is not finite."""
    lanes, add, row = context.layout.lanes, context.source.add, context.first(context.layout.finite)
    outer = {step.output for step in context.plan.steps if isinstance(step, OuterMoments)}
    context.fill(row, lanes, "real(0)", "draws of which an output is not finite")
    for out in context.outputs:
        for var in out.var.args if out in outer else (out.var,):
            LaneNest(context, Nest(squeeze(var.shape))).write_finite(var, row)
    add(f"mask_finite(ws, {row}, {lanes}, {context.first(context.layout.mask)}, omit, counts)")
