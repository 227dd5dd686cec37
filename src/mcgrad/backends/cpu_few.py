"""Few draws of wide events on the CPU: vector loops run over elements, and moments take one draw after the other.

These need no shift. What it cannot sum, draws that are not finite and squares beyond the range of float64, a kernel
whose lanes are draws averages again.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from mcgrad.backends.base import Array, Bound, Kernel, Partial, Shift, one_chunk
from mcgrad.backends.chunks import Chunks, split
from mcgrad.backends.cpu_compiled import Compiled
from mcgrad.backends.rescaled import RANGES, exponents
from mcgrad.codegen.cpu.by_element import EmittedByElement
from mcgrad.ir.noise_vars import keys_of
from mcgrad.ir.program import Program
from mcgrad.ir.spaces import Values
from mcgrad.moments import Moments
from mcgrad.noise.laws import DRAWS_PER_GROUP
from mcgrad.system.lazy_property import lazy_property

RANGE = RANGES[8]  # sums are float64 in either dtype


class ByElement:
    """A Program for few draws.

    Parameters
    ----------
    program : Program
    emitted : EmittedByElement
        What was written for it.
    lanes : Kernel
        The kernel for what this one cannot sum.
    """

    def __init__(self, program: Program, emitted: EmittedByElement, lanes: Kernel) -> None:
        self.program, self.work, self.emitted, self.lanes = program, program.work(), emitted, lanes
        self.block = DRAWS_PER_GROUP[program.dtype]

    @lazy_property
    def fast(self) -> Compiled:
        """The compiled function."""
        return Compiled(self.emitted, self.program.dtype, keys_of(self.program))

    def load(self) -> None:
        """Compile it, or load it from the cache."""
        self.fast  # noqa: B018

    def chunks(self, first: int, n: int) -> Chunks:
        """Cut at groups of draws, so that threads share also a few draws that take long."""
        return split(n, first, self.block, self.work, short=False)

    def workers(self, threads: int) -> int:
        """As many as there are."""
        return threads

    def bind(self, inputs: Values) -> ByElementBound:
        """Compute what is the same for all draws."""
        return ByElementBound(self, inputs)

    def source(self) -> str:
        """The emitted source."""
        return self.emitted.source

    def limits(self) -> AbstractContextManager[Any]:
        """Those of the other kernel."""
        return self.lanes.limits()


class ByElementBound:
    """A Program for few draws with values for its inputs."""

    def __init__(self, kernel: ByElement, inputs: Values) -> None:
        self.kernel, self.inputs = kernel, inputs
        self.arguments = kernel.fast.arguments(inputs)
        self._none = np.empty(0, kernel.fast.dtype)

    @lazy_property
    def lanes(self) -> Bound:
        """The other kernel with these values."""
        return self.kernel.lanes.bind(self.inputs)

    def shift(self, seed: int, start: int, stop: int, omit: bool) -> tuple[Shift, Partial]:
        """Average over the first chunk: no shift is needed."""
        return self._none, self.partial(self._none, seed, start, stop, omit)

    def partial(self, shift: Shift, seed: int, start: int, stop: int, omit: bool) -> Partial:
        """Average over the draws start .. stop."""
        means, scatters = self._sums(seed, start, stop)
        with np.errstate(invalid="ignore", over="ignore"):
            finite = math.isfinite(np.add.reduce(means) + np.add.reduce(scatters))
        if finite:
            found = _partial(means, scatters, stop - start)
            if not exponents(found, RANGE, omit).any():
                return found
        return one_chunk(self.lanes, seed, start, stop, omit)

    def means(self, seed: int, start: int, stop: int) -> Array | None:
        """Return the means that `shift` has; None where other moments have to be looked at.

        It is called with NumPy's errors of overflow and invalid numbers ignored.
        """
        means, scatters = self._sums(seed, start, stop)
        if not math.isfinite(np.add.reduce(means) + np.add.reduce(scatters)):
            return None
        if np.minimum.reduce(scatters, initial=math.inf) >= (stop - start) * RANGE.least:
            return means
        return None if exponents(_partial(means, scatters, stop - start), RANGE, False).any() else means

    def _sums(self, seed: int, start: int, stop: int) -> tuple[Array, Array]:
        """Call the chunk function."""
        compiled = self.kernel.fast
        c, matrices = self.arguments
        means, scatters = np.zeros(compiled.components), np.zeros(compiled.components)
        counts, workspace = np.zeros(2, np.int64), compiled.take_workspace()
        compiled.function(
            *compiled.keys.of(seed), start, stop, c, compiled.emitted.tables,
            workspace, self._none, means, scatters, counts, False, compiled.blas, *matrices,
        )  # fmt: skip
        compiled.give_back(workspace)
        return means, scatters


def _partial(means: Array, scatters: Array, count: int) -> Partial:
    return Partial(Moments(count, means, np.sqrt(scatters)))
