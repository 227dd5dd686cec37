"""Share a matrix product among the threads of a block: several rows of the result each, for all draws of a thread.

For every number of the contracted axis a thread reads one vector of the operand and one vector for every four (two)
rows of the matrix, and multiplies all of one with all of the other. The matrix is read through the L1 cache, as vectors
of neighbouring rows: threads with other draws read the same ones, so staging it in shared memory would gain nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mcgrad.codegen.cuda.thread_split import Shape
from mcgrad.codegen.loops import layout
from mcgrad.codegen.loops.loop_tree import Gemm, InTile, Tree, walk
from mcgrad.codegen.loops.lower import contraction_labels
from mcgrad.ir.program import Var

MOST_SPLITS = 8
LOAD = 6  # what reading a vector takes, in multiplications


@dataclass(frozen=True)
class Tiling:
    """A product of (batch, rows, inner) and (batch, inner, columns), each of these extents perhaps 1.

    Parameters
    ----------
    kind : {"whole", "rows", "inner"}
    batch, rows, inner, columns : int
    block : int
        Rows of one thread.
    splits : int
        Parts in which the contracted axis is cut, for different threads.
    """

    kind: InTile
    batch: int
    rows: int
    inner: int
    columns: int
    block: int
    splits: int

    @property
    def blocks(self) -> int:
        """Blocks of rows, of a tile if the rows are a tile's."""
        return (
            -(-min(self.rows, layout.TILE_ROWS) // self.block) if self.kind == "rows" else -(-self.rows // self.block)
        )

    @property
    def items(self) -> int:
        """How many pieces of work there are for threads."""
        return self.batch * self.columns * self.splits * self.blocks

    @property
    def lead(self) -> int:
        """Rows of the matrix as it is stored, with zeros up to whole blocks."""
        return -(-self.rows // self.block) * self.block

    @property
    def partial(self) -> int:
        """Rows of the workspace for parts of sums."""
        return self.items * self.block if self.kind == "inner" or self.splits > 1 else 0

    def is_kept(self, shape: Shape) -> bool:
        """Whether sums over all tiles stay in registers: a thread has one piece of work at most."""
        return self.kind == "inner" and self.items <= shape.rows


def tiling(var: Var, shape: Shape, kind: InTile) -> Tiling:
    """Choose the rows of a thread, and the parts of the contracted axis, that take the least time."""
    parts = contraction_labels(var)
    fixed, operand = var.args[parts.fixed], var.args[1 - parts.fixed]
    extent = dict(zip(parts.matrix, fixed.shape, strict=True)) | dict(zip(parts.lanes, operand.shape, strict=True))
    batch, rows, inner, columns = (
        int(np.prod([extent[x] for x in labels], initial=1))
        for labels in (parts.batch, parts.rows, parts.contracted, parts.columns)
    )
    most = 1 if shape.rows == 1 or kind == "rows" else MOST_SPLITS
    choices = [
        Tiling(kind, batch, rows, inner, columns, block, splits)
        for block in (8, 4, 2)
        if block >= shape.group
        for splits in range(1, most + 1)
        if splits == 1 or inner // splits >= 4
    ]
    return min(choices, key=lambda choice: _time(choice, shape))


def tilings(tree: Tree, shape: Shape) -> dict[Var, Tiling]:
    """Choose for every matrix product of a tree."""
    return {node.var: tiling(node.var, shape, node.tile) for node in walk(tree) if isinstance(node, Gemm)}


def _time(choice: Tiling, shape: Shape) -> float:
    rounds = -(-choice.items // shape.rows)
    inner = min(choice.inner, layout.TILE_ROWS) if choice.kind == "inner" else choice.inner
    step = choice.block * shape.group + LOAD * (1 + choice.block / shape.group)
    sums = 2 * LOAD * choice.block + choice.splits * choice.rows / shape.rows * LOAD if choice.partial else 0
    return rounds * (-(-inner // choice.splits) * step + sums)
