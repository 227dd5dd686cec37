"""Normals of the kernels: words made of them for the tests of randomness, and how often they exceed thresholds.

Draws are those of one number of seed 0, in the order of its groups (`kernels/noise_fill.py`).
"""

from itertools import count

import numpy as np
from numba import njit, uint32, uint64
from scipy import special

from mcgrad.kernels import noise_fill
from mcgrad.kernels.intrinsics import prefer_vector_width

THRESHOLDS = (3.0, 4.0, 5.0, 5.5, 6.0, 6.5)
LANES = 1024
FILL = {"float32": noise_fill.normal_row32, "float64": noise_fill.normal_row64}
EACH = {"float32": 4, "float64": 2}


def words(dtype, normals=1 << 20):
    """Yield words without end: the first 16 bits of the distribution function at a draw, then those at the next."""
    row = np.zeros(LANES, dtype)
    for first in count(0, normals):
        z = np.empty(normals)
        _fill(FILL[dtype], row, first // EACH[dtype], EACH[dtype], z)
        halves = (special.ndtr(z) * 2.0**16).astype(np.uint32)
        yield (halves[::2] << np.uint32(16)) | halves[1::2]


@njit
def _fill(fill, row, group, each, out):
    """Draws in their order: row k of the transposed lanes holds the k-th draws of the groups."""
    zero, quarter = uint32(0), len(row) // each
    for start in range(0, len(out), len(row)):
        fill(row, 0, len(row), uint64(group + start // each), zero, zero, zero, zero)
        for q in range(quarter):
            for k in range(each):
                out[start + each * q + k] = row[k * quarter + q]


def exceed(dtype, n, first=0):
    """Count z > x and z < -x by threshold in n draws (a multiple of `LANES`) from draw `first` on."""
    above, below = np.zeros((2, len(THRESHOLDS)), np.int64)
    x = np.array(THRESHOLDS, dtype)
    _count(FILL[dtype], np.zeros(LANES, dtype), n // LANES, first // EACH[dtype], EACH[dtype], x, above, below)
    return above, below


@njit
def _count(fill, row, turns, group, each, x, above, below):
    prefer_vector_width()
    zero = uint32(0)
    for turn in range(turns):
        fill(row, 0, len(row), uint64(group + turn * (len(row) // each)), zero, zero, zero, zero)
        for z in row:
            if abs(z) > x[0]:  # rare
                for k in range(len(x)):
                    above[k] += z > x[k]
                    below[k] += z < -x[k]


def radii(dtype, x):
    """Values that the radius can have beyond x, with their probabilities.

    float32: u = j 2^-31, j = 1 .. 2^31, each as probable; above 2^24 it rounds, which is left out: there it is not a
    tail. float64: u = j 2^-53 for j = 1, 2, ..., and 2^-54 in place of 0.
    """
    bits = {"float32": 31, "float64": 53}[dtype]
    j = np.arange(1.0, np.floor(2.0**bits * np.exp(-(x**2) / 2)) + 1)
    if dtype == "float64":
        j = np.concatenate([[0.5], j])
    r = np.sqrt(-2 * np.log(j * 2.0**-bits))
    return r[r > x], 2.0**-bits


def law(dtype, x):
    """P(z > x) of the draws of a dtype, and P(z < -x); for x where radii are few: from 3 in float32, 7 in float64.

    Exact but for the granularity of the angle: the radius takes few values far out, each of known probability, and the
    angle that takes it beyond x has the probability arccos(x / r) / pi.
    """
    r, p = radii(dtype, x)
    return float(np.sum(np.arccos(x / r))) * p / np.pi


def tail(x):
    """P(z > x) of a normal."""
    return 0.5 * special.erfc(x / np.sqrt(2))
