"""Triangular factors of general matrices, with rows exchanged so that each pivot is the largest of its column."""

from __future__ import annotations

from typing import Any

import numpy as np

from mcgrad.trace.loops import scan


def lu(a: Any, exchanges: bool = True) -> tuple[Any, Any, Any]:
    """Return the factors of a[order] = L @ U.

    Parameters
    ----------
    a : array of shape (..., m, n)
    exchanges : bool
        Without exchanges of rows each step's pivot is on the diagonal.

    Returns
    -------
    factors : array of shape (..., m, n)
        U on and above the diagonal, and below it L, whose diagonal is 1.
    pivots : array of shape (..., min(m, n))
        The row, counted from 0, with which each step exchanges its own. These and the order have no derivative.
    order : array of shape (..., m)
        The row of a that comes at each place.

    Source: LAPACK's getrf.
    """
    *batch, m, n = a.shape
    rows, columns = np.arange(float(m))[:, None], np.arange(float(n))

    def step(carry: Any, k: Any) -> tuple[Any, Any]:
        left, order = carry
        column = np.sum(np.where(columns == k, left, 0.0), -1, keepdims=True)
        size = np.where(rows >= k, np.absolute(column), -1.0)
        largest = size == np.max(size, -2, keepdims=True) if exchanges else rows == k
        pivot = np.min(np.where(largest, rows, float(m)), -2, keepdims=True)  # without a place if one is NaN
        left, order = (_exchanged(x, rows == k, rows == pivot) for x in (left, order))
        row = np.sum(np.where(rows == k, left, 0.0), -2, keepdims=True)
        column, top = (np.sum(np.where(columns == k, x, 0.0), -1, keepdims=True) for x in (left, row))
        factor = column / np.where(top == 0.0, 1.0, top)  # a column of zeros stays as it is
        eliminated = np.where(columns == k, factor, left - factor * np.where(columns > k, row, 0.0))
        return (np.where(rows > k, eliminated, left), order), pivot[..., 0, 0]

    order = np.broadcast_to(rows, (*batch, m, 1))
    (factors, order), pivots = scan(step, (a, order), np.arange(float(min(m, n))))
    return factors, np.moveaxis(pivots, 0, -1), order[..., 0]


def order_of(pivots: Any, m: int) -> Any:
    """Return the order of m rows that exchanges have made, given with which row each step exchanged its own."""
    rows = np.arange(float(m))[:, None]

    def step(order: Any, x: Any) -> tuple[Any, None]:
        k, pivot = x
        return _exchanged(order, rows == k, rows == pivot[..., None, None]), None

    *batch, length = pivots.shape
    start = np.broadcast_to(rows, (*batch, m, 1))
    order, _ = scan(step, start, (np.arange(float(length)), np.moveaxis(pivots, -1, 0)))
    return order[..., 0]


def _exchanged(x: Any, first: Any, second: Any) -> Any:
    """Return an array with two of its rows exchanged."""
    one, other = (np.sum(np.where(here, x, 0.0), -2, keepdims=True) for here in (first, second))
    return np.where(first, other, np.where(second, one, x))
