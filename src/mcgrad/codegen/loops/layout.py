"""Give every stored Var rows in the one workspace of a thread, and choose how many lanes a row has.

The workspace is one array (constant offsets in one array are what LLVM can tell apart); a row is one element of one
Var for all lanes of the block. Rows are used again once nobody reads them any more, but rows that are added to (sums
and the running values of scans) stay apart from the others: the kernels tell LLVM that the two never overlap.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mcgrad.codegen.loops.access import c_strides, resolve
from mcgrad.codegen.loops.schedule import OuterMoments, Schedule, computed, reads, squeeze
from mcgrad.ir.ops import ASSEMBLY, OPS, REDUCTIONS
from mcgrad.ir.program import Var

L1_BYTES = 45 * 1024  # what the rows of a block should fit in
MOST_LANES = {"float32": 512, "float64": 256}
FEWEST_LANES = {
    "float32": 128,
    "float64": 64,
}  # above L1; a row shorter than this costs more in loop overhead than it saves
TILE_ROWS = 128  # rows of data in a tile


@dataclass(frozen=True)
class Rows:
    """Row of element (i, j, ...) of a Var: offset + strides . (i, j, ...), over its squeezed shape."""

    offset: int
    strides: tuple[int, ...]


@dataclass
class Layout:
    """Rows of every stored Var and of the scratch space, and the number of lanes."""

    lanes: int
    rows: dict[Var, Rows] = field(default_factory=dict)
    carry: dict[Var, int] = field(default_factory=dict)  # first row of a scan's running value, or of a row of noise
    mask: int = 0
    finite: int = 0
    scratch: int = 0
    total: int = 0


def lay_out(plan: Schedule) -> Layout:
    """Assign rows and lanes."""
    layout = Layout(lanes=0)
    pool, sums = Pool(), Pool()
    layout.mask = pool.permanent(1)
    layout.finite = pool.permanent(1)
    layout.scratch = pool.permanent(_scratch(plan))
    last = _last_reads(plan)
    parts = {resolve(arg).base for var in plan.stored if var.op in ASSEMBLY for arg in var.args}
    summed: list[Var] = []
    for var in plan.stored:
        if var.op in ASSEMBLY:
            assemble(var, pool.permanent(var.size), layout)
    for at, step in enumerate(plan.steps):
        pool.release(at)
        sums.release(at)
        for var in computed(step):
            if OPS[var.op].group == "scan":
                layout.carry[var] = sums.take(_carries(var), at, at)
            if var.op == "noise" and var not in plan.stored:
                layout.carry[var] = pool.take(1, at, at)
            if var in plan.stored and var not in parts:
                of = sums if var.op in REDUCTIONS else pool
                summed += [var] if of is sums else []
                first = of.take(_rows(var, plan), at, last.get(var, at))
                layout.rows[var] = Rows(first, c_strides(squeeze(var.shape)))
    for var in summed:  # sums lie after all other rows
        layout.rows[var] = Rows(pool.total + layout.rows[var].offset, layout.rows[var].strides)
    for var in layout.carry:
        layout.carry[var] += pool.total if OPS[var.op].group == "scan" else 0
    layout.total = pool.total + sums.total
    layout.lanes = choose_lanes(layout.total, plan.program.dtype)
    return layout


def choose_lanes(rows: int, dtype: str) -> int:
    """Lanes such that all rows stay in L1, unless that would leave too few."""
    item = np.dtype(dtype).itemsize
    lanes = MOST_LANES[dtype]
    while lanes > FEWEST_LANES[dtype] and rows * lanes * item > L1_BYTES:
        lanes //= 2
    return lanes


def _rows(var: Var, plan: Schedule) -> int:
    return min(var.size, TILE_ROWS) if var in plan.local else var.size


def _carries(var: Var) -> int:
    axis: int = var.attrs.axis
    return var.size // max(var.shape[axis], 1)


def assemble(var: Var, offset: int, layout: Layout) -> None:
    """Rows of the parts of a pad or a concatenate inside the rows of the whole."""
    strides = c_strides(var.shape)
    layout.rows[var] = Rows(offset, c_strides(squeeze(var.shape)))
    start = 0
    for arg in var.args:
        if var.op == "pad":
            first = sum(low * s for (low, _, _), s in zip(var.attrs.widths, strides, strict=True))
            steps = [s * (gap + 1) for (_, _, gap), s in zip(var.attrs.widths, strides, strict=True)]
        else:
            first, steps = start * strides[var.attrs.axis], list(strides)
            start += arg.shape[var.attrs.axis]
        kept = tuple(s for s, n in zip(steps, arg.shape, strict=True) if n != 1)
        layout.rows[resolve(arg).base] = Rows(offset + first, kept)


def _scratch(plan: Schedule) -> int:
    """Rows for the squares of both factors of the largest outer product, and for the product itself."""
    outers = [step.output.var for step in plan.steps if isinstance(step, OuterMoments)]
    lanes = FEWEST_LANES[plan.program.dtype]
    return max((sum(arg.size for arg in var.args) + -(-var.size // lanes) for var in outers), default=0)


def _last_reads(plan: Schedule) -> dict[Var, int]:
    last: dict[Var, int] = {}
    for at, step in enumerate(plan.steps):
        last.update({access.base: at for access in reads(step, plan.program)})
    return last


class Pool:
    """First-fit allocation of rows over the steps of a schedule."""

    def __init__(self) -> None:
        self.total = 0
        self._free: list[tuple[int, int]] = []  # (first row, rows)
        self._busy: list[tuple[int, int, int]] = []  # (last step that reads, first row, rows)

    def permanent(self, rows: int) -> int:
        """Give rows for good."""
        first = self.total
        self.total += rows
        return first

    def take(self, rows: int, since: int, until: int) -> int:
        """Give rows until the last step that reads them."""
        for i, (first, extent) in enumerate(self._free):
            if extent >= rows:
                self._free[i] = (first + rows, extent - rows)
                break
        else:
            first = self.permanent(rows)
        self._busy.append((max(since, until), first, rows))
        return first

    def release(self, step: int) -> None:
        """Free what no step from this one on reads."""
        done = [entry for entry in self._busy if entry[0] < step]
        self._busy = [entry for entry in self._busy if entry[0] >= step]
        spans = sorted([span for span in self._free if span[1]] + [(first, rows) for _, first, rows in done])
        merged: list[tuple[int, int]] = []
        for first, rows in spans:
            if merged and sum(merged[-1]) == first:
                merged[-1] = (merged[-1][0], merged[-1][1] + rows)
            else:
                merged.append((first, rows))
        self._free = merged
