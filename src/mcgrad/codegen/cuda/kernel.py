"""The common part of all shapes of CUDA kernels: how they are launched, and the head of their source.

A block of the grid takes *chunks* of draws, by their index, and leaves one partial of each: a float64 sum, and sum of
squares, of each random output about its shift. A partial depends on its draws alone, not on the grid.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.codegen import noise_calls
from mcgrad.codegen.text import INFIX, SPECIAL, Source
from mcgrad.ir.program import Output, Program, Var
from mcgrad.noise.source import NoiseSource

BOOLEAN = {"isfinite", "isnan"}
ARGUMENTS = "key0, key1, start, stop, base, chunks, omit, out"  # of every kernel
TYPES = (
    ", ".join(f"types.{x}" for x in ["uint32", "uint32", "int64", "int64", "int64", "int32", "boolean"])
    + ", pointer(types.float64)"
)


@dataclass
class Emitted:
    """Source of a kernel, and how it is launched.

    The kernel takes, in this order: the seed's two halves; the draws wanted, from `start` up to `stop`; `base`, the
    first draw of the first chunk; the number of chunks; whether non-finite draws are left out; `out`, where chunk i
    leaves value r of its partial at r * chunks + i. Then the constants and the shift: number by number if `by_value`,
    otherwise two pointers; then, in `blocks`, the tables, the workspace and the matrices.

    Parameters
    ----------
    source : str
        A module with the function `kernel` and its `SIGNATURE`.
    threads : int
        Threads of a block.
    chunk : int
        Draws of a chunk.
    rows : int
        Values in a partial: sums, sums of squares, and in the checked variant the draws used and the non-finite ones.
    scalars : list of (Var, offset)
        Draw-independent Vars, and where their elements start among the constants.
    outputs : list of (Output, offset)
        Random outputs, and where their components start.
    by_value : bool
        How constants and shift are passed.
    shared : int
        Bytes of dynamic shared memory of a block.
    workspace : int
        Elements of a block's workspace in global memory.
    matrices : list of (Var, axes)
        Draw-independent matrices, and the order of axes they are wanted in.
    tables : int32 array
        Tables of rows.
    user_functions : list
        The user's own Numba functions, known to the source as native0, native1, ...
    key_in_memory : bool
        Whether the first two arguments point to the seed's halves instead (`key_in_memory`).
    """

    source: str
    threads: int
    chunk: int
    rows: int
    scalars: list[tuple[Var, int]]
    outputs: list[tuple[Output, int]]
    by_value: bool = False
    shared: int = 0
    workspace: int = 0
    matrices: list[tuple[Var, tuple[int, ...]]] = field(default_factory=list)
    tables: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(1, np.int32))
    user_functions: list[Any] = field(default_factory=list)
    key_in_memory: bool = False

    @property
    def components(self) -> int:
        """Number of random output components."""
        return sum(out.var.size for out, _ in self.outputs)


def templates(dtype: str) -> dict[str, str]:
    """How elementwise ops are written: as on the CPU, but for the float32 division."""
    return {op: text for op, text in INFIX.items() if op != "divide"} if dtype == "float32" else INFIX


def head(
    dtype: str,
    ops: Iterable[str],
    sources: Sequence[NoiseSource],
    arguments: str,
    user_functions: int,
    launch: tuple[int, int],
    blocks: bool = False,
    common: str = TYPES,
    helpers: Sequence[str] = (),
    gathers: bool = False,
) -> Source:
    """Write imports, the kernel functions that the ops need, and the signature.

    Parameters
    ----------
    dtype : str
    ops : iterable of str
        Elementwise ops, and minimum or maximum where reductions need them.
    sources : sequence of NoiseSource
        What noise it reads.
    arguments : str
        Types of the kernel's arguments after those that all kernels share.
    user_functions : int
        Number of the user's own functions.
    launch : (int, int)
        Threads of a block, and how many blocks should find room on a multiprocessor at once.
    blocks : bool
        Whether the kernel is one of `blocks`.
    common : str
        Types of the arguments that all kernels share.
    helpers : sequence of str
        What it calls of `kernels/cuda_rows.py`.
    gathers : bool
        Whether it gathers elements.
    """
    bits, text = dtype[-2:], Source()
    text.add("import numpy as np")
    text.add("from numba import float64, int32, int64, types, uint32, uint64", "")
    text.add("from mcgrad.kernels import cuda32, elementary64, noise32, noise64, special64")
    if blocks:
        text.add("from mcgrad.kernels.cuda_memory import add_moments, add_products, advance, array_at, dynamic_shared")
        text.add("from mcgrad.kernels.cuda_memory import load2, load4, store2, store4")
    if gathers:
        text.add("from mcgrad.kernels.device import gather_elements")
    if helpers:
        text.add(f"from mcgrad.kernels.cuda_rows import {', '.join(helpers)}")
    text.add("from mcgrad.kernels.device import add_shared, at, put, share, subroutine, warp_sum")
    text.add("from mcgrad.kernels.intrinsics import divide, select")
    text.add(*noise_calls.imports(sources, dtype))
    text.add("from mcgrad.kernels.target import cuda", "")
    text.add(f"real, real_type, pointer = np.float{bits}, types.float{bits}, types.CPointer")
    text.add(*noise_calls.subroutines(sources, dtype))
    text.add(f"normal_pair = subroutine(noise{bits}.normal_pair, types.UniTuple(real_type, 2))")
    text.add(f"uniform = subroutine(noise{bits}.uniform, real_type)")
    text.add(*noise_calls.laws_of_points(sources, dtype))
    known = {*templates(dtype), "divide"}
    for op in sorted(set(ops) - known):
        home = "cuda32" if bits == "32" else "special64" if op in SPECIAL else "elementary64"
        text.add(f"{op} = subroutine({home}.{op}{', types.boolean' if op in BOOLEAN else ''})")
    text.add(*(f"native{i} = subroutine(native{i}, real_type)" for i in range(user_functions)))
    text.add("SIGNATURE = types.void(", f"    {common},", *([f"    {arguments},"] if arguments else []), ")")
    text.add(f"LAUNCH = {launch}  # threads of a block, blocks at once on a multiprocessor", "", "")
    return text


def offsets(program: Program) -> list[tuple[Output, int]]:
    """Return the random outputs, and where their components start."""
    found, first = [], 0
    for out in program.outputs:
        if out.var.by_draw:
            found.append((out, first))
            first += out.var.size
    return found
