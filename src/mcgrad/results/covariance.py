"""The covariance of the estimates of the numbers of a value, from means of products about a fixed point."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mcgrad import tree
from mcgrad.errors import ParameterError
from mcgrad.moments import Float64Array
from mcgrad.noise import Shape
from mcgrad.results.components import Components


def matrix(components: Components, vector: Float64Array, counts: ArrayLike) -> Float64Array:
    """Return the covariance of the estimates of all numbers of the value, shape (..., K, K).

    Parameters
    ----------
    components : Components
    vector : array, shape (..., components)
        Means of the components.
    counts : array_like of int, shape (...)
        Draws that they are over.

    Raises
    ------
    ParameterError
        The components hold no products.

    Notes
    -----
    With deviations d = f - r from a fixed point r near the mean it is (mean d_i d_j - mean d_i mean d_j) / (count - 1),
    which loses no digits to a mean that is far from zero, and in which r cancels.
    """
    _check(components)
    count = components.values.stop
    numbers = vector[..., components.products]
    means, products = numbers[..., :count], np.empty((*numbers.shape[:-1], count, count))
    first, second = np.triu_indices(count)
    products[..., first, second] = products[..., second, first] = numbers[..., count:]
    counts = np.asarray(counts, np.float64)
    degrees = np.where(counts > 1, counts - 1, np.nan)[..., None, None]
    with np.errstate(invalid="ignore", over="ignore"):
        found: Float64Array = (products - means[..., :, None] * means[..., None, :]) / degrees
    return found


def matrix_of_replicates(components: Components, means: Float64Array) -> Float64Array:
    """Return the covariance of the estimates of all numbers of the value, shape (K, K), from replicates' means.

    Parameters
    ----------
    components : Components
    means : array, shape (replicates, components)
        Of all components, of the replicates that count.

    Raises
    ------
    ParameterError
        The estimate was not asked for a covariance.
    """
    _check(components)
    count, numbers = len(means), means[:, components.values]
    if count < 2:
        return np.full((numbers.shape[1],) * 2, np.nan)
    with np.errstate(invalid="ignore", over="ignore"):
        deviations = numbers - numbers.mean(axis=0)
        found: Float64Array = deviations.T @ deviations / (count * (count - 1))
    return found


def _check(components: Components) -> None:
    if not components.covariance:
        raise ParameterError("covariance", "an estimate without it", "one made with covariance=True")


def nested_twice(square: Float64Array, shapes: Mapping[str, Shape]) -> Any:
    """Return a matrix, shape (..., K, K), as the value nests, in each of its axes."""
    starts = np.cumsum([0, *map(math.prod, shapes.values())])
    slices = dict(zip(shapes, map(slice, starts, starts[1:]), strict=True))
    lead = square.shape[:-2]
    return tree.unflatten({
        path: tree.unflatten({
            other: _plain(square[..., slices[path], slices[other]].reshape((*lead, *shape, *shapes[other])))
            for other in shapes
        })
        for path, shape in shapes.items()
    })  # fmt: skip


def _plain(block: Float64Array) -> Any:
    return block if block.shape else float(block)
