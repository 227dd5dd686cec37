"""Give every buffer of a loop tree rows in the one workspace of a thread, and choose how many lanes a row has.

A buffer is live from the first node of the tree that touches it to the last; its rows are used again after that. Rows
that lane loops add to (sums and the running values of scans) lie after all others: the kernels tell LLVM that the two
never overlap. The parts of an assembly (a pad or a concatenate) lie inside the rows of the whole, which are kept.
"""

from __future__ import annotations

from dataclasses import dataclass

from mcgrad.codegen.loops import layout
from mcgrad.codegen.loops.access import c_strides
from mcgrad.codegen.loops.build import Kernel
from mcgrad.codegen.loops.cells import Buffer, Index, Row
from mcgrad.codegen.loops.layout import Pool, Rows, part_rows
from mcgrad.codegen.loops.schedule import squeeze
from mcgrad.codegen.loops.tree import Node, Outer, Tree, touched, walk
from mcgrad.ir.attributes import Literal as Array


@dataclass(frozen=True)
class Workspace:
    """Where the rows of each buffer are.

    Parameters
    ----------
    lanes : int
    rows : dict of Buffer to Rows
    scratch : int
        The first row of those for the squares and products of outer products.
    total : int
        Number of rows.
    """

    lanes: int
    rows: dict[Buffer, Rows]
    scratch: int
    total: int

    def address(self, buffer: Buffer) -> int:
        """Where the first row of a buffer starts."""
        return self.rows[buffer].offset * self.lanes

    def place(self, row: Row) -> Index:
        """The number of a row in the workspace."""
        rows, index = self.rows[row.buffer], row.index
        var, within = row.buffer.var, row.buffer.within
        if within:
            return Index(rows.offset, index.strides, index.axes, index.extents, since=within)
        if var is None or row.buffer.role != "value" or rows.strides == c_strides(squeeze(var.shape)):
            return index.plus(rows.offset)
        shape = squeeze(var.shape)
        if index == Index(0, c_strides(shape), index.axes, shape):
            return Index(rows.offset, rows.strides, index.axes, shape)
        # an element of a part of an assembly, in another order: by a table of where the elements of the part lie
        places = Index(rows.offset, rows.strides, index.axes, shape).numbers().ravel()[index.numbers()]
        return Index(0, c_strides(index.extents), index.axes, index.extents, Array(places))


def allocate(kernel: Kernel, dtype: str) -> Workspace:
    """Assign rows and lanes.

    Parameters
    ----------
    kernel : Kernel
    dtype : {"float32", "float64"}
    """
    pool, sums = Pool(), Pool()
    rows = {Buffer(role): Rows(pool.permanent(1), ()) for role in ("mask", "finite")}
    scratch = pool.permanent(_scratch(kernel.block, dtype))
    for assembly in kernel.assemblies:
        parts = part_rows(assembly, pool.permanent(assembly.size))
        rows.update({Buffer("value", var): found for var, found in parts.items()})
    last = {buffer: at for at, node in enumerate(kernel.block) for buffer in _touched(node)}
    added: list[Buffer] = []
    for at, node in enumerate(kernel.block):
        pool.release(at)
        sums.release(at)
        for buffer in _touched(node):
            if buffer in rows:
                continue
            first = (sums if buffer.is_added_to else pool).take(_size(buffer), at, last[buffer])
            added += [buffer] if buffer.is_added_to else []
            shape = () if buffer.role == "noise" or buffer.var is None else squeeze(buffer.var.shape)
            rows[buffer] = Rows(first, c_strides(shape))
    for buffer in added:
        rows[buffer] = Rows(pool.total + rows[buffer].offset, rows[buffer].strides)
    total = pool.total + sums.total
    return Workspace(layout.choose_lanes(total, dtype), rows, scratch, total)


def _touched(node: Node) -> list[Buffer]:
    return [buffer for inner in walk((node,)) for buffer in touched(inner)]


def _size(buffer: Buffer) -> int:
    """Rows of a buffer."""
    if buffer.var is None or buffer.role == "noise":
        return 1
    if buffer.role == "running":
        axis: int = buffer.var.attrs.axis
        return buffer.var.size // max(buffer.var.shape[axis], 1)
    return min(buffer.var.size, layout.TILE_ROWS) if buffer.within else buffer.var.size


def _scratch(tree: Tree, dtype: str) -> int:
    """Rows for the squares of both factors of the largest outer product, and for the product itself."""
    outers = [node.output.var for node in walk(tree) if isinstance(node, Outer)]
    lanes = layout.FEWEST_LANES[dtype]
    return max((sum(arg.size for arg in var.args) + -(-var.size // lanes) for var in outers), default=0)
