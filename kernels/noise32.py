"""Laws in float32: a word to a uniform on (0, 1), two words to two standard normals by Box and Muller (1958)."""

import numpy as np
from numba import int32, uint32

from mcgrad.kernels import logarithm, trigonometric
from mcgrad.kernels.intrinsics import bits_float32, float_bits32, fma, long_polynomial, root_of_normal, select
from mcgrad.kernels.jit import scalar

F = np.float32
LN2, LOG, sincos_reduced = F(logarithm.LN2), logarithm.LOG.float32, trigonometric.sincos_reduced.float32
TURN = F(2.0 * np.pi / 2.0**34)  # radians in a quarter of one unit of the second word


@scalar
def uniform(word):
    """Give k * 2**-24 with k the top 24 bits of the uint32; 2**-25 for k = 0. Never 0 or 1, exact."""
    k = int32(word >> uint32(8))
    return select(k == int32(0), F(2.0**-25), F(k) * F(2.0**-24))


@scalar
def radius_squared(radial):
    """-2 log u for u = (k + 1) * 2**-31 rounded to float32, with k the top 31 bits of the uint32.

    As -2 `log_reduced`, but that the powers of two go into constants, and what LN2 lacks of ln 2 is left out: here it
    is less than a tenth of an ulp.
    """
    x = F(int32(radial >> uint32(1))) + F(1.0)
    bits = uint32(uint32(float_bits32(x)) + uint32(0x3F800000 - 0x3F3504F3))
    k = bits_float32(int32(uint32(bits >> uint32(23)) | uint32(0x4B000000))) - F(2.0**23 + 127.0 + 31.0)
    f = bits_float32(int32(uint32(bits & uint32(0x007FFFFF)) + uint32(0x3F3504F3))) - F(1.0)
    f2 = f * f
    tail = f * f2 * long_polynomial(f, f2, LOG)
    return fma(k, F(-2.0) * LN2, fma(F(-2.0), f, fma(F(-2.0), tail, f2)))


@scalar
def signed(x, bits):
    """-x if the top bit of the uint32 is set, else x."""
    return bits_float32(int32(float_bits32(x) ^ int32(bits & uint32(0x80000000))))


@scalar
def direction(angular):
    """(cos a, sin a) for a = angular * 2**-32 turns, reduced to an eighth of a turn in integer arithmetic."""
    s, c = sincos_reduced(F(int32(angular << uint32(2))) * TURN)
    eighths = uint32(angular + uint32(0x20000000))  # an eighth of a turn further: the top bits are the nearest quarter
    odd = (eighths & uint32(0x40000000)) != uint32(0)
    return signed(select(odd, s, c), uint32(eighths + uint32(0x40000000))), signed(select(odd, c, s), eighths)


@scalar
def normal_pair(radial, angular):
    """(r cos a, r sin a) of two uint32: r = sqrt(radius_squared(radial)) <= 6.56, a by direction(angular)."""
    radius = root_of_normal(radius_squared(radial))
    cos, sin = direction(angular)
    return radius * cos, radius * sin
