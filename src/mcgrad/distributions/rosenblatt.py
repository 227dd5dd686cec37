"""The distributional (Rosenblatt) transform of a mixture, and the path of a draw that it implies.

F_i is the distribution function of z_i given z_1 .. z_{i-1}:

    F_i = sum over k of W_ki F_ki(z_i | z_1 .. z_{i-1}),    W_ki ~ w_k times component k's density at z_1 .. z_{i-1}

A draw's path keeps every F_i (Figurnov et al. 2018, section 4; Graves 2016): J dz = -dF, with the triangular J = dF/dz.
Everything is computed at the draw held fixed, for all coordinates at once; only the triangular solve goes one after the
other. Where F_i > 1/2 minus the survival function stands for F_i, whose derivatives are the same and lose no digits.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mcgrad.functions.implicit_derivative import implicit, is_traced, slope, stop
from mcgrad.functions.special import ndtr, softmax
from mcgrad.functions.triangular_solve import solve_lower

LEAST = 1e-37  # of a density whose logarithm is taken: a component with less has no weight
SQRT_2PI = math.sqrt(2 * math.pi)


def factorized_path(family: Any, z: Any, log_weights: Any, params: Any) -> Any:
    """Return z with its pathwise derivative, for components with independent coordinates.

    Parameters
    ----------
    family : Distribution class with a `cdf`
    z : array
        A draw, held fixed.
    log_weights : array, shape (K,)
    params : dict of arrays
        The components' parameters, which broadcast to (K, *z.shape).
    """
    if not is_traced(z):
        return z
    cdf = family.cdf(z, **params)
    survival = 1.0 - cdf if family.survival is None else family.survival(z, **params)
    density = slope(cdf, z)
    log_density = np.log(np.maximum(density, LEAST))
    score = slope(log_density, z)
    rows = (np.shape(log_weights)[0], -1)
    cdf, survival, density, log_density, score = (
        np.reshape(x, rows) for x in (cdf, survival, density, log_density, score)
    )
    weights, signed, value = _mixed(log_weights, cdf, survival, log_density)
    total = np.sum(stop(weights * density), axis=0)
    if z.size == 1:
        return implicit(z, np.reshape(value, z.shape), np.reshape(total, z.shape))
    pull = stop(weights * (signed - value))  # what a component's weight does to F
    below = np.tri(z.size, k=-1)
    jacobian = below * np.einsum("ki,kj->ij", pull, stop(score)) + np.eye(z.size) * total
    return implicit(z, np.reshape(solve_lower(jacobian, value), z.shape), 1.0)


def normal_path(z: Any, log_weights: Any, loc: Any, tril: Any) -> Any:
    """Return z with its pathwise derivative, for normal components with any covariance.

    Parameters
    ----------
    z : array, shape (d,)
        A draw, held fixed.
    log_weights : array, shape (K,)
    loc : array, shape (K, d)
    tril : array, shape (K, d, d)
        Lower triangular factors of the covariances.
    """
    if not is_traced(z):
        return z
    inverse = stop(_inverse_lower(tril))
    still = stop(np.einsum("kij,kj->ki", inverse, z - loc))
    # L e = z - loc for a fixed z, so that de = -(inverse of L) (dL e + dloc)
    e = implicit(still, np.einsum("kij,kj->ki", inverse, np.einsum("kij,kj->ki", tril, still) + loc), 1.0)
    d = np.shape(loc)[1]
    log_density = -0.5 * np.square(e) - np.log(tril[:, np.arange(d), np.arange(d)])
    weights, signed, value = _mixed(log_weights, ndtr(e), ndtr(-e), log_density)
    pull = stop(weights * (signed - value))
    density = stop(weights * np.exp(-0.5 * np.square(e))) * (1.0 / SQRT_2PI)
    change = _before(-still[:, :, None] * inverse, axis=1)  # of the log density of what comes before z_i, with z_j
    jacobian = np.sum(density[:, :, None] * inverse + pull[:, :, None] * change, axis=0)
    return implicit(z, solve_lower(jacobian, value), 1.0)


def _mixed(log_weights: Any, cdf: Any, survival: Any, log_density: Any) -> tuple[Any, Any, Any]:
    """Return the weights W, F_ki or minus its complement, and their mixture, for all coordinates."""
    weights = softmax(log_weights[:, None] + _before(log_density, axis=1), axis=0)
    upper = stop(np.sum(weights * cdf, axis=0)) > 0.5
    signed = np.where(upper, -survival, cdf)
    return weights, signed, np.sum(weights * signed, axis=0)


def _before(x: Any, axis: int) -> Any:
    """Sum along an axis of all elements before each."""
    n = np.shape(x)[axis]
    first = (slice(None),) * axis
    zeros = 0.0 * x[(*first, slice(0, 1))]
    if n == 1:
        return zeros
    return np.concatenate([zeros, np.cumsum(x[(*first, slice(0, n - 1))], axis=axis)], axis=axis)


def _inverse_lower(tril: Any) -> Any:
    """Invert a stack of lower triangular matrices, in halves."""
    count, d = np.shape(tril)[:2]
    if d == 1:
        return 1.0 / tril
    h = d // 2
    top, low = _inverse_lower(tril[:, :h, :h]), _inverse_lower(tril[:, h:, h:])
    corner = -(low @ tril[:, h:, :h] @ top)
    zeros = np.zeros((count, h, d - h))
    return np.concatenate([np.concatenate([top, zeros], axis=2), np.concatenate([corner, low], axis=2)], axis=1)
