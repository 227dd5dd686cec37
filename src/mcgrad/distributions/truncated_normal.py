"""The normal distribution between bounds, with independent components."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from mcgrad.distributions import supports
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.charts import REAL, about, shifted, total
from mcgrad.distributions.constraints import FloatArray, positive, real
from mcgrad.distributions.normal import HALF_LOG_2PI
from mcgrad.distributions.shapes import refuse_unless
from mcgrad.distributions.truncation import (
    FAR,
    HALF_ROOT,
    MILLS,
    Bounds,
    distance,
    log_narrow_area,
    share,
)
from mcgrad.functions.special import erfcx, log_ndtr, ndtri_exp


class TruncatedNormal(Distribution):
    """Normal distribution given that low < z < high.

    Parameters
    ----------
    loc : array_like
        Mean of the normal before truncation.
    scale : array_like
        Its standard deviation, > 0.
    low, high : array_like, optional
        The bounds, low < high; without one, that side has none, and the parameter does not exist. The event shape is
        what all given broadcast to.

    Notes
    -----
    Bounds may lie as far out, and as close together, as numbers of the dtype can: a draw is made of its distance from
    the nearer bound where both are more than 4 `scale` from `loc` on one side, and of its share of the way between the
    bounds where these are closer than 0.04 `scale`. Elsewhere it is found by logarithms of tails, on the side where the
    tail is smaller. The noise is normal: with bounds that hardly matter, z is loc + scale * eps.
    """

    constraints: ClassVar = {"loc": real, "scale": positive, "low": real, "high": real}
    elementwise_check: ClassVar = True
    support = supports.interval("low", "high", closed=True)
    chart = REAL

    def __init__(
        self,
        loc: ArrayLike,
        scale: ArrayLike,
        low: ArrayLike | None = None,
        high: ArrayLike | None = None,
        *,
        batch_ndim: int = 0,
    ) -> None:
        bounds = {name: bound for name, bound in (("low", low), ("high", high)) if not _is_none(bound)}
        super().__init__(loc=loc, scale=scale, **bounds, batch_ndim=batch_ndim)

    def check(self, flat: Mapping[str, FloatArray]) -> None:
        """Refuse low >= high."""
        for good in self.relations(flat):
            refuse_unless(good, {name: flat[name] for name in ("low", "high")}, "low < high")

    def relations(self, flat: Mapping[str, FloatArray]) -> list[Any]:
        """Return where low < high, if there are both."""
        return [flat["low"] < flat["high"]] if "low" in flat and "high" in flat else []

    @staticmethod
    def transform(eps: Any, *, loc: Any, scale: Any, low: Any = None, high: Any = None) -> Any:
        """Go from the noise's share of the normal's area to the same share of the area between the bounds."""
        z = total(TruncatedNormal.coordinates(eps, loc=loc, scale=scale, low=low, high=high))
        z = z if low is None else np.maximum(z, low)  # rounding is all there is to cut off
        return z if high is None else np.minimum(z, high)

    @staticmethod
    def coordinates(eps: Any, *, loc: Any, scale: Any, low: Any = None, high: Any = None) -> Any:
        """Return the distance from a bound, or from loc, and where that is."""
        if low is None and high is None:
            return shifted(scale * eps, loc)
        if high is None:
            return shifted(scale * _above((low - loc) / scale, eps), low)
        if low is None:
            return shifted(-scale * _above((loc - high) / scale, -eps), high)
        return _between(eps, loc, scale, low, high)

    @staticmethod
    def log_density(x: Any, *, loc: Any, scale: Any, low: Any = None, high: Any = None) -> Any:
        """Return the log density of z, summed over the components."""
        if low is None and high is None:
            return np.sum(_log_normal(about(x, loc) / scale) - np.log(scale))
        if low is None or high is None:
            d, a = (about(x, low), low - loc) if high is None else (-about(x, high), loc - high)
            inside = np.where(d >= 0, _log_density_above(a / scale, d / scale), -np.inf)
            return np.sum(inside - np.log(scale))
        inside = (about(x, low) >= 0) & (about(x, high) <= 0)
        return np.sum(np.where(inside, _log_density_between(x, loc, scale, low, high), -np.inf))


def _above(a: Any, eps: Any) -> Any:
    """Return how far above a a standard normal variable is that is known to be."""
    above = log_ndtr(-eps)
    far = a > FAR
    central = np.where(far, 0.0, a)
    x = -ndtri_exp(log_ndtr(-central) + above)
    return np.where(far, distance(np.where(far, a, FAR), -above), np.maximum(x - central, 0.0))


def _between(eps: Any, loc: Any, scale: Any, low: Any, high: Any) -> Any:
    """Return the coordinates of a normal variable between two bounds."""
    below, above = log_ndtr(eps), log_ndtr(-eps)
    bounds = Bounds.of(loc, scale, low, high)
    near_side, other_side = np.where(bounds.above, above, below), np.where(bounds.above, below, above)
    d = distance(bounds.near, -np.logaddexp(near_side, other_side - bounds.log_tail))
    s = share(np.exp(below), bounds.slope, bounds.square)
    width = high - low
    inwards = np.where(bounds.narrow, width * np.minimum(np.maximum(s, 0.0), 1.0), np.minimum(scale * d, width))

    central = np.logical_not(bounds.narrow | bounds.far)
    a, b = np.where(central, (low - loc) / scale, -1.0), np.where(central, (high - loc) / scale, 1.0)
    left = np.logaddexp(log_ndtr(a) + above, log_ndtr(b) + below)
    right = np.logaddexp(log_ndtr(-a) + above, log_ndtr(-b) + below)
    size = ndtri_exp(np.minimum(left, right))
    x = np.minimum(np.maximum(scale * np.where(left < right, size, -size), low - loc), high - loc)

    below_high = bounds.far & np.logical_not(bounds.above)
    point = np.where(central, x, np.where(below_high, -inwards, inwards))
    return shifted(point, np.where(central, loc, np.where(below_high, high, low)))


def _log_density_above(a: Any, d: Any) -> Any:
    """Return the log density of the standard normal above a, at a + d."""
    far = a > FAR
    near = np.where(far, a, FAR)
    central = np.where(far, 0.0, a)
    return np.where(far, _log_far(near, d), _log_normal(central + d) - log_ndtr(-central))


def _log_density_between(x: Any, loc: Any, scale: Any, low: Any, high: Any) -> Any:
    bounds = Bounds.of(loc, scale, low, high)
    d = np.where(bounds.above, about(x, low), -about(x, high)) / scale
    far = _log_far(bounds.near, d) - np.log(-np.expm1(-bounds.log_tail)) - np.log(scale)
    t = about(x, low) / (high - low) - 0.5
    narrow = -t * (bounds.slope + 0.5 * bounds.square * t) - log_narrow_area(bounds.slope, bounds.square)
    found = np.where(bounds.far, far, narrow - np.log(high - low))
    central = np.logical_not(bounds.narrow | bounds.far)
    a, b = np.where(central, (low - loc) / scale, -1.0), np.where(central, (high - loc) / scale, 1.0)
    score = np.where(central, about(x, loc) / scale, 0.0)
    return np.where(central, _log_normal(score) - _log_area(a, b) - np.log(scale), found)


def _log_normal(x: Any) -> Any:
    return -0.5 * np.square(x) - HALF_LOG_2PI


def _log_far(a: Any, d: Any) -> Any:
    """Return the log density of the standard normal above a > 0, at a + d."""
    return -d * (a + 0.5 * d) - np.log(MILLS * erfcx(a * HALF_ROOT))


def _is_none(bound: Any) -> bool:
    """Whether there is no bound: none given, or an infinite one."""
    return bound is None or (isinstance(bound, float | np.floating | np.ndarray) and bool(np.all(np.isinf(bound))))


def _log_area(a: Any, b: Any) -> Any:
    """Logarithm of the standard normal's area between a and b."""
    right = a + b > 0
    larger = log_ndtr(np.where(right, -a, b))
    return larger + np.log(-np.expm1(log_ndtr(np.where(right, -b, a)) - larger))
