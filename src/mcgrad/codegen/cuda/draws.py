"""Say how a thread does the body of a nest for all its draws at once.

Addresses of rows and numbers that no draw changes come first; then each node for each draw of the thread, whose numbers
in a row lie side by side; then the thread adds what its draws have of the outputs to the sums.
"""

from __future__ import annotations

from mcgrad.codegen.loops.allocate import Workspace
from mcgrad.codegen.loops.cells import Buffer, Element, Index, Lane, Operand, Register, Row, Value
from mcgrad.codegen.loops.tree import (
    Accumulate,
    AddMoments,
    Address,
    Let,
    Load,
    Loop,
    Moments,
    Node,
    Noise,
    Store,
    Tree,
    rewrite,
)

INSIDE = Value("inside")  # whether a draw counts
X, Y = Register(Value("x")), Register(Value("y"))  # numbers on their way between rows


def split_draws(tree: Tree, workspace: Workspace) -> Tree:
    """The tree with what is before, in and after each loop over the draws of a thread."""
    return rewrite(
        tree,
        lambda node: _Draws(workspace).split(node.body) if isinstance(node, Loop) and node.kind == "lane" else node,
    )


class _Draws:
    """One loop over the draws. Values are numbered anew, with the addresses of rows among them."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.before: list[Node] = []
        self.lanes: list[Node] = []
        self.after: list[Node] = []
        self._addresses: dict[Index, Value] = {}
        self._renamed: dict[Value, Value] = {}
        self._numbered = 0
        self._moments = 0

    def split(self, body: Tree) -> Tree:
        for node in body:
            self._node(node)
        return (*self.before, Loop("w", None, "lane", tuple(self.lanes)), *self.after)

    def _node(self, node: Node) -> None:
        match node:
            case Load(value, Row(Buffer("running")) as row):
                self.lanes.append(Load(value, self._lane(row)))
            case Load(value, Row() as row, True):
                lane = self._lane(row)
                self.lanes += [Load(Y.value, lane), Let(self._rename(value), "is_true", (Y.value,))]
            case Load(value, Row() as row):
                lane = self._lane(row)
                self.lanes.append(Load(self._rename(value), lane))
            case Load(value, cell, boolean):
                self.before.append(Load(self._rename(value), cell, boolean))
            case Let(value, op, args):
                self.lanes.append(Let(value, op, tuple(map(self._operand, args))))
                self._number()
            case Store(Row() as row, operand, True):
                self.lanes += [Let(Y.value, "float", (self._operand(operand),)), Store(self._lane(row), Y.value)]
            case Store(Row() as row, operand):
                self.lanes.append(Store(self._lane(row), self._operand(operand)))
            case Accumulate(Row() as row, op, operand):
                lane = self._lane(row)
                self.lanes += [Load(Y.value, lane), Accumulate(Y, op, self._operand(operand)), Store(lane, Y.value)]
            case Store(cell, operand):
                self.lanes.append(Store(cell, self._operand(operand)))
            case Accumulate(cell, op, operand):
                self.lanes.append(Accumulate(cell, op, self._operand(operand)))
            case Noise(value, Row() as row):
                self.lanes.append(node)
                self._number()
                if row.buffer.role == "value":
                    self.lanes.append(Store(self._lane(row), value))
            case Moments():
                self._add_moments(node)
            case _:
                raise TypeError(f"{node} in a loop over draws")

    def _add_moments(self, node: Moments) -> None:
        """Add up the draws of the thread that count, and add that to its sums."""
        number, self._moments = self._moments, self._moments + 1
        shift, difference = Value(f"p{number}", lanewise=False), Value(f"d{number}")
        self.before.append(Load(shift, Element("shift", node.output, node.index)))
        self.lanes += [
            Let(difference, "subtract", (self._operand(node.operand), shift)),
            Let(difference, "if_inside", (difference, INSIDE)),
        ]
        self.after.append(AddMoments(node.output, node.index, difference))

    def _operand(self, operand: Operand) -> Operand:
        return self._renamed.get(operand, operand) if isinstance(operand, Value) else operand

    def _rename(self, value: Value) -> Value:
        """The value by the number of the next one."""
        self._renamed[value] = Value(f"{value.name[0]}{self._number()}_", value.lanewise)
        return self._renamed[value]

    def _lane(self, row: Row) -> Lane:
        """The row at its place, whose address is computed once, before the draws."""
        index = self.workspace.place(row)
        if index not in self._addresses:
            self._addresses[index] = Value(f"r{self._number()}_", lanewise=False)
            self.before.append(Address(self._addresses[index], index))
        return Lane(self._addresses[index], row.buffer.is_added_to)

    def _number(self) -> int:
        """The number of the next value."""
        self._numbered += 1
        return self._numbered - 1
