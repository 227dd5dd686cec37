"""Print a loop tree as the code of one thread of a block: the CPU's templates, once for each draw of the thread.

A value that differs from draw to draw has a name for each: `v3_0`, `v3_1`, ... Rows are loaded and stored as vectors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from mcgrad.codegen.cpu.printer import VALUES, Printer
from mcgrad.codegen.cuda.bind import BAD
from mcgrad.codegen.cuda.calls import call_lines
from mcgrad.codegen.cuda.draws import Y
from mcgrad.codegen.cuda.kernel import templates
from mcgrad.codegen.cuda.outer import outer_lines
from mcgrad.codegen.cuda.products import Product
from mcgrad.codegen.cuda.sums import Sums, add_moments_lines, count_lines
from mcgrad.codegen.cuda.thread_split import Shape
from mcgrad.codegen.cuda.tiling import Tiling
from mcgrad.codegen.loops.allocate import Workspace
from mcgrad.codegen.loops.cells import Buffer, Cell, Element, Index, Lane, Operand, Register, Row, Value
from mcgrad.codegen.loops.loop_tree import (
    Accumulate,
    AddMoments,
    AddParts,
    Address,
    Barrier,
    CallUser,
    DropNonfinite,
    Fill,
    Gather,
    Gemm,
    Leave,
    Let,
    Load,
    Loop,
    Node,
    Noise,
    Outer,
    Start,
    StartSums,
    Store,
    StoreParts,
)
from mcgrad.codegen.loops.signature import Arguments
from mcgrad.codegen.noise_calls import from_words, words
from mcgrad.codegen.text import START, indented
from mcgrad.ir.program import Var

DRAWS = {"if_inside": "select({1}, {0}, real(0))", "is_true": "{} != real(0)"}
LOOP = {  # how a loop begins, the condition under which it goes on, and how a turn ends
    "thread": ("{axis} = {mine}", "{axis} < {end}", "{axis} = int32({axis} + {rows})"),
    "element": ("{axis} = int32({first})", "{axis} < {end}", "{axis} = int32({axis} + 1)"),
    "row": ("{axis} = int32({first})", "{axis} < {end}", "{axis} = int32({axis} + 1)"),
    "backwards": ("{axis} = int32({last})", "{axis} >= 0", "{axis} = int32({axis} - 1)"),
    "tile": ("{axis} = int32(0)", "{axis} < {end}", "{axis} = t1"),
}


class ThreadPrinter(Printer):
    """Prints nodes for a thread, numbering the arguments that they read.

    Parameters
    ----------
    dtype : {"float32", "float64"}
    workspace : Workspace
    arguments : Arguments
    shape : Shape
        Of the block of threads.
    tilings : mapping of Var to Tiling
        How threads share each matrix product.
    sums : Sums
        Where the block keeps the sums of its chunk.
    """

    def __init__(
        self,
        dtype: str,
        workspace: Workspace,
        arguments: Arguments,
        shape: Shape,
        tilings: Mapping[Var, Tiling],
        sums: Sums,
    ) -> None:
        super().__init__(dtype, workspace, arguments)
        self.values = {op: text for op, text in (VALUES | DRAWS).items() if op in templates(dtype) or op != "divide"}
        self.shape, self.sums, self.draws = shape, sums, range(shape.group)
        self._tilings, self._products = tilings, dict[Var, Product]()
        self.matrices: dict[object, str] = {}  # arguments by operand and form: products may share them
        self._draw = 0  # whose names are printed

    def node(self, node: Node) -> Iterator[str]:
        """The lines of a node."""
        match node:
            case Let(value, op, (Lane() as cell, *args)):
                running = Value(f"running{value.name}")
                yield from self.lines((Load(running, cell), Let(value, op, (running, *args))))
            case Accumulate(Lane() as cell, op, operand):
                yield from self.lines((Load(Y.value, cell), Accumulate(Y, op, operand), Store(cell, Y.value)))
            case Load(value, Lane() as cell, True):
                yield from self.lines((Load(Y.value, cell), Let(value, "is_true", (Y.value,))))
            case Store(Lane() as cell, operand, True):
                yield from self.lines((Let(Y.value, "float", (operand,)), Store(cell, Y.value)))
            case Let() | Start() | Store(Register()) | Accumulate(Register()):
                for k in self.draws:
                    self._draw = k
                    yield from super().node(node)
            case Load(value, Row() | Lane() as cell):
                yield self.loaded(value, self.where(cell))
            case Store(Row() | Lane() as cell, operand):
                yield self.stored(self.where(cell), operand)
            case Gather(value, cell, apart, extent, index):
                for k, name in enumerate(self.names(value)):
                    self._draw = k
                    lookup = f"{self.elements(cell, apart, k)}, {extent}, {self.operand(index)}"
                    yield f"{name} = gather_elements({lookup})"
            case Address(value, index):
                yield f"{value.name} = {self.at(index)}"
            case Noise(value, _, source, component):
                yield f"a, b, c_, d = {words(source, self.index(component))}"
                yield from from_words(source, ("a", "b", "c_", "d"), self.names(value))
            case Fill(Buffer("finite"), note=note):
                yield from (f"# {note}", *self.node(Start((BAD,))))
            case Barrier():
                yield "cuda.syncthreads()"
            case Leave():
                yield from self.leave(node)
            case AddMoments():
                yield from add_moments_lines(self, node)
            case StartSums(gemm):
                yield from self.product(gemm).start()
            case Gemm():
                yield from self.product(node).loops()
            case StoreParts(gemm):
                yield from self.product(gemm).store_parts()
            case AddParts(gemm):
                yield from self.product(gemm).add_parts()
            case Outer():
                yield from outer_lines(self, node)
            case CallUser(var):
                yield from call_lines(self, var)
            case DropNonfinite():
                yield from count_lines(self)
            case _:
                yield from super().node(node)

    def product(self, node: Gemm) -> Product:
        """The writer of a matrix product."""
        if node.var not in self._products:
            self._products[node.var] = Product(self, node, self._tilings[node.var])
        return self._products[node.var]

    # --- loops ---
    def loop(self, node: Loop) -> Iterator[str]:
        """A loop; the draws of a thread are no loop, as each has names of its own."""
        body = self.lines(node.body)
        if node.kind == "lane":
            yield from body
        elif node.kind == "single":
            yield from (f"if ti == {node.thread}:", *indented(body))
        elif node.kind == "serial":
            yield from self.steps(node, body)
        else:
            if node.kind == "tile":
                body = [f"t1 = min(int32({node.axis} + {node.step}), int32({node.extent}))", *body]
            kind, end = "backwards" if node.backwards else node.kind, "t1" if node.within else str(node.extent)
            yield from self.turns(kind, node.axis, end, body, node.within or "0", (node.extent or 0) - 1)

    def steps(self, node: Loop, body: list[str]) -> Iterator[str]:
        """A loop over steps, of which it reads at run time how many there are: so compilers unroll none."""
        axis, end = node.axis, f"{node.axis}_end"
        yield f"{end} = at(t, int32({self.arguments.table([node.extent or 0])}))"
        if node.backwards:
            yield from (f"{axis} = int32({end} - 1)", f"while {axis} >= 0:")
            yield from indented([*body, f"{axis} = int32({axis} - 1)"])
        else:
            yield from (f"{axis} = int32(0)", f"while {axis} < {end}:")
            yield from indented([*body, f"{axis} = int32({axis} + 1)"])

    def leave(self, node: Leave) -> Iterator[str]:
        """Leave a loop when no draw goes on: of the thread, or of the block where threads wait for each other in it."""
        if node.registers:
            going = " or ".join(
                f"{name} != real(0)" for register in node.registers for name in self.names(register.value)
            )
            yield f"going = {going}"
        else:
            first = self.workspace.rows[node.buffer].offset + node.first
            some = " or ".join(f"{name} != real(0)" for name in self.names(Y.value))
            body = [self.loaded(Y.value, self.at(f"{first} + j")), f"going = going or {some}"]
            yield "going = False"
            yield from self.turns("element", "j", str(node.rows), body)
        vote = "cuda.syncthreads_or(int32(going))" if self.shape.rows > 1 else "going"
        yield from (f"if not {vote}:", "    break")

    def turns(
        self, kind: str, axis: str, end: str, body: Iterable[str], first: str = "0", last: int = 0
    ) -> Iterator[str]:
        """A loop around some lines."""
        rows = self.shape.rows
        mine = f"int32({first})" if rows == 1 else "ti" if first == "0" else f"int32({first} + ti)"
        parts = {"axis": axis, "first": first, "mine": mine, "end": end, "last": last, "rows": rows}
        begin, condition, step = (text.format(**parts) for text in LOOP[kind])
        yield from (begin, f"while {condition}:", *indented([*body, step]))

    def fill(self, node: Fill) -> Iterator[str]:
        """A loop over rows that threads share."""
        value, first = START.get(node.op, "real(0)"), self.workspace.rows[node.buffer].offset
        store = f"store{self.shape.group}(ws, {self.at(f'{first} + i')}, {', '.join([value] * self.shape.group)})"
        yield f"# {node.note}"
        yield from self.turns("thread", "i", str(node.rows), [store])

    # --- rows and operands ---
    def operand(self, operand: Operand | int) -> str:
        """An operand in the present draw."""
        if isinstance(operand, Value) and operand.lanewise:
            return f"{operand.name}_{self._draw}"
        return super().operand(operand)

    def names(self, value: Value) -> list[str]:
        """The names of a value in all draws of the thread."""
        return [f"{value.name}_{k}" for k in self.draws]

    def each(self, operand: Operand) -> list[str]:
        """An operand in each draw of the thread."""
        if isinstance(operand, Value) and operand.lanewise:
            return self.names(operand)
        return [self.operand(operand)] * self.shape.group

    def at(self, place: Index | int | str) -> str:
        """The place in the workspace of the thread's first draw in a row."""
        if isinstance(place, Index):
            place = place.offset if place.is_constant else self.index(place)
        lanes = self.workspace.lanes
        return f"int32({place * lanes} + lane)" if isinstance(place, int) else f"int32(({place}) * {lanes} + lane)"

    def where(self, cell: Cell) -> str:
        """The place of the thread's first draw in a cell."""
        return self.at(self.workspace.place(cell)) if isinstance(cell, Row) else self._place(cell)

    def elements(self, cell: Cell, apart: int, draw: int) -> str:
        """The memory of the elements that a gather chooses from, where the first is, and how far the next one is."""
        if isinstance(cell, Element):
            assert isinstance(cell.of, Var)
            return f"{self.arguments.memory(cell.of)}, {self._place(cell)}, {apart}"
        return f"ws, {self.where(cell)} + {draw}, {apart * self.workspace.lanes}"

    def loaded(self, value: Value, where: str) -> str:
        """Load the thread's draws from a place of the workspace on."""
        return f"{', '.join(self.names(value))} = load{self.shape.group}(ws, {where})"

    def stored(self, where: str, operand: Operand) -> str:
        """Store them, or what is the same in all draws."""
        return f"store{self.shape.group}(ws, {where}, {', '.join(self.each(operand))})"
