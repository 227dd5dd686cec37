"""Write a Program as a numba-cuda kernel, in the shape that suits its size.

A small Program is a thread's straight code on registers (`registers`); a larger one is loop nests of a block of threads
over rows in shared or global memory (`blocks`).
"""

from __future__ import annotations

from mcgrad.codegen.cuda import blocks, registers, row_blocks, row_registers
from mcgrad.codegen.cuda.kernel import Emitted
from mcgrad.codegen.cuda.rows import EmittedRows
from mcgrad.ir.program import Program


def emit(program: Program, checked: bool = False, by_value: bool = True) -> Emitted:
    """Write the kernel of a simplified Program.

    Parameters
    ----------
    program : Program
    checked : bool
        Write the variant that looks at every draw: it counts those with a non-finite output, and leaves them out if
        asked.
    by_value : bool
        Pass constants and shift by value where there are few; otherwise the kernel reads them from memory, where they
        are already if they were computed on the device.
    """
    if registers.fits(program):
        return registers.emit(program, checked, by_value)
    return blocks.emit(program, checked)


def emit_rows(program: Program, n: int, far: float, checked: bool = False) -> EmittedRows:
    """Write the kernel of a simplified Program that averages n draws of each row of a batch.

    Parameters
    ----------
    program : Program
    n : int
        Kernels for other numbers of draws may be the same: `row_shape` says which are.
    far : float
        Distance of a mean from zero, in standard deviations, beyond which sums are about the mean.
    checked : bool
        As for `emit`.
    """
    groups = row_shape(program, n)
    return row_blocks.emit(program, groups, far, checked) if groups else row_registers.emit(program, checked)


def row_shape(program: Program, n: int) -> int:
    """Return in how many groups the threads of a block have different draws; 0 where threads have a row."""
    return 0 if row_registers.fits(program) else row_blocks.groups(n, program.dtype)
