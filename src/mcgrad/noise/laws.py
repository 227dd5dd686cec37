"""Laws in NumPy: the four words of a group of draws into their numbers, uniform on (0, 1) or standard normal.

A law takes four uint32 arrays of one shape and returns an array for each draw of the group, in order. Of its words,
draw k of a float32 group owns word k, draw k of a float64 group words 2 k and 2 k + 1, the lower half first; only where
the words of a generator are independent may a law mix those of several draws, as Box and Muller's does.

The kernels reproduce uniforms bit for bit, and normals within `NORMAL_ULPS` units in the last place: log, sin and cos
are NumPy's here (float32: in float64, then rounded).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

DRAWS_PER_GROUP = {"float32": 4, "float64": 2}  # draws that four words make
NORMAL_ULPS = {np.dtype(np.float32): 4, np.dtype(np.float64): 4}


@dataclass(frozen=True, slots=True)
class Law:
    """How words become numbers.

    Parameters
    ----------
    name : str
        By which code generators find what they write for it.
    float32, float64 : callable
        The four words of a group into the numbers of its draws.
    """

    name: str
    float32: Callable[[Array, Array, Array, Array], Iterable[Array]]
    float64: Callable[[Array, Array, Array, Array], Iterable[Array]]


def _uniforms32(*four: Array) -> Iterator[Array]:
    """Give k * 2**-24, with k the top 24 bits; 2**-25 where k = 0."""
    for word in four:
        k = word >> np.uint32(8)
        yield np.where(k == 0, np.float32(2.0**-25), k.astype(np.float32) * np.float32(2.0**-24))


def _uniform64(low: Array, high: Array) -> Array:
    """Give k * 2**-53, with k the top 53 bits of high:low; 2**-54 where k = 0."""
    k = (high.astype(np.uint64) << np.uint64(21)) | (low >> np.uint32(11)).astype(np.uint64)
    return np.where(k == 0, 2.0**-54, k.astype(np.float64) * 2.0**-53)


def _uniforms64(w0: Array, w1: Array, w2: Array, w3: Array) -> Iterator[Array]:
    yield _uniform64(w0, w1)
    yield _uniform64(w2, w3)


def _polar(radius: Array, quarters: Array, angle: Array) -> Iterator[Array]:
    """Radius times cos and sin of quarters * pi/2 + angle."""
    cos, sin = np.cos(angle), np.sin(angle)
    odd = quarters & 1 == 1
    yield radius * (np.where(odd, sin, cos) * np.where((quarters + 1) & 2, -1.0, 1.0))
    yield radius * (np.where(odd, cos, sin) * np.where(quarters & 2, -1.0, 1.0))


def _box_muller32(*four: Array) -> Iterator[Array]:
    for radial, angular in (four[:2], four[2:]):
        u = ((radial >> np.uint32(1)).astype(np.float32) + np.float32(1)) * np.float32(2.0**-31)
        radius = np.sqrt(-2.0 * np.log(u.astype(np.float64)))
        quarters = (angular + np.uint32(0x20000000)) >> np.uint32(30)
        rest = (angular - (quarters << np.uint32(30))).view(np.int32)
        yield from _polar(radius, quarters, rest * (2.0 * np.pi / 2.0**32))


def _box_muller64(w0: Array, w1: Array, w2: Array, w3: Array) -> Iterator[Array]:
    radius = np.sqrt(-2.0 * np.log(_uniform64(w0, w1)))
    eighths = w3 + np.uint32(0x20000000)
    fraction = ((eighths & np.uint32(0x3FFFFFFF)).astype(np.int64) << 22) | (w2 >> np.uint32(10)).astype(np.int64)
    angle = (fraction - (1 << 51)).astype(np.float64) * 2.0**-52
    return _polar(radius, eighths >> np.uint32(30), angle * (0.5 * np.pi))


UNIFORM = Law("uniform", _uniforms32, _uniforms64)
BOX_MULLER = Law("box_muller", _box_muller32, _box_muller64)  # 1958
