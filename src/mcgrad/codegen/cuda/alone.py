"""Kernels whose threads have draws alone: for loops over steps, of which a thread keeps the state in registers.

Threads that shared the elements of a step would wait for each other in each. Most steps have a few numbers, which one
thread computes for its four draws (two in float64), whose noise one call of Philox makes. What steps leave, such as the
carries that the way back needs, is in rows of shared memory, or of global memory, where threads lie side by side.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mcgrad.codegen.cuda.allocate import allocate
from mcgrad.codegen.cuda.promote import promote
from mcgrad.codegen.cuda.sums import Sums
from mcgrad.codegen.cuda.thread_split import Shape
from mcgrad.codegen.cuda.tiling import tilings
from mcgrad.codegen.cuda.unroll import unroll
from mcgrad.codegen.loops.build import Kernel
from mcgrad.codegen.loops.loop_tree import CallUser, Gather, Gemm, Let, Loop, Noise, Tree, walk
from mcgrad.errors import BackendError
from mcgrad.ir.cost import NOISE, cost
from mcgrad.ir.ops import OPS
from mcgrad.noise.laws import DRAWS_PER_GROUP

THREADS = 64  # a warp needs no other, but few threads in a block would make many partials
WARP = 32
LONG = 2e7  # multiplications of a block's draws, above which it is one warp: then few draws occupy more multiprocessors
LENGTHS = (16, 8, 4, 1)  # elements of nests that are unrolled, at most: the first for which the code is not long
MOST_NODES = 700  # of a draw; four draws make as many lines each
TOGETHER = 4  # blocks on a multiprocessor, whose threads may then have all 255 registers
SHARED = 24 * 1024  # bytes of a block, up to which eight find room on a multiprocessor
MOST_ELEMENTS = 2**31 - 1  # of a block's workspace, whose places are 32-bit integers
MUCH = 0.5  # of the work, above which threads share the elements of long nests


def alone(kernel: Kernel) -> Kernel:
    """The kernel for threads that have draws alone."""
    for longest in LENGTHS:
        block = unroll(kernel.block, longest)
        if sum(1 for _ in walk(block)) <= MOST_NODES:
            break
    return promote(replace(kernel, block=block))


def suits(kernel: Kernel) -> bool:
    """Whether most of the work of such a kernel is in nests that are unrolled."""
    short, long = _work(kernel.block, 1)
    return long <= MUCH * (short + long)


def _work(tree: Tree, turns: int, in_long: bool = False) -> tuple[float, float]:
    """Multiplications of a draw in short nests, and in long nests and products."""
    short = long = 0.0
    for node in tree:
        match node:
            case Loop(kind="element", extent=int(extent), body=body):
                long += sum(_work(body, turns * extent, in_long=True))
            case Loop(extent=extent, body=body):
                inner = _work(body, turns * (extent or 1), in_long)
                short, long = short + inner[0], long + inner[1]
            case Gemm(var=var):
                long += turns * cost(var)
            case CallUser(var=var):
                short += turns * cost(var)
            case Let(op=op) if op in OPS:
                short += turns * OPS[op].cost
            case Gather():
                short += turns * OPS["gather"].cost
            case Noise():
                short += turns * NOISE
    return short, long


def shape_alone(kernel: Kernel, sums: Sums, dtype: str, groups: int | None = None) -> tuple[Shape, bool]:
    """Return the shape of the block, of `groups` threads at most if that makes a warp, and whether rows are shared.

    Raises
    ------
    BackendError
        If places in the rows of a block are beyond 32 bits.
    """
    group = DRAWS_PER_GROUP[dtype]
    most = WARP if sum(_work(kernel.block, 1)) * THREADS * group > LONG else THREADS
    shape = Shape(1, max(min(groups or most, most), WARP), group)
    rows = allocate(kernel, shape, tilings(kernel.block, shape), sums.checked).total
    in_shared = (rows * shape.lanes + sums.size(shape)) * np.dtype(dtype).itemsize <= SHARED
    if rows * shape.lanes + sums.size(shape) > MOST_ELEMENTS:
        raise BackendError(
            f"the loops (mg.scan) of this Program keep {rows:,} numbers of each draw, and the CUDA backend can keep "
            f'{MOST_ELEMENTS // shape.lanes:,}: backend="cpu", or "auto", which takes that; or fewer steps, or outputs '
            'that are reduced (reduce="sum") in place of stacked ones'
        )
    return shape, in_shared
