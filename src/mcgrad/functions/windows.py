"""Windows that move over arrays, and the convolutions and pools that are sums, products and extremes in them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np


def windows(x: Any, sizes: Sequence[int], strides: Sequence[int], apart: Sequence[int]) -> Any:
    """Return what windows over the last axes read.

    Parameters
    ----------
    x : array of shape (..., *extents)
    sizes, strides, apart : sequences of int
        For each of the last axes how many elements a window reads, how far windows are apart, and elements in a window.

    Returns
    -------
    array of shape (n, ..., *windows)
        The n elements of a window come first.
    """
    ahead = (slice(None),) * (x.ndim - len(sizes))
    ends = [n - (size - 1) * step for n, size, step in zip(x.shape[x.ndim - len(sizes) :], sizes, apart, strict=True)]

    def read(offsets: Sequence[int]) -> Any:
        starts = [k * step for k, step in zip(offsets, apart, strict=True)]
        bounds = zip(starts, ends, strides, strict=True)
        return x[(*ahead, *(slice(start, start + max(end, 0), stride) for start, end, stride in bounds))]

    return np.stack([read(offsets) for offsets in itertools.product(*map(range, sizes))])


def convolution(x: Any, weight: Any, strides: Sequence[int], apart: Sequence[int], groups: int = 1) -> Any:
    """Return sums of products of windows with a kernel, for each channel.

    Parameters
    ----------
    x : array of shape (batch, channels, *extents)
        Padded already.
    weight : array of shape (outputs, channels / groups, *sizes)
    strides, apart : sequences of int
        As of `windows`.
    groups : int
        How many groups of channels and of outputs there are, each on its own.

    Returns
    -------
    array of shape (batch, outputs, *windows)
    """
    outputs, channels, *sizes = weight.shape
    batch = x.shape[0]
    read = windows(x, sizes, strides, apart)
    kernel = np.reshape(weight, (groups, outputs // groups, channels, math.prod(sizes)))
    read = np.reshape(read, (read.shape[0], batch, groups, channels, *read.shape[3:]))
    places = "uvwxyz"[: len(sizes)]
    summed = np.einsum(f"gock,kbgc{places}->bgo{places}", kernel, read)
    return np.reshape(summed, (batch, outputs, *read.shape[4:]))
