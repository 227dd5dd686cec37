"""The half-normal distribution, with independent components."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from mcgrad.distributions import supports
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.constraints import positive
from mcgrad.distributions.decompositions import maxwell
from mcgrad.distributions.divergence_forms import CrossEntropy, DivergenceForms, Params, positive_line
from mcgrad.distributions.divergence_normal import half_normal
from mcgrad.distributions.normal import HALF_LOG_2PI
from mcgrad.functions.special import erf, erfc

SQRT_HALF = math.sqrt(0.5)
HALF_LOG_2_OVER_PI = 0.5 * math.log(2 / math.pi)


def _split_scale(z: Any, u: Any, *, scale: Any) -> Any:
    return 1.0 / scale, scale * maxwell(z / scale, u), z


def _cross_entropy(p: Params, moments: tuple[Any, Any]) -> Any:
    mean, variance = moments
    return 0.5 * (variance + np.square(mean)) / np.square(p["scale"]) + np.log(p["scale"]) + HALF_LOG_2PI - math.log(2)


class HalfNormal(Distribution):
    """Distribution of the absolute value of a normal variable around 0: z = scale * |eps|.

    Parameters
    ----------
    scale : array_like
        Standard deviation of the normal, > 0. The event shape is that of `scale`.
    """

    constraints: ClassVar = {"scale": positive}
    decompositions: ClassVar = {"scale": _split_scale}
    divergence_forms: ClassVar = DivergenceForms(
        within=half_normal,
        interval=positive_line,
        moments=lambda q: (q["scale"] * math.sqrt(2 / math.pi), np.square(q["scale"]) * (1 - 2 / math.pi)),
        cross_entropy=CrossEntropy(("moments",), _cross_entropy),
        power=lambda x: (0.5, 2.0, np.log(x["scale"]) + 0.5 * math.log(2.0)),
    )
    support = supports.nonnegative

    def __init__(self, scale: ArrayLike = 1.0, *, batch_ndim: int = 0) -> None:
        super().__init__(scale=scale, batch_ndim=batch_ndim)

    @staticmethod
    def transform(eps: Any, *, scale: Any) -> Any:
        """Scale the size of standard normal noise."""
        return scale * np.abs(eps)

    @staticmethod
    def log_density(z: Any, *, scale: Any) -> Any:
        """Return the log density at z, summed over the components."""
        inside = -0.5 * np.square(z / scale) - np.log(scale) + HALF_LOG_2_OVER_PI
        return np.sum(np.where(z >= 0, inside, -np.inf))

    @staticmethod
    def cdf(z: Any, *, scale: Any) -> Any:
        """Return the distribution function, element by element."""
        return erf(np.maximum(z, 0.0) / scale * SQRT_HALF)

    @staticmethod
    def survival(z: Any, *, scale: Any) -> Any:
        """Return 1 - cdf, element by element."""
        return erfc(np.maximum(z, 0.0) / scale * SQRT_HALF)

    @staticmethod
    def entropy(*, scale: Any) -> Any:
        """Return the entropy, summed over the components."""
        return np.sum(np.log(scale) + (0.5 - HALF_LOG_2_OVER_PI))
