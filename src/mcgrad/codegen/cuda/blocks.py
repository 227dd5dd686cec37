"""Write a Program as a kernel in which a block of threads runs loop nests over rows in shared or global memory.

The block takes as many draws a turn as fit (see `thread_split.Shape`): a thread takes four (two in float64), which
share a call of Philox, in registers, and some of the elements. Rows hold what other nests or other threads read. Each
thread adds what it has of an output to sums of its own, and the block adds these up at the end of its chunk.

As on the CPU, a schedule becomes a loop tree, whose buffers get rows. Its loops are then bound to threads, and the tree
is printed for one of them.
"""

from __future__ import annotations

import math

import numpy as np

from mcgrad.codegen.cuda.allocate import allocate
from mcgrad.codegen.cuda.bind import MASK, bind
from mcgrad.codegen.cuda.draws import split_draws
from mcgrad.codegen.cuda.kernel import ARGUMENTS, Emitted, head, offsets
from mcgrad.codegen.cuda.printer import ThreadPrinter
from mcgrad.codegen.cuda.sums import Sums, result_lines
from mcgrad.codegen.cuda.thread_split import Shape, split
from mcgrad.codegen.cuda.tiling import tilings
from mcgrad.codegen.loops.build import Kernel, build
from mcgrad.codegen.loops.loop_tree import Tree
from mcgrad.codegen.loops.lower import lower
from mcgrad.codegen.loops.schedule import schedule
from mcgrad.codegen.loops.signature import Arguments
from mcgrad.codegen.loops.tile import tile
from mcgrad.codegen.text import Source, elementwise_ops
from mcgrad.ir.program import Program
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
    kernel = build(plan, outer_nodes=True)
    sums = Sums(plan.program, kernel.block, checked)
    shape, in_shared = (shape, True) if shape else choose_shape(kernel, sums, program.dtype)
    tiled = tilings(kernel.block, shape)
    workspace, arguments = allocate(kernel, shape, tiled, checked), Arguments(plan.program, kernel.names)
    printer = ThreadPrinter(program.dtype, workspace, arguments, shape, tiled, sums)
    tree = split_draws(bind(kernel, shape, tiled), workspace)
    turns = _turns(program, shape, sums)
    text = Source()
    text.indent()
    _write_kernel(text, printer, kernel.zeros, tree, turns, in_shared)
    elements = _elements(printer)
    return Emitted(
        source=f"{_head(plan.program, printer)}{text}",
        threads=shape.threads,
        chunk=shape.lanes * turns,
        rows=2 * sums.components + 2 * checked,
        scalars=list(arguments.scalars.items()),
        outputs=offsets(program),
        shared=elements * np.dtype(program.dtype).itemsize if in_shared else 0,
        workspace=0 if in_shared else elements,
        matrices=list(arguments.matrices),
        tables=arguments.integers().astype(np.int32),
        user_functions=arguments.user_functions,
    )


def choose_shape(kernel: Kernel, sums: Sums, dtype: str) -> tuple[Shape, bool]:
    """Return the shape with most draws whose rows fit in shared memory, if any do; the same for every device."""
    groups = THREADS
    while groups:
        shape = Shape(THREADS // groups, groups, DRAWS_PER_GROUP[dtype])
        rows = allocate(kernel, shape, tilings(kernel.block, shape), sums.checked).total
        if (rows * shape.lanes + sums.size(shape)) * np.dtype(dtype).itemsize <= SHARED:
            return shape, True
        groups //= 2
    return Shape(THREADS // GLOBAL_GROUPS, GLOBAL_GROUPS, DRAWS_PER_GROUP[dtype]), False


def _elements(printer: ThreadPrinter) -> int:
    """Size of a block's rows and sums: whole vectors, as where the next block's begin."""
    size = printer.workspace.total * printer.shape.lanes + printer.sums.size(printer.shape)
    return -(-size // 4) * 4


def _turns(program: Program, shape: Shape, sums: Sums) -> int:
    """How often the block goes on in a chunk: until its work, and the size of its partial, justify the end."""
    wanted = max(WORK / (max(program.work(), 1.0) * shape.lanes), sums.components / shape.lanes)
    return min(1 << max(round(math.log2(wanted)), 0), MOST_TURNS)


def _head(program: Program, printer: ThreadPrinter) -> Source:
    """Everything before the kernel's first line; written last, when its arguments are known."""
    matrices = [f"x{i}" for i in range(len(printer.arguments.matrices))]
    reals = ", ".join(["pointer(real_type)"] * (len(matrices) + 1))
    source = head(
        program.dtype,
        elementwise_ops(program.body()),
        [var.attrs for var in program.noise()],
        f"pointer(real_type), pointer(real_type), pointer(types.int32), {reals}",
        len(printer.arguments.user_functions),
        (printer.shape.threads, TOGETHER),
        blocks=True,
    )
    source.add(f"def kernel({ARGUMENTS}, {', '.join(['c', 'shift', 't', 'work', *matrices])}):")
    return source


def _write_kernel(text: Source, printer: ThreadPrinter, zeros: Tree, tree: Tree, turns: int, in_shared: bool) -> None:
    add, shape, sums = text.add, printer.shape, printer.sums
    lanes = shape.lanes
    add(f'"""{"Checked s" if sums.checked else "S"}ums over chunks of {lanes * turns} draws, {lanes} a turn."""')
    add("thread = int32(cuda.threadIdx.x)")
    add(
        f"tg, ti = int32(thread % {shape.groups}), int32(thread // {shape.groups})", f"lane = int32({shape.group} * tg)"
    )
    if in_shared:
        add("ws = dynamic_shared(real)")
    else:
        add(f"ws = advance(work, int64(cuda.blockIdx.x) * int64({_elements(printer)}))")
    add(f"sums = advance(ws, {printer.workspace.total * lanes})")
    add(*printer.lines(zeros))
    add("chunk = int32(cuda.blockIdx.x)")
    with text.compound("while chunk < chunks:"):
        add("r = thread")
        with text.compound(f"while r < {sums.size(shape)}:"):
            add("put(sums, r, real(0))", f"r = int32(r + {shape.threads})")
        add("cuda.syncthreads()", "turn = int32(0)")
        with text.compound(f"while turn < {turns}:"):
            add(f"begin = base + int64(chunk) * int64({lanes * turns}) + int64(turn) * int64({lanes})")
            with text.compound(f"if begin < stop and begin + int64({lanes}) > start:"):
                _write_turn(text, printer, tree)
            add("turn = int32(turn + 1)")
        add("cuda.syncthreads()")
        add(*result_lines(printer))
        add("cuda.syncthreads()", "chunk = int32(chunk + int32(cuda.gridDim.x))")


def _write_turn(text: Source, printer: ThreadPrinter, tree: Tree) -> None:
    """Write which draws a thread takes in a turn, and what it does."""
    add, shape = text.add, printer.shape
    add(f"group = uint64(begin + int64(lane)) >> uint64({shape.group // 2})")
    add("low, high = uint32(group), uint32(group >> uint64(32))")
    add("after = int32(max(start - begin, int64(0)))", f"before = int32(min(stop - begin, int64({shape.lanes})))")
    add(f"whole = after == 0 and before == {shape.lanes}")
    add(*(f"inside_{k} = after <= lane + {k} and lane + {k} < before" for k in printer.draws))
    if printer.sums.outer:
        add(*printer.lines((MASK,)))
    add(*printer.lines(tree))
