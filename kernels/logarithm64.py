"""log and its kin in float64: log, log1p, log2, log10, arcsinh, arccosh, arctanh.

x = 2**k (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)), and log(1 + f) = f - f**2/2 + f**3 P(f) with a minimax P of
degree 18 (Remez, relative error 9e-18): twenty fused multiply-adds cost less than the division of the usual 2 atanh
form. Subnormal x are right. Error bounds: `bounds.py`.
"""

import numpy as np
from numba import uint64

from mcgrad.kernels.intrinsics import (
    absolute,
    bits_float64,
    copysign,
    float_bits64,
    fma,
    long_polynomial,
    select,
    square_root,
)
from mcgrad.kernels.jit import scalar

INF, NAN = np.inf, np.nan
LN2, LN2_TAIL = 0.6931471805599453, 2.3190468138462996e-17
LOG2E, LOG10E = 1.4426950408889634, 0.4342944819032518
LOG10_2, LOG10_2_TAIL = 0.3010299956639812, -2.8037281277851704e-18
# (log(1 + f) - f + f**2/2) / f**3 for sqrt(1/2) <= 1 + f <= sqrt(2)
LOG = (
    0.3333333333333314, -0.2499999999998798, 0.2000000000006661, -0.1666666666982548, 0.14285714280092968,
    -0.12499999691474525, 0.11111111147510591, -0.10000015205061037, 0.09090923929385428, -0.08332913564680552,
    0.07691529884382602, -0.07149439265141105, 0.06684588218549074, -0.06196679390619204, 0.05668383849652415,
    -0.056777866048238326, 0.06503474976852551, -0.059816807374531766, 0.026150862996455925,
)  # fmt: skip


@scalar
def split(x):
    """(1 + f, k, bits of k): x = 2**k (1 + f), for normal x > 0; k as a float64 and as a uint64 with bias 1023."""
    bits = uint64(float_bits64(x)) + uint64(0x3FF0000000000000 - 0x3FE6A09E667F3BCD)
    biased = bits >> uint64(52)
    k = bits_float64(np.int64(biased | uint64(0x4330000000000000))) - (2.0**52 + 1023.0)
    m = bits_float64(np.int64((bits & uint64(0x000FFFFFFFFFFFFF)) + uint64(0x3FE6A09E667F3BCD)))
    return m, k, biased


@scalar
def log_reduced(f, k):
    """Add up k ln 2 + log(1 + f)."""
    f2 = f * f
    tail = fma(f * f2, long_polynomial(f, f2, LOG), k * LN2_TAIL)
    return fma(k, LN2, f - fma(0.5, f2, -tail))


@scalar
def log1p_reduced(f):
    """log(1 + f) for 1 + f in [sqrt(1/2), sqrt(2)]."""
    f2 = f * f
    return f - f2 * fma(-f, long_polynomial(f, f2, LOG), 0.5)


@scalar
def normal_range(x):
    """(y, shift): x = 2**shift y with y in the normal range if x > 0 is subnormal."""
    subnormal = x < 2.2250738585072014e-308
    return select(subnormal, x * 2.0**54, x), select(subnormal, -54.0, 0.0)


@scalar
def log_edges(x, y):
    """y, or the logarithm of x where x is 0, negative, infinite or NaN."""
    y = select(x < INF, y, x)
    return select(x > 0.0, y, select(x == 0.0, -INF, NAN))


@scalar
def log(x):
    """Natural logarithm."""
    y, shift = normal_range(x)
    m, k, _ = split(y)
    return log_edges(x, log_reduced(m - 1.0, k + shift))


@scalar
def log2(x):
    """Logarithm to base 2; exact for powers of 2."""
    y, shift = normal_range(x)
    m, k, _ = split(y)
    return log_edges(x, fma(log1p_reduced(m - 1.0), LOG2E, k + shift))


@scalar
def log10(x):
    """Logarithm to base 10."""
    y, shift = normal_range(x)
    m, k, _ = split(y)
    k = k + shift
    return log_edges(x, fma(k, LOG10_2, fma(log1p_reduced(m - 1.0), LOG10E, k * LOG10_2_TAIL)))


@scalar
def log1p(x):
    """log(1 + x)."""
    m, k, biased = split(1.0 + x)
    # f = 2**-k (1 + x) - 1 from x itself, so that what 1 + x rounds away is not lost
    scale = bits_float64(np.int64((uint64(2046) - biased) << uint64(52)))
    f = select(k > 60.0, m - 1.0, fma(x, scale, scale - 1.0))
    y = log_reduced(f, k)
    y = select(x < INF, y, x)
    return select(x > -1.0, y, select(x == -1.0, -INF, NAN))


@scalar
def arcsinh(x):
    """Inverse hyperbolic sine."""
    size = absolute(x)
    large = size > 1e17
    square = size * size
    y = log1p(select(large, size, size + square / (1.0 + square_root(1.0 + square))))
    return copysign(select(large, y + LN2, y), x)


@scalar
def arccosh(x):
    """Inverse hyperbolic cosine."""
    large = x > 1e17
    t = x - 1.0
    y = log1p(select(large, x, t + square_root(t * (t + 2.0))))
    return select(x < 1.0, NAN, select(large, y + LN2, y))


@scalar
def arctanh(x):
    """Inverse hyperbolic tangent."""
    size = absolute(x)
    return copysign(0.5 * log1p(2.0 * size / (1.0 - size)), x)
