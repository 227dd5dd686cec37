"""What a backend is: something that averages a Program's outputs over ranges of draws.

The engine compiles a Program (`Backend.compile`), binds values to its inputs (`Kernel.bind`), and has the first of a
run's chunks of draws averaged by `Bound.shift`, which also gives the shift, and the others by `Bound.partial`, in
threads. Both are pure functions of the Program, the values and their arguments: any worker on any machine may average
any chunk.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from mcgrad.arrays import as_dtype, to_common_device
from mcgrad.ir.interpret import Interpreter
from mcgrad.ir.ops import OPS
from mcgrad.ir.program import Program, Var, toposort
from mcgrad.ir.spaces import Input
from mcgrad.moments import Moments

Array = npt.NDArray[Any]
Inputs = Mapping[Input, Array]  # values of a Program's inputs, in the dtypes they were given in
Shift = Array  # one-dimensional, in the Program's dtype: a finite number for each random component, or empty
WIDE = "float64"  # in which draw-independent values are computed, whatever the Program's dtype


@dataclass(frozen=True, slots=True)
class Partial:
    """Moments of the random outputs over some draws, and how many of those had a non-finite output."""

    moments: Moments
    nonfinite: int = 0


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

    def bind(self, inputs: Inputs) -> Bound:
        """Take values for the inputs and compute what no draw changes."""

    def limits(self) -> AbstractContextManager[Any]:
        """Return what must hold while it runs."""

    def source(self) -> str:
        """Return what was compiled, to read."""


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
        To have the code: next to nothing where it exists already, in this process or on disk.
    start : float
        Of each call, whatever the number of draws: to launch, and to move parameters, data and results.
    draws : float
        For all the draws.
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


class HostValues:
    """Evaluates draw-independent Vars from the inputs, once for each binding: on the device, if an input is there.

    Arithmetic is in float64 in either dtype, on inputs as they were given, and each root is rounded once. Roots that
    only move elements of inputs have the dtype throughout: no copy of large data is made in float64 for them.

    Parameters
    ----------
    roots : list of Var
    dtype : str
        What the values are rounded to.
    """

    def __init__(self, roots: list[Var], dtype: str) -> None:
        self._dtype = np.dtype(dtype)
        computed = set(computed_roots(roots)) if dtype != WIDE else set()
        self._computed = _Evaluation([root for root in roots if root in computed], WIDE, dtype)
        self._others = _Evaluation([root for root in roots if root not in computed], dtype, dtype)
        self._places = [root in computed for root in roots] if computed else []

    def __call__(self, inputs: Inputs) -> list[Array]:
        """Return the values of the roots, without an axis of draws."""
        others = self._others(inputs)
        if not self._places:
            return others
        wide, moved = self._computed(inputs), iter(others)
        with np.errstate(over="ignore", under="ignore"):
            computed = iter([as_dtype(value, self._dtype) for value in wide])
        return [next(computed if place else moved) for place in self._places]


class _Evaluation:
    """Vars evaluated in one dtype; `nextafter` goes along the numbers of another, that of the Program."""

    def __init__(self, roots: list[Var], dtype: str, neighbours: str) -> None:
        self._interpreter, self._dtype = Interpreter(roots, dtype=dtype, neighbours=neighbours), np.dtype(dtype)
        self._leaves = [var for var in self._interpreter.inputs if not var.by_draw]

    def __call__(self, inputs: Inputs) -> list[Array]:
        given = to_common_device(inputs[var.attrs] for var in self._leaves)
        leaves = {var: as_dtype(x, self._dtype)[..., None] for var, x in zip(self._leaves, given, strict=True)}
        return [value[..., 0] for value in self._interpreter(leaves)]


def computed_roots(roots: Iterable[Var]) -> list[Var]:
    """Return those of some draw-independent Vars that take arithmetic, each once: others only move elements."""
    moving: set[Var] = set()
    for var in toposort(roots):
        if OPS[var.op].group in ("leaf", "view", "assembly") and moving.issuperset(var.args):
            moving.add(var)
    return [root for root in dict.fromkeys(roots) if root not in moving]


def wide_inputs(program: Program) -> set[Input]:
    """Return the inputs that go into draw-independent arithmetic."""
    return {var.attrs for var in toposort(computed_roots(program.hoisted())) if var.op == "input"}
