"""Laws in float64: two words to a uniform on (0, 1), four to two standard normals by Box and Muller (1958).

Words become floats by writing their bits into a mantissa, since AVX2 has no conversion from 64-bit integers.
"""

import numpy as np
from numba import int64, uint32, uint64

from mcgrad.kernels import logarithm, trigonometric
from mcgrad.kernels.intrinsics import bits_float64, select, square_root
from mcgrad.kernels.jit import scalar

HALF_PI = 0.5 * np.pi
log_reduced, split = logarithm.log_reduced.float64, logarithm.split.float64
quarter_turns = trigonometric.quarter_turns.float64


@scalar
def uniform(lo, hi):
    """Give k * 2**-53 with k the top 53 bits of the uint64 hi:lo; 2**-54 for k = 0. Never 0 or 1, exact."""
    coarse = bits_float64(int64((uint64(hi) << uint64(20)) | uint64(0x3FF0000000000000)))  # 1 + hi * 2**-32
    fine = bits_float64(int64((uint64(lo) >> uint64(11)) | uint64(0x3FE0000000000000)))  # 1/2 + (lo >> 11) * 2**-53
    u = fine + (coarse - 1.5)
    return select(u == 0.0, 2.0**-54, u)


@scalar
def radius_squared(lo, hi):
    """-2 log uniform(lo, hi): at most 75."""
    m, k, _ = split(uniform(lo, hi))
    return -2.0 * log_reduced(m - 1.0, k)


@scalar
def direction(lo, hi):
    """(cos a, sin a) for the angle of the uint64 hi:lo, its last 10 bits dropped, times 2**-64 turns.

    The angle is reduced to an eighth of a turn in integer arithmetic.
    """
    eighths = uint32(hi + uint32(0x20000000))  # an eighth of a turn further, so that r is centred
    q = int64(eighths >> uint32(30))
    mantissa = (uint64(eighths & uint32(0x3FFFFFFF)) << uint64(22)) | (uint64(lo) >> uint64(10))
    r = bits_float64(int64(mantissa | uint64(0x3FF0000000000000))) - 1.5
    s, c = quarter_turns(r * HALF_PI, q)
    return c, s


@scalar
def normal_pair(w0, w1, w2, w3):
    """(r cos a, r sin a) of four uint32: r = sqrt(radius_squared(w0, w1)) <= 8.66, (cos, sin) = direction(w2, w3)."""
    radius = square_root(radius_squared(w0, w1))
    cos, sin = direction(w2, w3)
    return radius * cos, radius * sin
