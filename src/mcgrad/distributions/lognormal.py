"""The log-normal distribution with independent components."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from mcgrad.distributions import supports
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.charts import LOG, SPAN, about, shifted, total
from mcgrad.distributions.constraints import positive, real
from mcgrad.distributions.decompositions import SQRT_2PI, maxwell, rayleigh
from mcgrad.distributions.divergence_forms import CrossEntropy, DivergenceForms, Params, positive_line
from mcgrad.distributions.divergence_normal import normal as normal_divergence
from mcgrad.distributions.normal import HALF_LOG_2PI, cross_entropy as normal_cross_entropy
from mcgrad.functions.special import ndtr


def _split_loc(z: Any, u: Any, *, loc: Any, scale: Any) -> Any:
    step = scale * rayleigh(u)
    return 1.0 / (SQRT_2PI * scale), np.exp(loc + step), np.exp(loc - step)


def _split_scale(z: Any, u: Any, *, loc: Any, scale: Any) -> Any:
    return 1.0 / scale, np.exp(loc + scale * maxwell((np.log(z) - loc) / scale, u)), z


def _moments(q: Params) -> tuple[Any, Any]:
    mean = np.exp(q["loc"] + 0.5 * np.square(q["scale"]))
    return mean, np.square(mean) * np.expm1(np.square(q["scale"]))


def _cross_entropy(p: Params, log_mean: Any, log_variance: Any) -> Any:
    return normal_cross_entropy(p, (log_mean, log_variance)) + log_mean


class LogNormal(Distribution):
    """Distribution of the exponential of a normal variable: z = exp(loc + scale * eps).

    Parameters
    ----------
    loc : array_like
        Mean of log z.
    scale : array_like
        Standard deviation of log z, > 0. The event shape is what `loc` and `scale` broadcast to.

    Notes
    -----
    E z = exp(loc + scale**2 / 2). The density is zero at z <= 0.
    """

    constraints: ClassVar = {"loc": real, "scale": positive}
    decompositions: ClassVar = {"loc": _split_loc, "scale": _split_scale}
    divergence_forms: ClassVar = DivergenceForms(
        within=normal_divergence,
        interval=positive_line,
        moments=_moments,
        log_mean=lambda q: q["loc"],
        cross_entropy=CrossEntropy(("log_mean", "log_variance"), _cross_entropy),
    )
    support = supports.positive
    chart = LOG

    def __init__(self, loc: ArrayLike = 0.0, scale: ArrayLike = 1.0, *, batch_ndim: int = 0) -> None:
        super().__init__(loc=loc, scale=scale, batch_ndim=batch_ndim)

    @staticmethod
    def transform(eps: Any, *, loc: Any, scale: Any) -> Any:
        """Exponentiate shifted and scaled standard normal noise."""
        return np.exp(loc + scale * eps)

    @staticmethod
    def rarity(*, loc: Any, scale: Any) -> Any:
        """Return about the probability of a draw that is not at an end, for large scales."""
        return dict.fromkeys(("loc", "scale"), SPAN / scale)

    @staticmethod
    def coordinates(eps: Any, *, loc: Any, scale: Any) -> Any:
        """Return log z."""
        return shifted(scale * eps, loc)

    @staticmethod
    def log_density(x: Any, *, loc: Any, scale: Any) -> Any:
        """Return the log density of z, summed over the components."""
        return np.sum(-0.5 * np.square(about(x, loc) / scale) - np.log(scale) - HALF_LOG_2PI - total(x))

    @staticmethod
    def cdf(z: Any, *, loc: Any, scale: Any) -> Any:
        """Return the distribution function, element by element."""
        log_z = np.log(np.maximum(z, 0.0))
        return ndtr((log_z - loc) / scale)

    @staticmethod
    def survival(z: Any, *, loc: Any, scale: Any) -> Any:
        """Return 1 - cdf, element by element."""
        log_z = np.log(np.maximum(z, 0.0))
        return ndtr((loc - log_z) / scale)

    @staticmethod
    def entropy(*, loc: Any, scale: Any) -> Any:
        """Return the entropy, summed over the components: the normal's, and the mean of log z."""
        return np.sum(np.log(scale) + loc + (0.5 + HALF_LOG_2PI))
