"""Sums of a chunk on a GPU: where a block of threads keeps them, adds to them, and writes them as a partial.

First come two sums for each component and group of threads with the same draws, then those of outer products.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from mcgrad.codegen.cuda import outer
from mcgrad.codegen.cuda.bind import BAD
from mcgrad.codegen.cuda.thread_split import Shape
from mcgrad.codegen.loops.cells import Buffer, Row
from mcgrad.codegen.loops.loop_tree import AddMoments, Load, Outer, Tree, walk
from mcgrad.codegen.text import indented
from mcgrad.ir.program import Output, Program

if TYPE_CHECKING:
    from mcgrad.codegen.cuda.printer import ThreadPrinter


class Sums:
    """The sums of a block.

    Parameters
    ----------
    program : Program
    tree : tuple of Node
    checked : bool

    Attributes
    ----------
    slots : dict of Output to int
        Where the sums of an output's components start among all sums that threads keep for their own draws.
    kept : int
        How many these are, with those of the counts of draws in the checked variant.
    components : int
        How many components all outputs have.
    """

    def __init__(self, program: Program, tree: Tree, checked: bool) -> None:
        self.checked = checked
        self.outer = [node.output for node in walk(tree) if isinstance(node, Outer)]
        self.slots: dict[Output, int] = {}
        self.kept = 0
        for out in program.outputs:
            if out.var.by_draw and out not in self.outer:
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


def add_moments_lines(printer: ThreadPrinter, node: AddMoments) -> Iterator[str]:
    """Add what the draws of a thread have of an output, and the squares of that."""
    slot = printer.index(node.index.plus(printer.sums.slots[node.output]))
    each = printer.names(node.operand)
    yield f"r = int32((({slot}) * {printer.shape.groups} + tg) * 2)"
    yield "s, q = load2(sums, r)"
    yield f"store2(sums, r, s + ({_pairs(each)}), q + ({_pairs([f'{x} * {x}' for x in each])}))"


def _pairs(terms: list[str]) -> str:
    """Add terms in pairs."""
    while len(terms) > 1:
        terms = [
            f"({a} + {b})" if len(terms) > 2 else f"{a} + {b}" for a, b in zip(terms[::2], terms[1::2], strict=True)
        ]
    return terms[0]


def count_lines(printer: ThreadPrinter) -> Iterator[str]:
    """Count the draws that are used and those of which an output is not finite, and leave these out if asked."""
    sums = printer.sums
    yield from printer.node(Load(BAD.value, Row(Buffer("finite"))))
    lines = [f"r = int32(({sums.counts * printer.shape.groups} + tg) * 2)", "s, q = load2(sums, r)"]
    for k in printer.draws:
        lines.append(f"s = s + select(inside_{k} and not (omit and bad_{k} != real(0)), real(1), real(0))")
        lines.append(f"q = q + select(inside_{k} and bad_{k} != real(0), real(1), real(0))")
    yield from ("if ti == 0:", *indented([*lines, "store2(sums, r, s, q)"]))
    for k in printer.draws:
        yield f"inside_{k} = inside_{k} and not (omit and bad_{k} != real(0))"


Write = Callable[[str, str, str, str], list[str]]  # see `chunk_sums`


def chunk_sums(goal: str, squares: str, total: str, square: str) -> list[str]:
    """Write a sum, and a sum of squares, where the chunk's partial goes, at two of its places."""
    return [
        f"put(out, int64({goal}) * int64(chunks) + int64(chunk), {total})",
        f"put(out, int64({squares}) * int64(chunks) + int64(chunk), {square})",
    ]


def group_lines(printer: ThreadPrinter) -> list[str]:
    """Name the number of groups, for loops over them."""
    shape = printer.shape
    note = f"{shape.groups}, but the loop is not to be unrolled"
    return [f"groups = int32(int32(cuda.blockDim.x) // {shape.rows})  # {note}"]


def result_lines(
    printer: ThreadPrinter, write: Write = chunk_sums, write_counts: Write | None = chunk_sums
) -> Iterator[str]:
    """Add up the sums of all groups of threads and write what becomes of them, and of the counts of draws."""
    sums, outputs = printer.sums, printer.arguments.outputs
    runs: list[tuple[int, int, int]] = []  # first slot, number, and where they go
    for out, slot in sums.slots.items():
        goal = outputs[out]
        if runs and runs[-1][0] + runs[-1][1] == slot and runs[-1][2] + runs[-1][1] == goal:
            runs[-1] = (runs[-1][0], runs[-1][1] + out.var.size, runs[-1][2])
        else:
            runs.append((slot, out.var.size, goal))
    yield from group_lines(printer)
    for slot, count, goal in runs:
        yield from sum_lines(printer, slot, count, write(f"r + {goal}", f"r + {goal + sums.components}", *TOTALS))
    if sums.checked and write_counts:
        counts = 2 * sums.components
        yield from sum_lines(printer, sums.counts, 1, write_counts(f"r + {counts}", f"r + {counts + 1}", *TOTALS))
    for out in sums.outer:
        yield from outer.result_lines(printer, out, write)


TOTALS = ("total", "square")


def sum_lines(printer: ThreadPrinter, slot: int, count: int, lines: list[str]) -> Iterator[str]:
    """Add up some sums over all groups of threads, for what is then done with `total` and `square`."""
    shape = printer.shape
    # each from another group on: from another bank
    place = f"(({slot} + r) * {shape.groups} + (g + thread) % {shape.groups}) * 2"
    loop = [
        f"s, q = load2(sums, int32({place}))",
        "total, square, g = total + float64(s), square + float64(q), int32(g + 1)",
    ]
    body = [
        "total, square, g = 0.0, 0.0, int32(0)",
        "while g < groups:",
        *indented(loop),
        *lines,
        f"r = int32(r + {shape.threads})",
    ]
    yield from ("r = thread", f"while r < {count}:", *indented(body))
