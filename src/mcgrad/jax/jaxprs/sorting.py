"""JAX's primitives that order elements by value, as functions of NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def _sort(*operands: Any, dimension: int, num_keys: int, **_: Any) -> list[Any]:
    """Sort several arrays by the first of them, and where these are equal by the next."""
    if len(operands) == 1:
        return [np.sort(operands[0], dimension)]
    order: Any = None
    for key in operands[:num_keys][::-1]:
        moved = key if order is None else np.take_along_axis(key, order, dimension)
        found = np.argsort(moved, dimension, kind="stable")
        order = found if order is None else np.take_along_axis(order, found, dimension)
    return [np.take_along_axis(x, order, dimension) for x in operands]


def _top_k(x: Any, *, k: int, axis: int = -1, **_: Any) -> list[Any]:
    order = np.argsort(-x, axis, kind="stable")
    some = order[(*(slice(None),) * (axis % x.ndim), slice(0, k))]
    return [np.take_along_axis(x, some, axis), some]


def _place(function: Callable[..., Any]) -> Callable[..., list[Any]]:
    return lambda x, *, axes, **_: [function(x, axes[0])]


def _below(or_equal: bool) -> Callable[..., list[Any]]:
    """Compare in an order in which NaN comes last."""
    compared = np.less_equal if or_equal else np.less

    def compare(x: Any, y: Any) -> list[Any]:
        last = np.isnan(y)
        return [compared(x, y) | (last if or_equal else last & ~np.isnan(x))]

    return compare


SORTING: dict[str, Callable[..., list[Any]]] = {
    "sort": _sort,
    "top_k": _top_k,
    "argmax": _place(np.argmax),
    "argmin": _place(np.argmin),
    "lt_to": _below(False),
    "le_to": _below(True),
}
