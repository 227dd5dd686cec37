"""log and its kin: log, log1p, log2, log10, arcsinh, arccosh, arctanh.

x = 2**k (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)), and log(1 + f) = f - f**2/2 + f**3 P(f) with a minimax P (Remez):
in float32 of degree 8, with a relative error of 8e-10, in float64 of degree 18, with one of 9e-18: twenty fused
multiply-adds cost less than the division of the usual 2 atanh form. Subnormal x are right. Error bounds: `bounds.py`.
"""

import numpy as np

from mcgrad.kernels.exponential import LN2, LN2_TAIL, LOG2E
from mcgrad.kernels.formats import FRACTION, FRACTION_MASK, WHOLE, bits_float, float_bits, sint, uint
from mcgrad.kernels.intrinsics import absolute, copysign, divide, fma, long_polynomial, select, square_root
from mcgrad.kernels.widths import by_width, each_width

INF, NAN = np.inf, np.nan
LOG10E = 0.4342944819032518
LOG10_2, LOG10_2_TAIL = 0.3010299956639812, by_width(-1.4320989e-08, -2.8037281277851704e-18)
# bits of sqrt(1/2), and those of 1 less these
ROOT, ONE_LESS_ROOT = by_width(0x3F3504F3, 0x3FE6A09E667F3BCD), by_width(0x004AFB0D, 0x00095F619980C433)
WHOLE_AND_BIAS = by_width(2.0**23 + 127.0, 2.0**52 + 1023.0)
TWICE_BIAS = by_width(254, 2046)
LEAST_NORMAL, UP, SHIFT = by_width(2.0**-126, 2.0**-1022), by_width(2.0**24, 2.0**54), by_width(-24.0, -54.0)
LOST = by_width(40.0, 60.0)  # 1 + x is x where x is as large as 2**LOST
LARGE = by_width(1e9, 1e17)  # 1 + x**2 is x**2
# (log(1 + f) - f + f**2/2) / f**3 for sqrt(1/2) <= 1 + f <= sqrt(2)
LOG = by_width(
    (0.33333313, -0.2500001, 0.20002118, -0.16667995, 0.1421956, -0.124056175, 0.11888143, -0.11675487, 0.06746489),
    (0.3333333333333314, -0.2499999999998798, 0.2000000000006661, -0.1666666666982548, 0.14285714280092968,
     -0.12499999691474525, 0.11111111147510591, -0.10000015205061037, 0.09090923929385428, -0.08332913564680552,
     0.07691529884382602, -0.07149439265141105, 0.06684588218549074, -0.06196679390619204, 0.05668383849652415,
     -0.056777866048238326, 0.06503474976852551, -0.059816807374531766, 0.026150862996455925),
)  # fmt: skip


@each_width
def split(x):
    """(1 + f, k, bits of k): x = 2**k (1 + f), for normal x > 0; k as a float, and unsigned with its bias."""
    bits = uint(uint(float_bits(x)) + uint(ONE_LESS_ROOT))
    biased = uint(bits >> uint(FRACTION))
    k = bits_float(sint(biased | uint(WHOLE))) - WHOLE_AND_BIAS
    m = bits_float(sint((bits & uint(FRACTION_MASK)) + uint(ROOT)))
    return m, k, biased


@each_width
def log_reduced(f, k):
    """Add up k ln 2 + log(1 + f)."""
    f2 = f * f
    tail = fma(f * f2, long_polynomial(f, f2, LOG), k * LN2_TAIL)
    return fma(k, LN2, f - fma(0.5, f2, -tail))


@each_width
def log1p_reduced(f):
    """log(1 + f) for 1 + f in [sqrt(1/2), sqrt(2)]."""
    f2 = f * f
    return f - f2 * fma(-f, long_polynomial(f, f2, LOG), 0.5)


@each_width
def normal_range(x):
    """(y, shift): x = 2**shift y with y in the normal range if x > 0 is subnormal."""
    subnormal = x < LEAST_NORMAL
    return select(subnormal, x * UP, x), select(subnormal, SHIFT, 0.0)


@each_width
def log_edges(x, y):
    """y, or the logarithm of x where x is 0, negative, infinite or NaN."""
    y = select(x < INF, y, x)
    return select(x > 0.0, y, select(x == 0.0, -INF, NAN))


@each_width
def log(x):
    """Natural logarithm."""
    y, shift = normal_range(x)
    m, k, _ = split(y)
    return log_edges(x, log_reduced(m - 1.0, k + shift))


@each_width
def log2(x):
    """Logarithm to base 2; exact for powers of 2."""
    y, shift = normal_range(x)
    m, k, _ = split(y)
    return log_edges(x, fma(log1p_reduced(m - 1.0), LOG2E, k + shift))


@each_width
def log10(x):
    """Logarithm to base 10."""
    y, shift = normal_range(x)
    m, k, _ = split(y)
    k = k + shift
    return log_edges(x, fma(k, LOG10_2, fma(log1p_reduced(m - 1.0), LOG10E, k * LOG10_2_TAIL)))


@each_width
def log1p(x):
    """log(1 + x)."""
    m, k, biased = split(1.0 + x)
    # f = 2**-k (1 + x) - 1 from x itself, so that what 1 + x rounds away is not lost
    scale = bits_float(sint((uint(TWICE_BIAS) - biased) << uint(FRACTION)))
    f = select(k > LOST, m - 1.0, fma(x, scale, scale - 1.0))
    y = log_reduced(f, k)
    y = select(x < INF, y, x)
    return select(x > -1.0, y, select(x == -1.0, -INF, NAN))


@each_width
def arcsinh(x):
    """Inverse hyperbolic sine."""
    size = absolute(x)
    large = size > LARGE
    square = size * size
    y = log1p(select(large, size, size + divide(square, 1.0 + square_root(1.0 + square))))
    return copysign(select(large, y + LN2, y), x)


@each_width
def arccosh(x):
    """Inverse hyperbolic cosine."""
    large = x > LARGE
    t = x - 1.0
    y = log1p(select(large, x, t + square_root(t * (t + 2.0))))
    return select(x < 1.0, NAN, select(large, y + LN2, y))


@each_width
def arctanh(x):
    """Inverse hyperbolic tangent."""
    size = absolute(x)
    return copysign(0.5 * log1p(divide(2.0 * size, 1.0 - size)), x)
