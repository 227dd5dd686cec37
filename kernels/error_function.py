"""erf, erfc, erfcx, ndtr and log_ndtr.

erfcx(a) = e**(a*a) erfc(a) for all a >= 0 from one minimax polynomial: (1 + 2 a) erfcx(a) in t = (a - K)/(a + K)
(Shepherd and Laframboise, Math. Comp. 36, 1981; own coefficients by Remez: relative error 5e-9 in float32, 2e-17 in
float64). The square in e**(-a*a) is taken in two parts, so that the relative error stays small far out in the tail.
Error bounds: `bounds.py`.
"""

from mcgrad.kernels.exponential import exp_pair
from mcgrad.kernels.intrinsics import absolute, copysign, divide, exact_mul, fma, long_polynomial, polynomial, select
from mcgrad.kernels.logarithm import log, log1p
from mcgrad.kernels.widths import by_width, each_width

SQRT_HALF = 0.7071067811865476
ONE_SQRT_PI = 0.5641895835477563
FAR = by_width(1e18, 1e150)  # the polynomial's argument no longer changes
LEADING = by_width(1e4, 1e8)  # erfcx is its asymptotic series' first term
MOST_ERFC, MOST_NDTR = by_width(11.0, 28.0), by_width(15.0, 40.0)  # the tails are 0 beyond
K = by_width(2.5, 3.5)
# (1 + 2 a) erfcx(a) as a polynomial of t = (a - K) / (a + K), -1 <= t < 1
ERFCX = by_width(
    (1.2648382, -0.122356825, -0.09902429, 0.15763144, -0.10297019, 0.032749485, 0.00094578887, -0.0043445514,
     0.00046444777, 0.0005697375, -6.436219e-05, -5.9710514e-05),
    (1.2423492448711544, -0.1400091801376198, -0.01055559633222112, 0.09751909515329618, -0.11508959816005394,
     0.08798315382378485, -0.04882332583050377, 0.01909933095645622, -0.004215019882956441, -0.0003022679756685803,
     0.0005643842823423197, -0.00012151202656828318, -4.2781786682623126e-05, 2.4260044969100124e-05,
     2.3274212753134832e-06, -3.813558878901704e-06, -4.3204215706514814e-08, 6.009597849138101e-07,
     -8.525795672008037e-09, -9.602346636828829e-08, 6.28097010994206e-10, 1.346981347431725e-08,
     6.731655212179915e-11, -1.1381465333712795e-09),
)  # fmt: skip
# erf(x) / x - 1 as a polynomial of x**2, |x| <= 1
ERF = by_width(
    (0.12837917, -0.37612626, 0.112835854, -0.026853811, 0.0051883273, -0.00080101914, 7.853853e-05),
    (0.12837916709551257, -0.3761263890318375, 0.11283791670954857, -0.026866170645072893, 0.005223977624780843,
     -0.0008548326978740956, 0.00012055331036858951, -1.4925593506029611e-05, 1.6460972804996735e-06,
     -1.6350025112550917e-07, 1.4657879208065133e-08, -1.1365663880098907e-09, 5.945258785127141e-11),
)  # fmt: skip


@each_width
def erfcx_right(a):
    """e**(a*a) erfc(a) for a >= 0; constant beyond FAR."""
    a = select(a > FAR, FAR, a)
    left, right = a + K, fma(2.0, a, 1.0)
    inverse = divide(1.0, left * right)
    t = (a - K) * right * inverse
    return long_polynomial(t, t * t, ERFCX) * (left * inverse)


@each_width
def erfc_right(a):
    """erfc(a) for a >= 0."""
    a = select(a > MOST_ERFC, MOST_ERFC, a)
    square = exact_mul(a, a)
    return exp_pair(-square, -fma(a, a, -square), erfcx_right(a))


@each_width
def erfc(x):
    """1 - erf(x), of full relative accuracy for x > 0."""
    y = erfc_right(absolute(x))
    return select(x < 0.0, 2.0 - y, y)


@each_width
def erf(x):
    """Error function."""
    size = absolute(x)
    return select(size < 1.0, fma(x, polynomial(x * x, ERF), x), copysign(1.0 - erfc_right(size), x))


@each_width
def erfcx(x):
    """e**(x*x) erfc(x)."""
    size = absolute(x)
    right = select(size > LEADING, divide(ONE_SQRT_PI, size), erfcx_right(size))
    capped = select(size > MOST_ERFC, MOST_ERFC, size)
    square = exact_mul(capped, capped)
    left = exp_pair(square, fma(capped, capped, -square), 2.0) - right
    return select(x < 0.0, left, right)


@each_width
def normal_tail(a):
    """Probability that a standard normal exceeds a >= 0."""
    a = select(a > MOST_NDTR, MOST_NDTR, a)
    square = exact_mul(a, a)
    return exp_pair(-0.5 * square, -0.5 * fma(a, a, -square), 0.5 * erfcx_right(a * SQRT_HALF))


@each_width
def ndtr(x):
    """Distribution function of the standard normal, of full relative accuracy in the left tail."""
    y = normal_tail(absolute(x))
    return select(x < 0.0, y, 1.0 - y)


@each_width
def log_ndtr(x):
    """Logarithm of the standard normal's distribution function, accurate in both tails."""
    size = absolute(x)
    left = fma(-0.5 * x, x, log(0.5 * erfcx_right(size * SQRT_HALF)))
    return select(x < 0.0, left, log1p(-normal_tail(size)))
