"""The pilot of control variates: coefficients by regression over a few draws of their own."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.engine.control_fit import Samples, fitted
from mcgrad.engine.per_draw import PerDraw
from mcgrad.engine.pilot import offset_streams
from mcgrad.gradients.common_noise import of_rows
from mcgrad.gradients.controls import Controls
from mcgrad.ir.spaces import Input, Space
from mcgrad.moments import Float64Array
from mcgrad.noise import streams

FEWEST, MOST = 1024, 4096  # draws
FEWEST_OF_ROW = 256
EACH = 16  # draws for each control of a component
NUMBERS = 1 << 22  # samples that are kept at once; more draws are not taken, nor more rows together
USABLE = 0.5  # of the draws, in which a control has to be finite
DEVIATION = Input(Space.CONTROL, "deviation")


class ControlPilot:
    """Computes the coefficients of control variates, and what makes controls uncorrelated.

    Parameters
    ----------
    controls : Controls

    Notes
    -----
    It interprets draws of the same seed in streams of their own: 1,024, of a batch 256 in each row, or 16 for each
    control of a component, up to 4,096. So coefficients are independent of the draws that they serve, and the same on
    every backend and for every range of draws. Draws that are not finite are left out. A control that others explain,
    up to rounding, or that is not finite in most draws, has no coefficient.
    """

    def __init__(self, controls: Controls) -> None:
        self.controls = controls
        self._prepare()

    def _prepare(self) -> None:
        self._program = program = offset_streams(self.controls.pilot, streams.CONTROLS)
        self._per_draw = PerDraw(program)
        self._sizes = [out.var.size for out in program.outputs]
        counts = [sum(self._sizes[i] for i in of.every) + len(of.own) + len(of.others) for of in self.controls.outputs]
        fewest = FEWEST_OF_ROW if program.has_rows else FEWEST
        most = max(fewest, NUMBERS // max(sum(self._sizes), 1))
        self.draws = int(min(np.clip(EACH * max(counts, default=0), fewest, MOST), most))
        self._tolerance = (64 * float(np.finfo(program.dtype).eps)) ** 2

    def __getstate__(self) -> Controls:
        return self.controls

    def __setstate__(self, state: Controls) -> None:
        self.controls = state
        self._prepare()

    def __call__(self, inputs: Mapping[Input, npt.NDArray[Any]], seed: int) -> dict[Input, npt.NDArray[Any]]:
        """Return the inputs of the Program, and the standard deviations of its components without controls."""
        samples, deviation = self._samples(self._per_draw, inputs, seed, 1)
        return {DEVIATION: deviation[0], **{name: x[0] for name, x in self._fitted(samples).items()}}

    @cached_property
    def tile(self) -> tuple[PerDraw, int]:
        """The Program of several rows at once, and how many; of one, where an op has no rule for several."""
        rows = int(np.clip(NUMBERS // (self.draws * max(sum(self._sizes), 1)), 1, 64))
        try:
            return PerDraw(offset_streams(of_rows(self.controls.pilot, rows), streams.CONTROLS)), rows
        except TypeError:
            return PerDraw(offset_streams(of_rows(self.controls.pilot, 1), streams.CONTROLS)), 1

    def of_tile(self, inputs: Mapping[Input, npt.NDArray[Any]], seed: int) -> dict[Input, npt.NDArray[Any]]:
        """Return the inputs of the rows of a tile, which read the same draws, with the rows on the first axis."""
        per_draw, rows = self.tile
        return self._fitted(self._samples(per_draw, inputs, seed, rows)[0])

    def _samples(
        self, per_draw: PerDraw, inputs: Mapping[Input, npt.NDArray[Any]], seed: int, rows: int
    ) -> tuple[Samples, Float64Array]:
        """Return what is found in some rows, and the standard deviations of their components, (rows, components)."""
        with per_draw.kernel.limits():
            flat = per_draw(inputs, seed, self.draws)
        ends = np.cumsum([rows * size for size in self._sizes])[:-1]
        parts = [x.reshape(rows, -1, self.draws) for x in np.split(flat, ends)]
        given = len(self.controls.pilot.outputs) - self.controls.arrays
        for x in parts[given:]:
            usable = np.isfinite(x).mean(axis=2) >= USABLE
            x[~usable] = 0.0
        finite = np.all([np.isfinite(x).all(axis=1) for x in parts], axis=0)
        counts = np.maximum(finite.sum(axis=1), 1.0)
        means, deviations = [], []
        with np.errstate(all="ignore"):
            for x in parts:
                x[~np.broadcast_to(finite[:, None], x.shape)] = 0.0
                mean = x.sum(axis=2) / counts[:, None]
                x -= mean[:, :, None]
                x *= finite[:, None]
                means.append(mean)
                deviations.append(x)
            squares = np.concatenate([np.square(x).sum(axis=2) for x in deviations[:given]], axis=1)
            deviation = np.sqrt(squares / np.maximum(counts - 1, 1)[:, None])
        shapes = [out.var.shape for out in self._program.outputs]
        return Samples(deviations, means, shapes, counts, self._tolerance), deviation

    def _fitted(self, samples: Samples) -> dict[Input, npt.NDArray[Any]]:
        found: dict[Input, npt.NDArray[Any]] = {}
        with np.errstate(all="ignore"):
            for of in self.controls.outputs:
                found |= fitted(of, samples)
        return {name: np.nan_to_num(x, nan=0.0, posinf=0.0, neginf=0.0) for name, x in found.items()}
