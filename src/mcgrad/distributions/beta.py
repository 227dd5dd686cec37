"""The beta distribution and that of Fisher and Snedecor, both of two gamma variables, with independent components."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from mcgrad import noise
from mcgrad.distributions import supports
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.charts import LOG, LOGIT, SPAN, about, shifted, total
from mcgrad.distributions.constraints import positive
from mcgrad.distributions.divergence_forms import DivergenceForms, Params, positive_line, unit_interval
from mcgrad.distributions.divergence_gamma import beta
from mcgrad.functions.gamma import gamma_log_ratio, log_below_one, log_height, log_height_slope
from mcgrad.functions.special import digamma, expit, log_expit
from mcgrad.noise import NoiseSpec


def _moments(q: Params) -> tuple[Any, Any]:
    a, b = q["concentration1"], q["concentration0"]
    total = a + b
    return a / total, (a / total) * (b / total) / (total + 1.0)


class Beta(Distribution):
    """Beta distribution: density z**(concentration1 - 1) (1 - z)**(concentration0 - 1) over the beta function.

    Parameters
    ----------
    concentration1, concentration0 : array_like
        > 0. The event shape is what they broadcast to.

    Notes
    -----
    logit z is the difference of the logarithms of two gamma variables, each the quantile of its own noise. A draw that
    rounds to 0 or 1 becomes the number next to it; the density is computed from logit z.
    """

    constraints: ClassVar = {"concentration1": positive, "concentration0": positive}
    divergence_forms: ClassVar = DivergenceForms(
        within=beta,
        interval=unit_interval,
        is_bounded=True,
        moments=_moments,
        log_mean=lambda q: digamma(q["concentration1"]) - digamma(q["concentration1"] + q["concentration0"]),
    )
    support = supports.unit_interval
    chart = LOGIT

    def __init__(self, concentration1: ArrayLike, concentration0: ArrayLike, *, batch_ndim: int = 0) -> None:
        super().__init__(concentration1=concentration1, concentration0=concentration0, batch_ndim=batch_ndim)

    def noise_of(self, event_shape: Any) -> NoiseSpec:
        """Return standard normals for the two gamma variables."""
        return {"gamma1": noise.normal(event_shape), "gamma0": noise.normal(event_shape)}

    @staticmethod
    def transform(eps: Any, *, concentration1: Any, concentration0: Any) -> Any:
        """Take the share of the first of two gamma variables."""
        return np.nextafter(expit(log_odds(eps, concentration1, concentration0)), 0.5)

    @staticmethod
    def coordinates(eps: Any, *, concentration1: Any, concentration0: Any) -> Any:
        """Return the log odds of z."""
        ratio = gamma_log_ratio(concentration1, eps["gamma1"]) - gamma_log_ratio(concentration0, eps["gamma0"])
        return shifted(ratio, np.log((1.0 + concentration1) / (1.0 + concentration0)))

    @staticmethod
    def log_density(x: Any, *, concentration1: Any, concentration0: Any) -> Any:
        """Return the log density of z, summed over the components."""
        odds = total(x)
        mass = log_mass(about(x, np.log(concentration1 / concentration0)), odds, concentration1, concentration0)
        return np.sum(mass - log_expit(odds) - log_expit(-odds))

    @staticmethod
    def rarity(*, concentration1: Any, concentration0: Any) -> Any:
        """Return about the probability of a draw that is neither 0 nor 1, for small concentrations."""
        return dict.fromkeys(("concentration1", "concentration0"), SPAN * np.minimum(concentration1, concentration0))

    @staticmethod
    def entropy(*, concentration1: Any, concentration0: Any) -> Any:
        """Return the entropy, summed over the components."""
        a, b, total = concentration1, concentration0, concentration1 + concentration0
        heights = log_height(total) - log_height(a) - log_height(b) + np.log(a / total) + np.log(b / total)
        slopes = (a - 1.0) * log_height_slope(a) + (b - 1.0) * log_height_slope(b)
        return np.sum(heights + (slopes - (total - 2.0) * log_height_slope(total)))


class FisherSnedecor(Distribution):
    """F distribution: of (x1/df1) / (x2/df2) for chi-squared variables of df1 and df2 degrees of freedom.

    Parameters
    ----------
    df1, df2 : array_like
        > 0; not only whole numbers. The event shape is what they broadcast to.

    Notes
    -----
    E z is infinite for df2 of 2 and below.
    """

    constraints: ClassVar = {"df1": positive, "df2": positive}
    divergence_forms: ClassVar = DivergenceForms(interval=positive_line)
    support = supports.positive
    chart = LOG

    def __init__(self, df1: ArrayLike, df2: ArrayLike, *, batch_ndim: int = 0) -> None:
        super().__init__(df1=df1, df2=df2, batch_ndim=batch_ndim)

    def noise_of(self, event_shape: Any) -> NoiseSpec:
        """Return standard normals for the two gamma variables."""
        return {"gamma1": noise.normal(event_shape), "gamma0": noise.normal(event_shape)}

    @staticmethod
    def transform(eps: Any, *, df1: Any, df2: Any) -> Any:
        """Take the ratio of two gamma variables."""
        ratio = gamma_log_ratio(0.5 * df1, eps["gamma1"]) - gamma_log_ratio(0.5 * df2, eps["gamma0"])
        return np.nextafter(np.exp(ratio) * ((1.0 + 2.0 / df1) / (1.0 + 2.0 / df2)), np.inf)

    @staticmethod
    def coordinates(eps: Any, *, df1: Any, df2: Any) -> Any:
        """Return log z."""
        ratio = gamma_log_ratio(0.5 * df1, eps["gamma1"]) - gamma_log_ratio(0.5 * df2, eps["gamma0"])
        return shifted(ratio, np.log((1.0 + 2.0 / df1) / (1.0 + 2.0 / df2)))

    @staticmethod
    def log_density(x: Any, *, df1: Any, df2: Any) -> Any:
        """Return the log density of z, summed over the components: the Beta variable z df1 / (z df1 + df2) has one."""
        log_z = total(x)
        return np.sum(log_mass(log_z, log_z + np.log(df1 / df2), 0.5 * df1, 0.5 * df2) - log_z)


def log_odds(eps: Any, concentration1: Any, concentration0: Any) -> Any:
    """Return the logarithm of the ratio of two gamma variables."""
    ratio = gamma_log_ratio(concentration1, eps["gamma1"]) - gamma_log_ratio(concentration0, eps["gamma0"])
    return ratio + np.log((1.0 + concentration1) / (1.0 + concentration0))


def log_mass(shift: Any, odds: Any, concentration1: Any, concentration0: Any) -> Any:
    """Return the logarithm of z (1 - z) times the beta density at z, about its mean.

    Parameters
    ----------
    shift : array
        Log odds of z less those of the mean, to their digits where they are small.
    odds : array
        Log odds of z.
    concentration1, concentration0 : array
    """
    total = concentration1 + concentration0
    mean1, mean0 = concentration1 / total, concentration0 / total
    near = np.abs(shift) < 1.0
    s = np.where(near, shift, 0.0)
    log1 = np.where(near, -np.log1p(mean0 * np.expm1(-s)), log_expit(odds) - np.log(mean1))
    log0 = np.where(near, -np.log1p(mean1 * np.expm1(s)), log_expit(-odds) - np.log(mean0))
    height = log_height(concentration1) + log_height(concentration0) - log_height(total)
    return concentration1 * log_below_one(log1) + concentration0 * log_below_one(log0) + height
