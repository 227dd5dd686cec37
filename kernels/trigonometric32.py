"""sin, cos, tan and their inverses in float32.

As in float64 (`trigonometric64.py`): pi/2 in three parts, right up to |x| = 1e6, where n may be one off and |r| reach
0.83. Beyond, sin and cos are bounded by 1 in size but mean nothing. The sign of a zero result of sin and tan is not
kept. Error bounds: `bounds.py`.
"""

import numpy as np
from numba import int32

from mcgrad.kernels.intrinsics import (
    absolute,
    bits_float32,
    copysign,
    divide,
    exact_sub,
    float_bits32,
    fma,
    polynomial,
    select,
    square_root,
)
from mcgrad.kernels.jit import scalar

F = np.float32
INF, NAN = F(np.inf), F(np.nan)
MAGIC = F(1.5 * 2.0**23)
TWO_OVER_PI = F(0.63661975)
HALF_PI, HALF_PI_1, HALF_PI_2 = F(1.5707964), F(-4.371139e-08), F(-1.7151245e-15)
QUARTER_PI, QUARTER_PI_TAIL = F(0.7853982), F(-2.1855694e-08)
PI, PI_TAIL = F(3.1415927), F(-8.742278e-08)
TAN_PI_8, TAN_3PI_8 = F(0.41421357), F(2.4142137)
# (sin(r) - r) / r**3 and (cos(r) - 1 + r**2/2) / r**4 as polynomials of r**2, |r| <= 0.86
SIN = (-0.16666646, 0.008331676, -0.0001945344)
COS = (0.041666634, -0.0013886706, 2.4366835e-05)
# (arctan(t) - t) / t**3 as a polynomial of t**2, |t| <= tan(pi/8)
ATAN = (-0.33332953, 0.19977869, -0.1387918, 0.080579735)
# (arcsin(s) - s) / s**3 as a polynomial of s**2, |s| <= 1/2
ASIN = (0.16666755, 0.07495198, 0.045483187, 0.024115194, 0.042277355)


@scalar
def sincos_reduced(r):
    """(sin(r), cos(r)) for |r| <= pi/4."""
    r2 = r * r
    return fma(r * r2, polynomial(r2, SIN), r), fma(r2 * r2, polynomial(r2, COS), fma(r2, F(-0.5), F(1.0)))


@scalar
def flip(x, bit):
    """-x if bit 1 of the int32 `bit` is set, else x."""
    return bits_float32(int32(float_bits32(x) ^ ((bit & int32(2)) << int32(30))))


@scalar
def reduced(x):
    """(r, q): x = q pi/2 + r with |r| <= pi/4, and the last two bits of q right."""
    shifted = fma(x, TWO_OVER_PI, MAGIC)
    n = exact_sub(shifted, MAGIC)
    r = fma(n, -HALF_PI_2, fma(n, -HALF_PI_1, fma(n, -HALF_PI, x)))
    r = select(r > F(0.85), F(0.85), r)  # only where |x| is beyond the range
    return select(r < F(-0.85), F(-0.85), r), float_bits32(shifted)


@scalar
def quarter_turns(r, q):
    """(sin, cos) of q pi/2 + r."""
    s, c = sincos_reduced(r)
    odd = (q & int32(1)) != int32(0)
    return flip(select(odd, c, s), q), flip(select(odd, s, c), q + int32(1))


@scalar
def sincos(x):
    """(sin(x), cos(x)); where both are used, the optimiser computes them once."""
    r, q = reduced(x)
    return quarter_turns(r, q)


@scalar
def sincospi(x):
    """(sin(pi x), cos(pi x)); exact zeros where they belong."""
    x = select(absolute(x) > F(2.0**21), F(0.0), x)
    shifted = fma(F(2.0), x, MAGIC)
    r = fma(exact_sub(shifted, MAGIC), F(-0.5), x)
    return quarter_turns(r * PI, float_bits32(shifted))


@scalar
def sin(x):
    """Sine."""
    s, _ = sincos(x)
    return s


@scalar
def cos(x):
    """Cosine."""
    _, c = sincos(x)
    return c


@scalar
def tan(x):
    """Tangent."""
    r, q = reduced(x)
    s, c = sincos_reduced(r)
    odd = (q & int32(1)) != int32(0)
    return flip(divide(select(odd, c, s), select(odd, s, c)), q << int32(1))


@scalar
def arctan_quotient(num, den):
    """arctan(num / den) for num, den >= 0 of moderate size, with one division."""
    steep, middle = num > TAN_3PI_8 * den, num > TAN_PI_8 * den
    base = select(steep, HALF_PI, select(middle, QUARTER_PI, F(0.0)))
    tail = select(steep, HALF_PI_1, select(middle, QUARTER_PI_TAIL, F(0.0)))
    upper = select(steep, -den, select(middle, num - den, num))
    t = divide(upper, select(steep, num, select(middle, num + den, den)))
    t2 = t * t
    return base + (t + fma(t * t2, polynomial(t2, ATAN), tail))


@scalar
def arctan(x):
    """Inverse tangent."""
    return copysign(arctan_quotient(absolute(x), F(1.0)), x)


@scalar
def arctan2(y, x):
    """Angle of the point (x, y), in [-pi, pi]."""
    a, b = absolute(y), absolute(x)
    unit = (a == b) & ((a == F(0.0)) | (a == INF))  # a quotient of 1 for inf/inf, and of 0 for 0/0
    num = select(unit, select(a == INF, F(1.0), F(0.0)), a)
    den = select(unit, F(1.0), b)
    large = (num > F(1e37)) | (den > F(1e37))
    scale = select(large, F(0.25), F(1.0))
    angle = arctan_quotient(num * scale, den * scale)
    back = float_bits32(x) < int32(0)
    angle = select(back, PI - (angle - PI_TAIL), angle)
    angle = select((x != x) | (y != y), NAN, angle)
    return copysign(angle, y)


@scalar
def arcsin_reduced(s, z):
    """arcsin(s) for z = s*s <= 1/4."""
    return fma(s * z, polynomial(z, ASIN), s)


@scalar
def arcsin(x):
    """Inverse sine; NaN outside [-1, 1]."""
    size = absolute(x)
    outer = size > F(0.5)
    z = select(outer, F(0.5) * (F(1.0) - size), size * size)
    y = arcsin_reduced(select(outer, square_root(z), size), z)
    return copysign(select(outer, HALF_PI - (fma(F(2.0), y, -HALF_PI_1)), y), x)


@scalar
def arccos(x):
    """Inverse cosine; NaN outside [-1, 1]."""
    size = absolute(x)
    outer = size > F(0.5)
    z = select(outer, F(0.5) * (F(1.0) - size), size * size)
    y = copysign(arcsin_reduced(select(outer, square_root(z), size), z), x)
    inner = HALF_PI - (y - HALF_PI_1)
    return select(outer, select(x < F(0.0), PI + (fma(F(2.0), y, PI_TAIL)), F(2.0) * y), inner)
