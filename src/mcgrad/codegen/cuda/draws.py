"""Say how a thread does the body of a nest for all its draws at once.

Addresses of rows and numbers that no draw changes come first; then each node for each draw of the thread, whose numbers
in a row lie side by side; then the thread adds what its draws have of the outputs to the sums.
"""

from __future__ import annotations

from mcgrad.codegen.loops.allocate import Workspace
from mcgrad.codegen.loops.cells import Element, Register, Row, Value
from mcgrad.codegen.loops.lane_split import LaneSplit
from mcgrad.codegen.loops.loop_tree import AddMoments, Let, Load, Loop, Moments, Noise, Store, Tree, rewrite

INSIDE = Value("inside")  # whether a draw counts
X, Y = Register(Value("x")), Register(Value("y"))  # numbers on their way between rows


def split_draws(tree: Tree, workspace: Workspace) -> Tree:
    """The tree with what is before, in and after each loop over the draws of a thread."""
    return rewrite(
        tree,
        lambda node: _Draws(workspace).split(node.body) if isinstance(node, Loop) and node.kind == "lane" else node,
    )


class _Draws(LaneSplit):
    """One loop over the draws of a thread."""

    constants_have_names = True

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self._moments = 0

    def noise(self, node: Noise, row: Row) -> None:
        """Make noise in registers, and store it if others read it."""
        self.lanes.append(node)
        self.number()
        if row.buffer.role == "value":
            self.lanes.append(Store(self.lane(row), node.value))

    def moments(self, node: Moments) -> None:
        """Add up the draws of the thread that count, and add that to its sums."""
        number, self._moments = self._moments, self._moments + 1
        shift, difference = Value(f"p{number}", lanewise=False), Value(f"d{number}")
        self.before.append(Load(shift, Element("shift", node.output, node.index)))
        self.lanes += [
            Let(difference, "subtract", (self.operand(node.operand), shift)),
            Let(difference, "if_inside", (difference, INSIDE)),
        ]
        self.after.append(AddMoments(node.output, node.index, difference))
