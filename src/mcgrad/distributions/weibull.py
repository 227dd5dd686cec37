"""The Weibull distribution, with independent components."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike

from mcgrad.distributions import supports
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.charts import LOG, SPAN, about, shifted, total
from mcgrad.distributions.constraints import positive
from mcgrad.distributions.divergence_forms import DivergenceForms, Params, positive_line
from mcgrad.functions.gamma import EULER
from mcgrad.functions.special import gammaln


def _split_scale(z: Any, u: Any, *, concentration: Any, scale: Any) -> Any:
    power = np.power(z / scale, concentration) - np.log(u)
    return concentration / scale, scale * np.power(power, 1.0 / concentration), z


def _moments(q: Params) -> tuple[Any, Any]:
    log_scale, k = np.log(q["scale"]), q["concentration"]
    mean = np.exp(log_scale + gammaln(1.0 + 1.0 / k))
    return mean, np.exp(2.0 * log_scale + gammaln(1.0 + 2.0 / k)) - np.square(mean)


class Weibull(Distribution):
    """Weibull distribution: z = scale * E**(1 / concentration), E standard exponential.

    Parameters
    ----------
    scale : array_like
        > 0.
    concentration : array_like
        The shape, > 0. The event shape is what `scale` and `concentration` broadcast to.
    """

    constraints: ClassVar = {"scale": positive, "concentration": positive}
    decompositions: ClassVar = {"scale": _split_scale}
    divergence_forms: ClassVar = DivergenceForms(
        interval=positive_line,
        moments=_moments,
        log_mean=lambda q: np.log(q["scale"]) - EULER / q["concentration"],
        log_variance=lambda q: math.pi**2 / 6 / np.square(q["concentration"]),
        power=lambda x: (1.0, x["concentration"], np.log(x["scale"])),
        weibull=lambda x: (x["concentration"], np.log(x["scale"])),
    )
    support = supports.positive
    noise_kind: ClassVar[Literal["normal", "uniform"]] = "uniform"
    chart = LOG

    def __init__(self, scale: ArrayLike, concentration: ArrayLike, *, batch_ndim: int = 0) -> None:
        super().__init__(scale=scale, concentration=concentration, batch_ndim=batch_ndim)

    @staticmethod
    def transform(eps: Any, *, scale: Any, concentration: Any) -> Any:
        """Raise an exponential to a power."""
        return scale * (-np.log(eps)) ** (1.0 / concentration)

    @staticmethod
    def coordinates(eps: Any, *, scale: Any, concentration: Any) -> Any:
        """Return log z."""
        return shifted(np.log(-np.log(eps)) / concentration, np.log(scale))

    @staticmethod
    def log_density(x: Any, *, scale: Any, concentration: Any) -> Any:
        """Return the log density of z, summed over the components."""
        log_hazard = concentration * about(x, np.log(scale))
        return np.sum(np.log(concentration) + log_hazard - np.exp(log_hazard) - total(x))

    @staticmethod
    def cdf(z: Any, *, scale: Any, concentration: Any) -> Any:
        """Return the distribution function, element by element."""
        return -np.expm1(-_hazard(z, scale, concentration))

    @staticmethod
    def survival(z: Any, *, scale: Any, concentration: Any) -> Any:
        """Return 1 - cdf, element by element."""
        return np.exp(-_hazard(z, scale, concentration))

    @staticmethod
    def rarity(*, scale: Any, concentration: Any) -> Any:
        """Return about the probability of a draw that is neither 0 nor infinite, for small concentrations."""
        return dict.fromkeys(("scale", "concentration"), SPAN * concentration)

    @staticmethod
    def entropy(*, scale: Any, concentration: Any) -> Any:
        """Return the entropy, summed over the components."""
        return np.sum(EULER * (1.0 - 1.0 / concentration) + np.log(scale / concentration) + 1.0)


def _hazard(z: Any, scale: Any, concentration: Any) -> Any:
    """(z / scale)**concentration, and 0 below 0."""
    inside = z > 0
    return np.where(inside, np.exp(concentration * np.log(np.where(inside, z / scale, 1.0))), 0.0)
