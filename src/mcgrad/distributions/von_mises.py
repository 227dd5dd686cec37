"""The von Mises distribution of angles, with independent components."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from mcgrad.distributions import supports
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.constraints import nonnegative, real
from mcgrad.distributions.vmf_quantiles import angle, tables
from mcgrad.functions.implicit_derivative import look_up


class VonMises(Distribution):
    """Von Mises distribution of angles: density exp(concentration cos(z - loc)) / (2 pi I0(concentration)).

    Parameters
    ----------
    loc : array_like
        Mean angle.
    concentration : array_like
        >= 0; 0 is uniform on the circle. The event shape is what `loc` and `concentration` broadcast to.

    Notes
    -----
    z lies in loc - pi .. loc + pi. It is not wrapped to -pi .. pi: there f would jump, unless it is periodic, and its
    pathwise gradient would be biased. z is a quantile of one normal, and its derivative is implicit
    (`vmf_quantiles.py`). E cos(z - loc) = I1(concentration) / I0(concentration).
    """

    constraints: ClassVar = {"loc": real, "concentration": nonnegative}
    # The density is periodic, so it is not cut off at the ends; but draws jump there, from one to the other.
    support = supports.Support(
        "loc - pi < z < loc + pi", ends=lambda loc, concentration: (loc - math.pi, loc + math.pi), moving=("loc",)
    )

    def __init__(self, loc: ArrayLike = 0.0, concentration: ArrayLike = 1.0, *, batch_ndim: int = 0) -> None:
        super().__init__(loc=loc, concentration=concentration, batch_ndim=batch_ndim)

    @staticmethod
    def transform(eps: Any, *, loc: Any, concentration: Any) -> Any:
        """Shift the angle that belongs to standard normal noise."""
        return loc + angle(eps, concentration, 0)

    @staticmethod
    def log_density(z: Any, *, loc: Any, concentration: Any) -> Any:
        """Return the log density at z, summed over the components."""
        log_mass = look_up(tables(0)[1], concentration) + math.log(2)
        return np.sum(-2.0 * concentration * np.square(np.sin(0.5 * (z - loc))) - log_mass)

    @staticmethod
    def entropy(*, loc: Any, concentration: Any) -> Any:
        """Return the entropy, summed over the components."""
        _, log_mass, less_mean = (look_up(table, concentration) for table in tables(0))
        each = log_mass + math.log(2) - concentration * less_mean
        return np.sum(np.broadcast_to(each, np.broadcast_shapes(np.shape(loc), np.shape(concentration))))
