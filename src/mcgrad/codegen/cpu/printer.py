"""Print a loop tree as the body of a Numba function: a template for each kind of node, cell and loop."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from mcgrad.codegen.cpu.calls import call_lines
from mcgrad.codegen.cpu.products import LaneProduct, product_lines
from mcgrad.codegen.cpu.scatter_calls import Hits
from mcgrad.codegen.loops.access import c_strides
from mcgrad.codegen.loops.allocate import Workspace
from mcgrad.codegen.loops.cells import Buffer, Cell, Element, Index, Lane, Number, Operand, Register, Value
from mcgrad.codegen.loops.loop_tree import (
    Accumulate,
    Address,
    CallUser,
    DropNonfinite,
    Fill,
    Gather,
    Gemm,
    IfPartial,
    Leave,
    Let,
    Load,
    Loop,
    Node,
    Noise,
    Scatter,
    Section,
    Stage,
    Start,
    Store,
    Tree,
)
from mcgrad.codegen.loops.signature import Arguments
from mcgrad.codegen.noise_calls import filler
from mcgrad.codegen.text import INFIX, REDUCE, SCAN, START, expression, indented, literal
from mcgrad.ir.program import Output

LANES = {
    "masked_difference": "select({2} != real(0), {0} - {1}, real(0))",
    "lane_sum": "accumulate({}, {})",
    "nonfinite": "{} + {} * real(0)",
}
VALUES = INFIX | SCAN | LANES
SUMS = REDUCE | LANES
READ = {
    "lane": "at(ws, {} + w)",
    "lane_sum": "at_sum(ws, {} + w)",
    "lane_chosen": "at_chosen(ws, {} + w)",
    "lane_others": "at_others(ws, {} + w)",
    "constants": "at(c, {})",
    "shift": "at(shift, {})",
    "sums": "at(sums, {})",
    "squares": "at(squares, {})",
    "register": "{}",
}
WRITE = {
    "lane": "put(ws, {} + w, {})",
    "lane_sum": "put_sum(ws, {} + w, {})",
    "lane_chosen": "put(ws, {} + w, {})",
    "lane_others": "put_others(ws, {} + w, {})",
    "lane_draws": "put_draw(ws, {} + w, {})",
    "sums": "put(sums, {}, {})",
    "squares": "put(squares, {}, {})",
    "register": "{} = {}",
}
LOOP = {
    "element": "for {axis} in range({extent}):",
    "serial": "for {axis} in range({extent}):",
    "backwards": "for {axis} in range({extent} - 1, -1, -1):",
    "within": "for {axis} in range({within}, t1):",
    "row": "for {axis} in range({extent}):",
    "lane": "for {axis} in range({lanes}):",
    "tile": "for {axis} in range(0, {extent}, {step}):",
}


class Printer:
    """Prints nodes, numbering the arguments that they read.

    Parameters
    ----------
    dtype : {"float32", "float64"}
    workspace : Workspace
    arguments : Arguments
    names : sequence of str
        What is bound around the tree, of which sections are given what they read.
    hits : Hits, optional
        Where the hits of scatters are counted.

    Attributes
    ----------
    functions : list of str
        Lines of the functions of sections.
    """

    values = VALUES  # how ops of a Let are written
    reductions = SUMS  # how what is in a cell is combined with an operand
    integers = "at"  # what loads from `t`
    multiplied = "by BLAS"  # what does matrix products

    def __init__(
        self,
        dtype: str,
        workspace: Workspace,
        arguments: Arguments,
        names: Sequence[str] = (),
        hits: Hits | None = None,
    ) -> None:
        self.dtype, self.workspace, self.arguments, self.hits = dtype, workspace, arguments, hits
        self.functions: list[str] = []
        self._names, self._sections = [*names], 0

    def lines(self, tree: Tree) -> list[str]:
        """The lines of some nodes."""
        return [line for node in tree for line in self.node(node)]

    def node(self, node: Node) -> Iterator[str]:
        """The lines of a node."""
        match node:
            case Loop():
                yield from self.loop(node)
            case Let(value, op, args):
                note = f"  # {op}" if op in SCAN else ""
                text = expression(op, [self.operand(arg) for arg in args], self.values)
                yield f"{self.operand(value)} = {text}{note}"
            case Address(value, index):
                yield f"{value.name} = ({self.index(index)}) * {self.workspace.lanes}"
            case Load(value, cell, boolean):
                note = f"  # {cell.of.path}" if isinstance(cell, Element) and isinstance(cell.of, Output) else ""
                yield f"{self.operand(value)} = {self.read(cell)}{' != real(0)' * boolean}{note}"
            case Gather(value, cell, apart, extent, index):
                function = "gather_constants" if isinstance(cell, Element) else "gather_rows"
                lookup = f"{self.table(cell, apart)}, {extent}, {self.operand(index)}"
                yield f"{self.operand(value)} = {function}({lookup})"
            case Store(cell, operand, boolean):
                text = self.operand(operand)
                yield self.write(cell, f"select({text}, real(1), real(0))" if boolean else text)
            case Start(registers, op, note):
                names = [self.operand(register.value) for register in registers]
                yield " = ".join([*names, START[op]]) + (f"  # {note}" if note else "")
            case Accumulate(cell, op, operand, of, square):
                text = self.operand(operand)
                total = self.reductions[op].format(self.read(cell), f"{text} * {text}" if square else text)
                yield self.write(cell, total) + (f"  # {of}" if of else "")
            case Stage(axis, extent, around, delay, body, otherwise):
                yield f"{axis} = {around} - {delay}" if delay else f"{axis} = {around}"
                yield from (f"if {axis} >= 0 and {axis} < {extent}:", *indented(self.lines(body)))
                if otherwise:
                    yield from ("else:", *indented(self.lines(otherwise)))
            case IfPartial(partial, whole):
                yield from ("if partial:", *indented(self.lines(partial)), "else:", *indented(self.lines(whole)))
            case Section(body):
                yield self.section(body)
            case Fill():
                yield from self.fill(node)
            case Leave(buffer, first, rows, _, taken, axis):
                lanes = self.workspace.lanes
                address = self.workspace.address(buffer) + first * lanes
                going = READ["lane_sum" if buffer.is_added_to else "lane"].format(address)
                yield from ("going = real(0)", f"for w in range({rows * lanes}):")
                yield f"    going = accumulate(going, {going})"
                yield "if going == real(0):"
                if taken is not None:
                    yield f"    put(ws, {self.workspace.address(taken)}, real({axis} + 1))"
                yield "    break  # no draw of the block goes on"
            case Noise(_, Lane(address), source, component):
                where = f"{self.operand(address)}, {self.workspace.lanes}"
                number = self.index(component) + (f" + {source.coordinate}" if source.coordinate else "")
                which = f"group, uint32({number}), uint32({source.stream}), key0, key1"
                yield f"{filler(source, self.dtype)}(ws, {where}, {which})"
            case Gemm():
                yield from product_lines(self, node)
            case Scatter() if self.hits is not None:
                yield from self.hits.lines(self, node)
            case CallUser(var):
                yield from call_lines(self, var)
            case DropNonfinite():
                finite, mask = (self.workspace.address(Buffer(role)) for role in ("finite", "mask"))
                yield f"mask_finite(ws, {finite}, {self.workspace.lanes}, {mask}, omit, counts)"
            case _:
                raise TypeError(f"the CPU has no {node}")

    def multiplication(self, of: LaneProduct) -> str:
        """A call for a matrix product."""
        beta = "real(0)" if of.added_to == "0" else f"select({of.added_to} == 0, real(0), real(1))"
        return (
            f"gemm(blas, {of.matrix}, {of.first}, {of.lead}, {of.flipped}, ws, {of.source}, {of.columns}, 0, "
            f"ws, {of.target}, {of.rows}, {of.columns}, {of.inner}, {beta})"
        )

    def loop(self, node: Loop) -> Iterator[str]:
        """A loop, and loops that are all of its body."""
        loops = [node]
        while len(loops[-1].body) == 1 and isinstance(inner := loops[-1].body[0], Loop) and inner.taken is None:
            loops.append(inner)
        self._names += [loop.axis for loop in loops]
        body = self.lines(loops[-1].body)  # before the heads: tables of the body come before extents
        del self._names[-len(loops) :]
        heads = [self.head(loop) for loop in loops]
        for head in reversed(heads):
            body = [head[0], *indented([*head[1:], *body])]
        if node.taken is not None:
            yield f"put(ws, {self.workspace.address(node.taken)}, real({self.integer(node.extent or 0)}))"
        yield from body

    def section(self, body: Tree) -> str:
        """Write the function of a section, and return its call."""
        lines = self.lines(body)
        words = {*re.findall(r"\w+", "\n".join(lines))}
        name, self._sections = f"section{self._sections}", self._sections + 1
        bound = [*self._names, *(f"x{i}" for i in range(len(self.arguments.matrices)))]
        call = f"{name}({', '.join(each for each in bound if each in words)})"
        self.functions += ["", "", "@njit(**CALLED)", f"def {call}:", *indented(["prefer_vector_width()", *lines])]
        return call

    def head(self, loop: Loop) -> list[str]:
        """The head of a loop, and the lines that its body begins with."""
        kind = "within" if loop.within else "backwards" if loop.backwards else loop.kind
        extent = "" if loop.within or loop.kind == "lane" else self.integer(loop.extent or 0)
        if loop.until is not None:
            extent = f"int(at(ws, {self.workspace.address(loop.until)}))"
        parts = {"axis": loop.axis, "extent": extent, "step": loop.step, "within": loop.within}
        head = LOOP[kind].format(**parts, lanes=self.workspace.lanes)
        return [head, f"t1 = min({loop.axis} + {loop.step}, {extent})"] if loop.kind == "tile" else [head]

    def fill(self, node: Fill) -> Iterator[str]:
        """A loop over all elements of some rows."""
        yield f"for w in range({node.rows * self.workspace.lanes}):  # {node.note}"
        yield f"    put_any(ws, {self.workspace.address(node.buffer)} + w, {START.get(node.op, 'real(0)')})"

    # --- operands ---
    def operand(self, operand: Operand | int) -> str:
        """An operand, or an address that no loop changes."""
        match operand:
            case Value(name):
                return name
            case Number(value):
                return literal(value)
            case int():
                return str(operand)
        return self.read(operand)

    def read(self, cell: Cell) -> str:
        """What is in a cell."""
        return READ[_kind(cell)].format(self._place(cell))

    def write(self, cell: Cell, text: str) -> str:
        """The statement that puts something into a cell."""
        return WRITE[_kind(cell)].format(self._place(cell), text)

    def table(self, cell: Cell, apart: int) -> str:
        """What is gathered from: an array, where its first element is, and how far the next one is."""
        if isinstance(cell, Element):
            return f"c, {self._place(cell)}, {apart}"
        return f"ws, {self._place(cell)} + w, {apart * self.workspace.lanes}"

    def _place(self, cell: Cell) -> str:
        match cell:
            case Lane(address):
                return self.operand(address)
            case Element(of=of, index=index):
                first = self.arguments.outputs[of] if isinstance(of, Output) else self.arguments.scalar(of)
                return self.index(index.plus(first))
            case Register(value):
                return self.operand(value)
        raise TypeError(f"{cell} has no place yet")

    def index(self, index: Index) -> str:
        """An index, computed at run time."""
        if index.table is None:
            text = affine(index.offset, index.strides, index.axes)
            if index.ring is not None:
                first, rows = index.ring
                return f"{first} + ({f'({text})' if ' ' in text else text} & {rows - 1})"
            return f"{text} - {index.since}" if index.since else text
        flat = affine(self.arguments.table(index.table.array), c_strides(index.extents), index.axes)
        number = f"{self.integers}(t, {flat})"
        return f"{index.offset} + {number}" if index.offset else number

    def integer(self, n: int) -> str:
        """An integer that is read at run time: LLVM unrolls no short loop, Numba compiles no helper twice."""
        return f"{self.integers}(t, {self.arguments.table([n])})"


def _kind(cell: Cell) -> str:
    match cell:
        case Lane():
            return f"lane_{cell.beside}" if cell.beside else "lane_sum" if cell.is_added_to else "lane"
        case Element():
            return cell.region
        case Register():
            return "register"
    raise TypeError(f"{cell} has no place yet")


def affine(offset: int, strides: tuple[int, ...], axes: tuple[str, ...]) -> str:
    """Write offset + strides . axes."""
    terms = [axis if s == 1 else f"{s} * {axis}" for s, axis in zip(strides, axes, strict=True) if s]
    if offset or not terms:
        terms.insert(0, str(offset))
    return " + ".join(terms)
