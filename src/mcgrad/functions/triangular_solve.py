"""Triangular systems in plain NumPy that can be traced."""

from __future__ import annotations

from typing import Any

import numpy as np


def solve_lower(tril: Any, b: Any) -> Any:
    """Return the x of tril @ x = b by forward substitution in halves.

    As stable as row by row, but the work is in matrix-vector products, forwards and in the derivative, and slices
    of slices keep the derivative with respect to `tril` at O(d^2).
    """
    d = tril.shape[0]
    if d == 1:
        return b / tril[0]
    h = d // 2
    top = solve_lower(tril[:h, :h], b[:h])
    return np.concatenate([top, solve_lower(tril[h:, h:], b[h:] - tril[h:, :h] @ top)])


def solve_upper(tril: Any, b: Any) -> Any:
    """Return the x of tril.T @ x = b by back substitution in halves."""
    d = tril.shape[0]
    if d == 1:
        return b / tril[0]
    h = d // 2
    below = solve_upper(tril[h:, h:], b[h:])
    return np.concatenate([solve_upper(tril[:h, :h], b[:h] - tril[h:, :h].T @ below), below])


def cholesky(a: Any) -> Any:
    """Return the lower triangular L of L @ L.T = a, for a positive definite matrix, column by column.

    Written out: for a few tens of rows at most.
    """
    d = a.shape[0]
    columns: list[Any] = []
    for j in range(d):
        below = a[j:, j]
        for column in columns:
            below = below - column[j:] * column[j]
        below = below / np.sqrt(below[0])
        columns.append(np.concatenate([np.zeros(j, below.dtype), below]) if j else below)
    return np.stack(columns, axis=1)
