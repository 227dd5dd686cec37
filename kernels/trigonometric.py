"""sin, cos, tan and their inverses.

Reduction: x = n pi/2 + r with pi/2 in three parts. Each n*part is exact inside a fused multiply-add and the first
difference is exact too (Cody and Waite 1980, with fma), so r is right to half an ulp or so up to |x| = 1e14; in float32
up to 1e6, where n may be one off and |r| reach 0.83. Beyond, sin and cos are bounded by 1 in size but mean nothing.
Then minimax polynomials of r (Remez; error 4e-18 in float64). The sign of a zero result of sin and tan is not kept.
Error bounds: `bounds.py`.
"""

import numpy as np

from mcgrad.kernels.formats import MAGIC, bits_float, float_bits, sint
from mcgrad.kernels.intrinsics import absolute, copysign, divide, exact_sub, fma, polynomial, select, square_root
from mcgrad.kernels.widths import by_width, each_width

INF, NAN = np.inf, np.nan
TWO_OVER_PI = 0.6366197723675814
# pi/2 in three parts; others as a number and what it lacks
HALF_PI = 1.5707963267948966
HALF_PI_1, HALF_PI_2 = by_width(-4.371139e-08, 6.123233995736766e-17), by_width(-1.7151245e-15, -1.4973849048591698e-33)
QUARTER_PI, QUARTER_PI_TAIL = 0.7853981633974483, by_width(-2.1855694e-08, 3.061616997868383e-17)
PI, PI_TAIL = 3.141592653589793, by_width(-8.742278e-08, 1.2246467991473532e-16)
TAN_PI_8, TAN_3PI_8 = 0.41421356237309503, 2.414213562373095
SIGN_SHIFT = by_width(30, 62)  # from bit 1 to the sign
MOST_REDUCED = by_width(0.85, 0.8)  # |r| is less wherever the reduction is right
MOST_TURNS = by_width(2.0**21, 2.0**50)  # numbers beyond are even, or as good as that
LARGE = by_width(1e37, 1e300)  # sums of two larger numbers may overflow
# (sin(r) - r) / r**3 and (cos(r) - 1 + r**2/2) / r**4 as polynomials of r**2, |r| <= pi/4 (float32: 0.86)
SIN = by_width(
    (-0.16666646, 0.008331676, -0.0001945344),
    (-0.16666666666666632, 0.008333333333322372, -0.00019841269829771972, 2.755731367895751e-06,
     -2.505075600735003e-08, 1.5896669138243034e-10),
)  # fmt: skip
COS = by_width(
    (0.041666634, -0.0013886706, 2.4366835e-05),
    (0.0416666666666666, -0.0013888888888874066, 2.4801587289444647e-05, -2.7557314340989713e-07,
     2.087572166777594e-09, -1.1359561572699108e-11),
)  # fmt: skip
# (arctan(t) - t) / t**3 as a polynomial of t**2, |t| <= tan(pi/8)
ATAN = by_width(
    (-0.33332953, 0.19977869, -0.1387918, 0.080579735),
    (-0.333333333333332, 0.19999999999953672, -0.14285714280204656, 0.11111110783841845, -0.09090897767801687,
     0.07692060374138646, -0.06663105594706004, 0.058478984108119754, -0.05039335488672472, 0.03806507546871979,
     -0.017907478233500633),
)  # fmt: skip
# (arcsin(s) - s) / s**3 as a polynomial of s**2, |s| <= 1/2
ASIN = by_width(
    (0.16666755, 0.07495198, 0.045483187, 0.024115194, 0.042277355),
    (0.16666666666665347, 0.07500000000352001, 0.04464285681580958, 0.030381959657748883, 0.02237174547822785,
     0.017359895395905312, 0.013883343802695566, 0.012181682677270319, 0.00647383505694452, 0.019676965425597267,
     -0.016458423013729923, 0.032073347969150276),
)  # fmt: skip


@each_width
def sincos_reduced(r):
    """(sin(r), cos(r)) for |r| <= pi/4."""
    r2 = r * r
    return fma(r * r2, polynomial(r2, SIN), r), fma(r2 * r2, polynomial(r2, COS), fma(r2, -0.5, 1.0))


@each_width
def flip(x, bit):
    """-x if bit 1 of `bit` is set, else x."""
    return bits_float(sint(float_bits(x) ^ ((bit & sint(2)) << sint(SIGN_SHIFT))))


@each_width
def reduced(x):
    """(r, q): x = q pi/2 + r with |r| <= pi/4, and the last two bits of q right."""
    shifted = fma(x, TWO_OVER_PI, MAGIC)
    n = exact_sub(shifted, MAGIC)
    r = fma(n, -HALF_PI_2, fma(n, -HALF_PI_1, fma(n, -HALF_PI, x)))
    r = select(r > MOST_REDUCED, MOST_REDUCED, r)  # only where |x| is beyond the range
    return select(r < -MOST_REDUCED, -MOST_REDUCED, r), float_bits(shifted)


@each_width
def quarter_turns(r, q):
    """(sin, cos) of q pi/2 + r."""
    s, c = sincos_reduced(r)
    odd = (q & sint(1)) != sint(0)
    return flip(select(odd, c, s), q), flip(select(odd, s, c), q + sint(1))


@each_width
def sincos(x):
    """(sin(x), cos(x)); where both are used, the optimiser computes them once."""
    r, q = reduced(x)
    return quarter_turns(r, q)


@each_width
def sincospi(x):
    """(sin(pi x), cos(pi x)); exact zeros where they belong."""
    x = select(absolute(x) > MOST_TURNS, 0.0, x)
    shifted = fma(2.0, x, MAGIC)
    r = fma(exact_sub(shifted, MAGIC), -0.5, x)
    return quarter_turns(r * PI, float_bits(shifted))


@each_width
def sin(x):
    """Sine."""
    s, _ = sincos(x)
    return s


@each_width
def cos(x):
    """Cosine."""
    _, c = sincos(x)
    return c


@each_width
def tan(x):
    """Tangent."""
    r, q = reduced(x)
    s, c = sincos_reduced(r)
    odd = (q & sint(1)) != sint(0)
    return flip(divide(select(odd, c, s), select(odd, s, c)), q << sint(1))


@each_width
def arctan_quotient(num, den):
    """arctan(num / den) for num, den >= 0 of moderate size, with one division."""
    steep, middle = num > TAN_3PI_8 * den, num > TAN_PI_8 * den
    base = select(steep, HALF_PI, select(middle, QUARTER_PI, 0.0))
    tail = select(steep, HALF_PI_1, select(middle, QUARTER_PI_TAIL, 0.0))
    upper = select(steep, -den, select(middle, num - den, num))
    t = divide(upper, select(steep, num, select(middle, num + den, den)))
    t2 = t * t
    return base + (t + fma(t * t2, polynomial(t2, ATAN), tail))


@each_width
def arctan(x):
    """Inverse tangent."""
    return copysign(arctan_quotient(absolute(x), 1.0), x)


@each_width
def arctan2(y, x):
    """Angle of the point (x, y), in [-pi, pi]."""
    a, b = absolute(y), absolute(x)
    unit = (a == b) & ((a == 0.0) | (a == INF))  # a quotient of 1 for inf/inf, and of 0 for 0/0
    num = select(unit, select(a == INF, 1.0, 0.0), a)
    den = select(unit, 1.0, b)
    large = (num > LARGE) | (den > LARGE)
    scale = select(large, 0.25, 1.0)
    angle = arctan_quotient(num * scale, den * scale)
    back = float_bits(x) < sint(0)
    angle = select(back, PI - (angle - PI_TAIL), angle)
    angle = select((x != x) | (y != y), NAN, angle)
    return copysign(angle, y)


@each_width
def arcsin_reduced(s, z):
    """arcsin(s) for z = s*s <= 1/4."""
    return fma(s * z, polynomial(z, ASIN), s)


@each_width
def arcsin(x):
    """Inverse sine; NaN outside [-1, 1]."""
    size = absolute(x)
    outer = size > 0.5
    z = select(outer, 0.5 * (1.0 - size), size * size)
    y = arcsin_reduced(select(outer, square_root(z), size), z)
    return copysign(select(outer, HALF_PI - (fma(2.0, y, -HALF_PI_1)), y), x)


@each_width
def arccos(x):
    """Inverse cosine; NaN outside [-1, 1]."""
    size = absolute(x)
    outer = size > 0.5
    z = select(outer, 0.5 * (1.0 - size), size * size)
    y = copysign(arcsin_reduced(select(outer, square_root(z), size), z), x)
    inner = HALF_PI - (y - HALF_PI_1)
    return select(outer, select(x < 0.0, PI + (fma(2.0, y, PI_TAIL)), 2.0 * y), inner)
