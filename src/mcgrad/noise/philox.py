"""The generator Philox4x32-10 in NumPy: the reference, bit for bit, of its kernel, `kernels/philox.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_INCREMENTS = 0x9E3779B9, 0xBB67AE85


def philox4x32(counter: Sequence[Array], key: tuple[Any, Any], rounds: int = 10) -> tuple[Array, ...]:
    """Philox4x32 of four uint64 arrays with 32-bit values and two such or Python integers; four arrays of one shape."""
    c0, c1, c2, c3 = np.broadcast_arrays(*counter)
    k0, k1 = key
    for _ in range(rounds):
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c2 = (p1 >> _HALF) ^ c1 ^ np.uint64(k0), (p0 >> _HALF) ^ c3 ^ np.uint64(k1)
        c1, c3 = p1 & _LOW, p0 & _LOW
        k0, k1 = (k0 + _INCREMENTS[0]) & 0xFFFFFFFF, (k1 + _INCREMENTS[1]) & 0xFFFFFFFF
    return c0, c1, c2, c3


def words(seed: Any, stream: int, components: npt.ArrayLike, groups: npt.ArrayLike, each: int) -> tuple[Array, ...]:
    """Return the four words of groups of draws; they are the same for groups of any size (`each`).

    The seed is an integer, or a uint64 array that broadcasts with components and groups.
    """
    groups = np.asarray(groups, np.uint64)
    counter = np.asarray(components, np.uint64), groups >> _HALF, np.asarray(stream, np.uint64), groups & _LOW
    return tuple(word.astype(np.uint32) for word in philox4x32(counter, (seed & 0xFFFFFFFF, seed >> 32)))


def integers(seed: int, stream: int, components: Array, first: int, n: int, bits: int) -> Array:
    """Return an integer of 32 or 64 bits for each of the draws first .. first + n - 1: shape (components, n).

    It is made of the words that the draw owns, as a uniform is: word k of a group is that of its draw k in 32 bits,
    words 2 k and 2 k + 1, the lower half first, in 64.
    """
    each = 128 // bits
    start, stop = first // each, -(-(first + n) // each)
    groups = np.uint64(start) + np.arange(stop - start, dtype=np.uint64)
    four = np.stack(words(seed, stream, components[:, None], groups, each), axis=-1)
    if bits == 64:
        four = four[..., 1::2].astype(np.uint64) << _HALF | four[..., ::2]
    return four.reshape(len(components), -1)[:, first - each * start :][:, :n]
