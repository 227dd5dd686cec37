"""The protocols of backends, kernels and bound kernels: they average a Program's outputs over ranges of draws.

The engine compiles a Program (`Backend.compile`), binds values to its inputs (`Kernel.bind`), and has the first of a
run's chunks of draws averaged by `Bound.shift`, which also gives the shift, and the others by `Bound.partial`, in
threads. Both are pure functions of the Program, the values and their arguments: any worker on any machine may average
any chunk.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable

import numpy as np
import numpy.typing as npt

from mcgrad.ir.program import Program
from mcgrad.ir.spaces import Input, Values
from mcgrad.moments import Moments, degrees_of_rows
from mcgrad.noise import Shape
from mcgrad.noise.rows import Seeds

Array = npt.NDArray[Any]
Shift = Array  # one-dimensional, in the Program's dtype: a finite number for each random component, or empty


@dataclass(frozen=True, slots=True)
class Partial:
    """Moments of the random outputs over some draws, and how many of those had a non-finite output."""

    moments: Moments
    nonfinite: int = 0

    def merge(self, later: Partial) -> Partial:
        """Return the moments of these draws and of later ones together."""
        return Partial(self.moments.merge(later.moments), self.nonfinite + later.nonfinite)

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return self.moments.mean.nbytes + self.moments.norm.nbytes


class Bound(Protocol):
    """A compiled Program with values for its inputs: ready to average."""

    def shift(self, seed: int, start: int, stop: int, omit: bool) -> tuple[Shift, Partial]:
        """Average over the first chunk of a run, and choose the shift for the other chunks.

        Returns
        -------
        shift : array
            About what the sums of the other chunks are taken, so that they keep their digits: empty where a backend
            has no use for one. It travels to other processes, and is kept in checkpoints.
        partial : Partial
            Of the draws start .. stop.
        """

    def partial(self, shift: Shift, seed: int, start: int, stop: int, omit: bool) -> Partial:
        """Average over the draws start .. stop of another chunk, leaving out non-finite ones where `omit` says so."""


def one_chunk(bound: Bound, seed: int, start: int, stop: int, omit: bool) -> Partial:
    """Average over the draws start .. stop as one chunk."""
    return bound.shift(seed, start, stop, omit)[1]


class Kernel(Protocol):
    """A Program compiled by a backend."""

    block: int  # ranges of draws are best cut at multiples of this

    def chunks(self, first: int, n: int) -> Iterable[tuple[int, int]]:
        """Cut the draws first .. first + n: by the Program and the range alone, never by threads or time.

        A list will do; `backends.chunks.Chunks` takes no memory for each chunk.
        """

    def workers(self, threads: int) -> int:
        """Return how many threads should call `Bound.partial` at once, at most `threads` for kernels on the CPU."""

    def bind(self, inputs: Values) -> Bound:
        """Take values of the inputs and compute what is the same for all draws."""

    def limits(self) -> AbstractContextManager[Any]:
        """Return a context to bind and run in, such as one that keeps BLAS to one thread."""

    def source(self) -> str:
        """Return the source that was compiled, as text for users."""


class BySize(Kernel, Protocol):
    """A kernel that has others of the same Program, for calls of few draws."""

    def for_draws(self, n: int) -> Compilable:
        """Return the kernel for calls of n draws, by the Program and n alone."""


class Compilable(Kernel, Protocol):
    """A kernel that is compiled when it is first needed."""

    def load(self) -> None:
        """Compile it, or load it from the cache, unless that is done."""


def suited(kernel: Kernel, n: int) -> Kernel:
    """Return the kernel for calls of n draws: the same one, unless it has others."""
    return cast(BySize, kernel).for_draws(n) if hasattr(kernel, "for_draws") else kernel


def loaded(kernel: Kernel, n: int) -> Kernel:
    """Return the kernel for calls of n draws, compiled."""
    found = suited(kernel, n)
    if hasattr(found, "load"):
        cast(Compilable, found).load()
    return found


def load_rows(kernel: Kernel, start: int, stop: int) -> None:
    """Compile what calls of the draws start .. stop of many rows use, where a kernel can before values are known."""
    if hasattr(kernel, "load_rows"):
        kernel.load_rows(start, stop)


def limits_of_rows(kernel: Kernel, start: int, stop: int) -> AbstractContextManager[Any]:
    """Return a context to bind and run in over the draws start .. stop of many rows."""
    limits: AbstractContextManager[Any]
    limits = kernel.limits_of_rows(start, stop) if hasattr(kernel, "limits_of_rows") else kernel.limits()
    return limits


@dataclass(frozen=True, slots=True)
class RowPartial:
    """Moments of a Program with rows over the draws of some consecutive rows.

    Parameters
    ----------
    counts : array of int64, shape (rows,)
        Draws of each row, without those left out.
    means, norms : array of float64, shape (rows, K)
        As of `Moments`, of the K components of the random outputs that are not summed over the rows, in order.
    nonfinite : array of int64, shape (rows,)
        Draws of each row that had a non-finite output.
    totals, variances : array of float64, shape (S,)
        Of the S components of the random outputs that are summed: the sums over the rows of their means, and of the
        variances of these means.
    degrees : array of float64, shape (S,), optional
        Degrees of freedom of these variances, those of all rows together: by default one less than its draws for each
        row.
    """

    counts: npt.NDArray[np.int64]
    means: Array
    norms: Array
    nonfinite: npt.NDArray[np.int64]
    totals: Array
    variances: Array
    degrees: Array | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        arrays = self.counts, self.means, self.norms, self.nonfinite, self.totals, self.variances, self.total_degrees
        return sum(array.nbytes for array in arrays)

    @property
    def total_degrees(self) -> Array:
        """Degrees of freedom of the variances, shape (S,)."""
        if self.degrees is not None:
            return self.degrees
        return np.full(len(self.totals), degrees_of_rows(self.counts))


@runtime_checkable
class AveragesRows(Protocol):
    """A kernel that averages many rows in one call; others are called row by row.

    Its backend has an attribute `averages_rows` that is true, by which costs are estimated.
    """

    def bind_rows(self, inputs: Values, numbers: npt.NDArray[np.int64]) -> BoundRows:
        """Take values of the inputs, those by row with the rows on the first axis, and the numbers of the rows."""


class BoundRows(Protocol):
    """A compiled Program with values for the inputs of many rows.

    One that can write means and norms where they belong has a method `partial_into`, too: that of `partial` with two
    arrays of float64, C-contiguous and of shape (rows, K), as the first argument, which its result may contain.
    """

    def chunks(self, n: int) -> Iterable[tuple[int, int]]:
        """Cut the rows into ranges, for n draws a row: by the Program, n and the number of rows alone.

        What a row's moments are does not depend on the range that it is in, but for the order of the sums over rows.
        """

    def partial(self, seed: Seeds, start: int, stop: int, rows: tuple[int, int], omit: bool) -> RowPartial:
        """Average over the draws start .. stop of each row in a range; row r's are numbered from `first_of_row` on.

        The seed is an int, or an array with one for each row of the batch: also of rows outside the range.
        """


@runtime_checkable
class OnDevices(Protocol):
    """A kernel that runs on devices of its own, which may be chosen. Its `bind` takes arrays on them."""

    takes_device_arrays: bool

    def on(self, devices: Iterable[int]) -> Kernel:
        """Return the same kernel for some devices, by number; ParameterError for one that is not there."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What running a Program would take, in seconds, as its backend estimates it.

    Parameters
    ----------
    compile : float
        To load and compile: next to nothing where the code exists already, in this process or on disk.
    start : float
        To start a call, whatever the number of draws: to launch, and to move parameters, data and results.
    draws : float
        To average over all the draws.
    """

    compile: float
    start: float
    draws: float

    @property
    def total(self) -> float:
        """One call, compiling included."""
        return self.compile + self.start + self.draws


NEVER = Cost(math.inf, math.inf, math.inf)  # of a backend without its hardware: "auto" never chooses it


class Backend(Protocol):
    """One way to run Programs."""

    name: str

    def unavailable(self) -> str | None:
        """Why this backend cannot run here, with the remedy if there is one, or None if it can."""

    def cost(self, program: Program, draws: int, threads: int) -> Cost:
        """Estimate what a call over so many draws would take.

        Imports nothing heavy, and may be too low until `unavailable` was called, which may.
        """

    def compile(self, program: Program) -> Kernel:
        """Compile a simplified Program."""


class Known(NamedTuple):
    """An array of each call: the input that it is, its shape, and between which its numbers lie, or None for any."""

    name: Input
    shape: Shape
    bounds: tuple[float, float] | None


class Part(NamedTuple):
    """Means to copy: by row or totals; their first column; and how many, for each row."""

    by_row: bool
    first: int
    size: int
