"""Divergences of normal distributions in closed form: independent components, any covariance, low rank, matrices.

All are half of |M|^2 + |m|^2 - d - log det(M M^T), where M and m are the factor of q's covariance and the difference of
the means, both divided by the factor of p's. For triangular factors M is triangular, and a pair that is nearly equal
has terms that are nearly zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mcgrad.distributions.divergence_forms import Form, NormalVector, Params
from mcgrad.functions.gamma import log_excess
from mcgrad.functions.triangular_solve import solve_lower


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


Vector = Callable[[Params, int], NormalVector]


def vectors(first: Vector, second: Vector, d: int) -> Form:
    """Return the divergence of two families of normal vectors, of which one at least is correlated."""

    def form(q: Params, p: Params) -> Any:
        ours, theirs = first(q, d), second(p, d)
        return (_triangular if ours.is_triangular and theirs.is_triangular else _factors)(ours, theirs, d)

    return form


def _triangular(q: NormalVector, p: NormalVector, d: int) -> Any:
    factor = p.whitened(q.factor())
    below = np.where(np.tri(d, k=-1) > 0, factor, 0.0)
    shift = p.whitened(q.loc - p.loc)
    return np.sum(_scale(q.diagonal(), p.diagonal())) + 0.5 * (np.sum(np.square(below)) + np.sum(np.square(shift)))


def _factors(q: NormalVector, p: NormalVector, d: int) -> Any:
    spread = np.sum(np.square(p.whitened(q.factor())))
    shift = np.sum(np.square(p.whitened(q.loc - p.loc)))
    return 0.5 * (spread + shift - d) - q.half_log_determinant() + p.half_log_determinant()


def matrix_normal(q: Params, p: Params) -> Any:
    """Of matrices with correlated rows and columns."""
    rows, columns = (solve_lower(p[name], q[name]) for name in ("scale_row", "scale_column"))
    n, k = rows.shape[0], columns.shape[0]
    shift = solve_lower(p["scale_column"], solve_lower(p["scale_row"], q["loc"] - p["loc"]).T)
    spread = np.sum(np.square(rows)) * np.sum(np.square(columns)) - n * k
    heights = k * np.sum(np.log(rows[np.arange(n), np.arange(n)]))
    heights = heights + n * np.sum(np.log(columns[np.arange(k), np.arange(k)]))
    return 0.5 * (spread + np.sum(np.square(shift))) - heights
