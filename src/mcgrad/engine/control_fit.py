"""Regressions of outputs on their controls, over the draws of a pilot, in several rows at once.

All arrays have the rows on the first axis: samples of an array of s numbers are of shape (rows, s, draws). Draws that
do not count in a row are zero there, in deviations from means over those that do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mcgrad.gradients.controls import OutputControls
from mcgrad.ir.spaces import Input
from mcgrad.moments import Float64Array
from mcgrad.noise import Shape

RANK = 1e-12  # of the largest eigenvalue, below which one is zero


@dataclass(frozen=True)
class Samples:
    """Outputs and controls of a pilot.

    Parameters
    ----------
    deviations : list of array, shape (rows, size, draws)
    means : list of array, shape (rows, size)
    shapes : list of tuple of int
        Of the arrays in one row.
    counts : array, shape (rows,)
        Draws that count.
    tolerance : float
        Of its variance, below which what is left of a control is rounding.
    """

    deviations: list[Float64Array]
    means: list[Float64Array]
    shapes: list[Shape]
    counts: Float64Array
    tolerance: float


def fitted(of: OutputControls, samples: Samples) -> dict[Input, Float64Array]:
    """Return the inputs that the controls of one output have: coefficients, what makes controls white, and the center.

    Parameters
    ----------
    of : OutputControls
    samples : Samples

    Notes
    -----
    The controls that are white by theory first; then each of the others, without what those before it explain.
    """
    size, counts = int(np.prod(of.own_shape)), samples.counts[:, None, None]
    rows = len(samples.counts)
    basis: _Every | _Own = (_Every if of.every else _Own)(of, samples)
    white = len(of.every) or len(of.own)
    g = samples.deviations[of.number].reshape(rows, -1, size, samples.deviations[of.number].shape[-1])
    center = samples.means[of.number].reshape(rows, -1, size)
    g, center, coefficients = basis.explained(g, center)
    found = {of.coefficient(i): b.reshape((rows, *of.shape, *basis.shapes[i])) for i, b in enumerate(coefficients)}
    before: list[tuple[Float64Array, Float64Array]] = []  # samples and means of the others so far
    for i, number in enumerate(of.others):
        x, mean = samples.deviations[number], samples.means[number]
        variance = np.square(x).sum(axis=2)
        y, of_y, coefficients = basis.explained(x[:, None], mean[:, None])
        x, mean = y[:, 0], of_y[:, 0]
        for j, a in enumerate(coefficients):
            found[of.whitening(i, j)] = a.reshape((rows, *of.own_shape, *basis.shapes[j]))
        for j, (other, of_other) in enumerate(before):
            a = (x * other).sum(axis=2) / samples.counts[:, None]
            x, mean = x - a[:, :, None] * other, mean - a * of_other
            found[of.whitening(i, white + j)] = a.reshape((rows, *of.own_shape))
        left = np.square(x).sum(axis=2)
        factor = np.where(left > samples.tolerance * variance, np.sqrt(samples.counts[:, None] / left), 0.0)
        found[of.whitening(i, -1)] = factor.reshape((rows, *of.own_shape))
        x, mean = np.nan_to_num(x * factor[:, :, None], nan=0.0, posinf=0.0, neginf=0.0), mean * factor
        b = (g * x[:, None]).sum(axis=3) / counts
        g, center = g - b[..., None] * x[:, None], center - b * mean[:, None]
        found[of.coefficient(white + i)] = b.reshape((rows, *of.shape))
        before.append((x, mean))
    found[of.center] = center.reshape((rows, *of.shape))
    return found


class _Every:
    """Controls that every component has."""

    def __init__(self, of: OutputControls, samples: Samples) -> None:
        self.shapes = [samples.shapes[i] for i in of.every]
        self._x = np.concatenate([samples.deviations[i] for i in of.every], axis=1)
        self._means = np.concatenate([samples.means[i] for i in of.every], axis=1)
        self._inverse = _inverse(self._x @ self._x.transpose(0, 2, 1))
        self._ends = np.cumsum([samples.deviations[i].shape[1] for i in of.every])[:-1]

    def explained(
        self, y: Float64Array, means: Float64Array
    ) -> tuple[Float64Array, Float64Array, Sequence[Float64Array]]:
        """Return what controls leave of samples, shape (rows, values, size, draws), and of means; and coefficients."""
        rows, values, size, n = y.shape
        flat = y.reshape(rows, values * size, n)
        b = flat @ self._x.transpose(0, 2, 1) @ self._inverse
        left = y - (b @ self._x).reshape(y.shape)
        total = np.einsum("ryk,rk->ry", b, self._means).reshape(means.shape)
        return left, means - total, np.split(b, self._ends, axis=2)


class _Own:
    """Controls of which each component has its own; there may be none."""

    def __init__(self, of: OutputControls, samples: Samples) -> None:
        self.shapes: list[Shape] = [()] * len(of.own)
        self._x = [samples.deviations[i] for i in of.own]
        self._means = [samples.means[i] for i in of.own]
        if self._x:
            gram = np.stack([np.stack([(x * y).sum(axis=2) for x in self._x], axis=-1) for y in self._x], axis=-1)
            self._inverse = _inverse(gram)

    def explained(
        self, y: Float64Array, means: Float64Array
    ) -> tuple[Float64Array, Float64Array, Sequence[Float64Array]]:
        """Return what controls leave of samples, shape (rows, values, size, draws), and of means; and coefficients."""
        if not self._x:
            return y, means, []
        products = np.stack([(y * x[:, None]).sum(axis=3) for x in self._x], axis=-1)
        coefficients = np.einsum("rpij,rvpj->irvp", self._inverse, products)
        for b, x, mean in zip(coefficients, self._x, self._means, strict=True):
            y, means = y - b[..., None] * x[:, None], means - b * mean[:, None]
        return y, means, list(coefficients)


def _inverse(gram: Float64Array) -> Float64Array:
    """Return the pseudoinverses of matrices; zero where one is not finite."""
    finite = np.isfinite(gram).all(axis=(-2, -1), keepdims=True)
    found: Float64Array = np.linalg.pinv(np.where(finite, gram, 0.0), rcond=RANK, hermitian=True)
    return found
