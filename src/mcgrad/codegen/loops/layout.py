"""The rows of a workspace, the number of lanes in each on a CPU, and a pool that allocates rows for some time.

The workspace is one array (constant offsets in one array are what LLVM can tell apart); a row is one element of one
Var for all lanes of the block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mcgrad.codegen.loops.access import c_strides, resolve
from mcgrad.codegen.loops.schedule import squeeze
from mcgrad.ir.program import Var

L1_BYTES = 45 * 1024  # what the rows of a block should fit in
L2_BYTES = 1 << 20  # of a core
MOST_LANES = {"float32": 512, "float64": 256}
FEWEST_LANES = {
    "float32": 128,
    "float64": 64,
}  # above L1; a row shorter than this costs more in loop overhead than it saves
STEP_ROWS = L2_BYTES // (8 * 64)  # that loops keep of all steps, in L2; above that they keep those of segments
LEFT_ROWS = 64  # times as many are kept of loops that draws leave, as those of steps that none takes are not touched
LANES_OF_FEW = 16  # for calls of few draws, of which blocks would be mostly empty: some vectors of the processor
TILE_ROWS = 128  # rows of data in a tile


@dataclass(frozen=True)
class Rows:
    """Row of element (i, j, ...) of a Var: offset + strides . (i, j, ...), over its squeezed shape."""

    offset: int
    strides: tuple[int, ...]


def choose_lanes(rows: int, dtype: str) -> int:
    """Lanes such that all rows stay in L1, unless that would leave too few."""
    item = np.dtype(dtype).itemsize
    lanes = MOST_LANES[dtype]
    while lanes > FEWEST_LANES[dtype] and rows * lanes * item > L1_BYTES:
        lanes //= 2
    return lanes


def part_rows(var: Var, offset: int) -> dict[Var, Rows]:
    """Rows of a pad or a concatenate, and those of its parts inside them."""
    strides = c_strides(var.shape)
    rows = {var: Rows(offset, c_strides(squeeze(var.shape)))}
    start = 0
    for arg in var.args:
        if var.op == "pad":
            first = sum(low * s for (low, _, _), s in zip(var.attrs.widths, strides, strict=True))
            steps = [s * (gap + 1) for (_, _, gap), s in zip(var.attrs.widths, strides, strict=True)]
        else:
            first, steps = start * strides[var.attrs.axis], list(strides)
            start += arg.shape[var.attrs.axis]
        kept = tuple(s for s, n in zip(steps, arg.shape, strict=True) if n != 1)
        rows[resolve(arg).base] = Rows(offset + first, kept)
    return rows


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
