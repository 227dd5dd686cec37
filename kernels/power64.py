"""power, sqrt, cbrt and hypot in float64.

power: log x = k ln 2 + 2 atanh(t), t = (m - 1)/(m + 1), in pairs of float64 (head and tail, about 65 bits), so that the
error does not grow with y log x. The term 2/3 t**3 is a pair too; a minimax polynomial serves from t**5 on (Remez,
1e-20). cbrt: a polynomial guess of z**(-1/3) on [1, 8), cubically convergent steps, a last correction. Error bounds:
`bounds.py`.
"""

import numpy as np
from numba import int64, uint64

from mcgrad.kernels.exponential64 import exp_pair, scaled
from mcgrad.kernels.intrinsics import (
    absolute,
    bits_float64,
    copysign,
    exact_add,
    exact_mul,
    exact_sub,
    float_bits64,
    floor,
    fma,
    polynomial,
    select,
    square_root,
)
from mcgrad.kernels.jit import scalar
from mcgrad.kernels.logarithm64 import normal_range, split

INF, NAN = np.inf, np.nan
LN2_SHORT, LN2_REST = 0.6931471805598903, 5.497923018708371e-14  # the short part times an exponent is exact
TWO_THIRDS, TWO_THIRDS_TAIL = 0.6666666666666666, 3.700743415417188e-17
MAGIC = 1.5 * 2.0**52
# (2 atanh(t) - 2 t - 2/3 t**3) / t**5 as a polynomial of t**2, |t| <= 0.1716
ATANH = (
    0.4000000000000227, 0.28571428570091756, 0.2222222252137413, 0.18181784235566573, 0.15386763588281002,
    0.13256667749299245, 0.1319775836122884,
)  # fmt: skip
CBRT = (1.3376893402823538, -0.4408216166355418, 0.10850005791683286, -0.012986018706813358, 0.000585262807743655)


@scalar
def add_to_pair(a, b, tail):
    """(head, tail) of a + b + tail for |a| >= |b| or a = 0 (Dekker's fast two-sum)."""
    head = exact_add(a, b)
    return head, exact_sub(b, exact_sub(head, a)) + tail


@scalar
def log_pair(x):
    """(head, tail) of log(x) for finite x > 0."""
    y, shift = normal_range(x)
    m, k, _ = split(y)
    k = k + shift
    num, den = m - 1.0, exact_add(m, 1.0)
    den_tail = exact_sub(m, exact_sub(den, 1.0))
    inverse = 1.0 / den
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


@scalar
def power(x, y):
    """x**y as NumPy has it: NaN for x < 0 and a y that is not an integer; x**0 = 1**y = 1."""
    size = absolute(x)
    head, tail = log_pair(size)
    head = select(size < INF, head, size)
    head = select(size == 0.0, -INF, head)
    product = exact_mul(y, head)
    rest = fma(y, head, -product) + y * tail
    rest = select(absolute(product) < 800.0, rest, 0.0)
    result = exp_pair(product, rest, 1.0)
    whole, halved = floor(y) == y, 0.5 * y
    odd = whole & (floor(halved) != halved)
    below = float_bits64(x) < int64(0)
    result = select(below & odd, -result, result)
    result = select((x < 0.0) & (size < INF) & (absolute(y) < INF) & (floor(y) < y), NAN, result)
    one = (x == 1.0) | (y == 0.0) | ((x == -1.0) & (absolute(y) == INF))
    return select(one, 1.0, result)


@scalar
def sqrt(x):
    """Square root; NaN for x < 0."""
    return square_root(x)


@scalar
def cbrt(x):
    """Cube root."""
    size = absolute(x)
    y, shift = normal_range(size)
    bits = uint64(float_bits64(y))
    biased = bits >> uint64(52)
    k = bits_float64(int64(biased | uint64(0x4330000000000000))) - (2.0**52 + 1024.0)  # exponent - 1
    thirds = exact_add(k * (1.0 / 3.0), MAGIC)
    q = exact_sub(thirds, MAGIC)
    rest = uint64(float_bits64(exact_add(fma(-3.0, q, k), MAGIC))) + uint64(1)  # exponent - 3 q in 0, 1, 2
    z = bits_float64(int64((bits & uint64(0x000FFFFFFFFFFFFF)) + uint64(0x3FF0000000000000) + (rest << uint64(52))))
    w = polynomial(z, CBRT)
    h = fma(-z * w, w * w, 1.0)
    w = fma(w * h, fma(h, 2.0 / 9.0, 1.0 / 3.0), w)
    h = fma(-z * w, w * w, 1.0)
    w = fma(w * h, fma(h, 2.0 / 9.0, 1.0 / 3.0), w)
    w2 = w * w
    root = z * w2
    root = fma(fma(-root * root, root, z), w2 * (1.0 / 3.0), root)
    root = scaled(root, uint64(float_bits64(exact_add(q + shift * (1.0 / 3.0), MAGIC))))
    return select((size > 0.0) & (size < INF), copysign(root, x), x)


@scalar
def hypot(x, y):
    """sqrt(x*x + y*y) without needless overflow or underflow; inf if either is infinite, even beside NaN."""
    a, b = absolute(x), absolute(y)
    top = select(a > b, a, b)
    up = select(top > 1e150, 2.0**-600, select(top < 1e-130, 2.0**600, 1.0))
    down = select(top > 1e150, 2.0**600, select(top < 1e-130, 2.0**-600, 1.0))
    a, b = a * up, b * up
    size = square_root(fma(a, a, b * b)) * down
    return select((absolute(x) == INF) | (absolute(y) == INF), INF, size)
