"""PyTorch's operators that order elements by value, or find where they are, as functions of NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mcgrad.trace.refuse import refusal


def _order(x: Any, dim: int, descending: bool) -> Any:
    return np.argsort(-x if descending else x, dim, kind="stable")


def _sort(x: Any, dim: int = -1, descending: bool = False, *, stable: Any = None) -> tuple[Any, Any]:
    if not x.ndim:
        return x, np.zeros(())
    values = np.sort(x, dim)
    return np.flip(values, dim) if descending else values, _order(x, dim, descending)


def _some(x: Any, dim: int, first: int, last: int) -> Any:
    return x[(*(slice(None),) * (dim % x.ndim), slice(first, last))]


def _top(x: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> tuple[Any, Any]:
    order = _some(_order(x, dim, largest), dim, 0, k)
    return np.take_along_axis(x, order, dim), order


def _of_rank(x: Any, rank: int, dim: int, keepdim: bool) -> tuple[Any, Any]:
    values, order = (_some(each, dim, rank, rank + 1) for each in _sort(x, dim))
    return (values, order) if keepdim else (np.squeeze(values, dim), np.squeeze(order, dim))


def _median(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The lower of two in the middle, with its place if an axis is given."""
    if dim is None:
        return np.sort(x, None)[(x.size - 1) // 2]
    return _of_rank(x, (x.shape[dim] - 1) // 2, dim, keepdim)


def _place(function: Callable[..., Any]) -> Callable[..., Any]:
    def place(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
        return function(x, dim, keepdims=keepdim) if x.ndim else np.zeros(())

    return place


def _searchsorted(
    edges: Any, x: Any, *, out_int32: bool = False, right: bool = False, side: str | None = None, sorter: Any = None
) -> Any:
    if edges.ndim != 1 or sorter is not None:
        raise refusal("torch.searchsorted with sorter=, or in several rows", "search in each row alone")
    return np.searchsorted(edges, x, "right" if right or side == "right" else "left")


SORTING: dict[str, Callable[..., Any]] = {
    "sort": _sort,
    "topk": _top,
    "median": _median,
    "kthvalue": lambda x, k, dim=-1, keepdim=False: _of_rank(x, k - 1, dim, keepdim),
    "argmax": _place(np.argmax),
    "argmin": _place(np.argmin),
    "searchsorted": _searchsorted,
    "bucketize": lambda x, edges, **options: _searchsorted(edges, x, **options),
}
