"""The Pareto distribution, with independent components."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from mcgrad.distributions import supports
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.charts import LOG, about, shifted, total
from mcgrad.distributions.constraints import positive
from mcgrad.distributions.divergence_forms import CrossEntropy, DivergenceForms, Params
from mcgrad.functions.gamma import log_excess
from mcgrad.functions.special import log_ndtr


def _divergence(q: Params, p: Params) -> Any:
    inside = q["scale"] >= p["scale"]
    ours, theirs = q["alpha"], p["alpha"]
    heights = log_excess(theirs / ours, (theirs - ours) / ours)
    starts = theirs * np.log(np.where(inside, q["scale"] / p["scale"], 1.0))
    return np.sum(np.where(inside, heights + starts, np.inf))


def _moments(q: Params) -> tuple[Any, Any]:
    scale, alpha = q["scale"], q["alpha"]
    one = scale / np.where(alpha > 1.0, alpha - 1.0, 1.0)
    variance = np.square(one) * alpha / np.where(alpha > 2.0, alpha - 2.0, 1.0)
    return np.where(alpha > 1.0, one * alpha, np.inf), np.where(alpha > 2.0, variance, np.inf)


def _cross_entropy(p: Params, log_mean: Any) -> Any:
    return log_mean - np.log(p["alpha"]) + p["alpha"] * (log_mean - np.log(p["scale"]))


class Pareto(Distribution):
    """Pareto distribution: z = scale * e**(E / alpha), E standard exponential.

    Parameters
    ----------
    scale : array_like
        Where the support begins, > 0.
    alpha : array_like
        The tail's exponent, > 0. The event shape is what `scale` and `alpha` broadcast to.

    Notes
    -----
    E z**k is finite for k < alpha, and standard errors of it mean something for k < alpha / 2. The noise is normal
    rather than uniform: in float32 the tail begins to lack at a probability of 3e-11 instead of 6e-8.
    """

    constraints: ClassVar = {"scale": positive, "alpha": positive}
    divergence_forms: ClassVar = DivergenceForms(
        within=_divergence,
        interval=lambda q: (q["scale"], np.inf),
        moments=_moments,
        log_mean=lambda q: np.log(q["scale"]) + 1.0 / q["alpha"],
        log_variance=lambda q: 1.0 / np.square(q["alpha"]),
        cross_entropy=CrossEntropy(("log_mean",), _cross_entropy),
    )
    support = supports.interval("scale", closed=True)
    chart = LOG

    def __init__(self, scale: ArrayLike, alpha: ArrayLike, *, batch_ndim: int = 0) -> None:
        super().__init__(scale=scale, alpha=alpha, batch_ndim=batch_ndim)

    @staticmethod
    def transform(eps: Any, *, scale: Any, alpha: Any) -> Any:
        """Transform normal noise to an exponential variable, and exponentiate."""
        return scale * np.exp(-log_ndtr(-eps) / alpha)

    @staticmethod
    def coordinates(eps: Any, *, scale: Any, alpha: Any) -> Any:
        """Return log z."""
        return shifted(-log_ndtr(-eps) / alpha, np.log(scale))

    @staticmethod
    def log_density(x: Any, *, scale: Any, alpha: Any) -> Any:
        """Return the log density of z, summed over the components."""
        log_y = about(x, np.log(scale))
        return np.sum(np.where(log_y >= 0, np.log(alpha) - alpha * log_y - total(x), -np.inf))

    @staticmethod
    def entropy(*, scale: Any, alpha: Any) -> Any:
        """Return the entropy, summed over the components."""
        return np.sum(np.log(scale / alpha) + 1.0 / alpha + 1.0)
