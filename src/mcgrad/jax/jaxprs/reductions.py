"""JAX's reductions, running versions of them, and products, as functions of NumPy."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mcgrad.functions.running import running_logsumexp


def _over(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, axes, out_sharding=None: function(x, axis=tuple(axes))


def _running(function: Callable[..., Any]) -> Callable[..., Any]:
    def run(x: Any, axis: int, reverse: bool) -> Any:
        return np.flip(function(np.flip(x, axis), axis), axis) if reverse else function(x, axis)

    return run


def _dot_general(x: Any, y: Any, dimension_numbers: Any, **_: Any) -> Any:
    (x_summed, y_summed), (x_batch, y_batch) = dimension_numbers
    letters = iter(string.ascii_letters)
    x_labels: list[str] = [next(letters) for _ in x.shape]
    y_labels: list[str] = [next(letters) for _ in y.shape]
    for i, j in zip([*x_summed, *x_batch], [*y_summed, *y_batch], strict=True):
        y_labels[j] = x_labels[i]
    batch = [x_labels[i] for i in x_batch]
    rest = [label for labels, used in ((x_labels, {*x_summed, *x_batch}), (y_labels, {*y_summed, *y_batch}))
            for i, label in enumerate(labels) if i not in used]  # fmt: skip
    return np.einsum(f"{_word(x_labels)},{_word(y_labels)}->{_word(batch + rest)}", x, y, optimize=True)


def _word(labels: Sequence[str]) -> str:
    return "".join(labels)


REDUCTIONS: dict[str, Callable[..., Any]] = {
    "reduce_sum": _over(np.sum),
    "reduce_prod": _over(np.prod),
    "reduce_max": _over(np.max),
    "reduce_min": _over(np.min),
    "reduce_and": _over(np.all),
    "reduce_or": _over(np.any),
    "cumsum": _running(np.cumsum),
    "cumprod": _running(np.cumprod),
    "cummax": _running(np.maximum.accumulate),
    "cummin": _running(np.minimum.accumulate),
    "cumlogsumexp": _running(running_logsumexp),
    "dot_general": _dot_general,
}
