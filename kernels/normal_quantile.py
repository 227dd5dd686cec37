"""The standard normal's quantile function: of a probability, and of a probability's logarithm.

In float64 Wichura's rational functions (AS 241, Applied Statistics 37, 1988), relative error 2e-16, in float32 own ones
of the same form (interpolation at Chebyshev nodes, relative error 9e-9): of p - 1/2 at the centre, and of r =
sqrt(-log(smaller tail)) outside, in two pieces. Beyond r = 27, where probabilities themselves underflow (float32: 10),
x**2 is the asymptotic series of the tail, inverted: four terms (two) in 1/s, s = -2 log(tail) - log(2 pi). All pieces
are computed and one is selected. Error bounds: `bounds.py`.
"""

import numpy as np

from mcgrad.kernels.exponential import LN2, expm1
from mcgrad.kernels.intrinsics import absolute, copysign, divide, fma, long_polynomial, polynomial, select, square_root
from mcgrad.kernels.logarithm import log
from mcgrad.kernels.widths import by_width, each_width

INF = np.inf
HALF_LOG_2PI = 0.9189385332046727
SQRT_2 = by_width(1.4142135, 1.4142135623730951)
FAR = by_width(100.0, 729.0)  # -log(tail) from which on the series holds
# x / d, d = p - 1/2, as a ratio of polynomials of 0.425**2 - d**2
CENTRE = by_width(
    (3.38713286, 68.5552802, 386.876973, 593.143981, 117.813903),
    (3.387132872796366608, 133.14166789178437745, 1971.5909503065514427, 13731.693765509461125, 45921.953931549871457,
     67265.770927008700853, 33430.575583588128105, 2509.0809287301226727),
)  # fmt: skip
CENTRE_BELOW = by_width(
    (1.0, 23.2451682, 162.019954, 357.532536, 168.805627),
    (1.0, 42.313330701600911252, 687.1870074920579083, 5394.1960214247511077, 21213.794301586595867,
     39307.89580009271061, 28729.085735721942674, 5226.495278852545925),
)  # fmt: skip
# x as a ratio of polynomials of r - 1.6, r <= 5
MIDDLE = by_width(
    (1.42343712, 3.18592231, 2.09945656, 0.503141418, 0.0360824787),
    (1.42343711074968357734, 4.6303378461565452959, 5.7694972214606914055, 3.64784832476320460504,
     1.27045825245236838258, 0.24178072517745061177, 0.0227238449892691845833, 7.7454501427834140764e-4),
)  # fmt: skip
MIDDLE_BELOW = by_width(
    (1.0, 1.0384541, 0.315504555, 0.0255057551),
    (1.0, 2.05319162663775882187, 1.6763848301838038494, 0.68976733498510000455, 0.14810397642748007459,
     0.0151986665636164571966, 5.475938084995344946e-4, 1.05075007164441684324e-9),
)  # fmt: skip
# x as a ratio of polynomials of r - 5, r <= 27 (float32: 10)
TAIL = by_width(
    (6.65790467, 3.20272125, 0.474038255, 0.021277382),
    (6.6579046435011037772, 5.4637849111641143699, 1.7848265399172913358, 0.29656057182850489123,
     0.026532189526576123093, 0.0012426609473880784386, 2.71155556874348757815e-5, 2.01033439929228813265e-7),
)  # fmt: skip
TAIL_BELOW = by_width(
    (1.0, 0.260226379, 0.0150424709),
    (1.0, 0.59983220655588793769, 0.13692988092273580531, 0.0148753612908506148525, 7.868691311456132591e-4,
     1.8463183175100546818e-5, 1.4215117583164458887e-7, 2.04426310338993978564e-15),
)  # fmt: skip


@each_width
def short(t, t2, coefficients):
    """Polynomial of t: too few terms for two chains."""
    return polynomial(t, coefficients)


sum_of_powers = by_width(short, long_polynomial)


@each_width
def central(d):
    """Quantile of 1/2 + d, |d| <= 0.425."""
    t = 0.180625 - d * d
    t2 = t * t
    return divide(d * sum_of_powers(t, t2, CENTRE), sum_of_powers(t, t2, CENTRE_BELOW))


@each_width
def near_tail(a):
    """Give the x >= 0 beyond which the tail is e**-a, 2.5 <= a <= 746 (float32: 104)."""
    r = square_root(a)
    far = r > 5.0
    t = r - select(far, 5.0, 1.6)
    t2 = t * t
    above = select(far, sum_of_powers(t, t2, TAIL), sum_of_powers(t, t2, MIDDLE))
    return divide(above, select(far, sum_of_powers(t, t2, TAIL_BELOW), sum_of_powers(t, t2, MIDDLE_BELOW)))


@each_width
def two_terms(w, e):
    """Factor of e**2 in the series, its first term alone."""
    return fma(w, fma(0.5, w, -3.0), 7.0)


@each_width
def four_terms(w, e):
    """Factor of e**2 in the series."""
    c2 = fma(w, fma(0.5, w, -3.0), 7.0)
    c3 = fma(w, fma(w, fma(w, 1.0 / 3.0, -3.5), 17.0), -107.0 / 3.0)
    c4 = fma(w, fma(w, fma(w, fma(w, 0.25, -23.0 / 6.0), 29.0), -124.0), 1489.0 / 6.0)
    return fma(e, fma(e, c4, c3), c2)


further = by_width(two_terms, four_terms)


@each_width
def far_tail(a):
    """Give the x >= 0 beyond which the tail is e**-a, a >= FAR."""
    half = a - HALF_LOG_2PI  # s / 2, as s itself may overflow
    w = log(half) + LN2
    e = divide(0.5, half)
    more = fma(e, fma(e, further(w, e), w - 2.0), -w)
    return SQRT_2 * square_root(fma(0.5, more, half))


@each_width
def ndtri(p):
    """Quantile of the standard normal: the x of ndtr(x) = p."""
    d = p - 0.5
    inside = absolute(d) <= 0.425
    a = -log(select(inside, 0.07, select(d > 0.0, 1.0 - p, p)))
    x = select(a == INF, INF, near_tail(a))
    return select(inside, central(d), copysign(x, d))


@each_width
def ndtri_exp(y):
    """Quantile of the standard normal by the probability's logarithm: the x of log_ndtr(x) = y."""
    e = expm1(y)
    d = e + 0.5
    inside = absolute(d) <= 0.425
    a = select(inside, 2.6, select(d > 0.0, -log(-e), -y))
    x = select(a > FAR, far_tail(select(a > FAR, a, FAR)), near_tail(a))
    return select(inside, central(d), copysign(select(a == INF, INF, x), d))
