"""The multivariate normal distribution whose covariance is a diagonal and a matrix of low rank."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from mcgrad import noise
from mcgrad.distributions import supports
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.charts import REAL, about
from mcgrad.distributions.constraints import positive, real
from mcgrad.distributions.divergence_forms import DivergenceForms
from mcgrad.distributions.normal import HALF_LOG_2PI
from mcgrad.errors import ParameterError
from mcgrad.functions.implicit_derivative import stop
from mcgrad.functions.triangular_solve import cholesky, solve_lower, solve_upper
from mcgrad.noise import NoiseSpec, Shape


@dataclass(frozen=True)
class _Vector:
    """A vector of d components; its factor has a column for each of them, and more."""

    loc: Any
    cov_factor: Any
    cov_diag: Any
    d: int
    is_triangular: ClassVar[bool] = False

    def factor(self) -> Any:
        own = np.where(np.eye(self.d) > 0, np.sqrt(self.cov_diag), 0.0)
        return np.concatenate([self.cov_factor, own], axis=1)

    def diagonal(self) -> Any:
        raise TypeError("the factor is not triangular")

    def whitened(self, columns: Any) -> Any:
        return whiten(columns, self.cov_factor, self.cov_diag)

    def half_log_determinant(self) -> Any:
        return half_log_determinant(self.cov_factor, self.cov_diag)


class LowRankMultivariateNormal(Distribution):
    """Multivariate normal of covariance cov_factor @ cov_factor.T + diag(cov_diag).

    z = loc + cov_factor @ eps_factor + sqrt(cov_diag) * eps_diag.

    Parameters
    ----------
    loc : array_like, shape (d,)
        Mean.
    cov_factor : array_like, shape (d, r)
    cov_diag : array_like, shape (d,)
        > 0.

    Notes
    -----
    A draw takes O(d r) work, and so does its density: squares by a ridge regression of r unknowns, the determinant by
    the lemma of determinants, with a Cholesky factor of r rows, written out, so r is meant to be small. For r >= d both
    are by the Cholesky factor of the covariance. Densities are right to 1e-2 in float32, and to 1e-6 in float64, for
    `cov_diag` down to 1e-10 times the squares of `cov_factor`.
    """

    constraints: ClassVar = {"loc": real, "cov_factor": real, "cov_diag": positive}
    divergence_forms: ClassVar = DivergenceForms(
        vector=lambda x, d: _Vector(x["loc"], x["cov_factor"], x["cov_diag"], d)
    )
    support = supports.real
    chart = REAL

    def __init__(self, loc: ArrayLike, cov_factor: ArrayLike, cov_diag: ArrayLike, *, batch_ndim: int = 0) -> None:
        super().__init__(loc=loc, cov_factor=cov_factor, cov_diag=cov_diag, batch_ndim=batch_ndim)

    def event_shape_of(self, shapes: Mapping[str, Shape]) -> Shape:
        """Return (d,)."""
        loc, factor, diag = shapes["loc"], shapes["cov_factor"], shapes["cov_diag"]
        if len(factor) != 2:
            raise ParameterError("cov_factor", f"shape {factor}", "a matrix, shape (d, r)")
        for name, shape in (("loc", loc), ("cov_diag", diag)):
            if shape != factor[:1]:
                raise ParameterError(name, f"shape {shape} with cov_factor of shape {factor}", f"shape {factor[:1]}")
        return loc

    def noise_of(self, event_shape: Any) -> NoiseSpec:
        """Return r and d standard normals."""
        return {"factor": noise.normal(self.shapes["cov_factor"][1]), "diag": noise.normal(event_shape)}

    @staticmethod
    def transform(eps: Any, *, loc: Any, cov_factor: Any, cov_diag: Any) -> Any:
        """Add what is common to the components, and what is each one's own."""
        return loc + cov_factor @ eps["factor"] + np.sqrt(cov_diag) * eps["diag"]

    @staticmethod
    def log_density(x: Any, *, loc: Any, cov_factor: Any, cov_diag: Any) -> Any:
        """Return the log density of z."""
        squares = np.sum(np.square(whiten(about(x, loc), cov_factor, cov_diag)))
        return -0.5 * squares - half_log_determinant(cov_factor, cov_diag) - cov_factor.shape[0] * HALF_LOG_2PI

    @staticmethod
    def entropy(*, loc: Any, cov_factor: Any, cov_diag: Any) -> Any:
        """Return the entropy: that of standard normals, and half the logarithm of the determinant."""
        return half_log_determinant(cov_factor, cov_diag) + cov_factor.shape[0] * (0.5 + HALF_LOG_2PI)


def whiten(columns: Any, cov_factor: Any, cov_diag: Any) -> Any:
    """Return y of d or more rows with y^T y = x^T (covariance)^-1 x, for a vector or each of several columns x.

    With W = cov_factor / sqrt(cov_diag) and u = x / sqrt(cov_diag) that is the least |u - W s|^2 + |s|^2, at
    (1 + W^T W) s = W^T u: the sum of squares that ridge regression leaves. Woodbury's identity gives the same number as
    |u|^2 - u^T W s, a difference of large numbers where cov_diag is small. No derivative is taken in s, as that of the
    sum is zero in it; what makes it from u is a matrix that no draw changes, so it is computed in float64.
    """
    if _is_wide(cov_factor):
        return solve_lower(_covariance_factor(cov_factor, cov_diag), columns)
    root = np.sqrt(cov_diag)
    scaled = cov_factor / root[:, None]
    own = columns / (root if columns.ndim == 1 else root[:, None])
    tril = _capacitance(scaled)
    common = stop(solve_upper(tril, solve_lower(tril, scaled.T)) @ own)
    return np.concatenate([own - scaled @ common, common])


def half_log_determinant(cov_factor: Any, cov_diag: Any) -> Any:
    """Return half the logarithm of the covariance's determinant, by the lemma of determinants."""
    if _is_wide(cov_factor):
        d = cov_factor.shape[0]
        return np.sum(np.log(_covariance_factor(cov_factor, cov_diag)[np.arange(d), np.arange(d)]))
    r = cov_factor.shape[1]
    tril = _capacitance(cov_factor / np.sqrt(cov_diag)[:, None])
    return np.sum(np.log(tril[np.arange(r), np.arange(r)])) + 0.5 * np.sum(np.log(cov_diag))


def _is_wide(cov_factor: Any) -> bool:
    """Whether the rank is not low: cov_factor alone may have all directions, and cov_diag may not matter."""
    return bool(cov_factor.shape[1] >= cov_factor.shape[0])


def _covariance_factor(cov_factor: Any, cov_diag: Any) -> Any:
    """Cholesky factor of the covariance, shape (d, d)."""
    return cholesky(cov_factor @ cov_factor.T + np.where(np.eye(len(cov_diag), dtype=bool), cov_diag, 0.0))


def _capacitance(scaled: Any) -> Any:
    """Cholesky factor of 1 + W^T W, shape (r, r)."""
    r = scaled.shape[1]
    return cholesky(scaled.T @ scaled + np.where(np.eye(r, dtype=bool), 1.0, 0.0).astype(scaled.dtype))
