"""Random words to float32 noise: uniform(word) in (0, 1), and two standard normals by Box and Muller (1958)."""

import numpy as np
from numba import int32, uint32

from mcgrad.kernels.intrinsics import select, square_root
from mcgrad.kernels.jit import scalar
from mcgrad.kernels.logarithm32 import log_reduced, split
from mcgrad.kernels.trigonometric32 import quarter_turns

F = np.float32
TURN = F(2.0 * np.pi / 2.0**32)  # radians in one unit of the second word


@scalar
def uniform(word):
    """Give k * 2**-24 with k the top 24 bits of the uint32; 2**-25 for k = 0. Never 0 or 1, exact."""
    k = int32(word >> uint32(8))
    return select(k == int32(0), F(2.0**-25), F(k) * F(2.0**-24))


@scalar
def normal_pair(radial, angular):
    """(r cos a, r sin a) from two uint32.

    r = sqrt(-2 log u), u = (k + 1) * 2**-31 rounded to float32, with k the top 31 bits of `radial`: r <= 6.56. The
    angle is angular * 2**-32 turns, reduced to an eighth of a turn in integer arithmetic.
    """
    m, k, _ = split((F(int32(radial >> uint32(1))) + F(1.0)) * F(2.0**-31))
    radius = square_root(F(-2.0) * log_reduced(m - F(1.0), k))
    q = int32(uint32(angular + uint32(0x20000000)) >> uint32(30))
    s, c = quarter_turns(F(int32(angular - (uint32(q) << uint32(30)))) * TURN, q)
    return radius * c, radius * s
