"""The CPU backend: one fused Numba function over chunks of draws, called without the GIL by a pool of threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any

import numpy as np

from mcgrad.backends.base import Array, HostValues, Inputs, Partial
from mcgrad.backends.threads import one_blas_thread
from mcgrad.compile import is_compiled, load
from mcgrad.emit.cpu import Emitted, emit
from mcgrad.ir.program import Program
from mcgrad.moments import Moments

CACHE_LINE = 64
FAR = 100.0  # squared distance of a mean from zero, in variances, beyond which the first chunk is averaged again


class CpuBackend:
    """Numba on the CPU."""

    name = "cpu"

    def unavailable(self) -> str | None:
        """Available where Numba imports."""
        try:
            import numba  # noqa: F401
        except ImportError as error:
            return f"Numba does not import ({error}); pip install numba"
        return None

    def compile(self, program: Program) -> CpuKernel:
        """Emit the chunk function and have Numba compile it, unless its cache has it."""
        return CpuKernel(program)

    def is_compiled(self, program: Program) -> bool:
        """Whether a Program was compiled before, in this process or an earlier one."""
        emitted = emit(program)
        return not emitted.natives and is_compiled(emitted.source, "chunk")


class Compiled:
    """An emitted chunk function and how to call it."""

    def __init__(self, emitted: Emitted, dtype: str) -> None:
        from mcgrad.kernels import blas  # imports Numba

        self.emitted, self.dtype = emitted, np.dtype(dtype)
        self.function: Callable[..., None] = load(emitted.source, "chunk", emitted.natives)
        self.components = sum(out.var.size for out, _ in emitted.outputs)
        self.host = HostValues([var for var, _ in emitted.scalars] + [key[0] for key in emitted.matrices], dtype)
        self.size = sum(var.size for var, _ in emitted.scalars) + 1
        self.blas = blas.gemm_address(self.dtype.itemsize * 8) if emitted.uses_blas else 0
        self._local = threading.local()
        self._compile()

    def _compile(self) -> None:
        """Have Numba compile the function, or fetch it from its cache, by a call over no draws at all."""
        none, nothing = np.empty(0), np.empty(0, self.dtype)
        self.function(
            np.uint32(0), np.uint32(0), 0, 0, nothing, self.emitted.tables, self.workspace(), nothing, none, none,
            np.zeros(2, np.int64), False, self.blas, *[nothing] * len(self.emitted.matrices),
        )  # fmt: skip

    def arguments(self, inputs: Inputs) -> tuple[Array, list[Array]]:
        """Compute the draw-independent arguments."""
        values = self.host(inputs)
        c = np.empty(self.size, self.dtype)
        for (var, offset), value in zip(self.emitted.scalars, values, strict=False):
            c[offset : offset + var.size] = value.ravel()
        matrices = [
            np.ascontiguousarray(value.transpose(axes), self.dtype).reshape(-1)
            for (_, axes), value in zip(self.emitted.matrices, values[len(self.emitted.scalars) :], strict=True)
        ]
        return c, matrices

    def workspace(self) -> Array:
        """Return this thread's workspace."""
        found: Array | None = getattr(self._local, "workspace", None)
        if found is None:
            found = self._local.workspace = _aligned(self.emitted.rows * self.emitted.lanes, self.dtype)
        return found


class CpuKernel:
    """A Program compiled for the CPU, in a fast variant and, once draws are not finite, a careful one."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.fast = Compiled(emit(program), program.dtype)
        self.block = self.fast.emitted.lanes

    @cached_property
    def careful(self) -> Compiled:
        """The variant that looks at every draw."""
        return Compiled(emit(self.program, careful=True), self.program.dtype)

    def bind(self, inputs: Inputs) -> CpuBound:
        """Compute what no draw changes."""
        return CpuBound(self, inputs)

    def source(self) -> str:
        """The emitted source."""
        return self.fast.emitted.source

    def limits(self) -> AbstractContextManager[Any]:
        """Keep BLAS to one thread while ours run, where the Program calls it."""
        return one_blas_thread() if self.fast.emitted.uses_blas else nullcontext()


class CpuBound:
    """A compiled Program with values for its inputs."""

    def __init__(self, kernel: CpuKernel, inputs: Inputs) -> None:
        self.kernel, self.inputs = kernel, inputs
        self.arguments = kernel.fast.arguments(inputs)
        self._careful_arguments: tuple[Array, list[Array]] | None = None
        self._center: Array | None = None  # mean over the first chunk
        self._pivot: Array | None = None

    def partial(self, seed: int, start: int, stop: int, omit: bool) -> Partial:
        """Average over the draws start .. stop; the first call must return before any other is made."""
        with np.errstate(invalid="ignore", over="ignore"):
            return self._shifted(seed, start, stop, omit)

    def _shifted(self, seed: int, start: int, stop: int, omit: bool) -> Partial:
        if self._center is None:
            first = self._partial(
                seed, start, stop, omit, np.zeros(self.kernel.fast.components, self.kernel.fast.dtype)
            )
            self._center = first.moments.mean
            if self._is_accurate(first.moments):
                return first
        if self._pivot is None:
            self._pivot = self._near(self._center)
        return self._partial(seed, start, stop, omit, self._pivot)

    def _partial(self, seed: int, start: int, stop: int, omit: bool, pivot: Array) -> Partial:
        sums, squares, _ = self._call(self.kernel.fast, self.arguments, seed, start, stop, pivot, omit)
        if np.isfinite(sums).all() and np.isfinite(squares).all():
            return Partial(_moments(stop - start, sums, squares, pivot))
        careful = self.kernel.careful
        if self._careful_arguments is None:
            self._careful_arguments = careful.arguments(self.inputs)
        sums, squares, counts = self._call(careful, self._careful_arguments, seed, start, stop, pivot, omit)
        used, nonfinite = (int(count) for count in counts)
        return Partial(_moments(used, sums, squares, pivot), nonfinite)

    def _near(self, mean: Array) -> Array:
        """Return a pivot: near the mean, no sum of squares loses digits."""
        pivot = mean.astype(self.kernel.fast.dtype)
        return np.where(np.isfinite(pivot) & self.kernel.fast.emitted.shifted, pivot, pivot.dtype.type(0))

    def _is_accurate(self, moments: Moments) -> bool:
        """Whether moments about zero kept their digits: no mean is many standard deviations from zero."""
        far = moments.m2 * FAR < moments.count * np.square(moments.mean)
        return not (far & self.kernel.fast.emitted.shifted).any()

    def _call(
        self, compiled: Compiled, arguments: tuple[Array, list[Array]], seed: int, start: int, stop: int, pivot: Array,
        omit: bool,
    ) -> tuple[Array, Array, Array]:  # fmt: skip
        c, matrices = arguments
        sums, squares = np.zeros(compiled.components), np.zeros(compiled.components)
        counts = np.zeros(2, np.int64)
        emitted = compiled.emitted
        compiled.function(
            np.uint32(seed & 0xFFFFFFFF), np.uint32(seed >> 32), start, stop, c, emitted.tables, compiled.workspace(),
            pivot, sums, squares, counts, omit, compiled.blas, *matrices,
        )  # fmt: skip
        return sums, squares, counts


def _aligned(size: int, dtype: np.dtype[Any]) -> Array:
    """Return zeros that start at a cache line, so that no vector of a row lies across two."""
    raw = np.zeros(size * dtype.itemsize + CACHE_LINE, np.uint8)
    first = -raw.ctypes.data % CACHE_LINE
    return raw[first : first + size * dtype.itemsize].view(dtype)


def _moments(count: int, sums: Array, squares: Array, pivot: Array) -> Moments:
    if not count:
        return Moments(0, np.full_like(sums, np.nan), np.full_like(sums, np.nan))
    mean = sums / count
    return Moments(count, pivot + mean, np.maximum(squares - sums * mean, 0.0))
