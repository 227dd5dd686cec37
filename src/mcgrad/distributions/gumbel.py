"""The Gumbel distribution, with independent components."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike

from mcgrad.distributions import supports
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.charts import REAL, about
from mcgrad.distributions.constraints import positive, real
from mcgrad.distributions.divergence_forms import DivergenceForms, real_line
from mcgrad.distributions.divergence_gamma import gumbel
from mcgrad.distributions.shapes import broadcast
from mcgrad.functions.gamma import EULER


class Gumbel(Distribution):
    """Gumbel distribution, of maxima: z = loc - scale * log(-log u).

    Parameters
    ----------
    loc : array_like
        Mode.
    scale : array_like
        > 0. The event shape is what `loc` and `scale` broadcast to.

    Notes
    -----
    E z = loc + 0.5772 scale. In float32 draws are at most loc + 16.6 scale.
    """

    constraints: ClassVar = {"loc": real, "scale": positive}
    divergence_forms: ClassVar = DivergenceForms(
        within=gumbel,
        interval=real_line,
        moments=lambda q: (q["loc"] + EULER * q["scale"], np.square(q["scale"]) * (math.pi**2 / 6)),
    )
    support = supports.real
    chart = REAL
    noise_kind: ClassVar[Literal["normal", "uniform"]] = "uniform"

    def __init__(self, loc: ArrayLike = 0.0, scale: ArrayLike = 1.0, *, batch_ndim: int = 0) -> None:
        super().__init__(loc=loc, scale=scale, batch_ndim=batch_ndim)

    @staticmethod
    def transform(eps: Any, *, loc: Any, scale: Any) -> Any:
        """Take two logarithms of noise on (0, 1)."""
        return loc - scale * np.log(-np.log(eps))

    @staticmethod
    def log_density(x: Any, *, loc: Any, scale: Any) -> Any:
        """Return the log density of z, summed over the components."""
        y = about(x, loc) / scale
        return np.sum(-y - np.exp(-y) - np.log(scale))

    @staticmethod
    def cdf(z: Any, *, loc: Any, scale: Any) -> Any:
        """Return the distribution function, element by element."""
        return np.exp(-np.exp((loc - z) / scale))

    @staticmethod
    def survival(z: Any, *, loc: Any, scale: Any) -> Any:
        """Return 1 - cdf, element by element."""
        return -np.expm1(-np.exp((loc - z) / scale))

    @staticmethod
    def entropy(*, loc: Any, scale: Any) -> Any:
        """Return the entropy, summed over the components."""
        return np.sum(np.log(broadcast(scale, loc)) + (1.0 + EULER))
