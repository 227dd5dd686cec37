"""The probability of draws between the components of a mixture, which carry the pathwise gradient in its weights.

`engine.rarity` warns where it is small for the number of draws.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

LEVELS = np.linspace(0.01, 0.99, 15)  # of a component's distribution function, between which its draws are
BISECTIONS = 70
WIDEST = 700.0  # asinh of the largest quantile
PARTS = 8  # of each interval between two quantiles
SHARE = 0.1  # of what flows between components, in the places where draws are rarest


def bridging(cdf: Callable[[Array], Array], weights: Array, event: tuple[int, ...]) -> Array:
    """Return the probability of a draw among the rarest that carry a part of the gradient in each weight.

    Parameters
    ----------
    cdf : callable
        Points that broadcast to (..., K, *event) -> the components' distribution functions, element by element.
    weights : array, shape (K,)
        Normalized.
    event : tuple of int
        Shape of a draw.

    Returns
    -------
    array, shape (K,)
        The least over the coordinates, each by itself.

    Notes
    -----
    With a weight w_k draws move by -(F_k - F) / p, of the mixture's F and its density p; so an interval dx has the part
    |F_k - F| dx of all that moves, whatever its probability p dx. `SHARE` of this is in the intervals of least density.
    """
    column = (-1, *(1,) * len(event))
    with np.errstate(all="ignore"):
        points = np.sort(_quantiles(cdf, (len(weights), *event)).reshape(-1, *event), axis=0)
        inside = np.linspace(0.0, 1.0, PARTS, endpoint=False).reshape(1, *column)
        between = points[:-1, None] + inside * np.diff(points, axis=0)[:, None]
        points = np.concatenate([between.reshape(-1, *event), points[-1:]])
        each = cdf(points[:, None])
        mixed = np.sum(weights.reshape(column) * each, axis=1, keepdims=True)
        width = np.diff(points, axis=0)[:, None]
        mass = np.maximum(np.diff(mixed, axis=0), 0.0)
        flow = np.abs(each - mixed)
        flow = 0.5 * (flow[1:] + flow[:-1]) * width
        rarest = np.argsort(np.where(width > 0, mass / width, np.inf), axis=0, kind="stable")
        flow = np.cumsum(np.take_along_axis(flow, rarest, axis=0), axis=0)
        mass = np.cumsum(np.take_along_axis(mass, rarest, axis=0), axis=0)
        last = np.argmax(flow >= SHARE * flow[-1:], axis=0)[None]
        found = np.take_along_axis(np.broadcast_to(mass, flow.shape), last, axis=0)[0]
        found = np.where((flow[-1] > 0) & np.isfinite(flow[-1]), found, 1.0)
    least: Array = np.min(found.reshape(len(weights), -1), axis=1)
    return least


def _quantiles(cdf: Callable[[Array], Array], shape: tuple[int, ...]) -> Array:
    """Return the components' quantiles at `LEVELS`, along a first axis."""
    levels = LEVELS.reshape(-1, *(1,) * len(shape))
    low = np.full((len(LEVELS), *shape), -WIDEST)
    high = -low
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        above = cdf(np.sinh(middle)) >= levels
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    found: Array = np.sinh(high)
    return found


def marginal(cdf: Any, loc: Array, scale_tril: Array) -> Callable[[Array], Array]:
    """Return the distribution functions of the coordinates of multivariate components, each by itself."""
    scale = np.sqrt(np.sum(np.square(scale_tril), axis=-1))
    return lambda z: cdf(z, loc=loc, scale=scale)
