"""Outputs counted in powers of two, so that sums of their squares neither overflow nor vanish.

Kernels add up squares: in float64, and a block of draws at a time in the Program's dtype. There a value beyond the root
of the largest number has a square that is infinite, and one below the root of the smallest has a square of zero. Where
the sums of a chunk of draws are infinite or lost digits, the chunk runs again by a Program whose outputs are multiplied
by powers of two, which rounds nothing.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mcgrad.backends.base import Partial
from mcgrad.ir.build import apply, input_
from mcgrad.ir.program import Output, Program
from mcgrad.ir.spaces import Input, Space, Values
from mcgrad.moments import Moments


class Range(NamedTuple):
    """Within what limits squares keep their digits, and the powers of two for outputs beyond.

    Parameters
    ----------
    least : float
        Mean squares below have lost digits.
    floor : float
        Means above are so large that deviations with squares below `least` are rounding, or zero.
    down, up : int
        Exponents for outputs that are too large, and too small.
    """

    least: float
    floor: float
    down: int
    up: int


RANGES = {4: Range(1e-33, 1e-9, -80, 100), 8: Range(1e-290, 1e-128, -600, 600)}  # by bytes of a number


def rescaled(program: Program) -> Program:
    """Return the Program with each random output multiplied by an input."""
    return Program(
        tuple(
            Output(out.path, apply("multiply", out.var, input_(str(i), out.var.shape, Space.POWER)))
            for i, out in enumerate(program.outputs)
            if out.var.by_draw
        ),
        program.dtype,
    )


def powers(program: Program, exponents: npt.NDArray[np.int64]) -> Values:
    """Return the values of the inputs that `rescaled` adds."""
    found, start = {}, 0
    for i, out in enumerate(program.outputs):
        if out.var.by_draw:
            part = exponents[start : start + out.var.size].reshape(out.var.shape)
            found[Input(Space.POWER, str(i))] = np.ldexp(1.0, part)
            start += out.var.size
    return found


def exponents(partial: Partial, limits: Range, omit: bool) -> npt.NDArray[np.int64]:
    """Choose the power of two for each component: zero where squares kept their digits."""
    moments = partial.moments
    if not moments.count:
        return np.zeros(len(moments.mean), np.int64)
    finite = np.isfinite(moments.mean)
    too_large = ~np.isfinite(moments.norm) & (finite | omit | (partial.nonfinite == 0))
    too_small = moments.norm < math.sqrt(moments.count * limits.least)
    too_small &= (np.abs(moments.mean) < limits.floor) & ((moments.mean != 0) | (moments.norm != 0))
    return np.where(too_large, limits.down, np.where(too_small, limits.up, 0))


def put_back(partial: Partial, other: Moments, exponents: npt.NDArray[Any]) -> Partial:
    """Return a partial with those components that were multiplied taken from the other run."""
    moments, moved = partial.moments, exponents != 0
    mean, norm = (
        np.where(moved, np.ldexp(theirs, -exponents), ours)
        for ours, theirs in ((moments.mean, other.mean), (moments.norm, other.norm))
    )
    return Partial(Moments(moments.count, mean, norm), partial.nonfinite)
