"""Print the moments of scatters: calls of `kernels/scatters`, for each block and before and after all blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mcgrad.codegen.loops.allocate import Workspace
from mcgrad.codegen.loops.cells import Buffer
from mcgrad.codegen.loops.loop_tree import Scatter, Tree, walk
from mcgrad.ir.program import Output

if TYPE_CHECKING:
    from mcgrad.codegen.cpu.printer import Printer

HELPERS = ["add_hits", "add_misses", "start_hits"]


class Hits:
    """Where the hits of each scatter are counted, in the workspace beyond all rows.

    Parameters
    ----------
    block : tuple of Node
    workspace : Workspace
    """

    def __init__(self, block: Tree, workspace: Workspace) -> None:
        self._workspace, self._places = workspace, dict[Output, tuple[int, int]]()
        self._stop = workspace.total * workspace.lanes
        for node in walk(block):
            if isinstance(node, Scatter):
                size, several = node.output.var.size, node.output.var.args[0].size > 1
                length = 1 + size * (1 + several)
                self._places[node.output] = self._stop, length
                self._stop += length

    @property
    def rows(self) -> int:
        """How many rows the workspace has, with what is beyond."""
        return -(-self._stop // self._workspace.lanes)

    @property
    def helpers(self) -> list[str]:
        """What is called of `kernels/scatters.py`."""
        return HELPERS if self._places else []

    def before(self) -> list[str]:
        """What comes before all blocks."""
        return [f"start_hits(ws, {first}, {length})" for first, length in self._places.values()]

    def after(self, printer: Printer) -> list[str]:
        """What comes after all blocks."""
        return [
            f"add_misses(ws, {first}, {out.var.size}, {_moments(printer, out)})"
            for out, (first, _) in self._places.items()
        ]

    def lines(self, printer: Printer, node: Scatter) -> Iterator[str]:
        """What is done in a block."""
        address, out = self._workspace.address, node.output
        rows = f"{address(node.elements)}, {address(node.places)}, {out.var.args[0].size}, {self._workspace.lanes}"
        yield f"# moments of {out.path} = {out.var.op}"
        where = f"{address(Buffer('mask'))}, {self._places[out][0]}, {out.var.size}"
        yield f"add_hits(ws, {rows}, {where}, {_moments(printer, out)})"


def _moments(printer: Printer, out: Output) -> str:
    return f"shift, sums, squares, {printer.arguments.outputs[out]}"
