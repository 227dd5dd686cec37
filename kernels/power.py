"""power, sqrt, cbrt and hypot.

power: log x = k ln 2 + 2 atanh(t), t = (m - 1)/(m + 1), in pairs of numbers (head and tail; about 36 bits in float32
and 65 in float64), so that the error does not grow with y log x. The term 2/3 t**3 is a pair too; a minimax polynomial
serves from t**5 on (Remez; 1e-20 in float64). cbrt: a polynomial guess of z**(-1/3) on [1, 8), cubically convergent
steps, a last correction. Error bounds: `bounds.py`.
"""

import numpy as np

from mcgrad.kernels.exponential import exp_pair, scaled
from mcgrad.kernels.formats import FRACTION, FRACTION_MASK, MAGIC, ONE, WHOLE, bits_float, float_bits, sint, uint
from mcgrad.kernels.intrinsics import (
    absolute,
    copysign,
    divide,
    exact_add,
    exact_mul,
    exact_sub,
    floor,
    fma,
    polynomial,
    select,
    square_root,
)
from mcgrad.kernels.logarithm import normal_range, split
from mcgrad.kernels.widths import by_width, each_width

INF, NAN = np.inf, np.nan
# The short part times an exponent is exact.
LN2_SHORT, LN2_REST = by_width(0.693145751953125, 0.6931471805598903), by_width(1.4286068e-06, 5.497923018708371e-14)
TWO_THIRDS, TWO_THIRDS_TAIL = 2.0 / 3.0, by_width(-1.9868216e-08, 3.700743415417188e-17)
WHOLE_AND_BIAS = by_width(2.0**23 + 128.0, 2.0**52 + 1024.0)  # that of the exponent less 1
OVERFLOW = by_width(120.0, 800.0)  # of exp, and its underflow, well beyond both
# Where hypot scales its arguments, and by what.
LARGE, SMALL = by_width(1e18, 1e150), by_width(1e-15, 1e-130)
DOWN, UP = by_width(2.0**-70, 2.0**-600), by_width(2.0**70, 2.0**600)
# (2 atanh(t) - 2 t - 2/3 t**3) / t**5 as a polynomial of t**2, |t| <= 0.1716
ATANH = by_width(
    (0.40000153, 0.28547087, 0.2341973),
    (0.4000000000000227, 0.28571428570091756, 0.2222222252137413, 0.18181784235566573, 0.15386763588281002,
     0.13256667749299245, 0.1319775836122884),
)  # fmt: skip
CBRT = (1.3376893402823538, -0.4408216166355418, 0.10850005791683286, -0.012986018706813358, 0.000585262807743655)


@each_width
def add_to_pair(a, b, tail):
    """(head, tail) of a + b + tail for |a| >= |b| or a = 0 (Dekker's fast two-sum)."""
    head = exact_add(a, b)
    return head, exact_sub(b, exact_sub(head, a)) + tail


@each_width
def log_pair(x):
    """(head, tail) of log(x) for finite x > 0."""
    y, shift = normal_range(x)
    m, k, _ = split(y)
    k = k + shift
    num, den = m - 1.0, exact_add(m, 1.0)
    den_tail = exact_sub(m, exact_sub(den, 1.0))
    inverse = divide(1.0, den)
    t = exact_mul(num, inverse)
    t_tail = fma(-t, den_tail, fma(-t, den, num)) * inverse
    t2 = exact_mul(t, t)
    t2_tail = fma(t, t, -t2) + 2.0 * t * t_tail
    t3 = exact_mul(t2, t)
    t3_tail = fma(t2, t, -t3) + fma(t2, t_tail, t2_tail * t)
    u = exact_mul(t3, TWO_THIRDS)
    u_tail = fma(t3, TWO_THIRDS, -u) + fma(t3, TWO_THIRDS_TAIL, t3_tail * TWO_THIRDS)
    u_tail = fma(t3 * t2, polynomial(t2, ATANH), u_tail) + 2.0 * t_tail
    s, s_tail = add_to_pair(2.0 * t, u, u_tail)
    head, tail = add_to_pair(exact_mul(k, LN2_SHORT), s, fma(k, LN2_REST, s_tail))
    return add_to_pair(head, tail, 0.0)


@each_width
def power(x, y):
    """x**y as NumPy has it: NaN for x < 0 and a y that is not an integer; x**0 = 1**y = 1."""
    size = absolute(x)
    head, tail = log_pair(size)
    head = select(size < INF, head, size)
    head = select(size == 0.0, -INF, head)
    product = exact_mul(y, head)
    rest = fma(y, head, -product) + y * tail
    rest = select(absolute(product) < OVERFLOW, rest, 0.0)
    result = exp_pair(product, rest, 1.0)
    whole, halved = floor(y) == y, 0.5 * y
    odd = whole & (floor(halved) != halved)
    below = float_bits(x) < sint(0)
    result = select(below & odd, -result, result)
    result = select((x < 0.0) & (size < INF) & (absolute(y) < INF) & (floor(y) < y), NAN, result)
    one = (x == 1.0) | (y == 0.0) | ((x == -1.0) & (absolute(y) == INF))
    return select(one, 1.0, result)


@each_width
def sqrt(x):
    """Square root; NaN for x < 0."""
    return square_root(x)


@each_width
def cbrt(x):
    """Cube root."""
    size = absolute(x)
    y, shift = normal_range(size)
    bits = uint(float_bits(y))
    biased = uint(bits >> uint(FRACTION))
    k = bits_float(sint(biased | uint(WHOLE))) - WHOLE_AND_BIAS  # exponent - 1
    thirds = exact_add(k * (1.0 / 3.0), MAGIC)
    q = exact_sub(thirds, MAGIC)
    rest = uint(float_bits(exact_add(fma(-3.0, q, k), MAGIC))) + uint(1)  # exponent - 3 q in 0, 1, 2
    z = bits_float(sint((bits & uint(FRACTION_MASK)) + uint(ONE) + (rest << uint(FRACTION))))
    w = polynomial(z, CBRT)
    h = fma(-z * w, w * w, 1.0)
    w = fma(w * h, fma(h, 2.0 / 9.0, 1.0 / 3.0), w)
    h = fma(-z * w, w * w, 1.0)
    w = fma(w * h, fma(h, 2.0 / 9.0, 1.0 / 3.0), w)
    w2 = w * w
    root = z * w2
    root = fma(fma(-root * root, root, z), w2 * (1.0 / 3.0), root)
    root = scaled(root, uint(float_bits(exact_add(q + shift * (1.0 / 3.0), MAGIC))))
    return select((size > 0.0) & (size < INF), copysign(root, x), x)


@each_width
def hypot(x, y):
    """sqrt(x*x + y*y) without needless overflow or underflow; inf if either is infinite, even beside NaN."""
    a, b = absolute(x), absolute(y)
    top = select(a > b, a, b)
    up = select(top > LARGE, DOWN, select(top < SMALL, UP, 1.0))
    down = select(top > LARGE, UP, select(top < SMALL, DOWN, 1.0))
    a, b = a * up, b * up
    size = square_root(fma(a, a, b * b)) * down
    return select((absolute(x) == INF) | (absolute(y) == INF), INF, size)
