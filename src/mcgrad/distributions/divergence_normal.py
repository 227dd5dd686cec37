"""Divergences of normal distributions in closed form: independent components, any covariance, low rank, matrices.

All are half of |M|^2 + |m|^2 - d - log det(M M^T), where M and m are the factor of q's covariance and the difference of
the means, both divided by the factor of p's. For triangular factors M is triangular, and a pair that is nearly equal
has terms that are nearly zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mcgrad.distributions.base import Distribution
from mcgrad.distributions.covariance import lower
from mcgrad.distributions.low_rank_multivariate_normal import (
    LowRankMultivariateNormal,
    half_log_determinant,
    whiten,
)
from mcgrad.distributions.multivariate_normal import MultivariateNormal
from mcgrad.distributions.normal import Normal
from mcgrad.functions.gamma import log_excess
from mcgrad.functions.triangular_solve import solve_lower

Params = Mapping[str, Any]


def normal(q: Params, p: Params) -> Any:
    """Of independent components; also of their images under one invertible map."""
    shift = (q["loc"] - p["loc"]) / p["scale"]
    return np.sum(0.5 * np.square(shift) + _scale(q["scale"], p["scale"]))


def half_normal(q: Params, p: Params) -> Any:
    """Of the absolute values of centred components."""
    return np.sum(_scale(q["scale"], p["scale"]))


def _scale(ours: Any, theirs: Any) -> Any:
    """(r^2 - 1) / 2 - log r of the ratio r of two scales."""
    ratio, difference = ours / theirs, (ours - theirs) / theirs
    return log_excess(ratio, difference) + 0.5 * np.square(difference)


def any_covariance(first: type[Distribution], second: type[Distribution]) -> Callable[[Params, Params], Any]:
    """Return the divergence of two families of normal vectors, of which one at least is correlated."""
    form = _factors if LowRankMultivariateNormal in (first, second) else _triangular
    return lambda q, p: form(first, _factored(first, q), second, _factored(second, p))


def _factored(family: type[Distribution], x: Params) -> Params:
    """Have the factor of a covariance, whatever it was given by."""
    return {"loc": x["loc"], "scale_tril": lower(x)} if family is MultivariateNormal else x


def _triangular(first: type[Distribution], q: Params, second: type[Distribution], p: Params) -> Any:
    d = (q if first is MultivariateNormal else p)["scale_tril"].shape[0]
    ours, theirs = _diagonal(first, q, d), _diagonal(second, p, d)
    factor = _divided(second, p, _factor(first, q, d))
    below = np.where(np.tri(d, k=-1) > 0, factor, 0.0)
    shift = _divided(second, p, q["loc"] - p["loc"])
    return np.sum(_scale(ours, theirs)) + 0.5 * (np.sum(np.square(below)) + np.sum(np.square(shift)))


def _factors(first: type[Distribution], q: Params, second: type[Distribution], p: Params) -> Any:
    d = (q if first is LowRankMultivariateNormal else p)["cov_factor"].shape[0]
    spread = np.sum(np.square(_divided(second, p, _factor(first, q, d))))
    shift = np.sum(np.square(_divided(second, p, q["loc"] - p["loc"])))
    return 0.5 * (spread + shift - d) - _half_log_det(first, q, d) + _half_log_det(second, p, d)


def _diagonal(family: type[Distribution], x: Params, d: int) -> Any:
    if family is Normal:
        return np.broadcast_to(x["scale"], (d,))
    return x["scale_tril"][np.arange(d), np.arange(d)]


def _factor(family: type[Distribution], x: Params, d: int) -> Any:
    """Return a matrix L, such that L L^T is the covariance."""
    if family is MultivariateNormal:
        return x["scale_tril"]
    if family is Normal:
        return np.where(np.eye(d) > 0, np.broadcast_to(x["scale"], (d,)), 0.0)
    own = np.where(np.eye(d) > 0, np.sqrt(x["cov_diag"]), 0.0)
    return np.concatenate([x["cov_factor"], own], axis=1)


def _divided(family: type[Distribution], x: Params, columns: Any) -> Any:
    """Return columns y with |y|^2 = column^T (covariance)^-1 column."""
    if family is MultivariateNormal:
        return solve_lower(x["scale_tril"], columns)
    if family is Normal:
        return columns / (x["scale"] if columns.ndim == 1 or np.ndim(x["scale"]) == 0 else x["scale"][:, None])
    return whiten(columns, x["cov_factor"], x["cov_diag"])


def _half_log_det(family: type[Distribution], x: Params, d: int) -> Any:
    if family is LowRankMultivariateNormal:
        return half_log_determinant(x["cov_factor"], x["cov_diag"])
    return np.sum(np.log(_diagonal(family, x, d)))


def matrix_normal(q: Params, p: Params) -> Any:
    """Of matrices with correlated rows and columns."""
    rows, columns = (solve_lower(p[name], q[name]) for name in ("scale_row", "scale_column"))
    n, k = rows.shape[0], columns.shape[0]
    shift = solve_lower(p["scale_column"], solve_lower(p["scale_row"], q["loc"] - p["loc"]).T)
    spread = np.sum(np.square(rows)) * np.sum(np.square(columns)) - n * k
    heights = k * np.sum(np.log(rows[np.arange(n), np.arange(n)]))
    heights = heights + n * np.sum(np.log(columns[np.arange(k), np.arange(k)]))
    return 0.5 * (spread + np.sum(np.square(shift))) - heights
