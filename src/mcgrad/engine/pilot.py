"""Pilots: means over a few draws of their own, which are inputs of the Programs of gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.backends.base import one_chunk
from mcgrad.backends.numpy import NumpyKernel
from mcgrad.engine.epilogue import Finisher
from mcgrad.gradients.common_noise import of_rows
from mcgrad.gradients.method import Mean
from mcgrad.ir.build import noise_of, rebuild
from mcgrad.ir.program import Output, Program
from mcgrad.ir.rewrite import rewrite_program
from mcgrad.ir.spaces import Input
from mcgrad.moments import Float64Array, Moments
from mcgrad.noise import streams
from mcgrad.simplify.fixed_point import simplify

DRAWS = 1024
TILE, TILE_BYTES = 16, 1 << 23  # rows of a batch at once, and bytes of the largest intermediate values of theirs


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
            return self._baselines(self.program, self._finish(partial.moments, inputs).mean, 0)

    def of_tile(self, inputs: Mapping[Input, npt.NDArray[Any]], seed: int) -> dict[Input, npt.NDArray[Any]]:
        """Return the baselines of the rows of a tile, which read the same draws, with the rows on the first axis.

        Parameters
        ----------
        inputs : mapping from Input to array
            Those by row with as many rows as `tile` has.
        seed : int
        """
        return self._baselines(self.tile.program, self.tile(inputs, seed), 1)

    @cached_property
    def tile(self) -> Tile:
        """The means of several rows at once; of one, where an op has no rule for several."""
        largest = max((var.size for var in self.program.body()), default=1)
        rows = int(np.clip(TILE_BYTES // (8 * DRAWS * largest), 1, TILE))
        try:
            return Tile(self.program, rows)
        except TypeError:
            return Tile(self.program, 1)

    def _baselines(self, program: Program, mean: Float64Array, lead: int) -> dict[Input, npt.NDArray[Any]]:
        found: dict[Input, npt.NDArray[Any]] = {}
        with np.errstate(all="ignore"):
            for name, out, where in zip(self._inputs, program.outputs, program.slices(), strict=True):
                x = mean[where].reshape(out.var.shape)
                if name in found:  # axes of the numbers of a value are before those of a parameter, and after a row's
                    above = found[name]
                    x = above / x.reshape(x.shape[:lead] + (1,) * (above.ndim - x.ndim) + x.shape[lead:])
                found[name] = x
        return {name: np.nan_to_num(x, nan=0.0, posinf=0.0, neginf=0.0) for name, x in found.items()}


class Tile:
    """Means of a Program's outputs in several rows of a batch, over the same draws of a pilot.

    Parameters
    ----------
    program : Program
        Of one row.
    rows : int

    Attributes
    ----------
    program : Program
        Of all rows, on the first axis of its outputs.

    Raises
    ------
    TypeError
        An op has no rule for several rows.
    """

    def __init__(self, program: Program, rows: int) -> None:
        self.rows = rows
        self.program = of_rows(program, rows)
        self._kernel, self._finish = NumpyKernel(self.program), Finisher(self.program, {})
        sizes = [out.var.size // rows for out in self.program.outputs if out.var.by_draw]
        self._row = np.concatenate([np.zeros(0, int), *(np.repeat(np.arange(rows), size) for size in sizes)])

    def __call__(self, inputs: Mapping[Input, npt.NDArray[Any]], seed: int) -> Float64Array:
        """Return the means of all components; a row is without the draws that are not finite there."""
        count, mean = np.zeros(self._row.shape), np.full(self._row.shape, np.nan)
        with self._kernel.limits():
            bound = self._kernel.bind(inputs)
            for first in range(0, DRAWS, self._kernel.block):
                more, of_more = self._part(bound.samples(seed, first, min(first + self._kernel.block, DRAWS)))
                total = count + more
                with np.errstate(all="ignore"):
                    both = mean + more / total * (of_more - mean)
                mean = np.where(count == 0, of_more, np.where(more == 0, mean, both))
                count = total
            return self._finish(Moments(DRAWS, mean, np.zeros_like(mean)), inputs).mean

    def _part(self, samples: npt.NDArray[Any]) -> tuple[Float64Array, Float64Array]:
        """Return how many draws of some count for each component, and the mean over these."""
        count, mean, finite = (
            np.full(len(samples), float(samples.shape[1])),
            Moments.of(samples).mean,
            np.isfinite(samples),
        )
        if not finite.all():
            for row in np.unique(self._row[~finite.all(axis=1)]):
                here = self._row == row
                left = samples[here][:, finite[here].all(axis=0)]
                count[here], mean[here] = left.shape[1], Moments.of(left).mean
        return count, mean


def offset_streams(program: Program, by: int) -> Program:
    """Return the Program with the streams of its noise offset."""
    moved = {var: noise_of(var.attrs.offset(by), var.shape) for var in program.noise()}
    return rewrite_program(program, rebuild, moved)
