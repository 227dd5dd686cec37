"""The Laplace distribution, with independent components."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike

from mcgrad.distributions import supports
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.charts import REAL, about
from mcgrad.distributions.constraints import positive, real
from mcgrad.distributions.divergence_forms import DivergenceForms, Params, real_line
from mcgrad.distributions.shapes import broadcast
from mcgrad.functions.gamma import exp_excess, log_excess

LOG_2 = math.log(2)


def _split_loc(z: Any, u: Any, *, loc: Any, scale: Any) -> Any:
    step = -scale * np.log(u)
    return 0.5 / scale, loc + step, loc - step


def _split_scale(z: Any, u: Any, *, loc: Any, scale: Any) -> Any:
    step = -scale * np.log(u)
    return 1.0 / scale, z + np.where(z < loc, -step, step), z


def _divergence(q: Params, p: Params) -> Any:
    ours, theirs = q["scale"], p["scale"]
    ratio, apart = ours / theirs, np.abs(q["loc"] - p["loc"]) / ours
    return np.sum(log_excess(ratio, (ours - theirs) / theirs) + ratio * exp_excess(-apart))


class Laplace(Distribution):
    """Laplace distribution: an exponential on either side of loc.

    Parameters
    ----------
    loc : array_like
        Mean and median.
    scale : array_like
        Mean distance from `loc`, > 0. The event shape is what `loc` and `scale` broadcast to.
    """

    constraints: ClassVar = {"loc": real, "scale": positive}
    decompositions: ClassVar = {"loc": _split_loc, "scale": _split_scale}
    divergence_forms: ClassVar = DivergenceForms(
        within=_divergence, interval=real_line, moments=lambda q: (q["loc"], 2.0 * np.square(q["scale"]))
    )
    support = supports.real
    has_crease = True
    chart = REAL
    noise_kind: ClassVar[Literal["normal", "uniform"]] = "uniform"

    def __init__(self, loc: ArrayLike = 0.0, scale: ArrayLike = 1.0, *, batch_ndim: int = 0) -> None:
        super().__init__(loc=loc, scale=scale, batch_ndim=batch_ndim)

    @staticmethod
    def transform(eps: Any, *, loc: Any, scale: Any) -> Any:
        """Take the logarithm of the nearer tail, so that both tails are equally fine."""
        tail = np.minimum(eps, 1.0 - eps)
        return loc - scale * (np.sign(eps - 0.5) * np.log(2.0 * tail))

    @staticmethod
    def log_density(x: Any, *, loc: Any, scale: Any) -> Any:
        """Return the log density of z, summed over the components."""
        return np.sum(-np.abs(about(x, loc)) / scale - np.log(2.0 * scale))

    @staticmethod
    def cdf(z: Any, *, loc: Any, scale: Any) -> Any:
        """Return the distribution function, element by element."""
        tail = 0.5 * np.exp(-np.abs(z - loc) / scale)
        return np.where(z < loc, tail, 1.0 - tail)

    @staticmethod
    def survival(z: Any, *, loc: Any, scale: Any) -> Any:
        """Return 1 - cdf, element by element."""
        tail = 0.5 * np.exp(-np.abs(z - loc) / scale)
        return np.where(z < loc, 1.0 - tail, tail)

    @staticmethod
    def entropy(*, loc: Any, scale: Any) -> Any:
        """Return the entropy, summed over the components."""
        return np.sum(np.log(broadcast(scale, loc)) + (1.0 + LOG_2))
