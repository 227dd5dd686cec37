"""Take out of each loop over the lanes what is the same in all lanes.

Before the loop go the addresses of rows, numbers that no draw changes, the making of noise and the start of sums; after
it goes what the lanes have added up. What is left is scalar code of one lane, which LLVM vectorises. Where moments are
much of it there are two versions, as a whole block of draws needs no masks.
"""

from __future__ import annotations

from mcgrad.codegen.loops.allocate import Workspace
from mcgrad.codegen.loops.cells import Buffer, Cell, Element, Index, Lane, Operand, Register, Row, Value
from mcgrad.codegen.loops.tree import (
    Accumulate,
    Address,
    IfPartial,
    Let,
    Load,
    Loop,
    Moments,
    Node,
    Noise,
    Start,
    Store,
    Tree,
    rewrite,
)

LIGHT = 4  # equations of a loop, for each moment, up to which a version of it without masks is worth its code


def split_lanes(tree: Tree, workspace: Workspace) -> Tree:
    """The tree with what is before, in and after each loop over the lanes."""
    return rewrite(
        tree,
        lambda node: _Lanes(workspace).split(node.body) if isinstance(node, Loop) and node.kind == "lane" else node,
    )


def _unmasked(node: Node) -> Node:
    if isinstance(node, Let) and node.op == "masked_difference":
        return Let(node.value, "subtract", node.args[:2])
    return node


class _Lanes:
    """One loop over the lanes. Values are numbered anew, with the addresses of rows among them."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.before: list[Node] = []
        self.lanes: list[Node] = []
        self.after: list[Node] = []
        self._addresses: dict[Index, Value] = {}
        self._renamed: dict[Value, Value] = {}
        self._numbered = 0
        self._moments = 0
        self._repeated = False  # whether there are moments of many elements, masked in partial blocks alone

    def split(self, body: Tree) -> Tree:
        for node in body:
            self._node(node)
        return (*self.before, *self._loops(), *self.after)

    def _loops(self) -> Tree:
        """The loop over the lanes, in two versions where masks are a good part of its work."""
        loop = Loop("w", self.workspace.lanes, "lane", tuple(self.lanes))
        lets = sum(isinstance(node, Let) for node in self.lanes)
        if self._repeated and lets <= LIGHT * self._moments:
            return (IfPartial((loop,), rewrite((loop,), _unmasked)),)
        return (loop,)

    def _node(self, node: Node) -> None:
        match node:
            case Load(value, cell, boolean):
                cell = self._cell(cell)
                new = Value(f"{value.name[0]}{self._number()}_", value.lanewise)
                self._renamed[value] = new
                (self.lanes if value.lanewise else self.before).append(Load(new, cell, boolean))
            case Let(value, op, args):
                self.lanes.append(Let(value, op, tuple(map(self._operand, args))))
                self._number()
            case Store(cell, operand, boolean):
                self.lanes.append(Store(self._cell(cell), self._operand(operand), boolean))
            case Accumulate(cell, op, operand, of):
                self.lanes.append(Accumulate(self._cell(cell), op, self._operand(operand), of))
            case Noise(value, Row() as row, source, component):
                cell = self._lane(row)
                self.before.append(Noise(value, cell, source, component))
                self.lanes.append(Load(value, cell))
                self._number()
            case Moments():
                self._add_moments(node)
            case _:
                raise TypeError(f"{node} in a loop over lanes")

    def _add_moments(self, node: Moments) -> None:
        """Add up the lanes in two registers, and these to the sums."""
        number, self._moments = self._moments, self._moments + 1
        shift, difference = Value(f"p{number}", lanewise=False), Value(f"d{number}")
        total, squares = Register(Value(f"s{number}")), Register(Value(f"q{number}"))
        self.before += [Load(shift, Element("shift", node.output, node.index)), Start((total, squares))]
        args: tuple[Operand, ...] = (self._operand(node.operand), shift)
        self._repeated |= node.masked == "partial" and not node.index.is_constant
        self.lanes += [
            Let(difference, "masked_difference", (*args, self._lane(Row(Buffer("mask"))))),
            Accumulate(total, "lane_sum", difference),
            Accumulate(squares, "lane_sum", difference, square=True),
        ]
        self.after += [
            Accumulate(Element("sums", node.output, node.index), "sum", total.value),
            Accumulate(Element("squares", node.output, node.index), "sum", squares.value),
        ]

    def _operand(self, operand: Operand) -> Operand:
        if isinstance(operand, Value):
            return self._renamed.get(operand, operand)
        return self._lane(operand) if isinstance(operand, Row) else operand

    def _cell(self, cell: Cell) -> Cell:
        return self._lane(cell) if isinstance(cell, Row) else cell

    def _lane(self, row: Row) -> Lane:
        """The row at its place; its address is computed once, before the loop, unless it is constant."""
        index = self.workspace.place(row)
        if index.is_constant:
            return Lane(index.offset * self.workspace.lanes, row.buffer.is_added_to)
        if index not in self._addresses:
            self._addresses[index] = Value(f"r{self._number()}_", lanewise=False)
            self.before.append(Address(self._addresses[index], index))
        return Lane(self._addresses[index], row.buffer.is_added_to)

    def _number(self) -> int:
        """The number of the next value."""
        self._numbered += 1
        return self._numbered - 1
