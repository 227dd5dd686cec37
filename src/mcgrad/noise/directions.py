"""Direction numbers of Sobol' points, by Joe and Kuo (2008), in 64 bits.

Of each dimension but the first, `joe_kuo_2008.bin` has a primitive polynomial over GF(2) of some degree s and s initial
numbers, the published set new-joe-kuo-6.21201; the others follow by Sobol's recurrence. `bench/direction_numbers.py`
makes the file, and checks it against SciPy. Its licence is beside it.

References
----------
S. Joe and F. Y. Kuo, Constructing Sobol sequences with better two-dimensional projections, SIAM J. Sci. Comput. 30,
2635-2654, 2008. P. Bratley and B. L. Fox, Algorithm 659: Implementing Sobol's quasirandom sequence generator, ACM TOMS
14, 88-100, 1988: the recurrence.
"""

from __future__ import annotations

from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

FILE = Path(__file__).with_name("joe_kuo_2008.bin")
BITS = 64
# How many primitive polynomials there are of the degrees 1 .. 18; degree 0 is the first dimension.
COUNTS = (1, 1, 1, 2, 2, 6, 6, 18, 16, 48, 60, 176, 144, 630, 756, 1800, 2048, 7710, 7776)
STARTS = (0, *accumulate(COUNTS))
DIMENSIONS = STARTS[-1]  # 21,201


def directions(coordinates: Array) -> Array:
    """Return the direction numbers V_0 .. V_63 of some dimensions.

    Parameters
    ----------
    coordinates : int array, shape (d,)
        0 .. 21,200.

    Returns
    -------
    uint64 array, shape (d, 64)
        The first digit of a number is its highest bit. V_b is a multiple of 2**(63 - b), so the first 32 are those of
        points of 32 bits, times 2**32.
    """
    out = np.empty((len(coordinates), BITS), np.uint64)
    degrees = np.searchsorted(STARTS, coordinates, side="right") - 1
    for degree in np.unique(degrees):
        chosen = degrees == degree
        out[chosen] = _of_degree(int(degree))[coordinates[chosen] - STARTS[degree]]
    return out


@cache
def _of_degree(degree: int) -> Array:
    """Return the direction numbers of all dimensions whose polynomial has that degree."""
    if degree == 0:
        return np.uint64(1) << np.arange(BITS - 1, -1, -1, dtype=np.uint64)[None]
    coefficients, initial = _published(degree)
    V = np.empty((BITS, COUNTS[degree]), np.uint64)
    for i, m in enumerate(initial, 1):
        V[i - 1] = m << np.uint64(BITS - i)
    masks = np.uint64(0) - coefficients  # all ones where the coefficient is 1
    for b in range(degree, BITS):
        V[b] = V[b - degree] ^ (V[b - degree] >> np.uint64(degree))
        for k, mask in enumerate(masks, 1):
            V[b] ^= V[b - k] & mask
    return np.ascontiguousarray(V.T)


def _published(degree: int) -> tuple[Array, list[Array]]:
    """Return the inner coefficients of the polynomials, from the highest power, and the initial numbers m_1 .. m_s."""
    bits = [(s - 1) * (s + 2) // 2 for s in range(len(COUNTS))]  # of a row of degree s, which fills whole bytes
    widths = [0, *(-(-n // 8) for n in bits[1:])]
    start = sum(count * width for count, width in zip(COUNTS[:degree], widths, strict=False))
    count, width = COUNTS[degree], widths[degree]
    with FILE.open("rb") as file:
        file.seek(start)
        rows = np.frombuffer(file.read(count * width), np.uint8).reshape(count, width)
    columns = np.unpackbits(rows, axis=1).T.astype(np.uint64)
    initial, at = [], degree - 1
    for i in range(1, degree + 1):
        m = np.zeros(count, np.uint64)
        for column in (*columns[at : at + i - 1], np.uint64(1)):  # the last bit of each is 1
            m = (m << np.uint64(1)) | column
        initial.append(m)
        at += i - 1
    return columns[: degree - 1], initial
