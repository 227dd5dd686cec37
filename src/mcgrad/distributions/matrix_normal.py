"""The matrix normal distribution: rows and columns that are correlated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from mcgrad.distributions import supports
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.charts import REAL, about
from mcgrad.distributions.constraints import lower_cholesky, real
from mcgrad.distributions.divergence_forms import DivergenceForms
from mcgrad.distributions.divergence_normal import matrix_normal
from mcgrad.distributions.normal import HALF_LOG_2PI
from mcgrad.errors import ParameterError
from mcgrad.functions.triangular_solve import solve_lower
from mcgrad.noise import Shape


class MatrixNormal(Distribution):
    """Matrix normal distribution: z = loc + scale_row @ eps @ scale_column.T.

    Parameters
    ----------
    loc : array_like, shape (n, p)
        Mean.
    scale_row : array_like, shape (n, n)
        Lower triangular, > 0 on the diagonal: the Cholesky factor of the covariance among rows.
    scale_column : array_like, shape (p, p)
        Likewise, among columns. The covariance of z[i, k] and z[j, l] is the product of that of rows i, j and that of
        columns k, l. Gradients are zero above the diagonals.

    Notes
    -----
    The parameters are those of TFP's MatrixNormalLinearOperator, as arrays.
    """

    constraints: ClassVar = {"loc": real, "scale_row": lower_cholesky, "scale_column": lower_cholesky}
    divergence_forms: ClassVar = DivergenceForms(within=matrix_normal)
    support = supports.real
    chart = REAL

    def __init__(self, loc: ArrayLike, scale_row: ArrayLike, scale_column: ArrayLike, *, batch_ndim: int = 0) -> None:
        super().__init__(loc=loc, scale_row=scale_row, scale_column=scale_column, batch_ndim=batch_ndim)

    def event_shape_of(self, shapes: Mapping[str, Shape]) -> Shape:
        """Return (n, p)."""
        given, wanted = shapes["loc"], (shapes["scale_row"][0], shapes["scale_column"][0])
        if given != wanted:
            factors = f"scale_row of shape {shapes['scale_row']} and scale_column of shape {shapes['scale_column']}"
            raise ParameterError("loc", f"shape {given} with {factors}", f"shape {wanted}")
        return given

    @staticmethod
    def transform(eps: Any, *, loc: Any, scale_row: Any, scale_column: Any) -> Any:
        """Shift standard normal noise and give it the covariances of rows and columns."""
        return loc + scale_row @ eps @ scale_column.T

    @staticmethod
    def log_density(x: Any, *, loc: Any, scale_row: Any, scale_column: Any) -> Any:
        """Return the log density of z."""
        eps = solve_lower(scale_column, solve_lower(scale_row, about(x, loc)).T)
        n, p = loc.shape
        return -0.5 * np.sum(np.square(eps)) - _log_det(scale_row, scale_column) - n * p * HALF_LOG_2PI

    @staticmethod
    def entropy(*, loc: Any, scale_row: Any, scale_column: Any) -> Any:
        """Return the entropy: that of standard normals, and the logarithm of the determinant."""
        n, p = loc.shape
        return _log_det(scale_row, scale_column) + n * p * (0.5 + HALF_LOG_2PI)


def _log_det(scale_row: Any, scale_column: Any) -> Any:
    n, p = scale_row.shape[0], scale_column.shape[0]
    rows, columns = scale_row[np.arange(n), np.arange(n)], scale_column[np.arange(p), np.arange(p)]
    return p * np.sum(np.log(rows)) + n * np.sum(np.log(columns))
