"""exp and its kin in float64: exp, exp2, expm1, sinh, cosh, tanh.

x = n ln 2 + r with |r| <= ln(2)/2, and e**r by a minimax polynomial of degree 11 (Remez, relative error 2e-17). n comes
out of the low bits of x/ln 2 + 1.5 * 2**52, so no conversion instruction is needed. Results below the normal range
are gradual (subnormal); overflow gives inf. Error bounds: `bounds.py`.
"""

import numpy as np
from numba import uint64

from mcgrad.kernels.intrinsics import (
    absolute,
    bits_float64,
    copysign,
    exact_add,
    exact_sub,
    float_bits64,
    fma,
    long_polynomial,
    select,
)
from mcgrad.kernels.jit import scalar

INF = np.inf
LOG2E = 1.4426950408889634
LN2, LN2_TAIL = 0.6931471805599453, 2.3190468138462996e-17
MAGIC = 1.5 * 2.0**52
# (exp(r) - 1 - r) / r**2 for |r| <= ln(2)/2
EXP = (
    0.5000000000000006, 0.16666666666666588, 0.04166666666657611, 0.0083333333333899, 0.0013888888931793842,
    0.0001984126971848372, 2.4801504980763753e-05, 2.755740773246076e-06, 2.7626160583914677e-07,
    2.505381872667103e-08,
)  # fmt: skip


@scalar
def power_of_two(n):
    """2**n for the integer n in the low bits of a uint64; -1022 <= n <= 1023 (1024 gives inf, -1023 gives 0)."""
    return bits_float64(np.int64((n << uint64(52)) + uint64(0x3FF0000000000000)))


@scalar
def reduced(x):
    """(r, n): x = n ln 2 + r, the integer n in the low bits of a uint64. Finite |x| < 2**40."""
    shifted = fma(x, LOG2E, MAGIC)
    n = exact_sub(shifted, MAGIC)
    return fma(n, -LN2_TAIL, fma(n, -LN2, x)), uint64(float_bits64(shifted))


@scalar
def expm1_reduced(x):
    """(e**r - 1, n) of the same r and n."""
    r, n = reduced(x)
    r2 = r * r
    return fma(r2, long_polynomial(r, r2, EXP), r), n


@scalar
def scaled(y, n):
    """Give y * 2**n for n in the low bits of a uint64, |n| < 2000, in two steps so that neither factor overflows."""
    half = n >> uint64(1)
    return y * power_of_two(half) * power_of_two(n - half)


@scalar
def clamped(x, low, high):
    """Keep x in [low, high]; NaN stays NaN."""
    x = select(x < low, low, x)
    return select(x > high, high, x)


@scalar
def exp(x):
    """e**x."""
    y, n = expm1_reduced(clamped(x, -746.0, 710.0))
    return scaled(1.0 + y, n)


@scalar
def exp_pair(head, tail, factor):
    """Give factor * e**(head + tail) for a small |tail|, with the error of one rounding of e**head."""
    y, n = expm1_reduced(clamped(head, -746.0, 710.0))
    return scaled(factor * (1.0 + fma(tail, 1.0 + y, y)), n)


@scalar
def exp2(x):
    """2**x."""
    x = clamped(x, -1076.0, 1025.0)
    shifted = exact_add(x, MAGIC)
    r = exact_sub(x, exact_sub(shifted, MAGIC)) * LN2
    r2 = r * r
    y = fma(r2, long_polynomial(r, r2, EXP), r)
    return scaled(1.0 + y, uint64(float_bits64(shifted)))


@scalar
def expm1_quarter(x):
    """(e**x - 1) / 4, so that half of e**x can still be had where e**x overflows."""
    r, n = reduced(clamped(x, -40.0, 710.6))
    r2 = r * r
    scale = power_of_two(n - uint64(2))
    # r apart from the rest, as scale - 1/4 + scale r is exact where the two nearly cancel
    return fma(scale, r2 * long_polynomial(r, r2, EXP), fma(scale, r, scale - 0.25))


@scalar
def expm1(x):
    """e**x - 1."""
    return select(absolute(x) < 1e-300, x, 4.0 * expm1_quarter(x))


@scalar
def sinh(x):
    """Hyperbolic sine."""
    size = absolute(x)
    half = 2.0 * expm1_quarter(size)
    rest = select(size > 40.0, 0.5, half / fma(2.0, half, 1.0))
    return select(size < 1e-300, x, copysign(half + rest, x))


@scalar
def cosh(x):
    """Hyperbolic cosine."""
    y, n = expm1_reduced(clamped(absolute(x), 0.0, 711.0))
    half = scaled(1.0 + y, n - uint64(1))
    return half + 0.25 / half


@scalar
def tanh(x):
    """Hyperbolic tangent."""
    size = absolute(x)
    quarter = expm1_quarter(clamped(2.0 * size, 0.0, 40.0))
    return select(size < 1e-300, x, copysign(quarter / (quarter + 0.5), x))
