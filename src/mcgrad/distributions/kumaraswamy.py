"""The Kumaraswamy distribution, with independent components."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike

from mcgrad import supports
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.constraints import positive
from mcgrad.distributions.gumbel import EULER
from mcgrad.special import digamma


class Kumaraswamy(Distribution):
    """Kumaraswamy distribution on (0, 1): z = (1 - u**(1/b))**(1/a).

    Parameters
    ----------
    concentration1, concentration0 : array_like
        a and b, > 0: the exponents at 0 and at 1, as in a Beta distribution, which it resembles. The event shape is
        what they broadcast to.

    Notes
    -----
    Draws that are nearer to 1 than half a unit in the last place (3e-8 in float32) are 1, where the log density is
    infinite. Kumaraswamy 1980.
    """

    constraints: ClassVar = {"concentration1": positive, "concentration0": positive}
    support = supports.unit_interval
    noise_kind: ClassVar[Literal["normal", "uniform"]] = "uniform"

    def __init__(self, concentration1: ArrayLike, concentration0: ArrayLike) -> None:
        super().__init__(concentration1=concentration1, concentration0=concentration0)

    @staticmethod
    def transform(eps: Any, *, concentration1: Any, concentration0: Any) -> Any:
        """Invert the distribution function, in logarithms."""
        return np.exp(np.log(-np.expm1(np.log(eps) / concentration0)) / concentration1)

    @staticmethod
    def log_density(z: Any, *, concentration1: Any, concentration0: Any) -> Any:
        """Return the log density at z, summed over the components."""
        inside = (z > 0) & (z < 1)
        log_z = np.log(np.where(inside, z, 0.5))
        rest = np.log(-np.expm1(concentration1 * log_z))
        density = np.log(concentration1 * concentration0) + (concentration1 - 1.0) * log_z
        return np.sum(np.where(inside, density + (concentration0 - 1.0) * rest, -np.inf))

    @staticmethod
    def cdf(z: Any, *, concentration1: Any, concentration0: Any) -> Any:
        """Return the distribution function, element by element."""
        return -np.expm1(_log_survival(z, concentration1, concentration0))

    @staticmethod
    def survival(z: Any, *, concentration1: Any, concentration0: Any) -> Any:
        """Return 1 - cdf, element by element."""
        return np.exp(_log_survival(z, concentration1, concentration0))

    @staticmethod
    def entropy(*, concentration1: Any, concentration0: Any) -> Any:
        """Return the entropy, summed over the components."""
        harmonic = digamma(concentration0 + 1.0) + EULER
        shapes = (1.0 - 1.0 / concentration0) + (1.0 - 1.0 / concentration1) * harmonic
        return np.sum(shapes - np.log(concentration1 * concentration0))


def _log_survival(z: Any, concentration1: Any, concentration0: Any) -> Any:
    inside = (z > 0) & (z < 1)
    log_z = np.log(np.where(inside, z, 0.5))
    found = concentration0 * np.log(-np.expm1(concentration1 * log_z))
    return np.where(inside, found, np.where(z < 0.5, 0.0, -np.inf))
