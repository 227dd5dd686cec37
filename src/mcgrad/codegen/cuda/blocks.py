"""Write a Program as a kernel in which a block of threads runs loop nests over rows in shared or global memory.

The block takes as many draws a turn as fit (see `thread_split.Shape`): a thread takes four (two in float64), which
share a call of Philox, in registers, and some of the elements. Rows hold what other nests or other threads read. Each
thread adds what it has of an output to sums of its own, and the block adds these up at the end of its chunk.

As on the CPU, a schedule becomes a loop tree, whose buffers get rows. Its loops are then bound to threads, and the tree
is printed for one of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mcgrad.codegen.cuda.allocate import allocate
from mcgrad.codegen.cuda.alone import TOGETHER as TOGETHER_ALONE, alone, shape_alone, suits
from mcgrad.codegen.cuda.bind import MASK, bind
from mcgrad.codegen.cuda.draws import split_draws
from mcgrad.codegen.cuda.kernel import ARGUMENTS, Emitted, head, offsets
from mcgrad.codegen.cuda.printer import ThreadPrinter
from mcgrad.codegen.cuda.sums import Sums, result_lines
from mcgrad.codegen.cuda.thread_split import Shape, split
from mcgrad.codegen.cuda.tiling import tilings
from mcgrad.codegen.loops.build import Kernel, build
from mcgrad.codegen.loops.loop_tree import Gather, Tree, walk
from mcgrad.codegen.loops.lower import lower
from mcgrad.codegen.loops.schedule import all_equations, schedule
from mcgrad.codegen.loops.segments import segmented
from mcgrad.codegen.loops.signature import Arguments
from mcgrad.codegen.loops.tile import tile
from mcgrad.codegen.text import Source, elementwise_ops
from mcgrad.ir.program import Program
from mcgrad.noise.laws import DRAWS_PER_GROUP

THREADS = 256
WARP = 32
SHARED = 80 * 1024  # bytes of a block: two blocks fit on a multiprocessor of an A100 or H100
TOGETHER = 2  # blocks on a multiprocessor, which their registers must allow
KEPT = 2048  # numbers of a draw that loops keep of all steps in global memory; above that they keep those of segments
GLOBAL_GROUPS = 32  # of threads with different draws, where rows are in global memory
WORK = 4e6  # multiplications of a chunk: enough that its end does not count
VECTOR = 4  # elements of the longest vector
MOST_TURNS = 64  # sums of float32 lose nothing that matters over so few
Choose = Callable[[Kernel, Kernel | None, Sums, str], tuple[Kernel, Shape, bool]]


@dataclass(frozen=True)
class Block:
    """What a block of threads does in a turn, ready to be printed.

    Parameters
    ----------
    program : Program
        As it was lowered.
    printer : ThreadPrinter
    zeros, tree : tuple of Node
        What comes before all turns, and what a turn is.
    in_shared : bool
        Whether rows are in shared memory.
    is_alone : bool
        Whether threads have draws alone.
    """

    program: Program
    printer: ThreadPrinter
    zeros: Tree
    tree: Tree
    in_shared: bool
    is_alone: bool

    @property
    def launch(self) -> tuple[int, int]:
        """Threads, and how many blocks should find room on a multiprocessor at once."""
        return self.printer.shape.threads, TOGETHER_ALONE if self.is_alone else TOGETHER

    @property
    def elements(self) -> int:
        """Size of a block's rows and sums: whole vectors, as where the next block's begin."""
        shape = self.printer.shape
        return whole_vectors(self.printer.workspace.total * shape.lanes + self.printer.sums.size(shape))


def block_of(
    program: Program,
    checked: bool,
    choose: Choose,
    arguments: type[Arguments] = Arguments,
    printer: type[ThreadPrinter] = ThreadPrinter,
) -> Block:
    """Plan what a block of threads does.

    Parameters
    ----------
    program : Program
    checked : bool
    choose : callable
        Returns one of two kernels, the shape of the block, and whether its rows are in shared memory. Threads share the
        elements of the first; of the second, which Programs with loops have, each has draws alone.
    arguments, printer : type
        What numbers the arguments of the kernel, and what prints.
    """
    whole = tile(schedule(lower(segmented(program, KEPT)), checked))
    plan = split(whole)
    kernel = build(plan, outer_nodes=True, leaves=True)
    sums = Sums(plan.program, kernel.block, checked)
    has_loops = any(var.op == "loop" for var in program.body())
    lone = alone(build(whole, outer_nodes=True, leaves=True)) if has_loops else None
    kernel, shape, in_shared = choose(kernel, lone, sums, program.dtype)
    tiled = tilings(kernel.block, shape)
    workspace = allocate(kernel, shape, tiled, checked)
    prints = printer(program.dtype, workspace, arguments(plan.program, kernel.names), shape, tiled, sums)
    tree = split_draws(bind(kernel, shape, tiled), workspace)
    return Block(plan.program, prints, kernel.zeros, tree, in_shared, kernel is lone)


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
    block = block_of(program, checked, _as_given(shape) if shape else choose_shape)
    printer = block.printer
    turns = turns_of(program, printer.shape, printer.sums)
    text = Source()
    text.indent()
    _write_kernel(text, block, turns)
    elements, arguments = block.elements, printer.arguments
    return Emitted(
        source=f"{_head(block)}{text}",
        threads=printer.shape.threads,
        chunk=printer.shape.lanes * turns,
        rows=2 * printer.sums.components + 2 * checked,
        scalars=list(arguments.scalars.items()),
        outputs=offsets(program),
        shared=elements * np.dtype(program.dtype).itemsize if block.in_shared else 0,
        workspace=0 if block.in_shared else elements,
        matrices=list(arguments.matrices),
        tables=arguments.integers().astype(np.int32),
        user_functions=arguments.user_functions,
    )


def _as_given(shape: Shape) -> Choose:
    return lambda kernel, lone, *_: (lone if lone and shape.rows == 1 else kernel, shape, True)


def choose_shape(
    kernel: Kernel, lone: Kernel | None, sums: Sums, dtype: str, groups: int | None = None, most: int | None = None
) -> tuple[Kernel, Shape, bool]:
    """Return the kernel, and the shape with most draws whose rows fit in shared memory, if any do; for every device.

    It has `groups` groups of threads with different draws, or fewer, and `most` threads in each, or fewer, where that
    makes a warp; by default as many as a block has threads.
    """
    if lone is not None and suits(lone):
        return lone, *shape_alone(lone, sums, dtype, groups)
    groups, most = groups or THREADS, most or THREADS
    while groups:
        shape = Shape(min(THREADS // groups, max(most, WARP // groups)), groups, DRAWS_PER_GROUP[dtype])
        rows = allocate(kernel, shape, tilings(kernel.block, shape), sums.checked).total
        if (rows * shape.lanes + sums.size(shape)) * np.dtype(dtype).itemsize <= SHARED:
            return kernel, shape, True
        groups //= 2
    return kernel, Shape(THREADS // GLOBAL_GROUPS, GLOBAL_GROUPS, DRAWS_PER_GROUP[dtype]), False


def whole_vectors(elements: int) -> int:
    """Round up to whole vectors."""
    return -(-elements // VECTOR) * VECTOR


def turns_of(program: Program, shape: Shape, sums: Sums) -> int:
    """How often the block goes on in a chunk: until its work, and the size of its partial, justify the end."""
    wanted = max(WORK / (max(program.work(), 1.0) * shape.lanes), sums.components / shape.lanes)
    return min(1 << max(round(math.log2(wanted)), 0), MOST_TURNS)


def _head(block: Block) -> Source:
    """Everything before the kernel's first line; written last, when its arguments are known."""
    printer = block.printer
    matrices = [f"x{i}" for i in range(len(printer.arguments.matrices))]
    reals = ", ".join(["pointer(real_type)"] * (len(matrices) + 1))
    source = head(
        printer.dtype,
        elementwise_ops(all_equations(block.program.body())),
        [var.attrs for var in block.program.noise()],
        f"pointer(real_type), pointer(real_type), pointer(types.int32), {reals}",
        len(printer.arguments.user_functions),
        block.launch,
        blocks=True,
        gathers=any(isinstance(node, Gather) for node in walk(block.tree)),
    )
    source.add(f"def kernel({ARGUMENTS}, {', '.join(['c', 'shift', 't', 'work', *matrices])}):")
    return source


def _write_kernel(text: Source, block: Block, turns: int) -> None:
    add, printer = text.add, block.printer
    lanes = printer.shape.lanes
    add(
        f'"""{"Checked s" if printer.sums.checked else "S"}ums over chunks of {lanes * turns} draws, {lanes} a turn."""'
    )
    write_places(text, block)
    add("chunk = int32(cuda.blockIdx.x)")
    with text.compound("while chunk < chunks:"):
        write_zeros(text, printer)
        add("cuda.syncthreads()", "turn = int32(0)")
        with text.compound(f"while turn < {turns}:"):
            add(f"begin = base + int64(chunk) * int64({lanes * turns}) + int64(turn) * int64({lanes})")
            with text.compound(f"if begin < stop and begin + int64({lanes}) > start:"):
                write_turn(text, block, "low, high = uint32(group), uint32(group >> uint64(32))")
            add("turn = int32(turn + 1)")
        add("cuda.syncthreads()")
        add(*result_lines(printer))
        add("cuda.syncthreads()", "chunk = int32(chunk + int32(cuda.gridDim.x))")


def write_places(text: Source, block: Block, beyond: int = 0) -> None:
    """Write which draws and elements a thread has, and where the block's rows and sums are.

    In global memory the rows of the next block begin `beyond` elements after the end of the sums.
    """
    add, printer = text.add, block.printer
    shape = printer.shape
    add("thread = int32(cuda.threadIdx.x)")
    add(
        f"tg, ti = int32(thread % {shape.groups}), int32(thread // {shape.groups})", f"lane = int32({shape.group} * tg)"
    )
    if block.in_shared:
        add("ws = dynamic_shared(real)")
    else:
        add(f"ws = advance(work, int64(cuda.blockIdx.x) * int64({block.elements + beyond}))")
    add(f"sums = advance(ws, {printer.workspace.total * shape.lanes})")
    add(*printer.lines(block.zeros))


def write_zeros(text: Source, printer: ThreadPrinter) -> None:
    """Write the loop that sets all sums to zero."""
    text.add("r = thread")
    with text.compound(f"while r < {printer.sums.size(printer.shape)}:"):
        text.add("put(sums, r, real(0))", f"r = int32(r + {printer.shape.threads})")


def write_turn(text: Source, block: Block, number: str) -> None:
    """Write which draws a thread takes in a turn, by the `number` of their group, and what it does."""
    add, printer = text.add, block.printer
    shape = printer.shape
    add(f"group = uint64(begin + int64(lane)) >> uint64({shape.group // 2})", number)
    add("after = int32(max(start - begin, int64(0)))", f"before = int32(min(stop - begin, int64({shape.lanes})))")
    add(f"whole = after == 0 and before == {shape.lanes}")
    add(*(f"inside_{k} = after <= lane + {k} and lane + {k} < before" for k in printer.draws))
    if printer.sums.outer:
        add(*printer.lines((MASK,)))
    add(*printer.lines(block.tree))
