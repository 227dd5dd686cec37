"""JAX's primitives of linear algebra, as functions of NumPy of traced matrices on the last two axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mcgrad.functions.linear_algebra import solve_triangular
from mcgrad.functions.lu import lu, order_of
from mcgrad.trace.refuse import refusal


def _swapped(x: Any) -> Any:
    return np.swapaxes(x, -1, -2)


def _cholesky(a: Any, **_: Any) -> list[Any]:
    return [np.linalg.cholesky(a)]


def _triangular_solve(
    a: Any, b: Any, *, left_side: bool, lower: bool, transpose_a: bool, unit_diagonal: bool, **_: Any
) -> list[Any]:
    options = {"lower": lower, "unit_diagonal": unit_diagonal}
    if left_side:
        return [solve_triangular(a, b, transposed=transpose_a, **options)]
    return [_swapped(solve_triangular(a, _swapped(b), transposed=not transpose_a, **options))]


def _lu(a: Any, **_: Any) -> tuple[Any, Any, Any]:
    return lu(a)


def _order(pivots: Any, *, permutation_size: int) -> list[Any]:
    return [order_of(pivots, permutation_size)]


def _eigh(a: Any, *, lower: bool, subset_by_index: Any = None, **_: Any) -> list[Any]:
    if subset_by_index is not None:
        raise refusal("eigh with subset_by_index=", "take a slice of all eigenvalues")
    values, vectors = np.linalg.eigh(a, "L" if lower else "U")
    return [vectors, values]


def _svd(a: Any, *, compute_uv: bool, subset_by_index: Any = None, **_: Any) -> list[Any]:
    if compute_uv or subset_by_index is not None:
        raise refusal("svd with its vectors", "singular values alone are jnp.linalg.svdvals(x); the vectors are those "
                      "of jnp.linalg.eigh(x.T @ x), and least squares jnp.linalg.solve(x.T @ x, x.T @ y)")  # fmt: skip
    return [np.linalg.svdvals(a)]


MATRICES: dict[str, Callable[..., Any]] = {
    "cholesky": _cholesky,
    "triangular_solve": _triangular_solve,
    "lu": _lu,
    "lu_pivots_to_permutation": _order,
    "eigh": _eigh,
    "svd": _svd,
}
