"""Write a Program as a numba-cuda kernel, in the shape that suits its size.

A small Program is a thread's straight code on registers (`registers`); a larger one is loop nests of a block of threads
over rows in shared or global memory (`blocks`).
"""

from __future__ import annotations

from mcgrad.codegen.cuda import blocks, registers
from mcgrad.codegen.cuda.kernel import Emitted
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
