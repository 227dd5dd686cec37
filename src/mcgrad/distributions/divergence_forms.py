"""The records by which a family states its divergences in closed form, within the family and with other families.

`divergence` combines them. All functions are plain NumPy, traced, of a dict of one distribution's parameters, and
element by element where they do not say that they return a sum.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

Params = Mapping[str, Any]
Form = Callable[[Params, Params], Any]  # KL(q || p), summed, of the parameters of q and those of p
Pair = Callable[[Params], tuple[Any, Any]]


class NormalVector(Protocol):
    """A normal vector by its covariance."""

    @property
    def loc(self) -> Any:
        """The mean."""

    @property
    def is_triangular(self) -> bool:
        """Whether `factor` is square and triangular, so that there is a `diagonal`."""

    def factor(self) -> Any:
        """Return a matrix L with L L^T the covariance."""

    def diagonal(self) -> Any:
        """Return the diagonal of L."""

    def whitened(self, columns: Any) -> Any:
        """Return columns y with |y|^2 = x^T (covariance)^-1 x for columns x."""

    def half_log_determinant(self) -> Any:
        """Return half the logarithm of the covariance's determinant."""


@dataclass(frozen=True)
class CrossEntropy:
    """-E log p(x), x ~ q, for all q that have some statistics.

    Parameters
    ----------
    needs : tuple of str
        Names of fields of `DivergenceForms`, that q has to have.
    form : callable
        ``form(p, *statistics)``, of the parameters of p and what those functions return of q's.
    """

    needs: tuple[str, ...]
    form: Callable[..., Any]


@dataclass(frozen=True)
class DivergenceForms:
    """The closed forms that a family states; None for those that it does not.

    Parameters
    ----------
    within : callable
        ``within(q, p)``: KL(q || p) of two of the family, summed.
    interval : callable
        The ends between which the density of each component is positive: (low, high).
    is_bounded : bool
        Whether these are finite, and the uniform distribution is one of those to which it has a divergence.
    moments : callable
        Mean and variance of x.
    log_mean, log_variance : callable
        Mean and variance of log x.
    cross_entropy : CrossEntropy
        Of p of this family.
    power : callable
        (a, k, log s), where x = s G**(1/k) for a Gamma(a, 1) variable G: the generalized gamma distribution (Stacy
        1962), k < 0 included.
    gamma : callable
        (a, rate), where x is a Gamma(a, rate) variable.
    weibull : callable
        (k, log s), where x = s E**(1/k) for an exponential variable E.
    vector : callable
        ``vector(params, d)``: a `NormalVector` of d components.
    """

    within: Form | None = None
    interval: Pair | None = None
    is_bounded: bool = False
    moments: Pair | None = None
    log_mean: Callable[[Params], Any] | None = None
    log_variance: Callable[[Params], Any] | None = None
    cross_entropy: CrossEntropy | None = None
    power: Callable[[Params], tuple[Any, Any, Any]] | None = None
    gamma: Pair | None = None
    weibull: Pair | None = None
    vector: Callable[[Params, int], NormalVector] | None = None

    @property
    def bounds(self) -> Pair | None:
        """The interval, where it is bounded."""
        return self.interval if self.is_bounded else None


def real_line(params: Params) -> tuple[float, float]:
    """Return the ends of the real line."""
    return -math.inf, math.inf


def positive_line(params: Params) -> tuple[float, float]:
    """Return the ends of the positive numbers."""
    return 0.0, math.inf


def unit_interval(params: Params) -> tuple[float, float]:
    """Return 0 and 1."""
    return 0.0, 1.0
