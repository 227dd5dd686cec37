"""gammaln, digamma and trigamma of real x in float32.

As in float64 (`gamma64.py`), with shorter series and fewer steps of the recurrence: Stirling's series from 6.5 on, four
steps for digamma and trigamma below 4. Near the zeros see the absolute floors in `bounds.py`.
"""

import numpy as np

from mcgrad.kernels.intrinsics import absolute, copysign, divide, floor, fma, long_polynomial, polynomial, select
from mcgrad.kernels.jit import scalar
from mcgrad.kernels.logarithm32 import log
from mcgrad.kernels.trigonometric32 import sincospi

F = np.float32
INF, NAN = F(np.inf), F(np.nan)
PI = F(3.1415927)
LOG_2PI_HALF_LESS_HALF = F(0.41893853)  # log(2 pi)/2 - 1/2
# gammaln(2 + s) / s for |s| <= 1/2
CENTRE = (
    0.42278433, 0.32246703, -0.06735222, 0.020581601, -0.0073874267, 0.0028790568, -0.0011778447, 0.00056982116,
    -0.00026984632,
)  # fmt: skip
# (gammaln(x) - (x - 1/2) log x + x - log(2 pi)/2) x, as a polynomial of 1/x**2, x >= 6.5
STIRLING = (0.083333336, -0.0027776, 0.0007733242)
# -(digamma(x) - log x + 1/(2 x)) x**2 and (trigamma(x) - 1/x - 1/(2 x**2)) x**3 as polynomials of 1/x**2, x >= 4
DIGAMMA = (0.08333333, -0.008332471, 0.0039246622, -0.0032618814)
TRIGAMMA = (0.16666661, -0.033325277, 0.023398563, -0.024665779)
# sum of 1/(x + j) and of 1/(x + j)**2 over j = 0 .. 3 are STEPS_1/STEPS and STEPS_2/STEPS**2
STEPS = (0.0, 6.0, 11.0, 6.0, 1.0)
STEPS_1 = (6.0, 22.0, 18.0, 4.0)
STEPS_2 = (36.0, 132.0, 242.0, 240.0, 130.0, 36.0, 4.0)


@scalar
def gammaln_right(a):
    """Logarithm of Gamma(a) for a >= 0."""
    large = a >= F(6.5)
    steps = floor(a + F(0.5)) - F(2.0)  # from [1.5, 2.5) to a
    s = a - (steps + F(2.0))
    product = F(1.0)
    for j in range(1, 5):
        product = product * select(steps >= np.float32(j), a - np.float32(j), F(1.0))
    product = select(a < F(1.5), a, product)
    product = select(a < F(0.5), a * (a + F(1.0)), product)
    product = select(large, a, product)
    factor = select(large, a - F(0.5), select(a < F(1.5), F(-1.0), F(1.0)))
    inverse = divide(F(1.0), select(large, a, F(6.5)))
    stirling = fma(inverse, polynomial(inverse * inverse, STIRLING), LOG_2PI_HALF_LESS_HALF)
    rest = select(large, stirling, s * long_polynomial(s, s * s, CENTRE))
    return fma(factor, log(product) - select(large, F(1.0), F(0.0)), rest)


@scalar
def gammaln(x):
    """Log |Gamma(x)|; inf at 0, -1, -2 ..."""
    a = absolute(x)
    y = gammaln_right(a)
    s, _ = sincospi(a)
    reflected = select(s == F(0.0), INF, -log(a * absolute(s) * (F(1.0) / PI)) - y)
    return select((x < F(0.0)) & (a > F(1e-9)), reflected, y)


@scalar
def digamma(x):
    """Differentiate gammaln; -inf at 0, inf at -0.0, NaN at -1, -2 ..."""
    a = absolute(x)
    small = a < F(4.0)
    b = select(small, a + F(4.0), a)
    inverse = divide(F(1.0), b)
    z = inverse * inverse
    y = log(b) - fma(F(0.5), inverse, z * polynomial(z, DIGAMMA))
    y = y - select(small, divide(polynomial(a, STEPS_1), polynomial(a, STEPS)), F(0.0))
    s, c = sincospi(a)
    reflected = y + (divide(F(1.0), a) + divide(PI * c, s))
    y = select(x < F(0.0), select(s == F(0.0), NAN, reflected), y)
    return select(x == F(0.0), copysign(INF, -x), y)


@scalar
def trigamma(x):
    """Differentiate gammaln twice; inf at 0, -1, -2 ..."""
    a = absolute(x)
    small = a < F(4.0)
    inverse = divide(F(1.0), select(small, a + F(4.0), a))
    z = inverse * inverse
    y = inverse + z * fma(inverse, polynomial(z, TRIGAMMA), F(0.5))
    step = divide(F(1.0), polynomial(select(small, a, F(1.0)), STEPS))
    y = y + select(small, polynomial(a, STEPS_2) * step * step, F(0.0))
    s, _ = sincospi(a)
    cosecant = divide(PI, s)
    other = select(a > F(1e-4), cosecant * cosecant - y, F(0.0))  # what the poles at 0 leave over
    return select(x < F(0.0), other + divide(F(1.0), a * a), y)
