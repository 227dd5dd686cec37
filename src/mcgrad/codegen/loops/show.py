"""Print a loop tree, one node a line, for developers and tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mcgrad.codegen.loops.cells import Buffer, Cell, Element, Index, Lane, Number, Operand, Register, Row, Value
from mcgrad.codegen.loops.loop_tree import (
    Accumulate,
    AddMoments,
    AddParts,
    Address,
    CallUser,
    Fill,
    Gather,
    Gemm,
    IfPartial,
    Leave,
    Let,
    Load,
    Loop,
    Moments,
    Node,
    Noise,
    Outer,
    Scatter,
    Stage,
    Start,
    StartSums,
    Store,
    StoreParts,
    Tree,
    bodies,
)
from mcgrad.ir.program import Output, Var


def show(tree: Tree, names: Mapping[Var, str]) -> str:
    """The tree as text.

    Parameters
    ----------
    tree : tuple of Node
    names : mapping of Var to str
        What Vars are called.
    """
    return "\n".join(_Printer(names).lines(tree, 0))


class _Printer:
    def __init__(self, names: Mapping[Var, str]) -> None:
        self.names = names

    def lines(self, tree: Tree, depth: int) -> Iterator[str]:
        for node in tree:
            yield "    " * depth + self.node(node)
            if isinstance(node, Loop):
                yield from self.lines(node.body, depth + 1)
            elif isinstance(node, IfPartial | Stage):
                first, other = bodies(node)
                yield from self.lines(first, depth + 1)
                if other:
                    yield "    " * depth + "else"
                    yield from self.lines(other, depth + 1)

    def node(self, node: Node) -> str:
        name = type(node).__name__.lower()
        match node:
            case Loop(kind="single"):
                return f"single {node.thread}"
            case Loop():
                marks = f" by {node.step}" * (node.step != 1) + f" within {node.within}" * bool(node.within)
                extent = "all" if node.extent is None else node.extent
                return f"{node.kind} {node.axis}: {extent}{marks}{' backwards' * node.backwards}"
            case Let():
                return f"{node.value.name} = {node.op}({', '.join(map(self.operand, node.args))})"
            case Address():
                return f"{node.value.name} = address {index(node.index)}"
            case Load():
                return f"{node.value.name} = {self.cell(node.cell)}"
            case Gather():
                first, last = self.cell(node.cell), (node.extent - 1) * node.apart
                return f"{node.value.name} = {first}.. + {last} by {node.apart} at {self.operand(node.index)}"
            case Store():
                return f"{self.cell(node.cell)} = {self.operand(node.operand)}"
            case Start():
                start = "0" if node.op == "sum" else f"start of {node.op}"
                return " = ".join([*(register.value.name for register in node.registers), start])
            case Fill():
                return f"fill {self.buffer(node.buffer)}, {node.rows} rows: {node.note}"
            case Leave():
                return f"leave if {self.buffer(node.buffer)}[{node.first}:{node.first + node.rows}] is zero"
            case Accumulate():
                return f"{self.cell(node.cell)} {node.op}= {self.operand(node.operand)}{'**2' * node.square}"
            case Noise():
                return f"{node.value.name} = {self.cell(node.cell)} = noise {node.source}[{index(node.component)}]"
            case Moments():
                return f"moments {node.output.path}[{index(node.index)}] of {self.operand(node.operand)}"
            case Gemm():
                return f"{self.names[node.var]} = {node.tile} gemm {node.var.attrs}"
            case Outer():
                return f"outer moments {node.output.path}"
            case Scatter():
                return f"scatter moments {node.output.path}"
            case CallUser():
                return f"{self.names[node.var]} = call {node.var.op}"
            case AddMoments():
                return f"add moments {node.output.path}[{index(node.index)}] of {self.operand(node.operand)}"
            case StartSums() | StoreParts() | AddParts():
                return f"{name} {self.names[node.gemm.var]}"
            case Stage():
                return f"if 0 <= {node.axis} = {node.around} - {node.delay} < {node.extent}"
            case IfPartial():
                return "if partial"
            case _:
                return name

    def operand(self, operand: Operand) -> str:
        if isinstance(operand, Value):
            return operand.name
        return repr(operand.value) if isinstance(operand, Number) else self.cell(operand)

    def cell(self, cell: Cell) -> str:
        match cell:
            case Row():
                return f"{self.buffer(cell.buffer)}[{index(cell.index)}]"
            case Lane():
                return f"at {cell.address.name if isinstance(cell.address, Value) else cell.address}"
            case Element():
                of = cell.of.path if isinstance(cell.of, Output) else self.names[cell.of]
                return f"{cell.region} {of}[{index(cell.index)}]"
            case Register():
                return cell.value.name

    def buffer(self, buffer: Buffer) -> str:
        if buffer.var is None:
            return buffer.role
        name = f"ring of {buffer.ring} of " * bool(buffer.ring) + self.names[buffer.var]
        return name if buffer.role == "value" else f"{buffer.role} {name}"


def index(index: Index) -> str:
    """An index as text."""
    pairs = zip(index.strides, index.axes, strict=True)
    terms = [axis if stride == 1 else f"{stride} {axis}" for stride, axis in pairs if stride]
    inside = " + ".join(terms) or "0"
    if index.table is not None:
        inside = f"table[{inside}]"
    text = f"{index.offset} + {inside}" if index.offset else inside
    if index.ring is not None:
        text = f"{index.ring[0]} + ({text}) mod {index.ring[1]}"
    return f"{text} - {index.since}" if index.since else text
