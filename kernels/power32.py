"""power, sqrt, cbrt and hypot in float32.

As in float64 (`power64.py`): the logarithm in pairs of float32, about 36 bits. Error bounds: `bounds.py`.
"""

import numpy as np
from numba import int32, uint32

from mcgrad.kernels.exponential32 import exp_pair, scaled
from mcgrad.kernels.intrinsics import (
    absolute,
    bits_float32,
    copysign,
    divide,
    exact_add,
    exact_mul,
    exact_sub,
    float_bits32,
    floor,
    fma,
    polynomial,
    select,
    square_root,
)
from mcgrad.kernels.jit import scalar
from mcgrad.kernels.logarithm32 import normal_range, split

F = np.float32
INF, NAN = F(np.inf), F(np.nan)
LN2_SHORT, LN2_REST = F(0.693145751953125), F(1.4286068e-06)  # the short part times an exponent is exact
TWO_THIRDS, TWO_THIRDS_TAIL = F(0.6666667), F(-1.9868216e-08)
MAGIC = F(1.5 * 2.0**23)
# (2 atanh(t) - 2 t - 2/3 t**3) / t**5 as a polynomial of t**2, |t| <= 0.1716
ATANH = (0.40000153, 0.28547087, 0.2341973)
CBRT = (1.3376894, -0.44082162, 0.108500056, -0.012986018, 0.0005852628)


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
    num, den = m - F(1.0), exact_add(m, F(1.0))
    den_tail = exact_sub(m, exact_sub(den, F(1.0)))
    inverse = divide(F(1.0), den)
    t = exact_mul(num, inverse)
    t_tail = fma(-t, den_tail, fma(-t, den, num)) * inverse
    t2 = exact_mul(t, t)
    t2_tail = fma(t, t, -t2) + F(2.0) * t * t_tail
    t3 = exact_mul(t2, t)
    t3_tail = fma(t2, t, -t3) + fma(t2, t_tail, t2_tail * t)
    u = exact_mul(t3, TWO_THIRDS)
    u_tail = fma(t3, TWO_THIRDS, -u) + fma(t3, TWO_THIRDS_TAIL, t3_tail * TWO_THIRDS)
    u_tail = fma(t3 * t2, polynomial(t2, ATANH), u_tail) + F(2.0) * t_tail
    s, s_tail = add_to_pair(F(2.0) * t, u, u_tail)
    head, tail = add_to_pair(exact_mul(k, LN2_SHORT), s, fma(k, LN2_REST, s_tail))
    return add_to_pair(head, tail, F(0.0))


@scalar
def power(x, y):
    """x**y as NumPy has it: NaN for x < 0 and a y that is not an integer; x**0 = 1**y = 1."""
    size = absolute(x)
    head, tail = log_pair(size)
    head = select(size < INF, head, size)
    head = select(size == F(0.0), -INF, head)
    product = exact_mul(y, head)
    rest = fma(y, head, -product) + y * tail
    rest = select(absolute(product) < F(120.0), rest, F(0.0))
    result = exp_pair(product, rest, F(1.0))
    whole, halved = floor(y) == y, F(0.5) * y
    odd = whole & (floor(halved) != halved)
    below = float_bits32(x) < int32(0)
    result = select(below & odd, -result, result)
    result = select((x < F(0.0)) & (size < INF) & (absolute(y) < INF) & (floor(y) < y), NAN, result)
    one = (x == F(1.0)) | (y == F(0.0)) | ((x == F(-1.0)) & (absolute(y) == INF))
    return select(one, F(1.0), result)


@scalar
def sqrt(x):
    """Square root; NaN for x < 0."""
    return square_root(x)


@scalar
def cbrt(x):
    """Cube root."""
    size = absolute(x)
    y, shift = normal_range(size)
    bits = uint32(float_bits32(y))
    biased = uint32(bits >> uint32(23))
    k = bits_float32(int32(biased | uint32(0x4B000000))) - F(2.0**23 + 128.0)  # exponent - 1
    thirds = exact_add(k * (F(1.0 / 3.0)), MAGIC)
    q = exact_sub(thirds, MAGIC)
    rest = uint32(float_bits32(exact_add(fma(F(-3.0), q, k), MAGIC))) + uint32(1)  # exponent - 3 q in 0, 1, 2
    z = bits_float32(int32((bits & uint32(0x007FFFFF)) + uint32(0x3F800000) + (rest << uint32(23))))
    w = polynomial(z, CBRT)
    h = fma(-z * w, w * w, F(1.0))
    w = fma(w * h, fma(h, F(2.0 / 9.0), F(1.0 / 3.0)), w)
    h = fma(-z * w, w * w, F(1.0))
    w = fma(w * h, fma(h, F(2.0 / 9.0), F(1.0 / 3.0)), w)
    w2 = w * w
    root = z * w2
    root = fma(fma(-root * root, root, z), w2 * (F(1.0 / 3.0)), root)
    root = scaled(root, uint32(float_bits32(exact_add(q + shift * (F(1.0 / 3.0)), MAGIC))))
    return select((size > F(0.0)) & (size < INF), copysign(root, x), x)


@scalar
def hypot(x, y):
    """sqrt(x*x + y*y) without needless overflow or underflow; inf if either is infinite, even beside NaN."""
    a, b = absolute(x), absolute(y)
    top = select(a > b, a, b)
    up = select(top > F(1e18), F(2.0**-70), select(top < F(1e-15), F(2.0**70), F(1.0)))
    down = select(top > F(1e18), F(2.0**70), select(top < F(1e-15), F(2.0**-70), F(1.0)))
    a, b = a * up, b * up
    size = square_root(fma(a, a, b * b)) * down
    return select((absolute(x) == INF) | (absolute(y) == INF), INF, size)
