"""The generalized Pareto distribution, with independent components."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from mcgrad.distributions import supports
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.charts import REAL, about
from mcgrad.distributions.constraints import positive, real
from mcgrad.distributions.shapes import broadcast
from mcgrad.functions.special import log_ndtr


def _upper_end(*, loc: Any, scale: Any, concentration: Any) -> Any:
    """Loc - scale / c for c < 0, where the density vanishes for c > -1 and its score has a variance for c > -1/2."""
    bounded = concentration < 0
    return np.where(bounded, loc - scale / np.where(bounded, concentration, -1.0), np.inf)


class GeneralizedPareto(Distribution):
    """Generalized Pareto distribution: z = loc + scale * (e**(c E) - 1) / c, E standard exponential.

    Parameters
    ----------
    loc : array_like
        Where the support begins.
    scale : array_like
        > 0.
    concentration : array_like
        c: the tail falls as z**(-1/c) for c > 0 and exponentially for c = 0; for c < 0 the support ends at
        loc - scale / c. The event shape is what all three broadcast to.

    Notes
    -----
    E z**k is finite for k c < 1, and standard errors of it mean something for k c < 1/2. Normal noise, as for
    :class:`Pareto`.
    """

    constraints: ClassVar = {"loc": real, "scale": positive, "concentration": real}
    support = supports.interval("loc", _upper_end, closed=True, moving=("loc", "scale", "concentration"))
    chart = REAL

    def __init__(self, loc: ArrayLike, scale: ArrayLike, concentration: ArrayLike, *, batch_ndim: int = 0) -> None:
        super().__init__(loc=loc, scale=scale, concentration=concentration, batch_ndim=batch_ndim)

    @staticmethod
    def transform(eps: Any, *, loc: Any, scale: Any, concentration: Any) -> Any:
        """Transform normal noise to an exponential variable, and scale its tail."""
        exponential = -log_ndtr(-eps)
        return loc + scale * (exponential * _relative_expm1(concentration * exponential))

    @staticmethod
    def log_density(x: Any, *, loc: Any, scale: Any, concentration: Any) -> Any:
        """Return the log density of z, summed over the components."""
        y = about(x, loc) / scale
        t = concentration * y
        inside = (y >= 0) & (t > -1)
        y, t = np.where(inside, y, 0.0), np.where(inside, t, 0.0)
        return np.sum(np.where(inside, -np.log1p(t) - y * _relative_log1p(t) - np.log(scale), -np.inf))

    @staticmethod
    def entropy(*, loc: Any, scale: Any, concentration: Any) -> Any:
        """Return the entropy, summed over the components."""
        return np.sum(np.log(broadcast(scale, loc)) + concentration + 1.0)


SMALL = 0.03  # below, series: their derivatives do not cancel


def _relative_expm1(t: Any) -> Any:
    """(e**t - 1) / t, and 1 at 0."""
    small = np.abs(t) < SMALL
    s = np.where(small, t, 0.0)
    series = 1 + s * (1 / 2 + s * (1 / 6 + s * (1 / 24 + s * (1 / 120 + s * (1 / 720 + s * (1 / 5040 + s / 40320))))))
    safe = np.where(small, 1.0, t)
    return np.where(small, series, np.expm1(safe) / safe)


def _relative_log1p(t: Any) -> Any:
    """log(1 + t) / t, and 1 at 0."""
    small = np.abs(t) < SMALL
    s = np.where(small, t, 0.0)
    series: Any = 1 / 11
    for k in range(10, 0, -1):
        series = 1 / k - s * series
    safe = np.where(small, 1.0, t)
    return np.where(small, series, np.log1p(safe) / safe)
