"""The NumPy backend interprets a Program on batches of draws: the reference that other backends are tested against."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from mcgrad.backends.base import Array, Cost, Partial, Shift
from mcgrad.backends.blas_threads import one_blas_thread
from mcgrad.backends.chunks import Chunks, split
from mcgrad.backends.host_values import HostValues
from mcgrad.backends.rates import Rates, current
from mcgrad.ir.interpret import Interpreter
from mcgrad.ir.noise_vars import draws
from mcgrad.ir.program import Program, Var
from mcgrad.ir.spaces import Values
from mcgrad.moments import Moments

RATES = Rates("numpy", float32=7e8, float64=5e8, call=5e-4)  # of all threads together: they share the interpreter lock
NO_SHIFT = np.empty(0)  # as deviations are taken from the mean of each batch
BATCH_BYTES = 1 << 24  # of the largest intermediate values of one batch, roughly
LOOP_BYTES = 1 << 26  # the same with loops, each step of which takes as long for few draws as for some hundred


class NumpyBackend:
    """Interprets; needs nothing but NumPy (and SciPy for its special functions)."""

    name = "numpy"

    def unavailable(self) -> str | None:
        """Always available."""
        return None

    def rates(self) -> Rates:
        """The rates of the interpreter."""
        return current(RATES)

    def cost(self, program: Program, draws: int, threads: int) -> Cost:
        """As much with one thread as with many."""
        return self.rates().cost(program, draws)

    def compile(self, program: Program) -> NumpyKernel:
        """Prepare a Program for interpretation."""
        return NumpyKernel(program)


class NumpyKernel:
    """A Program to interpret.

    Parameters
    ----------
    program : Program
    noise_dtype : {"float32", "float64"}, optional
        Whose noise it reads, if not that of its own dtype: the draws of a float32 Program, in float64.
    """

    def __init__(self, program: Program, noise_dtype: str | None = None) -> None:
        self.program, self.work = program, program.work()
        self.noise_dtype = noise_dtype or program.dtype
        self.outputs = [out.var for out in program.outputs if out.var.by_draw]
        self.hoisted = [var for var in program.hoisted() if not var.is_const]
        self.noise = program.noise()
        self._products = program.multiplies_matrices()
        self.host = HostValues(self.hoisted, program.dtype)
        self.body = Interpreter(self.outputs, self.hoisted, program.dtype)
        body = program.body()
        largest, most = max((var.size for var in body), default=1), BATCH_BYTES
        if any(var.op == "loop" for var in body):
            most = LOOP_BYTES
        self.block = int(np.clip(most // (8 * largest), 1, 1 << 14))

    def chunks(self, first: int, n: int) -> Chunks:
        """Cut at batches."""
        return split(n, first, self.block, self.work)

    def workers(self, threads: int) -> int:
        """As many as there are: NumPy releases the interpreter lock in long calls."""
        return threads

    def bind(self, inputs: Values) -> NumpyBound:
        """Compute what is the same for all draws."""
        values = [value[..., None] for value in self.host(inputs)]
        return NumpyBound(self, dict(zip(self.hoisted, values, strict=True)))

    def limits(self) -> AbstractContextManager[Any]:
        """Keep BLAS to one thread: its sums depend on the number."""
        return one_blas_thread() if self._products else nullcontext()

    def source(self) -> str:
        """The Program itself is what runs."""
        return "(interpreted)"


class NumpyBound:
    """A Program with values for its inputs."""

    def __init__(self, kernel: NumpyKernel, values: dict[Var, Array]) -> None:
        self.kernel, self.values = kernel, values

    def shift(self, seed: int, start: int, stop: int, omit: bool) -> tuple[Shift, Partial]:
        """Average over the first chunk, as over any other."""
        return NO_SHIFT, self.partial(NO_SHIFT, seed, start, stop, omit)

    def partial(self, shift: Shift, seed: int, start: int, stop: int, omit: bool) -> Partial:
        """Average batch by batch."""
        parts, nonfinite = [], 0
        for first in range(start, stop, self.kernel.block):
            samples = self.samples(seed, first, min(first + self.kernel.block, stop))
            bad = ~np.isfinite(samples).all(axis=0)
            nonfinite += int(bad.sum())
            parts.append(Moments.of(samples[:, ~bad] if omit and bad.any() else samples))
        return Partial(Moments.combine(parts), nonfinite)

    def samples(self, seed: int, start: int, stop: int) -> Array:
        """Return every random output component of each draw, shape (components, draws)."""
        kernel, n, leaves = self.kernel, stop - start, dict(self.values)
        for var in kernel.noise:
            eps = draws(var, seed, start, stop, kernel.noise_dtype)
            leaves[var] = eps.astype(kernel.program.dtype, copy=False)
        results = kernel.body(leaves)
        return np.concatenate([value.reshape(-1, n) for value in results]) if results else np.empty((0, n))
