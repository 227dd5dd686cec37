"""PyTorch's operators of linear algebra, as functions of NumPy of matrices on the last two axes.

Of what an operator of ATen returns besides its result, for derivatives and checks of its own, nothing is made. Numbers
that say whether a result was found are 0: a kernel has NaN where it was not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mcgrad.functions.linear_algebra import cholesky_solve, solve_triangular
from mcgrad.functions.lu import lu, order_of


def _swapped(x: Any) -> Any:
    return np.swapaxes(x, -1, -2)


def _found(a: Any) -> Any:
    return np.zeros(a.shape[:-2])


def _from_left(solve: Callable[[Any, Any], Any], a: Any, b: Any, left: bool) -> Any:
    """Solve a @ x = b, or x @ a = b, given how to solve for columns of a or of its transpose."""
    return solve(a, b) if left else _swapped(solve(_swapped(a), _swapped(b)))


def _solve_triangular(a: Any, b: Any, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Any:
    def solve(matrix: Any, right: Any) -> Any:
        return solve_triangular(matrix, right, lower=upper is not left, unit_diagonal=unitriangular)

    return _from_left(solve, a, b, left)


def _cholesky(a: Any, *, upper: bool = False, check_errors: bool = False) -> tuple[Any, Any]:
    factor = np.linalg.cholesky(a)
    return _swapped(factor) if upper else factor, _found(a)


def _cholesky_solve(b: Any, factor: Any, upper: bool = False) -> Any:
    return cholesky_solve(factor, b, lower=not upper)


def _cholesky_inverse(factor: Any, upper: bool = False) -> Any:
    return cholesky_solve(factor, np.broadcast_to(np.eye(factor.shape[-1]), factor.shape), lower=not upper)


def _solve(a: Any, b: Any, *, left: bool = True, check_errors: bool = False) -> tuple[Any, None, None, Any]:
    if b.ndim == 1 or (b.ndim == a.ndim - 1 and b.shape == a.shape[:-1]):  # vectors
        return np.linalg.solve(a, b[..., None])[..., 0], None, None, _found(a)
    return _from_left(np.linalg.solve, a, b, left), None, None, _found(a)


def _inverse(a: Any, *, check_errors: bool = False) -> tuple[Any, Any]:
    return np.linalg.inv(a), _found(a)


def _determinant(a: Any) -> tuple[Any, None, None]:
    return np.linalg.det(a), None, None


def _log_determinant(a: Any) -> tuple[Any, Any, None, None]:
    sign, logarithm = np.linalg.slogdet(a)
    return sign, logarithm, None, None


def _eigenvalues(a: Any, UPLO: Any = "L", compute_v: bool = True) -> tuple[Any, Any]:
    if not compute_v:
        return np.linalg.eigvalsh(a, UPLO), None
    values, vectors = np.linalg.eigh(a, UPLO)
    return values, vectors


def _singular_values(a: Any, full_matrices: bool = False, compute_uv: bool = True, **_: Any) -> tuple[None, Any, None]:
    return None, np.linalg.svdvals(a), None


# --- LU --------------------------------------------------------------------------------------------------------------
def _factors(a: Any, *, pivot: bool = True, check_errors: bool = False) -> tuple[Any, Any, Any]:
    factors, pivots, _ = lu(a, exchanges=pivot)
    return factors, pivots + 1.0, _found(a)


def _triangles(factors: Any) -> tuple[Any, Any]:
    """Return L and U of the factors of matrices of shape (m, n), of shapes (m, k) and (k, n), k the smaller extent."""
    m, n = factors.shape[-2:]
    k = min(m, n)
    return np.where(np.eye(m, k, dtype=bool), 1.0, np.tril(factors[..., :k])), np.triu(factors[..., :k, :])


def _permutations(order: Any) -> Any:
    """Return matrices p of a = p @ L @ U, given which row of a each row of L is of."""
    return np.where(order[..., None, :] == np.arange(order.shape[-1])[:, None], 1.0, 0.0)


def _lu(a: Any, *, pivot: bool = True) -> tuple[Any, Any, Any]:
    factors, _, order = lu(a, exchanges=pivot)
    return (_permutations(order) if pivot else None, *_triangles(factors))


def _unpacked(factors: Any, pivots: Any, unpack_data: bool = True, unpack_pivots: bool = True) -> tuple[Any, Any, Any]:
    lower, upper = _triangles(factors) if unpack_data else (None, None)
    return _permutations(order_of(pivots - 1.0, factors.shape[-2])) if unpack_pivots else None, lower, upper


def _lu_solve(factors: Any, pivots: Any, b: Any, *, left: bool = True, adjoint: bool = False) -> Any:
    permutation = _permutations(order_of(pivots - 1.0, factors.shape[-1]))
    right = b if left else _swapped(b)
    if adjoint is not left:  # of the matrix itself
        half = solve_triangular(factors, _swapped(permutation) @ right, lower=True, unit_diagonal=True)
        found = solve_triangular(factors, half, lower=False)
    else:
        half = solve_triangular(factors, right, lower=False, transposed=True)
        found = permutation @ solve_triangular(factors, half, lower=True, transposed=True, unit_diagonal=True)
    return found if left else _swapped(found)


MATRICES: dict[str, Callable[..., Any]] = {
    "linalg_solve_triangular": _solve_triangular,
    "linalg_cholesky_ex": _cholesky,
    "cholesky": lambda a, upper=False: _cholesky(a, upper=upper)[0],
    "cholesky_solve": _cholesky_solve,
    "cholesky_inverse": _cholesky_inverse,
    "_linalg_solve_ex": _solve,
    "linalg_inv_ex": _inverse,
    "_linalg_det": _determinant,
    "_linalg_slogdet": _log_determinant,
    "_linalg_eigh": _eigenvalues,
    "_linalg_svd": _singular_values,
    "linalg_lu_factor_ex": _factors,
    "linalg_lu": _lu,
    "lu_unpack": _unpacked,
    "linalg_lu_solve": _lu_solve,
    "_linalg_check_errors": lambda *_, **__: None,
}
