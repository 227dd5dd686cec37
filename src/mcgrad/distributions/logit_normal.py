"""The logit-normal distribution, with independent components."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from mcgrad.distributions import supports
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.charts import LOGIT, SPAN, about, shifted, total
from mcgrad.distributions.constraints import positive, real
from mcgrad.distributions.divergence_forms import DivergenceForms, unit_interval
from mcgrad.distributions.divergence_normal import normal as normal_divergence
from mcgrad.distributions.normal import HALF_LOG_2PI
from mcgrad.functions.special import expit, log_expit, ndtr


class LogitNormal(Distribution):
    """Distribution on (0, 1) of the logistic function of a normal variable: z = expit(loc + scale * eps).

    Parameters
    ----------
    loc : array_like
        Mean of logit z.
    scale : array_like
        Standard deviation of logit z, > 0. The event shape is what `loc` and `scale` broadcast to.
    """

    constraints: ClassVar = {"loc": real, "scale": positive}
    divergence_forms: ClassVar = DivergenceForms(within=normal_divergence, interval=unit_interval)
    support = supports.unit_interval
    chart = LOGIT

    def __init__(self, loc: ArrayLike = 0.0, scale: ArrayLike = 1.0, *, batch_ndim: int = 0) -> None:
        super().__init__(loc=loc, scale=scale, batch_ndim=batch_ndim)

    @staticmethod
    def transform(eps: Any, *, loc: Any, scale: Any) -> Any:
        """Return the logistic function of shifted and scaled standard normal noise."""
        return expit(loc + scale * eps)

    @staticmethod
    def rarity(*, loc: Any, scale: Any) -> Any:
        """Return about the probability of a draw that is not at an end, for large scales."""
        return dict.fromkeys(("loc", "scale"), SPAN / scale)

    @staticmethod
    def coordinates(eps: Any, *, loc: Any, scale: Any) -> Any:
        """Return the log odds of z."""
        return shifted(scale * eps, loc)

    @staticmethod
    def log_density(x: Any, *, loc: Any, scale: Any) -> Any:
        """Return the log density of z, summed over the components."""
        odds = total(x)
        normal = -0.5 * np.square(about(x, loc) / scale) - np.log(scale) - HALF_LOG_2PI
        return np.sum(normal - log_expit(odds) - log_expit(-odds))

    @staticmethod
    def cdf(z: Any, *, loc: Any, scale: Any) -> Any:
        """Return the distribution function, element by element."""
        return ndtr(_quantile(z, loc, scale))

    @staticmethod
    def survival(z: Any, *, loc: Any, scale: Any) -> Any:
        """Return 1 - cdf, element by element."""
        return ndtr(-_quantile(z, loc, scale))


def _quantile(z: Any, loc: Any, scale: Any) -> Any:
    """The standard normal's, of the same probability."""
    inside = (z > 0) & (z < 1)
    safe = np.where(inside, z, 0.5)
    found = (np.log(safe) - np.log1p(-safe) - loc) / scale
    return np.where(inside, found, np.where(z < 0.5, -np.inf, np.inf))
