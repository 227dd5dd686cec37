"""The Cauchy distribution and its half, with independent components."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from mcgrad.distributions import supports
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.charts import REAL, about
from mcgrad.distributions.constraints import positive, real
from mcgrad.distributions.divergence_forms import DivergenceForms, Params, positive_line, real_line
from mcgrad.distributions.shapes import broadcast
from mcgrad.functions.special import ndtr

LOG_4PI = math.log(4 * math.pi)


def _divergence(q: Params, p: Params) -> Any:
    """Chyzak and Nielsen 2019, *A closed-form formula for the KL divergence between Cauchy distributions*."""
    apart = np.square(q["scale"] - p["scale"]) + np.square(q["loc"] - p["loc"])
    return np.sum(np.log1p(apart / (4.0 * q["scale"]) / p["scale"]))


class Cauchy(Distribution):
    """Cauchy distribution: the quotient of two normals, shifted and scaled.

    Parameters
    ----------
    loc : array_like
        Median.
    scale : array_like
        Half of the distance between the quartiles, > 0. The event shape is what `loc` and `scale` broadcast to.

    Notes
    -----
    It has no mean: f has to grow more slowly than the square root of z for standard errors to mean something. The
    noise is normal rather than uniform, which in float32 takes the tails from 1e7 to 1e10 scales.
    """

    constraints: ClassVar = {"loc": real, "scale": positive}
    divergence_forms: ClassVar = DivergenceForms(within=_divergence, interval=real_line)
    support = supports.real
    chart = REAL

    def __init__(self, loc: ArrayLike = 0.0, scale: ArrayLike = 1.0, *, batch_ndim: int = 0) -> None:
        super().__init__(loc=loc, scale=scale, batch_ndim=batch_ndim)

    @staticmethod
    def transform(eps: Any, *, loc: Any, scale: Any) -> Any:
        """Return the quantile with the tail probability of the noise."""
        return loc + scale * (np.sign(eps) / np.tan(math.pi * ndtr(-np.abs(eps))))

    @staticmethod
    def log_density(x: Any, *, loc: Any, scale: Any) -> Any:
        """Return the log density of z, summed over the components."""
        return np.sum(-np.log1p(np.square(about(x, loc) / scale)) - np.log(math.pi * scale))

    @staticmethod
    def cdf(z: Any, *, loc: Any, scale: Any) -> Any:
        """Return the distribution function, element by element."""
        return np.arctan2(1.0, (loc - z) / scale) / math.pi

    @staticmethod
    def survival(z: Any, *, loc: Any, scale: Any) -> Any:
        """Return 1 - cdf, element by element."""
        return np.arctan2(1.0, (z - loc) / scale) / math.pi

    @staticmethod
    def entropy(*, loc: Any, scale: Any) -> Any:
        """Return the entropy, summed over the components."""
        return np.sum(np.log(broadcast(scale, loc)) + LOG_4PI)


def _half_divergence(q: Params, p: Params) -> Any:
    return np.sum(np.log1p(np.square(q["scale"] - p["scale"]) / (4.0 * q["scale"]) / p["scale"]))


class HalfCauchy(Distribution):
    """Distribution of the absolute value of a Cauchy variable around 0.

    Parameters
    ----------
    scale : array_like
        Median, > 0. The event shape is that of `scale`.

    Notes
    -----
    As for :class:`Cauchy`.
    """

    constraints: ClassVar = {"scale": positive}
    divergence_forms: ClassVar = DivergenceForms(within=_half_divergence, interval=positive_line)
    support = supports.nonnegative

    def __init__(self, scale: ArrayLike = 1.0, *, batch_ndim: int = 0) -> None:
        super().__init__(scale=scale, batch_ndim=batch_ndim)

    @staticmethod
    def transform(eps: Any, *, scale: Any) -> Any:
        """Return the quantile with the tail probability of the noise."""
        return scale * np.abs(1.0 / np.tan(math.pi * ndtr(-np.abs(eps))))  # rounding makes some tangents negative

    @staticmethod
    def log_density(z: Any, *, scale: Any) -> Any:
        """Return the log density at z, summed over the components."""
        inside = -np.log1p(np.square(z / scale)) - np.log(0.5 * math.pi * scale)
        return np.sum(np.where(z >= 0, inside, -np.inf))

    @staticmethod
    def cdf(z: Any, *, scale: Any) -> Any:
        """Return the distribution function, element by element."""
        return np.arctan(np.maximum(z, 0.0) / scale) * (2.0 / math.pi)

    @staticmethod
    def survival(z: Any, *, scale: Any) -> Any:
        """Return 1 - cdf, element by element."""
        return np.arctan2(1.0, np.maximum(z, 0.0) / scale) * (2.0 / math.pi)

    @staticmethod
    def entropy(*, scale: Any) -> Any:
        """Return the entropy, summed over the components."""
        return np.sum(np.log(2.0 * math.pi * scale))
