"""The normal distribution with any covariance, by the Cholesky factor of the covariance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from mcgrad import supports
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.constraints import lower_cholesky, real
from mcgrad.distributions.normal import HALF_LOG_2PI
from mcgrad.errors import ParameterError
from mcgrad.noise import Shape
from mcgrad.triangular import solve_lower


class MultivariateNormal(Distribution):
    """Multivariate normal distribution: z = loc + scale_tril @ eps.

    Parameters
    ----------
    loc : array_like, shape (d,)
        Mean.
    scale_tril : array_like, shape (d, d)
        Lower triangular, > 0 on the diagonal; the covariance is ``scale_tril @ scale_tril.T``. Its gradient is zero
        above the diagonal.
    """

    constraints: ClassVar = {"loc": real, "scale_tril": lower_cholesky}
    support = supports.real

    def __init__(self, loc: ArrayLike, scale_tril: ArrayLike) -> None:
        super().__init__(loc=loc, scale_tril=scale_tril)

    def event_shape_of(self, shapes: Mapping[str, Shape]) -> Shape:
        """Return (d,)."""
        loc, scale_tril = shapes["loc"], shapes["scale_tril"]
        if loc != scale_tril[:1]:
            raise ParameterError("loc", f"shape {loc} with scale_tril of shape {scale_tril}", f"shape {scale_tril[:1]}")
        return loc

    @staticmethod
    def transform(eps: Any, *, loc: Any, scale_tril: Any) -> Any:
        """Shift standard normal noise and give it the covariance."""
        return loc + scale_tril @ eps

    @staticmethod
    def log_density(z: Any, *, loc: Any, scale_tril: Any) -> Any:
        """Return the log density at z."""
        d = scale_tril.shape[0]
        log_diagonal = np.log(scale_tril[np.arange(d), np.arange(d)])
        return -0.5 * np.sum(np.square(solve_lower(scale_tril, z - loc))) - np.sum(log_diagonal) - d * HALF_LOG_2PI

    @staticmethod
    def entropy(*, loc: Any, scale_tril: Any) -> Any:
        """Return the entropy: that of standard normals, and the logarithm of the determinant."""
        d = scale_tril.shape[0]
        return np.sum(np.log(scale_tril[np.arange(d), np.arange(d)])) + d * (0.5 + HALF_LOG_2PI)
