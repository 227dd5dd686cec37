"""Log densities at values that draws do not have: an end of the support, where a chart has no coordinates, and NaN.

Gamma(1, 2) has the density 2 at 0, and log 0 is no number. Far out in log z or log odds a log density is linear to all
its digits, so two points decide: with a slope of zero there is a limit, with any other one the density is infinite or
zero. This is for values alone, not for draws, which are never at an end of a chart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mcgrad import tree
from mcgrad.distributions.charts import Chart

DISTANCE = 800.0  # e**-800 is 0 relative to any number
FLAT = 1e-9  # rounding error of a slope of zero, over that distance


def with_limits(
    every: Callable[[Callable[..., Any], Any], Any],
    at_value: Callable[..., Any],
    density: Callable[..., Any],
    chart: Chart,
    z: Any,
) -> Any:
    """Return log densities, with the limit where a value is at an end of the support, and NaN where it is NaN.

    Parameters
    ----------
    every : callable
        ``every(one, z)`` evaluates a function of one value at each.
    at_value : callable
        The log density of one value, -inf where it has no coordinates.
    density : callable
        The same at coordinates.
    chart : Chart
    z : array or Tracer, or nested dict of them
        Traced values have no limits, which would cost time for every draw.
    """
    found = every(at_value, z)
    if not isinstance(found, np.ndarray | np.generic | float) or not np.any(np.asarray(found) == -np.inf):
        return found
    missing = every(_missing, z)
    if not chart.open:
        return _settled(found, missing, found)

    def at_distance(distance: float) -> Callable[..., Any]:
        def one(z: Any, /, **params: Any) -> Any:
            reached = chart.reached(z)
            near = density(chart.near(z, distance), **params)
            return near if reached is True else np.where(reached, near, -np.inf)

        return one

    wide = tree.map(lambda x: np.asarray(x, np.float64), z)
    with np.errstate(all="ignore"):
        first, second = (every(at_distance(distance), wide) for distance in (DISTANCE, 2.0 * DISTANCE))
        rise = second - first
        limits = np.where(np.abs(rise) < FLAT, first, np.where(rise > 0, np.inf, -np.inf))
    return _settled(found, missing, limits)


def _missing(z: Any, /, **params: Any) -> Any:
    """Return how many numbers of a value are NaN."""
    counts = [np.sum(np.where(x == x, 0.0, 1.0)) for x in tree.flatten(z).values()]
    return sum(counts[1:], counts[0])


def _settled(found: Any, missing: Any, limits: Any) -> Any:
    """Return `found`, with the values that replace -inf."""
    unknown = np.where(np.asarray(missing) > 0, np.nan, limits)
    return np.where(found == -np.inf, unknown, found).astype(np.asarray(found).dtype)[()]
