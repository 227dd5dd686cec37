"""The CPU backend: one fused Numba function over chunks of draws, called without the GIL by a pool of threads."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from mcgrad.backends.base import Array, Cost, Shift
from mcgrad.backends.blas_threads import one_blas_thread
from mcgrad.backends.chunks import CORE, Chunks, split
from mcgrad.backends.cpu_batch import CpuBatch, lanes_of_rows
from mcgrad.backends.cpu_compiled import Compiled
from mcgrad.backends.cpu_few import ByElement
from mcgrad.backends.cpu_row_lanes import CompiledRowLanes, row_lanes
from mcgrad.backends.cpu_rows import CompiledRows
from mcgrad.backends.rates import Rates, current
from mcgrad.backends.rescaled import powers, rescaled
from mcgrad.backends.shifted_moments import ShiftedMoments, Sums
from mcgrad.codegen.cpu.by_element import EmittedByElement, emit_by_element
from mcgrad.codegen.cpu.chunk import Emitted, emit
from mcgrad.codegen.loops.layout import LANES_OF_FEW
from mcgrad.codegen.loops.scatters import with_scatters
from mcgrad.ir.noise_vars import keys_of
from mcgrad.ir.program import Program
from mcgrad.ir.spaces import Values
from mcgrad.system.lazy_property import lazy_property
from mcgrad.toolchain.compile import is_compiled

RATES = Rates("cpu", float32=1.5e10, float64=7e9, call=2e-4, load=0.6, compile=1.3, equation=7e-3, gigabyte=2.0)
PART = 4  # of a block of the usual lanes: up to so much of one is filled by blocks of few lanes in less time,
MOST_FEW = 64  # and at most so many draws
FOUND = 3e-3  # seconds to emit a Program and load its machine code from the cache


class CpuBackend:
    """Numba on the CPU."""

    name = "cpu"
    averages_rows = True

    def unavailable(self) -> str | None:
        """Available where Numba imports."""
        try:
            import numba  # noqa: F401
        except ImportError as error:
            return f"Numba does not import ({error}); pip install numba"
        return None

    def rates(self) -> Rates:
        """The rates of one thread."""
        return current(RATES)

    def cost(self, program: Program, draws: int, threads: int) -> Cost:
        """Seconds to load Numba and to compile, unless that is done; then as many threads as have work."""
        loaded, compiled = "mcgrad.kernels.blas" in sys.modules, self.is_compiled(program, draws)
        scattered = with_scatters(program)
        workers = min(float(threads), max(draws * scattered.work() / CORE.least, 1.0))
        cost = self.rates().cost(scattered, draws, workers=workers, load=not loaded, compile=not compiled)
        return replace(cost, compile=max(cost.compile, FOUND))

    def compile(self, program: Program) -> CpuKernel:
        """Emit the chunk function; Numba compiles it once it is needed, unless the cache has it."""
        return CpuKernel(program)

    def is_compiled(self, program: Program, draws: int) -> bool:
        """Whether what averages so many draws was compiled before, in this process or an earlier one."""
        emitted = _emitted(program)
        if _is_by_element(program, draws, emitted.lanes):
            emitted = _emitted_by_element(program) or emitted
        elif _are_few(draws, emitted.lanes):
            emitted = _emitted(program, LANES_OF_FEW)
        return is_compiled(emitted.source, "chunk", emitted.user_functions)


class CpuKernel:
    """A Program for the CPU, in a fast variant and, once draws are not finite, a checked one.

    Parameters
    ----------
    program : Program
    lanes : int, optional
        Of a block. Default: as many as keep the workspace in cache.
    """

    def __init__(self, program: Program, lanes: int | None = None) -> None:
        self.program, self.work, self._lanes = program, with_scatters(program).work(), lanes
        self.emitted, self.keys = _emitted(program, lanes), keys_of(program)
        self._products = self.emitted.uses_blas or program.multiplies_matrices()
        self.block = self.emitted.lanes
        self._for_draws: dict[int, CpuKernel | ByElement] = {}  # by a number of draws below that of a block

    @lazy_property
    def fast(self) -> Compiled:
        """The variant that does not look at single draws."""
        return Compiled(self.emitted, self.program.dtype, self.keys)

    @lazy_property
    def checked(self) -> Compiled:
        """The variant that checks every draw for outputs that are not finite."""
        return Compiled(emit(self.program, True, self._lanes), self.program.dtype, self.keys)

    @lazy_property
    def rescaled(self) -> CpuKernel:
        """The variant whose outputs are multiplied by inputs."""
        return CpuKernel(rescaled(self.program), self._lanes)

    @lazy_property
    def by_element(self) -> ByElement | None:
        """The same with vectors of elements, where there is one."""
        emitted = _emitted_by_element(self.program)
        return ByElement(self.program, emitted, self.few_lanes) if emitted else None

    @lazy_property
    def few_lanes(self) -> CpuKernel:
        """The same with few lanes."""
        return CpuKernel(self.program, LANES_OF_FEW)

    def for_draws(self, n: int) -> CpuKernel | ByElement:
        """Return the kernel for few draws where n of these would leave much of a block empty."""
        if n >= self.block:
            return self
        found = self._for_draws.get(n)
        if found is None:
            if _is_by_element(self.program, n, self.block):
                found = self.by_element or self
            else:
                found = self.few_lanes if _are_few(n, self.block) else self
            self._for_draws[n] = found
        return found

    def load(self) -> None:
        """Compile, or load from the cache, what calls use."""
        self.fast  # noqa: B018

    def chunks(self, first: int, n: int) -> Chunks:
        """Cut at blocks of lanes."""
        return split(n, first, self.block, self.work, short=self._lanes is None)

    def workers(self, threads: int) -> int:
        """As many as there are: the chunk function runs without the GIL."""
        return threads

    def bind(self, inputs: Values) -> CpuBound:
        """Compute what is the same for all draws."""
        return CpuBound(self, inputs)

    def for_rows(self, n: int) -> CpuKernel:
        """Return the kernel whose loop over rows suits n draws a row."""
        return self.few_lanes if _are_few(n, self.block) else self

    @lazy_property
    def rows(self) -> CompiledRows:
        """The loop over rows."""
        return CompiledRows(self.program, self.fast)

    @lazy_property
    def checked_rows(self) -> CompiledRows:
        """The loop over rows by the variant that checks every draw."""
        return CompiledRows(self.program, self.checked, True)

    @lazy_property
    def row_lanes(self) -> CompiledRowLanes | None:
        """The variant whose lanes carry rows of a batch, where there is one."""
        return row_lanes(self.program, "batch")

    @lazy_property
    def row_pairs(self) -> CompiledRowLanes | None:
        """The same for two draws a row, in float32."""
        return row_lanes(self.program, "pair")

    @lazy_property
    def row_lanes_of_seeds(self) -> CompiledRowLanes:
        """The same where each row has a seed of its own."""
        found = row_lanes(self.program, "seeds")
        assert found is not None, "asked for where there is `row_lanes` only"
        return found

    def load_rows(self, start: int, stop: int) -> None:
        """Compile what calls of the draws start .. stop of many rows use."""
        if lanes_of_rows(self, start, stop) is None:
            self.for_rows(stop - start).rows  # noqa: B018

    def bind_rows(self, inputs: Values, numbers: npt.NDArray[np.int64]) -> CpuBatch:
        """Compute what is the same for all draws of all rows."""
        return CpuBatch(self, inputs, numbers)

    def source(self) -> str:
        """The emitted source."""
        return self.emitted.source

    def limits(self) -> AbstractContextManager[Any]:
        """Keep BLAS to one thread while ours run, and while constants are computed: its sums depend on the number."""
        return one_blas_thread() if self._products else nullcontext()

    def limits_of_rows(self, start: int, stop: int) -> AbstractContextManager[Any]:
        """The same over many rows: where lanes carry these, products of each draw are loops of our own."""
        compiled = lanes_of_rows(self, start, stop)
        return self.limits() if compiled is None or compiled.multiplies_before else nullcontext()


class CpuBound(ShiftedMoments):
    """A compiled Program with values for its inputs."""

    def __init__(self, kernel: CpuKernel, inputs: Values) -> None:
        super().__init__(kernel.fast.components, kernel.fast.dtype)
        self.kernel, self.inputs = kernel, inputs
        self.arguments = kernel.fast.arguments(inputs)

    @lazy_property
    def checked_arguments(self) -> tuple[Array, list[Array]]:
        """Draw-independent arguments of the checked variant."""
        return self.kernel.checked.arguments(self.inputs)

    def rescaled(self, exponents: npt.NDArray[np.int64]) -> CpuBound:
        """Bind the variant for it."""
        return CpuBound(self.kernel.rescaled, {**self.inputs, **powers(self.kernel.program, exponents)})

    def sums(self, seed: int, start: int, stop: int, shift: Shift, checked: bool, omit: bool) -> Sums:
        """Call the chunk function."""
        compiled = self.kernel.checked if checked else self.kernel.fast
        c, matrices = self.checked_arguments if checked else self.arguments
        sums, squares = np.zeros(compiled.components), np.zeros(compiled.components)
        counts, workspace = np.zeros(2, np.int64), compiled.take_workspace()
        compiled.function(
            *compiled.keys.of(seed), start, stop, c, compiled.emitted.tables,
            workspace, shift, sums, squares, counts, omit, compiled.blas, *matrices,
        )  # fmt: skip
        compiled.give_back(workspace)
        return Sums(sums, squares, int(counts[0]), int(counts[1]))


_emissions: WeakKeyDictionary[Program, dict[int | None, Emitted]] = WeakKeyDictionary()


def _emitted(program: Program, lanes: int | None = None) -> Emitted:
    """Emit a Program once, for `is_compiled` and for `compile`."""
    found = _emissions.setdefault(program, {})
    if lanes not in found:
        found[lanes] = emit(program, lanes=lanes)
    return found[lanes]


_by_element: WeakKeyDictionary[Program, EmittedByElement | None] = WeakKeyDictionary()


def _emitted_by_element(program: Program) -> EmittedByElement | None:
    """Emit a Program for few draws once, where elements fill vectors."""
    if program not in _by_element:
        _by_element[program] = emit_by_element(program)
    return _by_element[program]


def _is_by_element(program: Program, draws: int, block: int) -> bool:
    """Whether vectors of elements take less time for so many draws than a block of lanes."""
    found = _emitted_by_element(program) if draws < block else None
    return found is not None and found.suits(draws, block)


def _are_few(draws: int, block: int) -> bool:
    """Whether blocks of few lanes take less time for so many draws than one of the usual size, mostly empty."""
    return draws <= min(block // PART, MOST_FEW)
