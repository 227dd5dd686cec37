"""scipy.linalg for code of other frameworks: traced where a Tracer is among the arguments, SciPy's own otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np

from mcgrad.trace.answers import call_scipy
from mcgrad.trace.tracer import Tracer


def solve_triangular(a: Any, b: Any, *, lower: bool, transposed: bool = False, unit_diagonal: bool = False) -> Any:
    """Return the x of a @ x = b, or of a.T @ x = b, reading one triangle of a.

    Parameters
    ----------
    a : array of shape (..., d, d)
    b : array of shape (d,) or (..., d, k)
    lower : bool
        Which triangle of a is read.
    transposed : bool
    unit_diagonal : bool
        Whether ones are taken for the diagonal of a.
    """
    if isinstance(a, Tracer) or isinstance(b, Tracer):
        options = {"trans": int(transposed), "lower": lower, "unit_diagonal": unit_diagonal}
        return call_scipy("scipy.linalg", "solve_triangular", (a, b), options)
    triangle = (np.tril if lower else np.triu)(a)
    if unit_diagonal:
        triangle = np.where(np.eye(a.shape[-1], dtype=bool), 1.0, triangle)
    return np.linalg.solve(np.swapaxes(triangle, -1, -2) if transposed else triangle, b)


def cholesky_solve(factor: Any, b: Any, *, lower: bool) -> Any:
    """Return the x of L @ L.T @ x = b, or of R.T @ R @ x = b, of a Cholesky factor.

    Parameters
    ----------
    factor : array of shape (..., d, d)
    b : array of shape (..., d, k)
    lower : bool
        Whether the factor is L.
    """
    half = solve_triangular(factor, b, lower=lower, transposed=not lower)
    return solve_triangular(factor, half, lower=lower, transposed=lower)
