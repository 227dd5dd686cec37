"""The normal distribution between bounds, with independent components."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from mcgrad import supports
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.constraints import FloatArray, positive, real
from mcgrad.distributions.normal import HALF_LOG_2PI
from mcgrad.distributions.shapes import refuse_unless
from mcgrad.special import log_ndtr, ndtri_exp


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
    All in logarithms of tails, on the side where the tail is smaller: bounds may lie far out, up to about 100 `scale`
    from `loc` in float32 and 1e5 in float64, where what rounding does to a draw has grown to 1e-3 of their spread.
    The noise is normal: with bounds that hardly matter, z is loc + scale * eps.
    """

    constraints: ClassVar = {"loc": real, "scale": positive, "low": real, "high": real}
    support = supports.interval("low", "high", closed=True)

    def __init__(
        self, loc: ArrayLike, scale: ArrayLike, low: ArrayLike | None = None, high: ArrayLike | None = None
    ) -> None:
        bounds = {name: bound for name, bound in (("low", low), ("high", high)) if not _is_none(bound)}
        super().__init__(loc=loc, scale=scale, **bounds)

    def check(self, flat: Mapping[str, FloatArray]) -> None:
        """Refuse low >= high."""
        if "low" in flat and "high" in flat:
            ends = {name: flat[name] for name in ("low", "high")}
            refuse_unless(ends["low"] < ends["high"], ends, "low < high")

    @staticmethod
    def transform(eps: Any, *, loc: Any, scale: Any, low: Any = None, high: Any = None) -> Any:
        """Go from the noise's share of the normal's area to the same share of the area between the bounds."""
        below, above = log_ndtr(eps), log_ndtr(-eps)
        if low is None and high is None:
            return loc + scale * eps
        if high is None:
            x = -ndtri_exp(log_ndtr((loc - low) / scale) + above)
        elif low is None:
            x = ndtri_exp(log_ndtr((high - loc) / scale) + below)
        else:
            a, b = (low - loc) / scale, (high - loc) / scale
            left = np.logaddexp(log_ndtr(a) + above, log_ndtr(b) + below)
            right = np.logaddexp(log_ndtr(-a) + above, log_ndtr(-b) + below)
            size = ndtri_exp(np.minimum(left, right))
            x = np.where(left < right, size, -size)
        z = loc + scale * x
        z = z if low is None else np.maximum(z, low)  # rounding is all there is to cut off
        return z if high is None else np.minimum(z, high)

    @staticmethod
    def log_density(z: Any, *, loc: Any, scale: Any, low: Any = None, high: Any = None) -> Any:
        """Return the log density at z, summed over the components."""
        normal = -0.5 * np.square((z - loc) / scale) - np.log(scale) - HALF_LOG_2PI
        inside = normal - _log_area(loc, scale, low, high)
        if low is not None:
            inside = np.where(z >= low, inside, -np.inf)
        if high is not None:
            inside = np.where(z <= high, inside, -np.inf)
        return np.sum(inside)


def _is_none(bound: Any) -> bool:
    """Whether there is no bound: none given, or an infinite one."""
    return bound is None or (isinstance(bound, float | np.floating | np.ndarray) and bool(np.all(np.isinf(bound))))


def _log_area(loc: Any, scale: Any, low: Any, high: Any) -> Any:
    """Logarithm of the standard normal's area between the bounds."""
    if low is None:
        return 0.0 if high is None else log_ndtr((high - loc) / scale)
    a = (low - loc) / scale
    if high is None:
        return log_ndtr(-a)
    b = (high - loc) / scale
    right = a + b > 0
    larger = log_ndtr(np.where(right, -a, b))
    return larger + np.log(-np.expm1(log_ndtr(np.where(right, -b, a)) - larger))
