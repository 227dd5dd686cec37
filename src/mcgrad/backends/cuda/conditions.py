"""Conditions on values on a device that are seen to there: what they come to is a byte, which other kernels read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mcgrad.arrays import as_dtype, contiguous, cupy
from mcgrad.backends.cuda.compiled import compiling
from mcgrad.backends.cuda.driver import Device
from mcgrad.backends.cuda.launch import launch
from mcgrad.backends.finishing import Interval
from mcgrad.toolchain import ptx

THREADS, MOST_BLOCKS = 256, 1024
TRUE = 0.5, 1.5  # between these lies true as a byte


def accepted(conditions: Sequence[Any], device: Device, stream: int) -> Any:
    """Return a byte on the device, an array of shape (1,): 1 where all conditions hold, otherwise 0.

    Parameters
    ----------
    conditions : sequence of Interval, or of array of bool
    device : Device
    stream : int
        CuPy's current one, too.
    """
    found = cupy().empty((1,), np.uint8)
    device.fill(found.data.ptr, 1, 1, stream)
    for condition in conditions:
        is_interval = isinstance(condition, Interval)
        x = contiguous(condition.array if is_interval else as_dtype(condition, np.dtype(np.uint8)))
        limits = (condition.below, condition.above) if is_interval else TRUE
        blocks = min(-(-x.size // THREADS), MOST_BLOCKS)
        arguments = x.data.ptr, x.size, *limits, found.data.ptr
        launch(device, stream, function(device, x.dtype), blocks, THREADS, "QqddQ", *arguments)
    return found


def function(device: Device, dtype: np.dtype[Any]) -> Any:
    """Return the kernel that compares numbers of a dtype."""
    with compiling(device):
        from numba import types

        from mcgrad.kernels import in_stream

        code = ptx.function_ptx(in_stream.bounds, in_stream.bounds_signature(getattr(types, str(dtype))), device.cc)
    return device.load(code)
