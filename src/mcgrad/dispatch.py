"""Choose a backend: interpreted at once, or compiled first and then fast."""

from __future__ import annotations

from mcgrad.backends.base import Backend
from mcgrad.backends.cpu import CpuBackend
from mcgrad.backends.registry import AUTO, BACKENDS, find
from mcgrad.ir.program import Program

COMPILE_SECONDS, EQUATION_SECONDS = 2.0, 0.004  # of a short Program, and what each equation adds
NUMPY_RATE = 1.5e8  # multiplications a second when interpreted
CPU_RATE = 6e9  # multiplications a second of one compiled thread


def choose(name: str, program: Program, draws: int | None, threads: int) -> tuple[Backend, str]:
    """Return the backend for a Program, and why.

    Parameters
    ----------
    name : str
        A backend's name, or "auto".
    program : Program
    draws : int or None
        How many draws there will be in all; None for many.
    threads : int

    Returns
    -------
    backend : Backend
    reason : str
        For the reader of `Estimator.explain`.
    """
    if name != AUTO:
        return find(name), "as asked for"
    cpu = BACKENDS["cpu"]
    reason = cpu.unavailable()
    if reason is not None:
        return find("numpy"), f"cpu is not available: {reason}"
    if draws is None:
        return cpu, "many calls are worth compiling for"
    interpreted = draws * program.work() / NUMPY_RATE
    compiled = draws * program.work() / (CPU_RATE * threads)
    compilation = COMPILE_SECONDS + EQUATION_SECONDS * len(program.body())
    if interpreted > compilation + compiled:
        return cpu, f"interpreting {draws:,} draws would take longer than compiling"
    if isinstance(cpu, CpuBackend) and cpu.is_compiled(program):
        return cpu, "compiled already"
    return find("numpy"), f"interpreting {draws:,} draws takes less time than compiling"
