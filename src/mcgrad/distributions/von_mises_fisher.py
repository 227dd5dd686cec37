"""The von Mises-Fisher distribution of directions in any dimension."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from mcgrad.distributions import supports
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.constraints import FloatArray, nonnegative, real
from mcgrad.distributions.vmf_quantiles import angle, tables
from mcgrad.errors import ParameterError
from mcgrad.functions.implicit_derivative import look_up
from mcgrad.noise import Shape


class VonMisesFisher(Distribution):
    """Von Mises-Fisher distribution on the unit sphere: density proportional to exp(concentration mean_direction @ z).

    Parameters
    ----------
    mean_direction : array_like, shape (d,)
        d >= 2. Its length does not matter, as long as it is not zero: it is divided by it. So the gradient is the one
        in ambient coordinates of a function that does not change along `mean_direction`; it is orthogonal to it, and a
        small step along it stays on the sphere to first order.
    concentration : array_like, shape ()
        >= 0; 0 is uniform on the sphere.

    Notes
    -----
    z = mean_direction cos(theta) + tangent sin(theta), with the tangent uniform and independent of theta (Ulrich 1984;
    Wood 1994), brought to `mean_direction` by a Householder reflection. theta is the quantile of one normal rather than
    the outcome of rejection, and its derivative is implicit (`vmf_quantiles.py`).
    E mean_direction @ z = I_{d/2}(concentration) / I_{d/2-1}(concentration).
    """

    constraints: ClassVar = {"mean_direction": real, "concentration": nonnegative}
    support = supports.sphere

    def __init__(self, mean_direction: ArrayLike, concentration: ArrayLike = 1.0, *, batch_ndim: int = 0) -> None:
        super().__init__(mean_direction=mean_direction, concentration=concentration, batch_ndim=batch_ndim)

    def event_shape_of(self, shapes: Mapping[str, Shape]) -> Shape:
        """Return (d,)."""
        direction, concentration = shapes["mean_direction"], shapes["concentration"]
        if len(direction) != 1 or direction[0] < 2:
            raise ParameterError("mean_direction", f"shape {direction}", "shape (d,) with d >= 2")
        if concentration != ():
            raise ParameterError("concentration", f"shape {concentration}", "one number")
        return direction

    def check(self, flat: Mapping[str, FloatArray]) -> None:
        """Refuse a direction of length zero."""
        if not self.relations(flat)[0].any():
            raise ParameterError("mean_direction", "zeros", "a vector that is not zero")

    def relations(self, flat: Mapping[str, FloatArray]) -> list[Any]:
        """Return whether the direction has a length."""
        return [flat["mean_direction"].any()]

    @staticmethod
    def transform(eps: Any, *, mean_direction: Any, concentration: Any) -> Any:
        """Turn standard normal noise into an angle and a tangent, and reflect the first axis to the mean."""
        d = np.shape(mean_direction)[0]
        mean = _unit(mean_direction)
        theta = angle(eps[0], concentration, d - 2)
        length = np.sqrt(np.sum(np.square(eps[1:])))
        tangent = np.where(length > 0.0, eps[1:] / np.where(length > 0.0, length, 1.0), (d - 1) ** -0.5)
        # the reflection that takes -side e1 to the mean: along e1 + side mean, whose length cannot vanish
        side = np.where(mean[0] < 0.0, -1.0, np.ones_like(mean[0]))
        sine = np.sin(theta) * tangent
        first = -side * np.cos(theta)
        along = np.concatenate([1.0 + side * mean[:1], side * mean[1:]])
        share = (along[0] * first + np.sum(along[1:] * sine)) / along[0]
        return np.concatenate([np.reshape(first - along[0] * share, (1,)), sine - along[1:] * share])

    @staticmethod
    def log_density(z: Any, *, mean_direction: Any, concentration: Any) -> Any:
        """Return the log density at a unit vector z, relative to the sphere's area."""
        d = np.shape(mean_direction)[0]
        log_mass = look_up(tables(d - 2)[1], concentration)
        return concentration * (np.sum(_unit(mean_direction) * z) - 1.0) - log_mass - _log_area(d - 1)

    @staticmethod
    def entropy(*, mean_direction: Any, concentration: Any) -> Any:
        """Return the entropy relative to the sphere's area."""
        d = np.shape(mean_direction)[0]
        _, log_mass, less_mean = (look_up(table, concentration) for table in tables(d - 2))
        return log_mass + _log_area(d - 1) - concentration * less_mean


def _unit(x: Any) -> Any:
    x = x / np.max(np.abs(x))  # its square may not overflow
    return x / np.sqrt(np.sum(np.square(x)))


def _log_area(d: int) -> float:
    """Logarithm of the area of the unit sphere in d dimensions."""
    return math.log(2.0) + 0.5 * d * math.log(math.pi) - math.lgamma(0.5 * d)
