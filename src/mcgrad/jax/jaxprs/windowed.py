"""JAX's primitives whose windows move over arrays: convolutions and reductions in windows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mcgrad.functions.windows import convolution, windows
from mcgrad.jax.jaxprs.moving import pad
from mcgrad.trace.refuse import refusal


def _padded(x: Any, value: float, padding: Any, dilation: Any, ahead: int = 0) -> Any:
    """Pad the axes after some, and put elements between the neighbours along them."""
    widths = [(low, high, step - 1) for (low, high), step in zip(padding, dilation, strict=True)]
    return pad(x, np.float64(value), [(0, 0, 0)] * ahead + widths)


def _convolution(
    x: Any,
    weight: Any,
    *,
    window_strides: Any,
    padding: Any,
    lhs_dilation: Any,
    rhs_dilation: Any,
    dimension_numbers: Any,
    feature_group_count: int,
    batch_group_count: int,
    **_: Any,
) -> Any:
    if batch_group_count != 1:
        raise refusal("a convolution with batch_group_count=", "split the batch, and jnp.concatenate the results")
    x = np.transpose(x, dimension_numbers.lhs_spec)
    weight = np.transpose(weight, dimension_numbers.rhs_spec)
    x = _padded(x, 0.0, padding, lhs_dilation, 2)
    found = convolution(x, weight, window_strides, rhs_dilation, feature_group_count)
    return np.transpose(found, np.argsort(dimension_numbers.out_spec))


def _in_windows(reduce: Callable[..., Any], outside: float) -> Callable[..., Any]:
    def reduced(
        x: Any,
        *,
        window_dimensions: Any,
        window_strides: Any,
        padding: Any,
        base_dilation: Any,
        window_dilation: Any,
    ) -> Any:
        x = _padded(x, outside, padding, base_dilation)
        return reduce(windows(x, window_dimensions, window_strides, window_dilation), 0)

    return reduced


WINDOWED: dict[str, Callable[..., Any]] = {
    "conv_general_dilated": _convolution,
    "reduce_window_sum": _in_windows(np.sum, 0.0),
    "reduce_window_max": _in_windows(np.max, -np.inf),
    "reduce_window_min": _in_windows(np.min, np.inf),
}
