"""erf, erfc, erfcx, ndtr and log_ndtr in float32.

As in float64 (`errorfunction64.py`), with a polynomial of degree 11 (Remez, relative error 5e-9). Error bounds:
`bounds.py`.
"""

import numpy as np

from mcgrad.kernels.exponential32 import exp_pair
from mcgrad.kernels.intrinsics import absolute, copysign, divide, exact_mul, fma, long_polynomial, polynomial, select
from mcgrad.kernels.jit import scalar
from mcgrad.kernels.logarithm32 import log, log1p

F = np.float32
INF = F(np.inf)
SQRT_HALF = F(0.70710677)
ONE_SQRT_PI = F(0.5641896)
K = F(2.5)
# (1 + 2 a) erfcx(a) as a polynomial of t = (a - K) / (a + K), -1 <= t < 1
ERFCX = (
    1.2648382, -0.122356825, -0.09902429, 0.15763144, -0.10297019, 0.032749485, 0.00094578887, -0.0043445514,
    0.00046444777, 0.0005697375, -6.436219e-05, -5.9710514e-05,
)  # fmt: skip
# erf(x) / x - 1 as a polynomial of x**2, |x| <= 1
ERF = (0.12837917, -0.37612626, 0.112835854, -0.026853811, 0.0051883273, -0.00080101914, 7.853853e-05)


@scalar
def erfcx_right(a):
    """e**(a*a) erfc(a) for a >= 0; constant from 1e18 on."""
    a = select(a > F(1e18), F(1e18), a)
    left, right = a + K, fma(F(2.0), a, F(1.0))
    inverse = divide(F(1.0), left * right)
    t = (a - K) * right * inverse
    return long_polynomial(t, t * t, ERFCX) * (left * inverse)


@scalar
def erfc_right(a):
    """erfc(a) for a >= 0."""
    a = select(a > F(11.0), F(11.0), a)
    square = exact_mul(a, a)
    return exp_pair(-square, -fma(a, a, -square), erfcx_right(a))


@scalar
def erfc(x):
    """1 - erf(x), of full relative accuracy for x > 0."""
    y = erfc_right(absolute(x))
    return select(x < F(0.0), F(2.0) - y, y)


@scalar
def erf(x):
    """Error function."""
    size = absolute(x)
    return select(size < F(1.0), fma(x, polynomial(x * x, ERF), x), copysign(F(1.0) - erfc_right(size), x))


@scalar
def erfcx(x):
    """e**(x*x) erfc(x)."""
    size = absolute(x)
    right = select(size > F(1e4), divide(ONE_SQRT_PI, size), erfcx_right(size))
    capped = select(size > F(11.0), F(11.0), size)
    square = exact_mul(capped, capped)
    left = exp_pair(square, fma(capped, capped, -square), F(2.0)) - right
    return select(x < F(0.0), left, right)


@scalar
def normal_tail(a):
    """Probability that a standard normal exceeds a >= 0."""
    a = select(a > F(15.0), F(15.0), a)
    square = exact_mul(a, a)
    return exp_pair(F(-0.5) * square, F(-0.5) * fma(a, a, -square), F(0.5) * erfcx_right(a * SQRT_HALF))


@scalar
def ndtr(x):
    """Distribution function of the standard normal, of full relative accuracy in the left tail."""
    y = normal_tail(absolute(x))
    return select(x < F(0.0), y, F(1.0) - y)


@scalar
def log_ndtr(x):
    """Logarithm of the standard normal's distribution function, accurate in both tails."""
    size = absolute(x)
    left = fma(F(-0.5) * x, x, log(F(0.5) * erfcx_right(size * SQRT_HALF)))
    return select(x < F(0.0), left, log1p(-normal_tail(size)))
