"""The pilot of control variates: coefficients by regression over a few draws of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.engine.per_draw import PerDraw
from mcgrad.engine.pilot import offset_streams
from mcgrad.gradients.controls import Controls, OutputControls
from mcgrad.ir.spaces import Input, Space
from mcgrad.moments import Float64Array
from mcgrad.noise import streams

FEWEST, MOST = 1024, 4096  # draws
EACH = 16  # draws for each control of a component
NUMBERS = 1 << 22  # samples that are kept, of which more draws would be
USABLE = 0.5  # of the draws, in which a control has to be finite
DEVIATION = Input(Space.CONTROL, "deviation")


class ControlPilot:
    """Computes the coefficients of control variates, and what makes controls uncorrelated.

    Parameters
    ----------
    controls : Controls

    Notes
    -----
    It interprets draws of the same seed in streams of their own: 1,024, or 16 for each control of a component, up to
    4,096. So coefficients are independent of the draws that they serve, and the same on every backend and for every
    range of draws. Draws that are not finite are left out. A control that others explain, up to rounding, or that is
    not finite in most draws, has no coefficient.
    """

    def __init__(self, controls: Controls) -> None:
        self.controls = controls
        self._prepare()

    def _prepare(self) -> None:
        program = offset_streams(self.controls.pilot, streams.CONTROLS)
        self._per_draw = PerDraw(program)
        self._slices = program.slices()
        slices = self._slices
        sizes = [
            sum(slices[i].stop - slices[i].start for i in of.every) + len(of.own) + len(of.others)
            for of in self.controls.outputs
        ]
        most = max(FEWEST, NUMBERS // max(slices[-1].stop, 1))
        self.draws = int(min(np.clip(EACH * max(sizes, default=0), FEWEST, MOST), most))
        self._tolerance = (64 * float(np.finfo(program.dtype).eps)) ** 2

    def __getstate__(self) -> Controls:
        return self.controls

    def __setstate__(self, state: Controls) -> None:
        self.controls = state
        self._prepare()

    def __call__(self, inputs: Mapping[Input, npt.NDArray[Any]], seed: int) -> dict[Input, npt.NDArray[Any]]:
        """Return the inputs of the Program, and the standard deviations of its components without controls."""
        with self._per_draw.kernel.limits():
            samples = self._per_draw(inputs, seed, self.draws)
        known = np.isfinite(samples)
        samples[known.mean(axis=1) < USABLE], known[known.mean(axis=1) < USABLE] = 0.0, True
        samples = samples[:, known.all(axis=0)]
        if samples.shape[1] <= 1:
            samples = np.zeros((len(samples), 2))
        means = samples.mean(axis=1)
        with np.errstate(all="ignore"):
            samples -= means[:, None]
            found: dict[Input, npt.NDArray[Any]] = {DEVIATION: samples[: self.controls.components].std(axis=1, ddof=1)}
            for of in self.controls.outputs:
                found |= self._fitted(of, samples, means)
        return {name: np.nan_to_num(x, nan=0.0, posinf=0.0, neginf=0.0) for name, x in found.items()}

    def _fitted(self, of: OutputControls, samples: Float64Array, means: Float64Array) -> dict[Input, npt.NDArray[Any]]:
        """Return the coefficients of one output, from deviations from means, and the mean of what is left."""
        n = samples.shape[1]
        own_size = int(np.prod(of.own_shape))
        g = samples[self._slices[of.number]].reshape(-1, own_size, n)
        found: dict[Input, npt.NDArray[Any]] = {}
        basis = (_Every if of.every else _Own)(self, of, samples, means)
        count = len(of.every) or len(of.own)
        center = means[self._slices[of.number]].reshape(-1, own_size)
        g, coefficients = basis.explained(g)
        center = center - basis.total(coefficients)
        for i, b in enumerate(coefficients):
            found[of.coefficient(i)] = b.reshape((*of.shape, *basis.shapes[i]))
        whites: list[tuple[Float64Array, Float64Array]] = []  # samples, and means
        for i, number in enumerate(of.others):
            x = samples[self._slices[number]].reshape(1, own_size, n)
            before = np.square(x).mean(axis=2)
            mean = means[self._slices[number]].reshape(1, own_size)
            x, coefficients = basis.explained(x)
            mean = mean - basis.total(coefficients)
            for j, a in enumerate(coefficients):
                found[of.whitening(i, j)] = a.reshape((*of.own_shape, *basis.shapes[j]))
            for j, (white, of_white) in enumerate(whites):
                a = (x * white).mean(axis=2)
                x, mean = x - a[:, :, None] * white, mean - a * of_white
                found[of.whitening(i, count + j)] = a.reshape(of.own_shape)
            variance = np.square(x).mean(axis=2)
            factor = np.where(variance > self._tolerance * before, 1 / np.sqrt(variance), 0.0)
            found[of.whitening(i, -1)] = factor.reshape(of.own_shape)
            white, mean = np.nan_to_num(x * factor[:, :, None], nan=0.0, posinf=0.0, neginf=0.0), mean * factor
            b = (g * white).mean(axis=2)
            g, center = g - b[:, :, None] * white, center - b * mean
            found[of.coefficient(count + i)] = b.reshape(of.shape)
            whites.append((white, mean))
        found[of.center] = center.reshape(of.shape)
        return found

    def array(self, number: int, samples: Float64Array) -> Float64Array:
        """Return what samples, or means, has of an array of controls, one row a number."""
        found: Float64Array = samples[self._slices[number]]
        return found


class _Every:
    """Controls that every component has: explains samples by them."""

    def __init__(self, pilot: ControlPilot, of: OutputControls, samples: Float64Array, means: Float64Array) -> None:
        outputs = pilot.controls.pilot.outputs
        self.shapes = [outputs[i].var.shape for i in of.every]
        self._means, self._own_size = [pilot.array(i, means) for i in of.every], int(np.prod(of.own_shape))
        self._x = np.concatenate([pilot.array(i, samples) for i in of.every])
        self._ends = np.cumsum([int(np.prod(shape)) for shape in self.shapes])[:-1]
        self._gram = self._x @ self._x.T

    def explained(self, y: Float64Array) -> tuple[Float64Array, list[Float64Array]]:
        """Return what controls leave of samples, shape (..., n), and the coefficients of each array."""
        flat = y.reshape(-1, y.shape[-1])
        b = np.linalg.lstsq(self._gram, self._x @ flat.T, rcond=1e-12)[0].T
        return y - (b @ self._x).reshape(y.shape), np.split(b, self._ends, axis=1)

    def total(self, coefficients: list[Float64Array]) -> Float64Array:
        """Return the sum of the controls' means, each times its coefficient, shape (numbers of a value, elements)."""
        terms = [b @ mean for b, mean in zip(coefficients, self._means, strict=True)]
        found: Float64Array = np.sum(terms, axis=0).reshape(-1, self._own_size)
        return found


class _Own:
    """Controls of which each component has its own: explains samples by them; there may be none."""

    def __init__(self, pilot: ControlPilot, of: OutputControls, samples: Float64Array, means: Float64Array) -> None:
        self.shapes: list[tuple[int, ...]] = [()] * len(of.own)
        self._means = [pilot.array(i, means) for i in of.own]
        size = int(np.prod(of.own_shape))
        self._x = np.stack([pilot.array(i, samples) for i in of.own]) if of.own else np.zeros((0, size, 1))
        gram = np.einsum("ipn,jpn->pij", self._x, self._x)
        self._inverse = np.linalg.pinv(gram, rcond=1e-12, hermitian=True)

    def explained(self, y: Float64Array) -> tuple[Float64Array, list[Float64Array]]:
        """Return what controls leave of samples, shape (numbers of a value, elements, n), and the coefficients."""
        if not len(self._x):
            return y, []
        products = np.einsum("ipn,vpn->vpi", self._x, y)
        b = np.einsum("pij,vpj->ivp", self._inverse, products)
        return y - np.einsum("ivp,ipn->vpn", b, self._x), list(b)

    def total(self, coefficients: list[Float64Array]) -> Float64Array | float:
        """Return the sum of the controls' means, each times its coefficient, shape (numbers of a value, elements)."""
        found: Float64Array | float = 0.0
        for b, mean in zip(coefficients, self._means, strict=True):
            found = found + b * mean
        return found
