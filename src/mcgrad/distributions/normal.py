"""The normal distribution with independent components."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from mcgrad.distributions import supports
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.charts import REAL, about
from mcgrad.distributions.constraints import positive, real
from mcgrad.distributions.decompositions import SQRT_2PI, maxwell, rayleigh
from mcgrad.functions.special import ndtr

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def _split_loc(z: Any, u: Any, *, loc: Any, scale: Any) -> Any:
    step = scale * rayleigh(u)
    return 1.0 / (SQRT_2PI * scale), loc + step, loc - step


def _split_scale(z: Any, u: Any, *, loc: Any, scale: Any) -> Any:
    return 1.0 / scale, loc + scale * maxwell((z - loc) / scale, u), z


class Normal(Distribution):
    """Normal distribution with independent components: z = loc + scale * eps.

    Parameters
    ----------
    loc : array_like
        Mean.
    scale : array_like
        Standard deviation, > 0. The event shape is what `loc` and `scale` broadcast to.
    """

    constraints: ClassVar = {"loc": real, "scale": positive}
    decompositions: ClassVar = {"loc": _split_loc, "scale": _split_scale}
    support = supports.real
    chart = REAL

    def __init__(self, loc: ArrayLike = 0.0, scale: ArrayLike = 1.0) -> None:
        super().__init__(loc=loc, scale=scale)

    @staticmethod
    def transform(eps: Any, *, loc: Any, scale: Any) -> Any:
        """Shift and scale standard normal noise."""
        return loc + scale * eps

    @staticmethod
    def log_density(x: Any, *, loc: Any, scale: Any) -> Any:
        """Return the log density of z, summed over the components."""
        return np.sum(-0.5 * np.square(about(x, loc) / scale) - np.log(scale) - HALF_LOG_2PI)

    @staticmethod
    def cdf(z: Any, *, loc: Any, scale: Any) -> Any:
        """Return the distribution function, element by element."""
        return ndtr((z - loc) / scale)

    @staticmethod
    def survival(z: Any, *, loc: Any, scale: Any) -> Any:
        """Return 1 - cdf, element by element."""
        return ndtr((loc - z) / scale)

    @staticmethod
    def entropy(*, loc: Any, scale: Any) -> Any:
        """Return the entropy, summed over the components."""
        log_scale = np.broadcast_to(np.log(scale), np.broadcast_shapes(np.shape(loc), np.shape(scale)))
        return np.sum(log_scale + (0.5 + HALF_LOG_2PI))
