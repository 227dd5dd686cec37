"""Print the loop tree of a kernel by element: each draw has a workspace, of which `base` is the first element."""

from __future__ import annotations

from collections.abc import Iterator

from mcgrad.codegen.cpu.printer import SUMS, Printer
from mcgrad.codegen.cpu.products import product_sizes
from mcgrad.codegen.loops.cells import Buffer, Cell, Element, Operand, Row, Value
from mcgrad.codegen.loops.loop_tree import Fill, Gemm, Moments, Node, Noise
from mcgrad.codegen.text import START
from mcgrad.noise.source import NoiseSource


def filler(source: NoiseSource, dtype: str) -> str:
    """Name the function of `kernels/noise_elements.py` that fills the workspaces of some draws."""
    return f"{source.law}_elements{dtype[-2:]}"


class ElementPrinter(Printer):
    """Prints nodes for one draw, and matrix products and noise for the draws `low` to `high` of a block."""

    reductions = SUMS | dict.fromkeys(("sum", "scatter_add"), "accumulate({}, {})")  # in vectors, along a loop
    integers = "at_constant"

    def node(self, node: Node) -> Iterator[str]:
        """The lines of a node."""
        match node:
            case Noise(_, Row(buffer), source):
                var, total = buffer.var, self.workspace.total
                assert var is not None
                where = f"{self.first(buffer)}, {total}, {self.integer(var.size)}"
                groups = {"float32": 4, "float64": 2}[self.dtype]
                which = f"group, low // {groups}, (high + {groups - 1}) // {groups}"
                yield f"{filler(source, self.dtype)}(ws, {where}, {which}, uint32({source.stream}), key0, key1)"
            case Moments(output, index, operand):
                place = self.index(index.plus(self.arguments.outputs[output]))
                yield f"add_draw(sums, squares, {place}, {self.operand(operand)}, share)  # {output.path}"
            case Gemm():
                yield from self.product(node)
            case _:
                yield from super().node(node)

    def operand(self, operand: Operand | int) -> str:
        """An operand; values have names that no argument has."""
        return f"{operand.name}_" if isinstance(operand, Value) else super().operand(operand)

    def first(self, buffer: Buffer) -> int:
        """Where a buffer begins in the workspace of a draw."""
        return self.workspace.rows[buffer].offset

    def fill(self, node: Fill) -> Iterator[str]:
        """A loop over all elements of a buffer."""
        start, first = START.get(node.op, "real(0)"), self.first(node.buffer)
        if node.rows == 1:
            yield f"put_any(ws, base + {first}, {start})  # {node.note}"
            return
        yield f"for w in range({self.integer(node.rows)}):  # {node.note}"
        yield f"    put_any(ws, base + {first} + w, {start})"

    def read(self, cell: Cell) -> str:
        """What is in a cell."""
        if isinstance(cell, Row):
            return f"{'at_sum' if cell.buffer.is_added_to else 'at'}(ws, {self.place(cell)})"
        return super().read(cell).replace("at(c,", "at_constant(c,", 1) if isinstance(cell, Element) else ""

    def write(self, cell: Cell, text: str) -> str:
        """The statement that puts something into a cell."""
        assert isinstance(cell, Row)
        return f"{'put_sum' if cell.buffer.is_added_to else 'put'}(ws, {self.place(cell)}, {text})"

    def place(self, row: Row) -> str:
        """The address of an element."""
        return f"base + {self.index(self.workspace.place(row))}"

    def product(self, node: Gemm) -> Iterator[str]:
        """Multiply a draw-independent matrix: with the vectors of all draws at once, or with each draw's matrix."""
        matrix, flipped, batch, m, k, p = product_sizes(self, node)
        var, total = node.var, self.workspace.total
        source, target, first = str(self.first(node.source)), str(self.first(node.target)), "0"
        yield f"# {self.arguments.names[var]} = {var.op}({var.attrs}), by BLAS"
        depth = 0
        if batch > 1:
            yield f"for b in range({self.integer(batch)}):"
            source, target, first, depth = f"{source} + b * {k * p}", f"{target} + b * {m * p}", f"b * {m * k}", 1
        if p == 1:
            operands = f"{matrix}, {first}, {int(flipped)}, ws, {source}, {target}, {total}"
            yield f"{'    ' * depth}multiply_vectors(blas, {operands}, low, high, {m}, {k})"
            return
        yield f"{'    ' * depth}for base in range(low * {total}, high * {total}, {total}):"
        fixed = f"{matrix}, {first}, {m if flipped else k}, {int(flipped)}"
        operand, sizes = f"ws, base + {source}, {p}, 0", f"{m}, {p}, {k}, real(0)"
        yield f"{'    ' * (depth + 1)}gemm(blas, {fixed}, {operand}, ws, base + {target}, {sizes})"
