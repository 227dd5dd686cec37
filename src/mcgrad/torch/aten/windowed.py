"""PyTorch's operators whose windows move over arrays: convolutions and pools."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mcgrad.functions.windows import convolution, windows
from mcgrad.trace.operands import operand
from mcgrad.trace.refuse import refusal
from mcgrad.trace.tracer import Tracer


def _each(value: Any, n: int) -> list[int]:
    """A number for each of n axes, of a list that may have one for all of them."""
    given = list(value) if isinstance(value, Sequence) else [value]
    return given * n if len(given) == 1 else given


def _padded(x: Any, widths: Sequence[tuple[int, int]], value: float = 0.0) -> Any:
    return np.pad(x, [(0, 0)] * (x.ndim - len(widths)) + list(widths), constant_values=value)


def _convolution(
    x: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
    *_: Any,
) -> Any:
    n = x.ndim - 2
    stride, padding, dilation, more = (_each(given, n) for given in (stride, padding, dilation, output_padding))
    if transposed:
        reach = [(size - 1) * step for size, step in zip(weight.shape[2:], dilation, strict=True)]
        widths = [(r - p, r - p + m) for r, p, m in zip(reach, padding, more, strict=True)]
        parts = np.reshape(weight, (groups, weight.shape[0] // groups, *weight.shape[1:]))
        flipped = np.flip(np.swapaxes(parts, 1, 2), tuple(range(3, 3 + n)))
        weight = np.reshape(flipped, (groups * weight.shape[1], weight.shape[0] // groups, *weight.shape[2:]))
        x, stride = _spread(x, stride), [1] * n
        x = x[(..., *(slice(max(-a, 0), k - max(-b, 0)) for k, (a, b) in zip(x.shape[2:], widths, strict=True)))]
        widths = [(max(a, 0), max(b, 0)) for a, b in widths]
    else:
        widths = [(p, p) for p in padding]
    found = convolution(_padded(x, widths), weight, stride, dilation, groups)
    return found if bias is None else found + np.reshape(bias, (-1, *(1 for _ in range(n))))


def _spread(x: Any, strides: Sequence[int]) -> Any:
    """Put zeros between the neighbours along the last axes."""
    for axis, stride in enumerate(strides, x.ndim - len(strides)):
        if stride > 1:
            gaps = np.stack([x, *[np.zeros(x.shape)] * (stride - 1)], axis + 1)
            wide = np.reshape(gaps, (*x.shape[:axis], x.shape[axis] * stride, *x.shape[axis + 1 :]))
            x = wide[(*(slice(None),) * axis, slice(0, x.shape[axis] * stride - stride + 1))]
    return x


def _pool(n: int, reduce: Callable[..., Any], outside: float) -> Callable[..., Any]:
    def pool(x: Any, size: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False) -> Any:
        if ceil_mode:
            raise refusal("a pool with ceil_mode=True", "pad the array before")
        sizes = _each(size, n)
        strides = _each(stride, n) if stride not in ((), [], None) else sizes
        x = _padded(x, [(p, p) for p in _each(padding, n)], outside)
        return reduce(windows(x, sizes, strides, _each(dilation, n)), 0)

    return pool


def _average(n: int) -> Callable[..., Any]:
    def average(
        x: Any,
        size: Any,
        stride: Any = (),
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Any:
        total = _pool(n, np.sum, 0.0)(x, size, stride, padding, 1, ceil_mode)
        if divisor_override:
            return total / divisor_override
        if not count_include_pad and any(_each(padding, n)):
            return total / _pool(n, np.sum, 0.0)(np.ones(x.shape), size, stride, padding, 1, ceil_mode)
        return total / math.prod(_each(size, n))

    return average


def _largest(n: int) -> Callable[..., Any]:
    """The largest in each window, and its place among the elements of its channel."""

    def largest(x: Any, size: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1, *more: Any) -> Any:
        values = _pool(n, np.max, -np.inf)(x, size, stride, padding, dilation, *more)
        which = _pool(n, np.argmax, -np.inf)(x, size, stride, padding, dilation, *more)
        extents, sizes, apart = x.shape[x.ndim - n :], _each(size, n), _each(dilation, n)
        strides, before = _each(stride, n) if stride not in ((), [], None) else sizes, _each(padding, n)
        starts = [np.arange(m) * by - ahead for m, by, ahead in zip(values.shape[-n:], strides, before, strict=True)]
        offsets = [np.arange(k) * step for k, step in zip(sizes, apart, strict=True)]
        return values, _flat(starts, extents) + Tracer(operand(_flat(offsets, extents).ravel()))[which]

    return largest


def _flat(coordinates: Sequence[Any], extents: Sequence[int]) -> Any:
    """The places of all combinations of coordinates, in C order."""
    strides = [math.prod(extents[i + 1 :]) for i in range(len(extents))]
    grids = np.meshgrid(*(x * stride for x, stride in zip(coordinates, strides, strict=True)), indexing="ij")
    return np.sum(grids, 0).astype(float)


WINDOWED: dict[str, Callable[..., Any]] = {
    "convolution": _convolution,
    "max_pool2d_with_indices": _largest(2),
    "max_pool3d_with_indices": _largest(3),
    "avg_pool1d": _average(1),
    "avg_pool2d": _average(2),
    "avg_pool3d": _average(3),
}
