"""The Kumaraswamy distribution, with independent components."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike

from mcgrad.distributions import supports
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.charts import LOGIT, SPAN, shifted, total
from mcgrad.distributions.constraints import positive
from mcgrad.distributions.divergence_forms import DivergenceForms, unit_interval
from mcgrad.functions.gamma import EULER
from mcgrad.functions.special import digamma, log_expit


class Kumaraswamy(Distribution):
    """Kumaraswamy distribution on (0, 1): z = (1 - u**(1/b))**(1/a).

    Parameters
    ----------
    concentration1, concentration0 : array_like
        a and b, > 0: the exponents at 0 and at 1, as in a Beta distribution, which it resembles. The event shape is
        what they broadcast to.

    Notes
    -----
    Draws that are nearer to 1 than half a unit in the last place (3e-8 in float32) are 1; their density is computed
    from their log odds. Kumaraswamy 1980.
    """

    constraints: ClassVar = {"concentration1": positive, "concentration0": positive}
    divergence_forms: ClassVar = DivergenceForms(interval=unit_interval, is_bounded=True)
    support = supports.unit_interval
    noise_kind: ClassVar[Literal["normal", "uniform"]] = "uniform"
    chart = LOGIT

    def __init__(self, concentration1: ArrayLike, concentration0: ArrayLike, *, batch_ndim: int = 0) -> None:
        super().__init__(concentration1=concentration1, concentration0=concentration0, batch_ndim=batch_ndim)

    @staticmethod
    def transform(eps: Any, *, concentration1: Any, concentration0: Any) -> Any:
        """Invert the distribution function, in logarithms."""
        return np.exp(np.log(-np.expm1(np.log(eps) / concentration0)) / concentration1)

    @staticmethod
    def coordinates(eps: Any, *, concentration1: Any, concentration0: Any) -> Any:
        """Return the log odds of z."""
        log_size = _log_minus_log_rest(np.log(eps) / concentration0) - np.log(concentration1)  # log(-log z)
        return shifted(-np.exp(log_size) - _log_rest(log_size), 0.0)

    @staticmethod
    def log_density(x: Any, *, concentration1: Any, concentration0: Any) -> Any:
        """Return the log density of z, summed over the components."""
        odds = total(x)
        rest = _log_rest(_log_softplus(-odds) + np.log(concentration1))  # log(1 - z**a)
        density = np.log(concentration1 * concentration0) + (concentration1 - 1.0) * log_expit(odds)
        return np.sum(density + (concentration0 - 1.0) * rest)

    @staticmethod
    def cdf(z: Any, *, concentration1: Any, concentration0: Any) -> Any:
        """Return the distribution function, element by element."""
        return -np.expm1(_log_survival(z, concentration1, concentration0))

    @staticmethod
    def survival(z: Any, *, concentration1: Any, concentration0: Any) -> Any:
        """Return 1 - cdf, element by element."""
        return np.exp(_log_survival(z, concentration1, concentration0))

    @staticmethod
    def rarity(*, concentration1: Any, concentration0: Any) -> Any:
        """Return about the probability of a draw that is neither 0 nor 1, for small concentrations."""
        return dict.fromkeys(("concentration1", "concentration0"), SPAN * np.minimum(concentration1, concentration0))

    @staticmethod
    def entropy(*, concentration1: Any, concentration0: Any) -> Any:
        """Return the entropy, summed over the components."""
        harmonic = digamma(concentration0 + 1.0) + EULER
        shapes = (1.0 - 1.0 / concentration0) + (1.0 - 1.0 / concentration1) * harmonic
        return np.sum(shapes - np.log(concentration1 * concentration0))


SMALL = -17.0  # where the next term of a series in e**w is less than 1e-15


def _log_rest(w: Any) -> Any:
    """log(1 - e**-s) of w = log s."""
    small = w < SMALL
    return np.where(small, w - 0.5 * np.exp(np.minimum(w, SMALL)), np.log(-np.expm1(-np.exp(np.maximum(w, SMALL)))))


def _log_minus_log_rest(w: Any) -> Any:
    """log(-log(1 - e**w)) of w < 0."""
    small = w < SMALL
    near = np.maximum(w, SMALL)
    upper = near > -0.7
    top = np.log(-np.expm1(np.where(upper, near, -1.0)))
    log_rest = np.where(upper, top, np.log1p(-np.exp(np.minimum(near, -0.7))))
    return np.where(small, w + 0.5 * np.exp(np.minimum(w, SMALL)), np.log(-log_rest))


def _log_softplus(x: Any) -> Any:
    """log(log(1 + e**x))."""
    small = x < SMALL
    return np.where(small, x - 0.5 * np.exp(np.minimum(x, SMALL)), np.log(np.logaddexp(0.0, np.maximum(x, SMALL))))


def _log_survival(z: Any, concentration1: Any, concentration0: Any) -> Any:
    inside = (z > 0) & (z < 1)
    log_z = np.log(np.where(inside, z, 0.5))
    found = concentration0 * np.log(-np.expm1(concentration1 * log_z))
    return np.where(inside, found, np.where(z < 0.5, 0.0, -np.inf))
