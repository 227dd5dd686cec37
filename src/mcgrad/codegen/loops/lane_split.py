"""Move nodes that are equal in all lanes out of the loops over lanes: the part that all targets share.

Before the loop go the addresses of rows and numbers that no draw changes, after it what is done with what the lanes
have added up. How noise is made and how moments are taken is each target's own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace

from mcgrad.codegen.loops.allocate import Workspace
from mcgrad.codegen.loops.cells import Beside, Buffer, Cell, Index, Lane, Operand, Row, Value
from mcgrad.codegen.loops.loop_tree import (
    Accumulate,
    Address,
    Gather,
    Let,
    Load,
    Loop,
    Moments,
    Node,
    Noise,
    Store,
    Tree,
)


class LaneSplit(ABC):
    """One loop over the lanes. Values are numbered anew, with the addresses of rows among them.

    Parameters
    ----------
    workspace : Workspace
    """

    constants_have_names = False  # whether the address of a row that no loop changes is a value

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.before: list[Node] = []
        self.lanes: list[Node] = []
        self.after: list[Node] = []
        self._addresses: dict[Index, Value] = {}
        self._renamed: dict[Value, Value] = {}
        self._numbered = 0
        self._gathers = False  # whether one reads rows

    @abstractmethod
    def noise(self, node: Noise, row: Row) -> None:
        """Make noise."""

    @abstractmethod
    def moments(self, node: Moments) -> None:
        """Add an output to its moments."""

    def loops(self) -> Tree:
        """The loop over the lanes."""
        return (Loop("w", self.workspace.lanes, "lane", tuple(self.lanes)),)

    def split(self, body: Tree) -> Tree:
        """What is before, in and after the loop."""
        self._gathers = any(isinstance(node, Gather) and isinstance(node.cell, Row) for node in body)
        for node in body:
            self._node(node)
        return (*self.before, *self.loops(), *self.after)

    def _node(self, node: Node) -> None:
        match node:
            case Load(value, cell, boolean):
                cell = self.cell(cell)
                new = Value(f"{'x' if value.lanewise else 'u'}{self.number()}_", value.lanewise)
                self._renamed[value] = new
                (self.lanes if value.lanewise else self.before).append(Load(new, cell, boolean))
            case Let(value, op, args):
                self.lanes.append(Let(value, op, tuple(map(self.operand, args))))
                self.number()
            case Gather(_, cell, _, _, index):
                self.lanes.append(replace(node, cell=self.cell(cell), index=self.operand(index)))
                self.number()
            case Store(cell, operand):
                self.lanes.append(replace(node, cell=self.cell(cell), operand=self.operand(operand)))
            case Accumulate(cell, op, operand, of):
                self.lanes.append(Accumulate(self.cell(cell), op, self.operand(operand), of))
            case Noise(_, Row() as row):
                self.noise(node, row)
            case Moments():
                self.moments(node)
            case _:
                raise TypeError(f"{node} in a loop over lanes")

    def operand(self, operand: Operand) -> Operand:
        """The operand by its new name, or at its place."""
        if isinstance(operand, Value):
            return self._renamed.get(operand, operand)
        return self.lane(operand) if isinstance(operand, Row) else operand

    def cell(self, cell: Cell) -> Cell:
        """The cell at its place."""
        return self.lane(cell) if isinstance(cell, Row) else cell

    def lane(self, row: Row) -> Lane:
        """The row at its place; its address is computed once, before the loop."""
        index, kind = self.workspace.place(row), (row.buffer.is_added_to, self._beside(row.buffer))
        if index.is_constant and not self.constants_have_names:
            return Lane(index.offset * self.workspace.lanes, *kind)
        if index not in self._addresses:
            self._addresses[index] = Value(f"r{self.number()}_", lanewise=False)
            self.before.append(Address(self._addresses[index], index))
        return Lane(self._addresses[index], *kind)

    def _beside(self, buffer: Buffer) -> Beside:
        """What a row is where gathers read rows."""
        if not self._gathers or buffer.is_added_to:
            return ""
        return "chosen" if buffer in self.workspace.chosen else "others"

    def number(self) -> int:
        """The number of the next value."""
        self._numbered += 1
        return self._numbered - 1
