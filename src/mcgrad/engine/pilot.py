"""Pilots: means over a few draws of their own, which are inputs of the Programs of gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.backends.base import one_chunk
from mcgrad.backends.numpy import NumpyKernel
from mcgrad.engine.epilogue import Finisher
from mcgrad.gradients.method import Mean
from mcgrad.ir.build import noise_of, rebuild
from mcgrad.ir.program import Output, Program
from mcgrad.ir.rewrite import rewrite_program
from mcgrad.ir.spaces import Input
from mcgrad.noise import streams
from mcgrad.simplify.fixed_point import simplify

DRAWS = 1024


class Pilot:
    """Computes the baselines of score functions.

    Parameters
    ----------
    means : list of Mean
        At least one.
    dtype : {"float32", "float64"}

    Notes
    -----
    It interprets `DRAWS` draws of the same seed in streams of their own, so that baselines are independent of the
    draws that they serve, and are the same on every backend and for every range of draws.
    """

    def __init__(self, means: Sequence[Mean], dtype: str) -> None:
        above = {mean.input: mean.of for mean in means}
        below = {mean.input: mean.over for mean in means if mean.over is not None}
        self._inputs = [*above, *below]
        outputs = tuple(Output(str(name), var) for part in (above, below) for name, var in part.items())
        self._prepare(offset_streams(simplify(Program(outputs, dtype)), streams.BASELINES))

    def _prepare(self, program: Program) -> None:
        self.program, self.kernel, self._finish = program, NumpyKernel(program), Finisher(program, {})

    def __getstate__(self) -> tuple[list[Input], Program]:
        return self._inputs, self.program

    def __setstate__(self, state: tuple[list[Input], Program]) -> None:
        self._inputs, program = state
        self._prepare(program)

    def __call__(self, inputs: Mapping[Input, npt.NDArray[Any]], seed: int) -> dict[Input, npt.NDArray[Any]]:
        """Return the baselines; draws that are not finite are left out."""
        with self.kernel.limits():
            partial = one_chunk(self.kernel.bind(inputs), seed, 0, DRAWS, True)
            mean = self._finish(partial.moments, inputs).mean
        found: dict[Input, npt.NDArray[Any]] = {}
        with np.errstate(all="ignore"):
            for name, out, where in zip(self._inputs, self.program.outputs, self.program.slices(), strict=True):
                x = mean[where].reshape(out.var.shape)
                found[name] = found[name] / x if name in found else x
        return {name: np.nan_to_num(x, nan=0.0, posinf=0.0, neginf=0.0) for name, x in found.items()}


def offset_streams(program: Program, by: int) -> Program:
    """Return the Program with the streams of its noise offset."""
    moved = {var: noise_of(var.attrs.offset(by), var.shape) for var in program.noise()}
    return rewrite_program(program, rebuild, moved)
