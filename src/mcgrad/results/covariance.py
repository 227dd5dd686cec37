"""The covariance of the estimates of the numbers of a value, from means of products about a fixed point."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from mcgrad import tree
from mcgrad.errors import ParameterError
from mcgrad.moments import Float64Array, Moments
from mcgrad.noise import Shape
from mcgrad.results.components import Components


def covariance(moments: Moments, components: Components) -> Any:
    """Return the covariance of the estimates, nested twice as the value is.

    Raises
    ------
    ParameterError
        The components hold no products.
    """
    return _nested(matrix(moments, components), components.value)


def matrix(moments: Moments, components: Components) -> Float64Array:
    """Return the covariance of the estimates of all numbers of the value, shape (K, K).

    Notes
    -----
    With deviations d = f - r from a fixed point r near the mean it is (mean d_i d_j - mean d_i mean d_j) / (count - 1),
    which loses no digits to a mean that is far from zero, and in which r cancels.
    """
    if not components.covariance:
        raise ParameterError("covariance", "an estimate without it", "one made with covariance=True")
    count = components.values.stop
    numbers = moments.estimate[components.products]
    means, products = numbers[:count], np.empty((count, count))
    upper = np.triu_indices(count)
    products[upper] = products.T[upper] = numbers[count:]
    if moments.count < 2:
        return np.full((count, count), np.nan)
    with np.errstate(invalid="ignore", over="ignore"):
        found: Float64Array = (products - np.multiply.outer(means, means)) / (moments.count - 1)
    return found


def _nested(square: Float64Array, shapes: Mapping[str, Shape]) -> Any:
    starts = np.cumsum([0, *map(math.prod, shapes.values())])
    slices = dict(zip(shapes, map(slice, starts, starts[1:]), strict=True))
    return tree.unflatten({
        path: tree.unflatten({
            other: _shaped(square[slices[path], slices[other]], (*shape, *shapes[other])) for other in shapes
        })
        for path, shape in shapes.items()
    })  # fmt: skip


def _shaped(block: Float64Array, shape: Shape) -> Any:
    return block.reshape(shape) if shape else float(block.item())
