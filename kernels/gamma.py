"""gammaln, digamma and trigamma of real x.

gammaln: (a - 2) P(a - 2) around 2, carried to 0 < a < 8.5 (float32: 6.5) by the recurrence, which costs one logarithm
of a product; Stirling's series beyond. digamma and trigamma: asymptotic series from 8 (4) on; below, the recurrence
over eight (four) steps as one rational function with whole coefficients. Negative x by reflection. Polynomials by
Remez, errors below 1e-17 in float64. Near the zeros (1.46... for digamma, and those on the negative axis) see the
absolute floors in `bounds.py`.
"""

import numpy as np

from mcgrad.kernels.formats import real
from mcgrad.kernels.intrinsics import absolute, copysign, divide, floor, fma, long_polynomial, polynomial, select
from mcgrad.kernels.logarithm import log
from mcgrad.kernels.trigonometric import sincospi
from mcgrad.kernels.widths import by_width, each_width

INF, NAN = np.inf, np.nan
PI = 3.141592653589793
LOG_2PI_HALF_LESS_HALF = by_width(0.41893853, 0.41893853320467274)  # log(2 pi)/2 - 1/2
# gammaln(2 + s) / s for |s| <= 1/2
CENTRE = by_width(
    (0.42278433, 0.32246703, -0.06735222, 0.020581601, -0.0073874267, 0.0028790568, -0.0011778447, 0.00056982116,
     -0.00026984632),
    (0.42278433509846713, 0.3224670334241133, -0.06735230105319576, 0.02058080842776596, -0.007385551028925203,
     0.002890510331841566, -0.0011927539013290448, 0.000509669495115648, -0.00022315497226779667,
     9.945794415186362e-05, -4.492377188307658e-05, 2.0503544191179322e-05, -9.456079052464587e-06,
     4.393520001326927e-06, -1.974826207885359e-06, 8.999035612120992e-07, -5.80612318491239e-07,
     2.9770422619192475e-07),
)  # fmt: skip
# (gammaln(x) - (x - 1/2) log x + x - log(2 pi)/2) x, as a polynomial of 1/x**2, x >= LARGE
LARGE, PRODUCTS = by_width(6.5, 8.5), by_width(5, 7)
STIRLING = by_width(
    (0.083333336, -0.0027776, 0.0007733242),
    (0.08333333333333333, -0.0027777777777759326, 0.0007936507914951069, -0.0005952371480640034,
     0.0008415516119460928, -0.0018957745943523052, 0.005198739289905031),
)  # fmt: skip
# -(digamma(x) - log x + 1/(2 x)) x**2 and (trigamma(x) - 1/x - 1/(2 x**2)) x**3 as polynomials of 1/x**2, x >= SHIFT
SHIFT = by_width(4.0, 8.0)
DIGAMMA = by_width(
    (0.08333333, -0.008332471, 0.0039246622, -0.0032618814),
    (0.08333333333333333, -0.008333333333322633, 0.003968253960553409, -0.004166663978027117, 0.007575235281562211,
     -0.021033041353894902, 0.07927977356216195, -0.2870657903082809),
)  # fmt: skip
TRIGAMMA = by_width(
    (0.16666661, -0.033325277, 0.023398563, -0.024665779),
    (0.16666666666666657, -0.03333333333315167, 0.023809523678584927, -0.03333328752990172, 0.07574865562518998,
     -0.252089253838425, 1.0967568615001018, -4.365833058876041),
)  # fmt: skip
# sum of 1/(x + j) and of 1/(x + j)**2 over j = 0 .. SHIFT - 1 are STEPS_1/STEPS and STEPS_2/STEPS**2
STEPS = by_width((0.0, 6.0, 11.0, 6.0, 1.0), (0.0, 5040.0, 13068.0, 13132.0, 6769.0, 1960.0, 322.0, 28.0, 1.0))
STEPS_1 = by_width(
    (6.0, 22.0, 18.0, 4.0),
    (5040.0, 26136.0, 39396.0, 27076.0, 9800.0, 1932.0, 196.0, 8.0),
)
STEPS_2 = by_width(
    (36.0, 132.0, 242.0, 240.0, 130.0, 36.0, 4.0),
    (25401600.0, 131725440.0, 341545248.0, 549972864.0, 595478856.0, 452904648.0, 248617796.0, 100081856.0,
     29739764.0, 6506416.0, 1034068.0, 116032.0, 8708.0, 392.0, 8.0),
)  # fmt: skip
NO_REFLECTION, NO_COSECANT = by_width(1e-9, 1e-17), by_width(1e-4, 1e-9)  # the pole at 0 alone counts where |x| is less


@each_width
def gammaln_right(a):
    """Logarithm of Gamma(a) for a >= 0."""
    large = a >= LARGE
    steps = floor(a + 0.5) - 2.0  # from [1.5, 2.5) to a
    s = a - (steps + 2.0)
    product = 1.0
    for j in range(1, PRODUCTS):
        product = product * select(steps >= real(j), a - real(j), 1.0)
    product = select(a < 1.5, a, product)
    product = select(a < 0.5, a * (a + 1.0), product)
    product = select(large, a, product)
    factor = select(large, a - 0.5, select(a < 1.5, -1.0, 1.0))
    inverse = divide(1.0, select(large, a, LARGE))
    stirling = fma(inverse, polynomial(inverse * inverse, STIRLING), LOG_2PI_HALF_LESS_HALF)
    rest = select(large, stirling, s * long_polynomial(s, s * s, CENTRE))
    return fma(factor, log(product) - select(large, 1.0, 0.0), rest)


@each_width
def gammaln(x):
    """Log |Gamma(x)|; inf at 0, -1, -2 ..."""
    a = absolute(x)
    y = gammaln_right(a)
    s, _ = sincospi(a)
    reflected = select(s == 0.0, INF, -log(a * absolute(s) * (1.0 / PI)) - y)
    return select((x < 0.0) & (a > NO_REFLECTION), reflected, y)


@each_width
def digamma(x):
    """Differentiate gammaln; -inf at 0, inf at -0.0, NaN at -1, -2 ..."""
    a = absolute(x)
    small = a < SHIFT
    b = select(small, a + SHIFT, a)
    inverse = divide(1.0, b)
    z = inverse * inverse
    y = log(b) - fma(0.5, inverse, z * polynomial(z, DIGAMMA))
    y = y - select(small, divide(polynomial(a, STEPS_1), polynomial(a, STEPS)), 0.0)
    s, c = sincospi(a)
    reflected = y + (divide(1.0, a) + divide(PI * c, s))
    y = select(x < 0.0, select(s == 0.0, NAN, reflected), y)
    return select(x == 0.0, copysign(INF, -x), y)


@each_width
def trigamma(x):
    """Differentiate gammaln twice; inf at 0, -1, -2 ..."""
    a = absolute(x)
    small = a < SHIFT
    inverse = divide(1.0, select(small, a + SHIFT, a))
    z = inverse * inverse
    y = inverse + z * fma(inverse, polynomial(z, TRIGAMMA), 0.5)
    step = divide(1.0, polynomial(select(small, a, 1.0), STEPS))
    y = y + select(small, polynomial(a, STEPS_2) * step * step, 0.0)
    s, _ = sincospi(a)
    cosecant = divide(PI, s)
    other = select(a > NO_COSECANT, cosecant * cosecant - y, 0.0)  # what the poles at 0 leave over
    return select(x < 0.0, other + divide(1.0, a * a), y)
