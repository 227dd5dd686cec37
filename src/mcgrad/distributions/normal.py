"""The normal distribution with independent components."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from mcgrad.distributions import supports
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.charts import REAL, about
from mcgrad.distributions.constraints import positive, real
from mcgrad.distributions.decompositions import SQRT_2PI, maxwell, rayleigh
from mcgrad.distributions.divergence_forms import CrossEntropy, DivergenceForms, Params, real_line
from mcgrad.distributions.divergence_normal import normal as normal_divergence
from mcgrad.functions.special import ndtr

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def _split_loc(z: Any, u: Any, *, loc: Any, scale: Any) -> Any:
    step = scale * rayleigh(u)
    return 1.0 / (SQRT_2PI * scale), loc + step, loc - step


def _split_scale(z: Any, u: Any, *, loc: Any, scale: Any) -> Any:
    return 1.0 / scale, loc + scale * maxwell((z - loc) / scale, u), z


def cross_entropy(p: Params, moments: tuple[Any, Any]) -> Any:
    """Return -E log p of a normal density p, by mean and variance."""
    mean, variance = moments
    square = (variance + np.square(mean - p["loc"])) / np.square(p["scale"])
    return 0.5 * square + np.log(p["scale"]) + HALF_LOG_2PI


@dataclass(frozen=True)
class _Vector:
    """A vector of d independent components."""

    loc: Any
    scale: Any
    d: int
    is_triangular: ClassVar[bool] = True

    def factor(self) -> Any:
        return np.where(np.eye(self.d) > 0, self.diagonal(), 0.0)

    def diagonal(self) -> Any:
        return np.broadcast_to(self.scale, (self.d,))

    def whitened(self, columns: Any) -> Any:
        return columns / (self.scale if columns.ndim == 1 or np.ndim(self.scale) == 0 else self.scale[:, None])

    def half_log_determinant(self) -> Any:
        return np.sum(np.log(self.diagonal()))


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
    divergence_forms: ClassVar = DivergenceForms(
        within=normal_divergence,
        interval=real_line,
        moments=lambda q: (q["loc"], np.square(q["scale"])),
        cross_entropy=CrossEntropy(("moments",), cross_entropy),
        vector=lambda x, d: _Vector(x["loc"], x["scale"], d),
    )
    support = supports.real
    chart = REAL

    def __init__(self, loc: ArrayLike = 0.0, scale: ArrayLike = 1.0, *, batch_ndim: int = 0) -> None:
        super().__init__(loc=loc, scale=scale, batch_ndim=batch_ndim)

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
