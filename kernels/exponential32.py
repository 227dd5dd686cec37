"""exp and its kin in float32: exp, exp2, expm1, sinh, cosh, tanh.

As in float64 (`exponential64.py`), with a minimax polynomial of degree 6 (Remez, relative error 1.3e-8). Results below
the normal range are gradual (subnormal); overflow gives inf. Error bounds: `bounds.py`.
"""

import numpy as np
from numba import uint32

from mcgrad.kernels.intrinsics import (
    absolute,
    bits_float32,
    copysign,
    divide,
    exact_add,
    exact_sub,
    float_bits32,
    fma,
    long_polynomial,
    select,
)
from mcgrad.kernels.jit import scalar

F = np.float32
LOG2E = F(1.442695)
LN2, LN2_TAIL = F(0.6931472), F(-1.9046542e-09)
MAGIC = F(1.5 * 2.0**23)
# (exp(r) - 1 - r) / r**2 for |r| <= ln(2)/2
EXP = (0.49999997, 0.16666543, 0.0416672, 0.008366579, 0.0013882549)


@scalar
def power_of_two(n):
    """2**n for the integer n in the low bits of a uint32; -126 <= n <= 127 (128 gives inf, -127 gives 0)."""
    return bits_float32(np.int32((n << uint32(23)) + uint32(0x3F800000)))


@scalar
def reduced(x):
    """(r, n): x = n ln 2 + r, the integer n in the low bits of a uint32. Finite |x| < 2**22."""
    shifted = fma(x, LOG2E, MAGIC)
    n = exact_sub(shifted, MAGIC)
    return fma(n, -LN2_TAIL, fma(n, -LN2, x)), uint32(float_bits32(shifted))


@scalar
def expm1_reduced(x):
    """(e**r - 1, n) of the same r and n."""
    r, n = reduced(x)
    r2 = r * r
    return fma(r2, long_polynomial(r, r2, EXP), r), n


@scalar
def scaled(y, n):
    """Give y * 2**n for n in the low bits of a uint32, |n| < 250, in two steps so that neither factor overflows."""
    half = uint32(n >> uint32(1))
    return y * power_of_two(half) * power_of_two(n - half)


@scalar
def clamped(x, low, high):
    """Keep x in [low, high]; NaN stays NaN."""
    x = select(x < low, low, x)
    return select(x > high, high, x)


@scalar
def exp(x):
    """e**x."""
    y, n = expm1_reduced(clamped(x, F(-105.0), F(89.0)))
    return scaled(F(1.0) + y, n)


@scalar
def exp_pair(head, tail, factor):
    """Give factor * e**(head + tail) for a small |tail|, with the error of one rounding of e**head."""
    y, n = expm1_reduced(clamped(head, F(-105.0), F(89.0)))
    return scaled(factor * (F(1.0) + fma(tail, F(1.0) + y, y)), n)


@scalar
def exp2(x):
    """2**x."""
    x = clamped(x, F(-151.0), F(129.0))
    shifted = exact_add(x, MAGIC)
    r = exact_sub(x, exact_sub(shifted, MAGIC)) * LN2
    r2 = r * r
    y = fma(r2, long_polynomial(r, r2, EXP), r)
    return scaled(F(1.0) + y, uint32(float_bits32(shifted)))


@scalar
def expm1_quarter(x):
    """(e**x - 1) / 4, so that half of e**x can still be had where e**x overflows."""
    r, n = reduced(clamped(x, F(-18.0), F(89.5)))
    r2 = r * r
    scale = power_of_two(n - uint32(2))
    # r apart from the rest, as scale - 1/4 + scale r is exact where the two nearly cancel
    return fma(scale, r2 * long_polynomial(r, r2, EXP), fma(scale, r, scale - F(0.25)))


@scalar
def expm1(x):
    """e**x - 1."""
    return select(absolute(x) < F(1e-30), x, F(4.0) * expm1_quarter(x))


@scalar
def sinh(x):
    """Hyperbolic sine."""
    size = absolute(x)
    half = F(2.0) * expm1_quarter(size)
    rest = select(size > F(18.0), F(0.5), divide(half, fma(F(2.0), half, F(1.0))))
    return select(size < F(1e-30), x, copysign(half + rest, x))


@scalar
def cosh(x):
    """Hyperbolic cosine."""
    y, n = expm1_reduced(clamped(absolute(x), F(0.0), F(90.0)))
    half = scaled(F(1.0) + y, n - uint32(1))
    return half + divide(F(0.25), half)


@scalar
def tanh(x):
    """Hyperbolic tangent."""
    size = absolute(x)
    quarter = expm1_quarter(clamped(F(2.0) * size, F(0.0), F(18.0)))
    return select(size < F(1e-30), x, copysign(divide(quarter, quarter + F(0.5)), x))
