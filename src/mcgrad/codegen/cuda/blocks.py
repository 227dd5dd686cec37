"""Write a Program as a kernel in which a block of threads runs loop nests over rows in shared or global memory.

The block takes as many draws a turn as fit (see `threads.Shape`): a thread takes four (two in float64), which share a
call of Philox, in registers, and some of the elements. Rows hold what other nests or other threads read. Each thread
adds what it has of an output to sums of its own, and the block adds these up at the end of its chunk.
"""

from __future__ import annotations

import math

import numpy as np

from mcgrad.codegen.cuda import outer
from mcgrad.codegen.cuda.calls import write_call
from mcgrad.codegen.cuda.context import BlockContext
from mcgrad.codegen.cuda.kernel import ARGUMENTS, Emitted, head, needed, offsets
from mcgrad.codegen.cuda.nest import BlockNest
from mcgrad.codegen.cuda.placement import place
from mcgrad.codegen.cuda.products import BlockProduct
from mcgrad.codegen.cuda.thread_split import Shape, split
from mcgrad.codegen.loops.layout import TILE_ROWS
from mcgrad.codegen.loops.lower import lower
from mcgrad.codegen.loops.schedule import Call, Nest, OuterMoments, Product, Schedule, Step, Tile, schedule, squeeze
from mcgrad.codegen.loops.tile import tile
from mcgrad.codegen.text import Source
from mcgrad.ir.ops import ASSEMBLY
from mcgrad.ir.program import Output, Program
from mcgrad.noise.laws import DRAWS_PER_GROUP

THREADS = 256
SHARED = 80 * 1024  # bytes of a block: two blocks fit on a multiprocessor of an A100 or H100
TOGETHER = 2  # blocks on a multiprocessor, which their registers must allow
GLOBAL_GROUPS = 32  # of threads with different draws, where rows are in global memory
WORK = 4e6  # multiplications of a chunk: enough that its end does not count
MOST_TURNS = 64  # sums of float32 lose nothing that matters over so few


def emit(program: Program, checked: bool = False, shape: Shape | None = None) -> Emitted:
    """Write the kernel.

    Parameters
    ----------
    program : Program
    checked : bool
        Write the variant that looks at every draw.
    shape : Shape, optional
        Of the block of threads; by default the one that suits the Program.
    """
    plan = split(tile(schedule(lower(program), checked)))
    sums = _Sums(plan, checked)
    shape, in_shared = (shape, True) if shape else choose_shape(plan, sums, checked)
    context = BlockContext(plan, place(plan, shape, checked), checked, shape=shape, slots=sums.slots)
    turns = _turns(program, shape, sums)
    context.source.indent()
    _write_kernel(context, sums, turns, in_shared)
    elements = _elements(context, sums)
    item = np.dtype(program.dtype).itemsize
    source = _head(context)
    source.add(*context.source.lines)
    return Emitted(
        source=str(source),
        threads=shape.threads,
        chunk=shape.lanes * turns,
        rows=2 * sums.components + 2 * checked,
        scalars=list(context.scalars.items()),
        outputs=offsets(program),
        shared=elements * item if in_shared else 0,
        workspace=0 if in_shared else elements,
        matrices=list(context.matrices),
        tables=context.integers(),
        user_functions=context.user_functions,
    )


class _Sums:
    """Where a block keeps the sums of its chunk: first two for each component and group of threads, then outer ones."""

    def __init__(self, plan: Schedule, checked: bool) -> None:
        self.outer = [step.output for step in plan.steps if isinstance(step, OuterMoments)]
        self.plain = [out for out in plan.program.outputs if out.var.by_draw and out not in self.outer]
        self.slots: dict[Output, int] = {}
        self.kept = 0
        for out in self.plain:
            self.slots[out] = self.kept
            self.kept += out.var.size
        self.components = self.kept + sum(out.var.size for out in self.outer)
        self.counts = self.kept  # the slot of the counts of draws
        self.kept += checked

    def first(self, out: Output, shape: Shape) -> int:
        """Where the sums of an outer product start."""
        before = self.outer[: self.outer.index(out)]
        return 2 * self.kept * shape.groups + sum(outer.size(other) for other in before)

    def size(self, shape: Shape) -> int:
        """Number of all sums."""
        return 2 * self.kept * shape.groups + sum(outer.size(out) for out in self.outer)


def choose_shape(plan: Schedule, sums: _Sums, checked: bool) -> tuple[Shape, bool]:
    """Return the shape with most draws whose rows fit in shared memory, if any do; the same for every device."""
    dtype = plan.program.dtype
    groups = THREADS
    while groups:
        shape = Shape(THREADS // groups, groups, DRAWS_PER_GROUP[dtype])
        elements = place(plan, shape, checked).total * shape.lanes + sums.size(shape)
        if elements * np.dtype(dtype).itemsize <= SHARED:
            return shape, True
        groups //= 2
    return Shape(THREADS // GLOBAL_GROUPS, GLOBAL_GROUPS, DRAWS_PER_GROUP[dtype]), False


def _elements(context: BlockContext, sums: _Sums) -> int:
    """Size of a block's rows and sums: whole vectors, as where the next block's begin."""
    return -(-(context.layout.total * context.shape.lanes + sums.size(context.shape)) // 4) * 4


def _turns(program: Program, shape: Shape, sums: _Sums) -> int:
    """How often the block goes on in a chunk: until its work, and the size of its partial, justify the end."""
    wanted = max(WORK / (max(program.work(), 1.0) * shape.lanes), sums.components / shape.lanes)
    return min(1 << max(round(math.log2(wanted)), 0), MOST_TURNS)


def _head(context: BlockContext) -> Source:
    """Everything before the kernel's first line; written last, when its arguments are known."""
    matrices = [f"x{i}" for i in range(len(context.matrices))]
    reals = ", ".join(["pointer(real_type)"] * (len(matrices) + 1))
    program = context.plan.program
    source = head(
        program.dtype,
        needed(program.body()),
        [var.attrs for var in program.noise()],
        f"pointer(real_type), pointer(real_type), pointer(types.int32), {reals}",
        len(context.user_functions),
        (context.shape.threads, TOGETHER),
        blocks=True,
    )
    source.add(f"def kernel({ARGUMENTS}, {', '.join(['c', 'shift', 't', 'work', *matrices])}):")
    return source


def _write_kernel(context: BlockContext, sums: _Sums, turns: int, in_shared: bool) -> None:
    add, source, layout, shape = context.add, context.source, context.layout, context.shape
    lanes, rows = shape.lanes, layout.total * shape.lanes
    add(f'"""{"Checked s" if context.checked else "S"}ums over chunks of {lanes * turns} draws, {lanes} a turn."""')
    add("thread = int32(cuda.threadIdx.x)")
    add(
        f"tg, ti = int32(thread % {shape.groups}), int32(thread // {shape.groups})", f"lane = int32({shape.group} * tg)"
    )
    if in_shared:
        add("ws = dynamic_shared(real)")
    else:
        add(f"ws = advance(work, int64(cuda.blockIdx.x) * int64({_elements(context, sums)}))")
    add(f"sums = advance(ws, {rows})")
    for var in layout.rows:
        if var.op in ASSEMBLY:
            context.fill_rows(layout.rows[var].offset, var.size, "real(0)", f"{context.names[var]}, {var.op}")
    add("chunk = int32(cuda.blockIdx.x)")
    with source.block("while chunk < chunks:"):
        add("r = thread")
        with source.block(f"while r < {sums.size(shape)}:"):
            add("put(sums, r, real(0))", f"r = int32(r + {shape.threads})")
        add("cuda.syncthreads()", "turn = int32(0)")
        with source.block(f"while turn < {turns}:"):
            add(f"begin = base + int64(chunk) * int64({lanes * turns}) + int64(turn) * int64({lanes})")
            with source.block(f"if begin < stop and begin + int64({lanes}) > start:"):
                _write_turn(context, sums)
            add("turn = int32(turn + 1)")
        add("cuda.syncthreads()")
        _write_results(context, sums)
        add("cuda.syncthreads()", "chunk = int32(chunk + int32(cuda.gridDim.x))")


def _write_turn(context: BlockContext, sums: _Sums) -> None:
    add, shape = context.add, context.shape
    add(f"group = uint64(begin + int64(lane)) >> uint64({shape.group // 2})")
    add("low, high = uint32(group), uint32(group >> uint64(32))")
    add("after = int32(max(start - begin, int64(0)))", f"before = int32(min(stop - begin, int64({shape.lanes})))")
    add(f"whole = after == 0 and before == {shape.lanes}")
    for k in context.draws:
        add(f"inside_{k} = after <= lane + {k} and lane + {k} < before")
    if sums.outer:
        _write_mask(context)
    for step in context.plan.steps:
        _write_step(context, sums, step)
        context.sync()


def _write_mask(context: BlockContext) -> None:
    """Write whether draws count, for the other threads."""
    with context.source.block("if ti == 0:"):
        context.add("y@ = select(inside@, real(1), real(0))")
        context.add(context.stored(context.where(context.layout.mask), "y@"))


def _write_step(context: BlockContext, sums: _Sums, step: Step) -> None:
    if isinstance(step, Nest):
        BlockNest(context, step).write()
    elif isinstance(step, Product):
        BlockProduct(context, step.var).write()
    elif isinstance(step, Tile):
        _write_tile(context, step)
    elif isinstance(step, OuterMoments):
        outer.write_outer(context, step.output, sums.first(step.output, context.shape))
    elif isinstance(step, Call):
        write_call(context, step.var)
    else:
        _write_finite(context, sums)


def _write_tile(context: BlockContext, step: Tile) -> None:
    inside = [
        BlockNest(context, inner, tiled=True) if isinstance(inner, Nest) else BlockProduct(context, inner.var)
        for inner in step.steps
    ]
    for writer in inside:
        writer.begin()
    context.add("t0 = int32(0)")
    with context.source.block(f"while t0 < {step.extent}:"):
        context.add(f"t1 = min(int32(t0 + {TILE_ROWS}), int32({step.extent}))")
        for writer in inside:
            writer.loops()
            context.sync()
        context.add("t0 = t1")
    for writer in inside:
        writer.end()
        context.sync()


def _write_finite(context: BlockContext, sums: _Sums) -> None:
    """Mark and count the draws of which any output is not finite."""
    add, row = context.add, context.layout.finite
    add("# draws of which an output is not finite", "bad@ = real(0)")
    for out in context.outputs:
        for var in out.var.args if out in sums.outer else (out.var,):
            BlockNest(context, Nest(squeeze(var.shape))).write_finite(var)
    context.combine([("bad@", "sum", row)])
    context.sync()
    add(context.loaded("bad@", context.where(row)))
    with context.source.block("if ti == 0:"):
        add(f"r = int32(({sums.counts * context.shape.groups} + tg) * 2)", "s, q = load2(sums, r)")
        for k in context.draws:
            add(f"s = s + select(inside_{k} and not (omit and bad_{k} != real(0)), real(1), real(0))")
            add(f"q = q + select(inside_{k} and bad_{k} != real(0), real(1), real(0))")
        add("store2(sums, r, s, q)")
    for k in context.draws:
        add(f"inside_{k} = inside_{k} and not (omit and bad_{k} != real(0))")
    if sums.outer:
        context.sync()
        _write_mask(context)


def _write_results(context: BlockContext, sums: _Sums) -> None:
    """Add up the sums of all groups of threads and write the chunk's partial."""
    add, source, shape = context.add, context.source, context.shape
    runs: list[tuple[int, int, int, int]] = []  # first slot, number, where they go, and where their squares go
    for out in sums.plain:
        slot, goal = sums.slots[out], context.outputs[out]
        if runs and runs[-1][0] + runs[-1][1] == slot and runs[-1][2] + runs[-1][1] == goal:
            runs[-1] = (runs[-1][0], runs[-1][1] + out.var.size, *runs[-1][2:])
        else:
            runs.append((slot, out.var.size, goal, goal + sums.components))
    if context.checked:
        runs.append((sums.counts, 1, 2 * sums.components, 2 * sums.components + 1))
    add(f"groups = int32(int32(cuda.blockDim.x) // {shape.rows})  # {shape.groups}, but the loop is not to be unrolled")
    for slot, count, goal, squares in runs:
        add("r = thread")
        with source.block(f"while r < {count}:"):
            add("total, square, g = 0.0, 0.0, int32(0)")
            with source.block("while g < groups:"):  # each from another group on: from another bank
                add(f"s, q = load2(sums, int32((({slot} + r) * {shape.groups} + (g + thread) % {shape.groups}) * 2))")
                add("total, square, g = total + float64(s), square + float64(q), int32(g + 1)")
            add(f"put(out, int64(r + {goal}) * int64(chunks) + int64(chunk), total)")
            add(f"put(out, int64(r + {squares}) * int64(chunks) + int64(chunk), square)")
            add(f"r = int32(r + {shape.threads})")
    for out in sums.outer:
        outer.write_results(context, out, sums.first(out, shape), sums.components)
