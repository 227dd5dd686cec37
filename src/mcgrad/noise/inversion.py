"""Laws by inversion in NumPy: an integer of a point set into a number, uniform on (0, 1) or standard normal.

An integer k of b bits stands for the middle of its interval, (k + 1/2) 2**-b. The probability of the tail that it is in
is v = (m + 1/2) 2**-b with m = min(k, ~k), which has all its digits near both ends: no point is 0 or 1, and the largest
normals are as far out as the smallest. So ~k makes the same number as k with the opposite sign (normals), or, but for
rounding, one minus it.

The kernels reproduce uniforms bit for bit, and normals within `NORMAL_ULPS` units in the last place of the exact value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

NORMAL_ULPS = {np.dtype(np.float32): 4, np.dtype(np.float64): 4}


@dataclass(frozen=True, slots=True)
class Inversion:
    """How the integers of points become numbers.

    Parameters
    ----------
    name : str
        By which code generators find what they write for it.
    float32, float64 : callable
        A uint32 or uint64 array into the numbers.
    """

    name: str
    float32: Callable[[Array], Array]
    float64: Callable[[Array], Array]


def _uniform32(k: Array) -> Array:
    """Give v in the lower half, 1 - v in the upper, but less than 1; in float32, m and its half rounded in turn."""
    v = (_distance(k).astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-32)
    return np.where(_upper(k), np.minimum(1 - v, np.float32(1 - 2.0**-24)), v)


def _uniform64(k: Array) -> Array:
    v = (_distance(k).astype(np.float64) + 0.5) * 2.0**-64
    return np.where(_upper(k), np.minimum(1 - v, 1 - 2.0**-53), v)


def _normal32(k: Array) -> Array:
    """Give the quantile in float64, where v is exact, rounded."""
    m = _distance(k).astype(np.float64)
    return _signed(k, m, 2.0**31 - m, 2.0**-32).astype(np.float32)


def _normal64(k: Array) -> Array:
    m = _distance(k)
    return _signed(k, m.astype(np.float64), (np.uint64(1 << 63) - m).astype(np.float64), 2.0**-64)


def _signed(k: Array, m: Array, to_middle: Array, width: float) -> Array:
    """Return the quantile of v, of which ~k has the opposite; by the distance from 1/2 where v is near it."""
    from scipy.special import erfinv, ndtri

    v = (m + 0.5) * width
    lower: Array = np.where(v < 0.25, ndtri(v), -np.sqrt(2.0) * erfinv(2 * width * (to_middle - 0.5)))
    lower[_upper(k)] *= -1
    return lower


def _upper(k: Array) -> Array:
    """Whether the highest bit is 1."""
    highest: Array = k >> k.dtype.type(8 * k.dtype.itemsize - 1) != 0
    return highest


def _distance(k: Array) -> Array:
    """Return m, how many integers are between k and the nearer end."""
    return np.minimum(k, np.invert(k))


INVERSE_UNIFORM = Inversion("inverse_uniform", _uniform32, _uniform64)
INVERSE_NORMAL = Inversion("inverse_normal", _normal32, _normal64)
