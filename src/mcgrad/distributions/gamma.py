"""The gamma distribution and two that are made of it, with independent components."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from mcgrad.distributions import supports
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.charts import LOG, SPAN, about, shifted, total
from mcgrad.distributions.constraints import positive
from mcgrad.distributions.divergence_forms import CrossEntropy, DivergenceForms, Params, positive_line
from mcgrad.distributions.divergence_gamma import inverse_gamma
from mcgrad.functions.gamma import gamma_log_ratio, log_below_one, log_height, log_height_slope
from mcgrad.functions.special import digamma, gammaln


def _split_rate(z: Any, u: Any, *, concentration: Any, rate: Any) -> Any:
    return concentration / rate, z, z - np.log(u) / rate


def _cross_entropy(mean: Any, log_mean: Any, a: Any, rate: Any) -> Any:
    return rate * mean - (a - 1.0) * log_mean - a * np.log(rate) + gammaln(a)


class Gamma(Distribution):
    """Gamma distribution: density rate**a z**(a - 1) exp(-rate z) / Gamma(a), a being the concentration.

    Parameters
    ----------
    concentration : array_like
        a > 0.
    rate : array_like
        > 0. The event shape is what both broadcast to.

    Notes
    -----
    z is the quantile at Phi(eps), so draws move smoothly with the concentration, by the implicit derivative: see
    :func:`mcgrad.functions.gamma.gamma_log_ratio`. What is smaller than any number of the dtype, as most draws of a
    concentration of 1e-6 are, becomes the smallest one; the density is computed from its logarithm.
    """

    constraints: ClassVar = {"concentration": positive, "rate": positive}
    decompositions: ClassVar = {"rate": _split_rate}
    divergence_forms: ClassVar = DivergenceForms(
        interval=positive_line,
        moments=lambda q: (q["concentration"] / q["rate"], q["concentration"] / np.square(q["rate"])),
        cross_entropy=CrossEntropy(
            ("moments", "log_mean"),
            lambda p, moments, log_mean: _cross_entropy(moments[0], log_mean, p["concentration"], p["rate"]),
        ),
        power=lambda x: (x["concentration"], 1.0, -np.log(x["rate"])),
        gamma=lambda x: (x["concentration"], x["rate"]),
    )
    support = supports.positive
    chart = LOG

    def __init__(self, concentration: ArrayLike, rate: ArrayLike = 1.0, *, batch_ndim: int = 0) -> None:
        super().__init__(concentration=concentration, rate=rate, batch_ndim=batch_ndim)

    @staticmethod
    def transform(eps: Any, *, concentration: Any, rate: Any) -> Any:
        """Take the quantile at standard normal noise."""
        z = np.exp(gamma_log_ratio(concentration, eps)) * ((1.0 + concentration) / rate)
        return np.nextafter(z, np.inf)

    @staticmethod
    def coordinates(eps: Any, *, concentration: Any, rate: Any) -> Any:
        """Return log z."""
        return shifted(gamma_log_ratio(concentration, eps), np.log((1.0 + concentration) / rate))

    @staticmethod
    def log_density(x: Any, *, concentration: Any, rate: Any) -> Any:
        """Return the log density of z, summed over the components."""
        return np.sum(log_mass(about(x, np.log(concentration / rate)), concentration) - total(x))

    @staticmethod
    def rarity(*, concentration: Any, rate: Any) -> Any:
        """Return about the probability of a draw that is not 0, for small concentrations."""
        return {"concentration": SPAN * concentration}

    @staticmethod
    def entropy(*, concentration: Any, rate: Any) -> Any:
        """Return the entropy, summed over the components."""
        return np.sum(gamma_entropy(concentration) - np.log(rate))


class Chi2(Distribution):
    """Chi-squared distribution: Gamma(df/2, 1/2).

    Parameters
    ----------
    df : array_like
        Degrees of freedom, > 0; not only whole numbers. The event shape is that of `df`.
    """

    constraints: ClassVar = {"df": positive}
    divergence_forms: ClassVar = DivergenceForms(
        interval=positive_line,
        moments=lambda q: (q["df"], 2.0 * q["df"]),
        cross_entropy=CrossEntropy(
            ("moments", "log_mean"),
            lambda p, moments, log_mean: _cross_entropy(moments[0], log_mean, 0.5 * p["df"], 0.5),
        ),
        power=lambda x: (0.5 * x["df"], 1.0, math.log(2.0)),
        gamma=lambda x: (0.5 * x["df"], 0.5),
    )
    support = supports.positive
    chart = LOG

    def __init__(self, df: ArrayLike, *, batch_ndim: int = 0) -> None:
        super().__init__(df=df, batch_ndim=batch_ndim)

    @staticmethod
    def transform(eps: Any, *, df: Any) -> Any:
        """Take the quantile at standard normal noise."""
        return Gamma.transform(eps, concentration=0.5 * df, rate=0.5)

    @staticmethod
    def coordinates(eps: Any, *, df: Any) -> Any:
        """Return log z."""
        return Gamma.coordinates(eps, concentration=0.5 * df, rate=0.5)

    @staticmethod
    def log_density(x: Any, *, df: Any) -> Any:
        """Return the log density of z, summed over the components."""
        return Gamma.log_density(x, concentration=0.5 * df, rate=0.5)

    @staticmethod
    def rarity(*, df: Any) -> Any:
        """Return the rarity of the gamma variable."""
        return {"df": 0.5 * SPAN * df}

    @staticmethod
    def entropy(*, df: Any) -> Any:
        """Return the entropy, summed over the components."""
        return Gamma.entropy(concentration=0.5 * df, rate=0.5)


def _split_inverse_rate(z: Any, u: Any, *, concentration: Any, rate: Any) -> Any:
    return concentration / rate, z, 1.0 / (1.0 / z - np.log(u) / rate)


def _inverse_moments(q: Params) -> tuple[Any, Any]:
    a, rate = q["concentration"], q["rate"]
    mean = rate / np.where(a > 1.0, a - 1.0, 1.0)
    variance = np.square(mean) / np.where(a > 2.0, a - 2.0, 1.0)
    return np.where(a > 1.0, mean, np.inf), np.where(a > 2.0, variance, np.inf)


class InverseGamma(Distribution):
    """Distribution of 1/x for a gamma variable x: density rate**a z**(-a - 1) exp(-rate/z) / Gamma(a).

    Parameters
    ----------
    concentration : array_like
        a > 0.
    rate : array_like
        > 0, the scale of z. The event shape is what both broadcast to.

    Notes
    -----
    E z is infinite for a concentration of 1 and below. Below about 0.1 in float32 and 0.01 in float64 some draws are
    larger than any number of the dtype: these are infinite, and counted as such.
    """

    constraints: ClassVar = {"concentration": positive, "rate": positive}
    decompositions: ClassVar = {"rate": _split_inverse_rate}
    divergence_forms: ClassVar = DivergenceForms(
        within=inverse_gamma,
        interval=positive_line,
        moments=_inverse_moments,
        power=lambda x: (x["concentration"], -1.0, np.log(x["rate"])),
    )
    support = supports.positive
    chart = LOG

    def __init__(self, concentration: ArrayLike, rate: ArrayLike = 1.0, *, batch_ndim: int = 0) -> None:
        super().__init__(concentration=concentration, rate=rate, batch_ndim=batch_ndim)

    @staticmethod
    def transform(eps: Any, *, concentration: Any, rate: Any) -> Any:
        """Take the quantile at standard normal noise, of the other sign."""
        z = np.exp(-gamma_log_ratio(concentration, eps)) * (rate / (1.0 + concentration))
        return np.nextafter(z, np.inf)

    @staticmethod
    def coordinates(eps: Any, *, concentration: Any, rate: Any) -> Any:
        """Return log z."""
        return shifted(-gamma_log_ratio(concentration, eps), np.log(rate / (1.0 + concentration)))

    @staticmethod
    def log_density(x: Any, *, concentration: Any, rate: Any) -> Any:
        """Return the log density of z, summed over the components."""
        return np.sum(log_mass(-about(x, np.log(rate / concentration)), concentration) - total(x))

    @staticmethod
    def rarity(*, concentration: Any, rate: Any) -> Any:
        """Return the rarity of the gamma variable: other draws are infinite."""
        return {"concentration": SPAN * concentration}

    @staticmethod
    def entropy(*, concentration: Any, rate: Any) -> Any:
        """Return the entropy, summed over the components."""
        return np.sum(gamma_entropy(concentration) + np.log(rate) - 2.0 * digamma(concentration))


def log_mass(log_ratio: Any, a: Any) -> Any:
    """Return the logarithm of z times the Gamma(a, rate) density at z, of log(z rate / a)."""
    return a * log_below_one(log_ratio) + log_height(a)


def gamma_entropy(a: Any) -> Any:
    """Return the entropy of Gamma(a, 1)."""
    return np.log(a) - log_height(a) + (a - 1.0) * log_height_slope(a)
