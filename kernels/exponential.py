"""exp and its kin: exp, exp2, expm1, sinh, cosh, tanh.

x = n ln 2 + r with |r| <= ln(2)/2, and e**r by a minimax polynomial (Remez): in float32 of degree 6, with a relative
error of 1.3e-8, in float64 of degree 11, with one of 2e-17. n comes out of the low bits of x/ln 2 + 1.5 * 2**52
(float32: 2**23), so no conversion instruction is needed. Results below the normal range are gradual (subnormal);
overflow gives inf. Error bounds: `bounds.py`.
"""

from mcgrad.kernels.formats import FRACTION, MAGIC, ONE, bits_float, float_bits, sint, uint
from mcgrad.kernels.intrinsics import (
    absolute,
    copysign,
    divide,
    exact_add,
    exact_sub,
    fma,
    long_polynomial,
    select,
)
from mcgrad.kernels.widths import by_width, each_width

LOG2E = 1.4426950408889634
LN2, LN2_TAIL = 0.6931471805599453, by_width(-1.9046542e-09, 2.3190468138462996e-17)
# (exp(r) - 1 - r) / r**2 for |r| <= ln(2)/2
EXP = by_width(
    (0.49999997, 0.16666543, 0.0416672, 0.008366579, 0.0013882549),
    (0.5000000000000006, 0.16666666666666588, 0.04166666666657611, 0.0083333333333899, 0.0013888888931793842,
     0.0001984126971848372, 2.4801504980763753e-05, 2.755740773246076e-06, 2.7626160583914677e-07,
     2.505381872667103e-08),
)  # fmt: skip
# Results are 0 or inf beyond these x: of e**x, of 2**x, of (e**x - 1) / 4 and of e**|x| / 2.
LEAST, MOST = by_width(-105.0, -746.0), by_width(89.0, 710.0)
LEAST_OF_2, MOST_OF_2 = by_width(-151.0, -1076.0), by_width(129.0, 1025.0)
MOST_QUARTER, MOST_HALF = by_width(89.5, 710.6), by_width(90.0, 711.0)
SATURATED = by_width(18.0, 40.0)  # e**-x no longer changes 1 where x is larger
TINY = by_width(1e-30, 1e-300)  # e**x - 1 and sinh x are x where |x| is less


@each_width
def power_of_two(n):
    """2**n for the integer n in the low bits of a uint: a normal number, or inf for one n more and 0 for one less."""
    return bits_float(sint((n << uint(FRACTION)) + uint(ONE)))


@each_width
def reduced(x):
    """(r, n): x = n ln 2 + r, the integer n in the low bits of a uint. |x| < 2**22 (float64: 2**40)."""
    shifted = fma(x, LOG2E, MAGIC)
    n = exact_sub(shifted, MAGIC)
    return fma(n, -LN2_TAIL, fma(n, -LN2, x)), uint(float_bits(shifted))


@each_width
def expm1_reduced(x):
    """(e**r - 1, n) of the same r and n."""
    r, n = reduced(x)
    r2 = r * r
    return fma(r2, long_polynomial(r, r2, EXP), r), n


@each_width
def scaled(y, n):
    """Give y * 2**n for n in the low bits of a uint, in two steps so that neither factor overflows.

    |n| < 250 (float64: 2000).
    """
    half = uint(n >> uint(1))
    return y * power_of_two(half) * power_of_two(n - half)


@each_width
def clamped(x, low, high):
    """Keep x in [low, high]; NaN stays NaN."""
    x = select(x < low, low, x)
    return select(x > high, high, x)


@each_width
def exp(x):
    """e**x."""
    y, n = expm1_reduced(clamped(x, LEAST, MOST))
    return scaled(1.0 + y, n)


@each_width
def exp_pair(head, tail, factor):
    """Give factor * e**(head + tail) for a small |tail|, with the error of one rounding of e**head."""
    y, n = expm1_reduced(clamped(head, LEAST, MOST))
    return scaled(factor * (1.0 + fma(tail, 1.0 + y, y)), n)


@each_width
def exp2(x):
    """2**x."""
    x = clamped(x, LEAST_OF_2, MOST_OF_2)
    shifted = exact_add(x, MAGIC)
    r = exact_sub(x, exact_sub(shifted, MAGIC)) * LN2
    r2 = r * r
    y = fma(r2, long_polynomial(r, r2, EXP), r)
    return scaled(1.0 + y, uint(float_bits(shifted)))


@each_width
def expm1_quarter(x):
    """(e**x - 1) / 4, so that half of e**x can still be had where e**x overflows."""
    r, n = reduced(clamped(x, -SATURATED, MOST_QUARTER))
    r2 = r * r
    scale = power_of_two(n - uint(2))
    # r apart from the rest, as scale - 1/4 + scale r is exact where the two nearly cancel
    return fma(scale, r2 * long_polynomial(r, r2, EXP), fma(scale, r, scale - 0.25))


@each_width
def expm1(x):
    """e**x - 1."""
    return select(absolute(x) < TINY, x, 4.0 * expm1_quarter(x))


@each_width
def sinh(x):
    """Hyperbolic sine."""
    size = absolute(x)
    half = 2.0 * expm1_quarter(size)
    rest = select(size > SATURATED, 0.5, divide(half, fma(2.0, half, 1.0)))
    return select(size < TINY, x, copysign(half + rest, x))


@each_width
def cosh(x):
    """Hyperbolic cosine."""
    y, n = expm1_reduced(clamped(absolute(x), 0.0, MOST_HALF))
    half = scaled(1.0 + y, n - uint(1))
    return half + divide(0.25, half)


@each_width
def tanh(x):
    """Hyperbolic tangent."""
    size = absolute(x)
    quarter = expm1_quarter(clamped(2.0 * size, 0.0, SATURATED))
    return select(size < TINY, x, copysign(divide(quarter, quarter + 0.5), x))
