"""The triangular factor of a covariance that is given by the factor, as it is, or by its inverse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mcgrad.errors import ParameterError
from mcgrad.functions.implicit_derivative import stop
from mcgrad.functions.triangular_solve import cholesky, solve_lower

NAMES = ("scale_tril", "covariance_matrix", "precision_matrix")
SYMMETRIC = 1e-5  # relative to the largest entry: rounding of float32


def one_of(**given: Any) -> dict[str, Any]:
    """Return the one matrix that was given, by its name; refuse none, several, and what is not symmetric."""
    named = {name: value for name, value in given.items() if value is not None}
    if len(named) != 1:
        raise ParameterError(", ".join(NAMES), " and ".join(named) or "none", "one of them")
    ((name, value),) = named.items()
    array = np.asarray(value) if isinstance(value, np.ndarray | list | tuple) and name != "scale_tril" else None
    if array is not None and array.ndim == 2 and array.shape[0] == array.shape[1] and array.dtype.kind in "iuf":
        gap = np.abs(array - array.T)
        if gap.max() > SYMMETRIC * np.abs(array).max():
            i, j = (int(k) for k in np.unravel_index(np.argmax(gap), gap.shape))
            raise ParameterError(name, f"{array[i, j]} at {[i, j]} and {array[j, i]} at {[j, i]}", "a symmetric matrix")
    return named


def shape_of(shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, tuple[int, ...]]:
    """Return the name and the shape of the matrix that is among some parameters."""
    for name in NAMES:
        if name in shapes:
            return name, shapes[name]
    raise ParameterError(", ".join(NAMES), "a dict", "an array")


def lower(params: Mapping[str, Any]) -> Any:
    """Return the lower triangular L with L @ L.T the covariance, with its derivative in the matrix that was given.

    Notes
    -----
    The derivative is that of the whole matrix: dL = L low(L^-1 dC L^-T), where low is the lower triangle with half of
    the diagonal (Murray 2016, *Differentiation of the Cholesky decomposition*, equation 8), and dC = -C dP C for C the
    inverse of P. Only the symmetric part of a matrix counts, so that gradients are symmetric.
    """
    name = next(name for name in NAMES if params.get(name) is not None)
    matrix = params[name]
    if name == "scale_tril":
        return matrix
    matrix = 0.5 * (matrix + matrix.T)
    held = stop(matrix)
    moved = matrix - held  # zero, but for its derivative
    d = matrix.shape[0]
    identity = np.where(np.eye(d, dtype=bool), 1.0, 0.0).astype(matrix.dtype)
    if name == "precision_matrix":
        inverse = stop(solve_lower(stop(cholesky(held)), identity))  # C = inverse.T @ inverse
        held = stop(inverse.T @ inverse)
        moved = -(held @ moved @ held)
    tril = stop(cholesky(held))
    inverse = stop(solve_lower(tril, identity))
    inner = inverse @ moved @ inverse.T
    weights = np.tri(d, k=-1) + 0.5 * np.eye(d)
    return tril + tril @ (inner * weights.astype(matrix.dtype))
