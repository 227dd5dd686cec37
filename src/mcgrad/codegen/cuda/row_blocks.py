"""Write a Program with rows as a kernel in which a block of threads has a part of a row's draws: see `blocks`.

Where a row has few draws, the block has fewer groups of threads with different draws, and more threads for the elements
of each. Sums of the first turn are about zero, and where a mean is then far from zero the turn is repeated, and all
turns are, about the means of the first.
"""

from __future__ import annotations

import numpy as np

from mcgrad.codegen.cuda.blocks import (
    THREADS,
    Block,
    block_of,
    choose_shape,
    turns_of,
    whole_vectors,
    write_places,
    write_turn,
    write_zeros,
)
from mcgrad.codegen.cuda.kernel import head, offsets
from mcgrad.codegen.cuda.printer import ThreadPrinter
from mcgrad.codegen.cuda.rows import ARGUMENTS, ROW, TYPES, EmittedRows, RowArguments, width
from mcgrad.codegen.cuda.sums import Sums, group_lines, result_lines
from mcgrad.codegen.cuda.thread_split import Shape
from mcgrad.codegen.loops.build import Kernel
from mcgrad.codegen.loops.cells import Cell, Element
from mcgrad.codegen.loops.loop_tree import Gather, Gemm, Loop, walk
from mcgrad.codegen.loops.schedule import all_equations
from mcgrad.codegen.text import Source, elementwise_ops, indented
from mcgrad.ir.program import Level, Program, Var
from mcgrad.noise.laws import DRAWS_PER_GROUP

MOST_THREADS = 64  # with the same draws


class RowPrinter(ThreadPrinter):
    """Prints nodes for a thread that has draws of a row."""

    def read(self, cell: Cell) -> str:
        """What is in a cell."""
        if isinstance(cell, Element) and isinstance(cell.of, Var):
            return f"at({self.arguments.memory(cell.of)}, {self._place(cell)})"
        return super().read(cell)


def groups(n: int, dtype: str) -> int:
    """Return how many groups of threads have different draws, at most, where a row has n draws: a power of two."""
    wanted = -(-n // DRAWS_PER_GROUP[dtype])
    return min(1 << max(wanted - 1, 0).bit_length(), THREADS)


def emit(program: Program, groups: int, far: float, checked: bool = False) -> EmittedRows:
    """Write the kernel.

    Parameters
    ----------
    program : Program
    groups : int
        Of threads with different draws, at most.
    far : float
        Distance of a mean from zero, in standard deviations, beyond which sums are about the mean.
    checked : bool
        Write the variant that looks at every draw.
    """

    def choose(kernel: Kernel, lone: Kernel | None, sums: Sums, dtype: str) -> tuple[Kernel, Shape, bool]:
        most = min(1 << (_widest(kernel) - 1).bit_length(), MOST_THREADS)
        return choose_shape(kernel, lone, sums, dtype, groups, most)

    block = block_of(program, checked, choose, RowArguments, RowPrinter)
    printer, arguments = block.printer, block.printer.arguments
    assert isinstance(arguments, RowArguments)
    shifts = whole_vectors(printer.sums.components)
    text = Source()
    text.indent()
    _write_kernel(text, block, far, shifts)
    elements, lanes = block.elements, printer.shape.lanes
    return EmittedRows(
        source=f"{_head(block)}{text}",
        threads=printer.shape.threads,
        chunk=lanes * turns_of(program, printer.shape, printer.sums),
        rows=width(printer.sums.components),
        scalars=list(arguments.shared.items()),
        outputs=offsets(program),
        shared=elements * np.dtype(program.dtype).itemsize if block.in_shared else 0,
        workspace=shifts if block.in_shared else elements + shifts,
        matrices=[key for key in arguments.matrices if key[0].level is not Level.ROW],
        stacked=[key for key in arguments.matrices if key[0].level is Level.ROW],
        order=[var.level is Level.ROW for var, _ in arguments.matrices],
        tables=arguments.integers().astype(np.int32),
        user_functions=arguments.user_functions,
        by_row=list(arguments.by_row.items()),
        aligned=lanes,
        teams=False,
        checked=checked,
    )


def _widest(kernel: Kernel) -> int:
    """Return for how many threads with the same draws there is work at once, at most."""
    width = 1
    for node in walk(kernel.block):
        match node:
            case Loop(kind=kind, extent=int(extent)) if kind != "serial":
                width = max(width, extent)
            case Gemm(var=var):
                width = max(width, var.size)
    return width


def _head(block: Block) -> Source:
    """Everything before the kernel's first line; written last, when its arguments are known."""
    printer = block.printer
    matrices = [f"m{i}" for i in range(len(printer.arguments.matrices))]
    reals = ", ".join(["pointer(real_type)"] * (len(matrices) + 1))
    source = head(
        printer.dtype,
        elementwise_ops(all_equations(block.program.body())),
        [var.attrs for var in block.program.noise()],
        f"pointer(real_type), pointer(types.int32), {reals}",
        len(printer.arguments.user_functions),
        block.launch,
        blocks=True,
        gathers=any(isinstance(node, Gather) for node in walk(block.tree)),
        common=TYPES,
    )
    source.add(f"def kernel({ARGUMENTS}, {', '.join(['zero', 't', 'work', *matrices])}):")
    return source


def _write_kernel(text: Source, block: Block, far: float, shifts: int) -> None:
    add, printer, arguments = text.add, block.printer, block.printer.arguments
    sums, lanes = printer.sums, printer.shape.lanes
    assert isinstance(arguments, RowArguments)
    size, turn = width(sums.components), Source()
    write_turn(turn, block, "low = uint32(group)")  # first, as it numbers the arguments
    add(f'"""{"Checked m" if sums.checked else "M"}oments of parts of rows, {lanes} draws a turn."""')
    write_places(text, block, shifts)
    elements = 0 if block.in_shared else block.elements
    add(f"means = advance(work, int64(cuda.blockIdx.x) * int64({elements + shifts}) + int64({elements}))")
    add("values = cr", "unit = int32(cuda.blockIdx.x)")
    with text.compound("while unit < units:"):
        add(*ROW, f"cr = advance(values, int64(of_row) * int64({sum(var.size for var in arguments.by_row)}))")
        for i, (var, _) in enumerate(arguments.matrices):
            add(f"x{i} = advance(m{i}, int64(of_row) * int64({var.size * (var.level is Level.ROW)}))")
        add(f"begin = start // int64({lanes}) * int64({lanes}) + int64(of_part) * each")
        add("end = min(begin + each, stop)", "used = float64(end - max(begin, start))")
        add("shift, is_first, far = zero, True, int32(0)")
        write_zeros(text, printer)
        add("cuda.syncthreads()")
        with text.compound("while begin < end:"):
            add(*turn.lines, f"begin = begin + int64({lanes})")
            with text.compound("if is_first:"):
                _write_centre(text, printer, far)
        add("cuda.syncthreads()", *_count_lines(printer, "used"), "used = max(used, 1.0)")
        add(f"first = int64(unit) * int64({size})")
        add(*result_lines(printer, _moments, _counts))
        counts = [f"put(out, first + int64({2 * sums.components}), used)"]
        counts.append(f"put(out, first + int64({2 * sums.components + 1}), 0.0)")
        marks = ["if of_part == 0:", f"    put(out, int64(units) * int64({size}) + int64(of_row), 0.0)"]
        add("if thread == 0:", *indented([*([] if sums.checked else counts), *marks]))
        add("cuda.syncthreads()", "unit = int32(unit + int32(cuda.gridDim.x))")


def _write_centre(text: Source, printer: ThreadPrinter, far: float) -> None:
    """Write what follows the first turn with draws: where a mean is far from zero, it is repeated about the means."""

    def compare(goal: str, squares: str, total: str, square: str) -> list[str]:
        return [
            f"mean = {total} / about",
            f"if ({square} - {total} * mean) * {far * far} < about * mean * mean:",
            "    far = int32(1)",
            "near = real(mean)",
            f"put(means, {goal}, select(near - near == real(0), near, real(0)))",
        ]

    add = text.add
    add("cuda.syncthreads()", "about = float64(before - after)", *_count_lines(printer, "about"))
    add("is_first, about = about == 0.0, max(about, 1.0)", *result_lines(printer, compare, None))
    with text.compound("if cuda.syncthreads_or(far):"):
        add("shift, begin = means, begin - int64(" + str(printer.shape.lanes) + ")")
        write_zeros(text, printer)
    add("cuda.syncthreads()")


def _count_lines(printer: ThreadPrinter, name: str) -> list[str]:
    """Count the draws that are used where each is looked at."""
    if not printer.sums.checked:
        return []
    place = f"int32(({printer.sums.counts * printer.shape.groups} + g) * 2)"
    loop = [f"s, q = load2(sums, {place})", f"{name}, g = {name} + float64(s), int32(g + 1)"]
    return [*group_lines(printer), f"{name}, g = 0.0, int32(0)", "while g < groups:", *indented(loop)]


def _moments(goal: str, squares: str, total: str, square: str) -> list[str]:
    """Write mean and scatter of sums about the shift."""
    return [
        f"mean = {total} / used",
        f"put(out, first + int64({goal}), float64(at(shift, {goal})) + mean)",
        f"scatter = {square} - {total} * mean",
        f"put(out, first + int64({squares}), select(scatter < 0.0, 0.0, scatter))",
    ]


def _counts(goal: str, other: str, used: str, nonfinite: str) -> list[str]:
    """Write the draws used, and those that are not finite."""
    return [f"put(out, first + int64({goal}), {used})", f"put(out, first + int64({other}), {nonfinite})"]
