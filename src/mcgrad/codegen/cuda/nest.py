"""In which order a block of threads runs the loops of a nest, and which of them threads with the same draws split."""

from __future__ import annotations

from collections.abc import Iterator

from mcgrad.codegen.cuda.thread_split import conflicts, reduced_axes
from mcgrad.codegen.loops.cells import Row
from mcgrad.codegen.loops.loop_tree import Accumulate, Let, Loop, Tree
from mcgrad.codegen.loops.schedule import squeeze
from mcgrad.ir.program import Shape, Var


def nests(tree: Tree) -> Iterator[NestLoops]:
    """All nests of a tree, whatever loops are around them."""
    for node in tree:
        if isinstance(node, Loop) and node.kind in ("element", "lane"):
            yield NestLoops(node)
        elif isinstance(node, Loop):
            yield from nests(node.body)


class NestLoops:
    """The loops of one nest of a tree, which are each all of the body of the one around it.

    Parameters
    ----------
    tree : Loop
        The outermost loop.

    Attributes
    ----------
    loops : list of Loop
        By the axes of the nest's shape.
    body : tuple of Node
        What is done for one element in all lanes.
    reductions, scans : list of Var
    axes : tuple of int
        The outermost loop first: sums and scans then stay in registers where they can. Threads split it, unless one
        thread takes all.
    serial : bool
        Whether one thread takes all.
    """

    def __init__(self, tree: Loop) -> None:
        self.loops: list[Loop] = []
        while tree.kind == "element":
            self.loops.append(tree)
            (inner,) = tree.body
            assert isinstance(inner, Loop)
            tree = inner
        self.body: Tree = tree.body
        self.reductions: list[Var] = []
        self.scans: list[Var] = []
        for node in self.body:
            if isinstance(node, Accumulate) and isinstance(node.cell, Row) and node.cell.buffer.var is not None:
                self.reductions.append(node.cell.buffer.var)
            elif isinstance(node, Let) and node.args and isinstance(node.args[0], Row):
                assert node.args[0].buffer.var is not None
                self.scans.append(node.args[0].buffer.var)
        self.axes, self.serial = self._order()

    @property
    def shape(self) -> Shape:
        """What the nest runs over."""
        return tuple(loop.extent or 0 for loop in self.loops)

    def _order(self) -> tuple[tuple[int, ...], bool]:
        scans = {axis for var in self.scans for axis in _scan_axis(var)}
        every = range(len(self.loops))
        reduced = [reduced_axes(var) or () for var in self.reductions]
        inner = {axis: sum(axis in axes for axes in reduced) + 2 * (axis in scans) for axis in every}
        free = [
            axis
            for axis in every
            if axis not in scans and not any(conflicts(var, axis, len(every)) for var in self.reductions)
        ]
        chosen = max(free, key=lambda axis: (self.shape[axis], axis)) if free else None
        rest = sorted((axis for axis in every if axis != chosen), key=lambda axis: (inner[axis], axis))
        return (*([] if chosen is None else [chosen]), *rest), chosen is None

    def is_full(self, var: Var) -> bool:
        """Whether a reduction runs along all axes."""
        return bool(self.loops) and reduced_axes(var) == frozenset(range(len(self.loops)))

    def depth(self, var: Var) -> int | None:
        """How many loops are outside the one along which a reduction stays in registers; None where it cannot."""
        wanted = reduced_axes(var)
        if wanted is None:
            return None
        outside = len(self.axes) - len(wanted)
        return outside if set(self.axes[outside:]) == wanted else None

    def scan_depth(self, var: Var) -> int | None:
        """How many loops are outside the one in which a scan's running value is in a register; None where it cannot."""
        wanted = _scan_axis(var)
        if not wanted:
            return len(self.axes)
        return len(self.axes) - 1 if wanted == self.axes[-1:] else None


def _scan_axis(var: Var) -> tuple[int, ...]:
    """The axis of its nest that a scan runs along; none where its extent is 1."""
    axis: int = var.attrs.axis
    return (len(squeeze(var.shape[:axis])),) if var.shape[axis] != 1 else ()
