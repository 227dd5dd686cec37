"""Keep in registers what a thread reads and writes at places that no loop changes: carries, sums, what nests share.

A thread that has draws alone, whose nests are unrolled, then has the state of a loop over steps in registers; rows hold
what steps leave one by one, and the elements of nests that are too long to unroll.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from mcgrad.codegen.loops.build import Kernel
from mcgrad.codegen.loops.cells import Buffer, Index, Operand, Register, Row, Value
from mcgrad.codegen.loops.layout import Rows, part_rows
from mcgrad.codegen.loops.loop_tree import (
    Accumulate,
    CallUser,
    Fill,
    Gather,
    Gemm,
    Leave,
    Let,
    Load,
    Node,
    Noise,
    Outer,
    Start,
    Store,
    Tree,
    rewrite,
    touched,
    walk,
)
from mcgrad.codegen.loops.schedule import squeeze


def promote(kernel: Kernel) -> Kernel:
    """The kernel with registers in the place of all rows that can be such.

    Where a buffer has an element that a loop or a gather chooses, or that a matrix product or a user's function reads,
    all of it stays in rows, and so does an assembly with such a part.
    """
    parts = {
        Buffer("value", var): (Buffer("value", assembly), rows)
        for assembly in kernel.assemblies
        for var, rows in part_rows(assembly, 0).items()
    }
    wholes = {part: whole for part, (whole, _) in parts.items()}
    found: dict[Buffer, None] = {}
    chosen: set[Buffer] = set()  # by loops, or by what reads memory itself
    for node in walk(kernel.block):
        by_itself = isinstance(node, Gather | Gemm | CallUser | Outer)
        for buffer in touched(node):
            found.setdefault(buffer)
            if by_itself or buffer.within or buffer.ring or buffer.role == "finite":
                chosen.add(wholes.get(buffer, buffer))
        for row in _rows(node):
            if not row.index.is_constant:
                chosen.add(wholes.get(row.buffer, row.buffer))
    found.update(dict.fromkeys(parts))
    kept = [buffer for buffer in found if buffer.role != "noise" and wholes.get(buffer, buffer) not in chosen]
    promoted = _Promoted(kernel, kept, parts)
    assemblies = tuple(var for var in kernel.assemblies if Buffer("value", var) in chosen)
    zeros = tuple(
        Start(promoted.registers(Buffer("value", var), var.size)) for var in kernel.assemblies if var not in assemblies
    )
    return replace(kernel, assemblies=assemblies, block=(*zeros, *rewrite(kernel.block, promoted.node)))


def _rows(node: Node) -> Iterator[Row]:
    """The rows that a node reads or writes, one by one."""
    cells = [getattr(node, "cell", None), getattr(node, "operand", None), *getattr(node, "args", ())]
    yield from (cell for cell in cells if isinstance(cell, Row))


class _Promoted:
    """What becomes of nodes that touch buffers which are now registers."""

    def __init__(self, kernel: Kernel, buffers: list[Buffer], parts: dict[Buffer, tuple[Buffer, Rows]]) -> None:
        self.parts = parts
        self.buffers = set(buffers)
        wholes = dict.fromkeys(parts[buffer][0] if buffer in parts else buffer for buffer in buffers)
        self.names = {
            buffer: f"{buffer.role}_{kernel.names[buffer.var]}" for buffer in wholes if buffer.var is not None
        }

    def register(self, row: Row) -> Register:
        """The register of a row."""
        whole, number = row.buffer, row.index.offset
        if whole in self.parts:
            whole, rows = self.parts[whole]
            part = row.buffer.var
            assert part is not None
            place = np.unravel_index(number, squeeze(part.shape)) if rows.strides else ()
            number = rows.offset + sum(int(i) * stride for i, stride in zip(place, rows.strides, strict=True))
        return Register(Value(f"{self.names[whole]}_{number}"))

    def registers(self, buffer: Buffer, count: int, first: int = 0) -> tuple[Register, ...]:
        """Those of some rows of a buffer."""
        return tuple(self.register(Row(buffer, Index(i))) for i in range(first, first + count))

    def is_kept(self, row: object) -> bool:
        """Whether this is a row that is a register now."""
        return isinstance(row, Row) and row.buffer in self.buffers

    def node(self, node: Node) -> Node | Tree:
        """The rule."""
        match node:
            case Load(value, Row() as row, boolean) if self.is_kept(row):
                return Let(value, "is_true" if boolean else "copy", (self.register(row).value,))
            case Store(cell, operand, boolean):
                to = self.register(cell) if isinstance(cell, Row) and self.is_kept(cell) else cell
                return Store(to, self.operand(operand), boolean)
            case Accumulate(cell, op, operand, of, square):
                to = self.register(cell) if isinstance(cell, Row) and self.is_kept(cell) else cell
                return Accumulate(to, op, self.operand(operand), of, square)
            case Let(value, op, args):
                return Let(value, op, tuple(map(self.operand, args)))
            case Noise(value, Row() as row) if self.is_kept(row):
                unkept = Row(Buffer("noise", row.buffer.var))
                return (replace(node, cell=unkept), Store(self.register(row), value))
            case Leave(buffer, first, rows) if buffer in self.buffers:
                return replace(node, registers=self.registers(buffer, rows, first))
            case Fill(buffer, count, op, note) if buffer in self.buffers:
                return Start(self.registers(buffer, count), op, note)
        return node

    def operand(self, operand: Operand) -> Operand:
        """The operand, if it is a row by its register."""
        return self.register(operand).value if isinstance(operand, Row) and self.is_kept(operand) else operand
