"""Pilots: means over a few draws of their own, which estimators take as constants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.backends.base import one_chunk
from mcgrad.backends.numpy import NumpyKernel
from mcgrad.engine.epilogue import Finisher
from mcgrad.gradients.baselines import SQUARES
from mcgrad.ir.build import noise_of
from mcgrad.ir.program import Output, Program
from mcgrad.ir.vmap import substitute

DRAWS = 1024
STREAMS = 1 << 16  # noise sources of a pilot are numbered from here on: no estimate has draws in common with it


class Pilot:
    """Works out the baselines of score functions.

    Parameters
    ----------
    program : Program
        Whose means they are made of.

    Notes
    -----
    It interprets `DRAWS` draws of the same seed in streams of their own, so that baselines are independent of the
    draws that they serve, and are the same on every backend and for every range of draws.
    """

    def __init__(self, program: Program) -> None:
        self.program = offset_streams(program)
        self.kernel = NumpyKernel(self.program)
        self._finish = Finisher(self.program, {})

    def __call__(self, inputs: Mapping[str, npt.NDArray[Any]], seed: int) -> dict[str, npt.NDArray[Any]]:
        """Return the baselines by the paths of their inputs; draws that are not finite do not count."""
        with self.kernel.limits():
            partial = one_chunk(self.kernel.bind(inputs), seed, 0, DRAWS, True)
            mean = self._finish(partial.moments, inputs).mean
        found: dict[str, npt.NDArray[Any]] = {}
        start = 0
        for out in self.program.outputs:
            found[out.path] = mean[start : start + out.var.size].reshape(out.var.shape)
            start += out.var.size
        with np.errstate(all="ignore"):
            for path in [path for path in found if path.endswith(SQUARES)]:
                found[path.removesuffix(SQUARES)] /= found.pop(path)
        return {path: np.nan_to_num(x, nan=0.0, posinf=0.0, neginf=0.0) for path, x in found.items()}


def offset_streams(program: Program, streams: int = STREAMS) -> Program:
    """Return the Program with its noise from other streams."""
    roots = program.roots()
    leaves = program.noise()
    moved = {var: noise_of(var.attrs.offset(streams), var.shape) for var in leaves}
    new = dict(zip(roots, substitute(roots, moved), strict=True))
    outputs = [Output(out.path, new[out.var], None if out.scale is None else new[out.scale]) for out in program.outputs]
    return Program(tuple(outputs), program.dtype)
