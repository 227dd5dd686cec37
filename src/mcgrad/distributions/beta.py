"""The beta distribution and that of Fisher and Snedecor, both of two gamma variables, with independent components."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from mcgrad import noise, supports
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.constraints import positive
from mcgrad.gammafunctions import gamma_log_ratio, log_below_one, log_height
from mcgrad.noise import NoiseSpec
from mcgrad.special import digamma, expit, gammaln


class Beta(Distribution):
    """Beta distribution: density z**(concentration1 - 1) (1 - z)**(concentration0 - 1) over the beta function.

    Parameters
    ----------
    concentration1, concentration0 : array_like
        > 0. The event shape is what they broadcast to.

    Notes
    -----
    logit z is the difference of the logarithms of two gamma variables, each the quantile of its own noise. A draw that
    rounds to 0 or 1 becomes the number next to it, so that log z and log(1 - z) are finite.
    """

    constraints: ClassVar = {"concentration1": positive, "concentration0": positive}
    support = supports.unit_interval

    def __init__(self, concentration1: ArrayLike, concentration0: ArrayLike) -> None:
        super().__init__(concentration1=concentration1, concentration0=concentration0)

    def noise_of(self, event_shape: Any) -> NoiseSpec:
        """Return standard normals for the two gamma variables."""
        return {"gamma1": noise.normal(event_shape), "gamma0": noise.normal(event_shape)}

    @staticmethod
    def transform(eps: Any, *, concentration1: Any, concentration0: Any) -> Any:
        """Take the share of the first of two gamma variables."""
        return np.nextafter(expit(log_odds(eps, concentration1, concentration0)), 0.5)

    @staticmethod
    def log_density(z: Any, *, concentration1: Any, concentration0: Any) -> Any:
        """Return the log density at z, summed over the components."""
        inside = (z > 0) & (z < 1)
        z = np.where(inside, z, 0.5)
        log_z, log_rest = np.log(z), np.log1p(-z)
        mass = log_mass(z, 1.0 - z, log_z, log_rest, concentration1, concentration0)
        return np.sum(np.where(inside, mass - log_z - log_rest, -np.inf))

    @staticmethod
    def entropy(*, concentration1: Any, concentration0: Any) -> Any:
        """Return the entropy, summed over the components."""
        total = concentration1 + concentration0
        log_beta = gammaln(concentration1) + gammaln(concentration0) - gammaln(total)
        rest = (concentration1 - 1.0) * digamma(concentration1) + (concentration0 - 1.0) * digamma(concentration0)
        return np.sum(log_beta - rest + (total - 2.0) * digamma(total))


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
    support = supports.positive

    def __init__(self, df1: ArrayLike, df2: ArrayLike) -> None:
        super().__init__(df1=df1, df2=df2)

    def noise_of(self, event_shape: Any) -> NoiseSpec:
        """Return standard normals for the two gamma variables."""
        return {"gamma1": noise.normal(event_shape), "gamma0": noise.normal(event_shape)}

    @staticmethod
    def transform(eps: Any, *, df1: Any, df2: Any) -> Any:
        """Take the ratio of two gamma variables."""
        ratio = gamma_log_ratio(0.5 * df1, eps["gamma1"]) - gamma_log_ratio(0.5 * df2, eps["gamma0"])
        return np.nextafter(np.exp(ratio) * ((1.0 + 2.0 / df1) / (1.0 + 2.0 / df2)), np.inf)

    @staticmethod
    def log_density(z: Any, *, df1: Any, df2: Any) -> Any:
        """Return the log density at z, summed over the components."""
        inside = z > 0
        z = np.where(inside, z, 1.0)
        log_z, log_ratio = np.log(z), np.log(df1 / df2)
        share, rest = expit(log_z + log_ratio), expit(-log_z - log_ratio)  # of the beta variable
        log_total = np.logaddexp(0.0, log_z + log_ratio)
        mass = log_mass(share, rest, log_z + log_ratio - log_total, -log_total, 0.5 * df1, 0.5 * df2)
        return np.sum(np.where(inside, mass - log_z, -np.inf))


def log_odds(eps: Any, concentration1: Any, concentration0: Any) -> Any:
    """Return the logarithm of the ratio of two gamma variables."""
    ratio = gamma_log_ratio(concentration1, eps["gamma1"]) - gamma_log_ratio(concentration0, eps["gamma0"])
    return ratio + np.log((1.0 + concentration1) / (1.0 + concentration0))


def log_mass(z: Any, rest: Any, log_z: Any, log_rest: Any, concentration1: Any, concentration0: Any) -> Any:
    """Return the logarithm of z (1 - z) times the beta density at z = 1 - rest, about its mode."""
    total = concentration1 + concentration0
    mean1, mean0 = concentration1 / total, concentration0 / total
    first = concentration1 * log_below_one(z / mean1, log_z - np.log(mean1))
    second = concentration0 * log_below_one(rest / mean0, log_rest - np.log(mean0))
    return first + second + (log_height(concentration1) + log_height(concentration0) - log_height(total))
