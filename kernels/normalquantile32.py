"""The standard normal's quantile function in float32: of a probability, and of a probability's logarithm.

As in float64 (`normalquantile64.py`), with own coefficients (rational interpolation at Chebyshev nodes, relative error
9e-9) and a series of two terms from r = 10 on. Error bounds: `bounds.py`.
"""

import numpy as np

from mcgrad.kernels.exponential32 import expm1
from mcgrad.kernels.intrinsics import absolute, copysign, divide, fma, polynomial, select, square_root
from mcgrad.kernels.jit import scalar
from mcgrad.kernels.logarithm32 import log

F = np.float32
INF = F(np.inf)
LN2 = F(0.6931472)
HALF_LOG_2PI = F(0.9189385)
FAR = F(100.0)  # -log(tail) from which on the series holds
# x / d, d = p - 1/2, as a ratio of polynomials of 0.425**2 - d**2
CENTRE = (3.38713286, 68.5552802, 386.876973, 593.143981, 117.813903)
CENTRE_BELOW = (1.0, 23.2451682, 162.019954, 357.532536, 168.805627)
# x as a ratio of polynomials of r - 1.6, r <= 5
MIDDLE = (1.42343712, 3.18592231, 2.09945656, 0.503141418, 0.0360824787)
MIDDLE_BELOW = (1.0, 1.0384541, 0.315504555, 0.0255057551)
# x as a ratio of polynomials of r - 5, r <= 10
TAIL = (6.65790467, 3.20272125, 0.474038255, 0.021277382)
TAIL_BELOW = (1.0, 0.260226379, 0.0150424709)


@scalar
def central(d):
    """Quantile of 1/2 + d, |d| <= 0.425."""
    t = F(0.180625) - d * d
    return divide(d * polynomial(t, CENTRE), polynomial(t, CENTRE_BELOW))


@scalar
def near_tail(a):
    """Give the x >= 0 beyond which the tail is e**-a, 2.5 <= a <= 104."""
    r = square_root(a)
    far = r > F(5.0)
    t = r - select(far, F(5.0), F(1.6))
    above = select(far, polynomial(t, TAIL), polynomial(t, MIDDLE))
    return divide(above, select(far, polynomial(t, TAIL_BELOW), polynomial(t, MIDDLE_BELOW)))


@scalar
def far_tail(a):
    """Give the x >= 0 beyond which the tail is e**-a, a >= 100."""
    half = a - HALF_LOG_2PI  # s / 2, as s itself may overflow
    w = log(half) + LN2
    e = divide(F(0.5), half)
    c2 = fma(w, fma(F(0.5), w, F(-3.0)), F(7.0))
    more = fma(e, fma(e, c2, w - F(2.0)), -w)
    return F(1.4142135) * square_root(fma(F(0.5), more, half))


@scalar
def ndtri(p):
    """Quantile of the standard normal: the x of ndtr(x) = p."""
    d = p - F(0.5)
    inside = absolute(d) <= F(0.425)
    a = -log(select(inside, F(0.07), select(d > F(0.0), F(1.0) - p, p)))
    x = select(a == INF, INF, near_tail(a))
    return select(inside, central(d), copysign(x, d))


@scalar
def ndtri_exp(y):
    """Quantile of the standard normal by the probability's logarithm: the x of log_ndtr(x) = y."""
    e = expm1(y)
    d = e + F(0.5)
    inside = absolute(d) <= F(0.425)
    a = select(inside, F(2.6), select(d > F(0.0), -log(-e), -y))
    x = select(a > FAR, far_tail(select(a > FAR, a, FAR)), near_tail(a))
    return select(inside, central(d), copysign(select(a == INF, INF, x), d))
