"""The exponential distribution, with independent components."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike

from mcgrad.distributions import supports
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.constraints import positive
from mcgrad.distributions.divergence_forms import CrossEntropy, DivergenceForms, positive_line
from mcgrad.functions.gamma import EULER


def _split_rate(z: Any, u: Any, *, rate: Any) -> Any:
    return 1.0 / rate, z, z - np.log(u) / rate


class Exponential(Distribution):
    """Exponential distribution: z = -log(u) / rate.

    Parameters
    ----------
    rate : array_like
        Inverse of the mean, > 0. The event shape is that of `rate`.

    Notes
    -----
    A uniform has 24 bits in float32, so the largest draw there is 17.3 / rate, and 37.4 / rate in float64.
    """

    constraints: ClassVar = {"rate": positive}
    decompositions: ClassVar = {"rate": _split_rate}
    divergence_forms: ClassVar = DivergenceForms(
        interval=positive_line,
        moments=lambda q: (1.0 / q["rate"], 1.0 / np.square(q["rate"])),
        log_mean=lambda q: -EULER - np.log(q["rate"]),
        log_variance=lambda q: math.pi**2 / 6,
        cross_entropy=CrossEntropy(("moments",), lambda p, moments: p["rate"] * moments[0] - np.log(p["rate"])),
        power=lambda x: (1.0, 1.0, -np.log(x["rate"])),
        gamma=lambda x: (1.0, x["rate"]),
        weibull=lambda x: (1.0, -np.log(x["rate"])),
    )
    support = supports.nonnegative
    noise_kind: ClassVar[Literal["normal", "uniform"]] = "uniform"

    def __init__(self, rate: ArrayLike = 1.0, *, batch_ndim: int = 0) -> None:
        super().__init__(rate=rate, batch_ndim=batch_ndim)

    @staticmethod
    def transform(eps: Any, *, rate: Any) -> Any:
        """Take the logarithm of noise on (0, 1)."""
        return -np.log(eps) / rate

    @staticmethod
    def log_density(z: Any, *, rate: Any) -> Any:
        """Return the log density at z, summed over the components."""
        return np.sum(np.where(z >= 0, np.log(rate) - rate * z, -np.inf))

    @staticmethod
    def cdf(z: Any, *, rate: Any) -> Any:
        """Return the distribution function, element by element."""
        return -np.expm1(-rate * np.maximum(z, 0.0))

    @staticmethod
    def survival(z: Any, *, rate: Any) -> Any:
        """Return 1 - cdf, element by element."""
        return np.exp(-rate * np.maximum(z, 0.0))

    @staticmethod
    def entropy(*, rate: Any) -> Any:
        """Return the entropy, summed over the components."""
        return np.sum(1.0 - np.log(rate))
