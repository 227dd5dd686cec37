"""Compute the functions of matrices by NumPy, on stacks of matrices whose first axis is the draws.

What has no result, as the factor of a matrix that is not positive definite, is NaN: by it the draw is counted among
those that are not finite.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.ir.attributes import Solve

Array = npt.NDArray[Any]


def _of_each(function: Callable[..., Array], a: Array, *others: Array) -> Array:
    """Call a function of stacks of matrices: NaN for those of which it raises."""
    try:
        return function(a, *others)
    except np.linalg.LinAlgError:
        pass
    if others:
        a = np.broadcast_to(a, (*np.broadcast_shapes(a.shape[:-2], others[0].shape[:-2]), *a.shape[-2:]))
        others = tuple(np.broadcast_to(x, (*a.shape[:-2], *x.shape[-2:])) for x in others)
    found = function(np.broadcast_to(np.eye(a.shape[-1], dtype=a.dtype), a.shape), *others).copy()
    for index in np.ndindex(a.shape[:-2]):
        try:
            found[index] = function(a[index], *(x[index] for x in others))
        except np.linalg.LinAlgError:
            found[index] = np.nan
    return found


def _cholesky(attrs: None, a: Array) -> Array:
    return _of_each(np.linalg.cholesky, a)


def _det(attrs: None, a: Array) -> Array:
    return np.asarray(np.linalg.det(a))


def _cofactors(attrs: None, a: Array) -> Array:
    """The derivative of the determinant: of singular matrices, too, as the products leave out one singular value."""

    def of_each(a: Array) -> Array:
        u, s, vt = np.linalg.svd(a)
        others = np.where(np.eye(a.shape[-1], dtype=bool), 1.0, s[..., None, :]).prod(-1)
        sign = np.linalg.det(u) * np.linalg.det(vt)
        return np.asarray(sign[..., None, None] * ((u * others[..., None, :]) @ vt), a.dtype)

    return _of_each(of_each, a)


def _slogdet(attrs: None, a: Array) -> Array:
    return np.stack(np.linalg.slogdet(a), -1)


def _eigvalsh(attrs: None, a: Array) -> Array:
    return _of_each(np.linalg.eigvalsh, a)


def _eigenvectors(attrs: None, a: Array) -> Array:
    """Columns of length 1, in the order of the eigenvalues.

    The first element that is larger than half of the largest is positive: a sign that rounding does not decide where
    elements are of equal size, as those of symmetric problems are.
    """
    vectors = _of_each(lambda x: np.linalg.eigh(x).eigenvectors, a)
    size = np.abs(vectors)
    with np.errstate(invalid="ignore"):
        first = np.argmax(size > 0.5 * np.max(size, -2, keepdims=True), -2)
    signed: Array = vectors * np.sign(np.take_along_axis(vectors, first[..., None, :], -2))
    return signed


def _solve(attrs: Solve, a: Array, b: Array) -> Array:
    return _of_each(np.linalg.solve, np.swapaxes(a, -1, -2) if attrs.transposed else a, b)


def _solve_triangular(attrs: Solve, a: Array, b: Array) -> Array:
    """Substitution, of which the upper triangle is not read: forwards, or backwards where a is transposed."""
    n = a.shape[-1]
    found = np.zeros_like(b, shape=(*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), *b.shape[-2:]))
    for i in reversed(range(n)) if attrs.transposed else range(n):
        known = slice(i + 1, n) if attrs.transposed else slice(0, i)
        row = a[..., known, i] if attrs.transposed else a[..., i, known]
        rest = b[..., i, :] - np.einsum("...j,...jk->...k", row, found[..., known, :])
        found[..., i, :] = rest / a[..., i, i, None]
    return found


MATRICES: dict[str, Callable[..., Array]] = {
    "cholesky": _cholesky,
    "det": _det,
    "cofactors": _cofactors,
    "slogdet": _slogdet,
    "eigvalsh": _eigvalsh,
    "eigenvectors": _eigenvectors,
    "solve": _solve,
    "solve_triangular": _solve_triangular,
}
