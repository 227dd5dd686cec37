"""The normal distribution with any covariance, by its Cholesky factor, by itself or by its inverse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from mcgrad.distributions import supports
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.charts import REAL, about
from mcgrad.distributions.constraints import lower_cholesky, positive_definite, real
from mcgrad.distributions.covariance import lower, one_of, shape_of
from mcgrad.distributions.divergence_forms import DivergenceForms
from mcgrad.distributions.mixture_components import Correlated
from mcgrad.distributions.normal import HALF_LOG_2PI, Normal
from mcgrad.errors import ParameterError
from mcgrad.functions.triangular_solve import solve_lower
from mcgrad.noise import Shape


@dataclass(frozen=True)
class _Vector:
    """A vector of d correlated components."""

    loc: Any
    scale_tril: Any
    d: int
    is_triangular: ClassVar[bool] = True

    def factor(self) -> Any:
        return self.scale_tril

    def diagonal(self) -> Any:
        return self.scale_tril[np.arange(self.d), np.arange(self.d)]

    def whitened(self, columns: Any) -> Any:
        return solve_lower(self.scale_tril, columns)

    def half_log_determinant(self) -> Any:
        return np.sum(np.log(self.diagonal()))


class MultivariateNormal(Distribution):
    """Multivariate normal distribution: z = loc + scale_tril @ eps.

    Parameters
    ----------
    loc : array_like, shape (d,)
        Mean.
    scale_tril, covariance_matrix, precision_matrix : array_like, shape (d, d)
        One of them. `scale_tril` is lower triangular, > 0 on the diagonal, and the covariance is
        ``scale_tril @ scale_tril.T``; its gradient is zero above the diagonal. `covariance_matrix`, or its inverse
        `precision_matrix`, is symmetric and positive definite; its gradient is symmetric, as in torch: a step along it
        leaves it symmetric. Of what a call gives only the symmetric part counts.

    Notes
    -----
    Draws are the same for a covariance, its inverse and its factor. The factor of a covariance is computed element by
    element, once a call, and needs some d^2 equations: for more than a few tens of rows give `scale_tril`.
    """

    constraints: ClassVar = {
        "loc": real,
        "scale_tril": lower_cholesky,
        "covariance_matrix": positive_definite,
        "precision_matrix": positive_definite,
    }
    divergence_forms: ClassVar = DivergenceForms(vector=lambda x, d: _Vector(x["loc"], lower(x), d))
    components: ClassVar = partial(Correlated, marginal_cdf=Normal.cdf)
    support = supports.real
    chart = REAL

    def __init__(
        self,
        loc: ArrayLike,
        scale_tril: ArrayLike | None = None,
        covariance_matrix: ArrayLike | None = None,
        precision_matrix: ArrayLike | None = None,
        *,
        batch_ndim: int = 0,
    ) -> None:
        matrices = {
            "scale_tril": scale_tril,
            "covariance_matrix": covariance_matrix,
            "precision_matrix": precision_matrix,
        }
        super().__init__(loc=loc, **one_of(**matrices), batch_ndim=batch_ndim)

    def event_shape_of(self, shapes: Mapping[str, Shape]) -> Shape:
        """Return (d,)."""
        loc, (name, matrix) = shapes["loc"], shape_of(shapes)
        if loc != matrix[:1]:
            raise ParameterError("loc", f"shape {loc} with {name} of shape {matrix}", f"shape {matrix[:1]}")
        return loc

    @staticmethod
    def transform(eps: Any, *, loc: Any, **matrix: Any) -> Any:
        """Shift standard normal noise and give it the covariance."""
        return loc + lower(matrix) @ eps

    @staticmethod
    def log_density(x: Any, *, loc: Any, **matrix: Any) -> Any:
        """Return the log density of z."""
        tril = lower(matrix)
        d = tril.shape[0]
        log_diagonal = np.log(tril[np.arange(d), np.arange(d)])
        return -0.5 * np.sum(np.square(solve_lower(tril, about(x, loc)))) - np.sum(log_diagonal) - d * HALF_LOG_2PI

    @staticmethod
    def entropy(*, loc: Any, **matrix: Any) -> Any:
        """Return the entropy: that of standard normals, and the logarithm of the determinant."""
        tril = lower(matrix)
        d = tril.shape[0]
        return np.sum(np.log(tril[np.arange(d), np.arange(d)])) + d * (0.5 + HALF_LOG_2PI)
