"""log and its kin in float32: log, log1p, log2, log10, arcsinh, arccosh, arctanh.

As in float64 (`logarithm64.py`), with a minimax polynomial of degree 8 (Remez, relative error 8e-10). Subnormal x are
right. Error bounds: `bounds.py`.
"""

import numpy as np
from numba import uint32

from mcgrad.kernels.intrinsics import (
    absolute,
    bits_float32,
    copysign,
    divide,
    float_bits32,
    fma,
    long_polynomial,
    select,
    square_root,
)
from mcgrad.kernels.jit import scalar

F = np.float32
INF, NAN = F(np.inf), F(np.nan)
LN2, LN2_TAIL = F(0.6931472), F(-1.9046542e-09)
LOG2E, LOG10E = F(1.442695), F(0.4342945)
LOG10_2, LOG10_2_TAIL = F(0.30103), F(-1.4320989e-08)
# (log(1 + f) - f + f**2/2) / f**3 for sqrt(1/2) <= 1 + f <= sqrt(2)
LOG = (
    0.33333313, -0.2500001, 0.20002118, -0.16667995, 0.1421956, -0.124056175, 0.11888143, -0.11675487, 0.06746489,
)  # fmt: skip


@scalar
def split(x):
    """(1 + f, k, bits of k): x = 2**k (1 + f), for normal x > 0; k as a float32 and as a uint32 with bias 127."""
    bits = uint32(uint32(float_bits32(x)) + uint32(0x3F800000 - 0x3F3504F3))
    biased = uint32(bits >> uint32(23))
    k = bits_float32(np.int32(biased | uint32(0x4B000000))) - F(2.0**23 + 127.0)
    m = bits_float32(np.int32((bits & uint32(0x007FFFFF)) + uint32(0x3F3504F3)))
    return m, k, biased


@scalar
def log_reduced(f, k):
    """Add up k ln 2 + log(1 + f)."""
    f2 = f * f
    tail = fma(f * f2, long_polynomial(f, f2, LOG), k * LN2_TAIL)
    return fma(k, LN2, f - fma(F(0.5), f2, -tail))


@scalar
def log1p_reduced(f):
    """log(1 + f) for 1 + f in [sqrt(1/2), sqrt(2)]."""
    f2 = f * f
    return f - f2 * fma(-f, long_polynomial(f, f2, LOG), F(0.5))


@scalar
def normal_range(x):
    """(y, shift): x = 2**shift y with y in the normal range if x > 0 is subnormal."""
    subnormal = x < F(1.1754944e-38)
    return select(subnormal, x * F(2.0**24), x), select(subnormal, F(-24.0), F(0.0))


@scalar
def log_edges(x, y):
    """y, or the logarithm of x where x is 0, negative, infinite or NaN."""
    y = select(x < INF, y, x)
    return select(x > F(0.0), y, select(x == F(0.0), -INF, NAN))


@scalar
def log(x):
    """Natural logarithm."""
    y, shift = normal_range(x)
    m, k, _ = split(y)
    return log_edges(x, log_reduced(m - F(1.0), k + shift))


@scalar
def log2(x):
    """Logarithm to base 2; exact for powers of 2."""
    y, shift = normal_range(x)
    m, k, _ = split(y)
    return log_edges(x, fma(log1p_reduced(m - F(1.0)), LOG2E, k + shift))


@scalar
def log10(x):
    """Logarithm to base 10."""
    y, shift = normal_range(x)
    m, k, _ = split(y)
    k = k + shift
    return log_edges(x, fma(k, LOG10_2, fma(log1p_reduced(m - F(1.0)), LOG10E, k * LOG10_2_TAIL)))


@scalar
def log1p(x):
    """log(1 + x)."""
    m, k, biased = split(F(1.0) + x)
    # f = 2**-k (1 + x) - 1 from x itself, so that what 1 + x rounds away is not lost
    scale = bits_float32(np.int32((uint32(254) - biased) << uint32(23)))
    f = select(k > F(40.0), m - F(1.0), fma(x, scale, scale - F(1.0)))
    y = log_reduced(f, k)
    y = select(x < INF, y, x)
    return select(x > F(-1.0), y, select(x == F(-1.0), -INF, NAN))


@scalar
def arcsinh(x):
    """Inverse hyperbolic sine."""
    size = absolute(x)
    large = size > F(1e9)
    square = size * size
    y = log1p(select(large, size, size + divide(square, F(1.0) + square_root(F(1.0) + square))))
    return copysign(select(large, y + LN2, y), x)


@scalar
def arccosh(x):
    """Inverse hyperbolic cosine."""
    large = x > F(1e9)
    t = x - F(1.0)
    y = log1p(select(large, x, t + square_root(t * (t + F(2.0)))))
    return select(x < F(1.0), NAN, select(large, y + LN2, y))


@scalar
def arctanh(x):
    """Inverse hyperbolic tangent."""
    size = absolute(x)
    return copysign(F(0.5) * log1p(divide(F(2.0) * size, F(1.0) - size)), x)
