"""The gamma distribution's quantile at a normal score: log(z/(1 + a)) and the slopes of log z.

z is where the distribution function of Gamma(a, 1) is Phi(e). Both tails keep their digits, as Phi(-|e|) does. There
is no iteration: z is smooth in the right coordinates, and polynomials of two variables (`gamma_polynomials32`,
`gamma_polynomials64`) give it.

- a <= 16: with r = Phi(e)**(1/a) and s = -log(1 - r), z is nearly proportional to s (it is s for a = 1, and
  z = Gamma(1 + a)**(1/a) r (1 + O(r)) for small r, the series of Abramowitz and Stegun 6.5.29 reversed). So log z is
  log r or log s and a smooth rest. Nothing is singular as a goes to 0.
- a > 16: log(z/a) is a smooth function of e/sqrt(a) and 1/a (Temme, *Asymptotic inversion of incomplete gamma
  functions*, Math. Comp. 58, 1992).

The slopes come from the same polynomials, as products and sums of positive terms: they keep their relative accuracy.
1e-300 < a < 1e300 (float32: 1e-18 < a < 1e30); scores are held to |e| <= 9 (6.7), beyond the noise. Error bounds:
`bounds.py`.
"""

import numpy as np

from mcgrad.kernels import gamma_polynomials32, gamma_polynomials64
from mcgrad.kernels.error_function import SQRT_HALF, erfcx
from mcgrad.kernels.exponential import clamped, exp_pair, expm1
from mcgrad.kernels.intrinsics import absolute, divide, exact_mul, fma, select, square_root
from mcgrad.kernels.logarithm import log_reduced, split
from mcgrad.kernels.polynomial2 import polynomial2, slope_x, slope_y
from mcgrad.kernels.widths import ByWidth, by_width, each_width

NAN = np.nan
MOST_SCORE, MOST_S, SPLIT_A = by_width(6.7, 9.0), by_width(29.0, 47.0), 16.0
X_SCALE = 2.0 / 2.833213344056216  # 2 / log(17)
MIDDLE = by_width(2.3767951, 2.6182209814149746)  # log(4 S)/2
Y_SCALE = by_width(1.0095904, 0.8117366598998157)  # 2/log(S/4)
LARGE_SCALE = by_width(1.0 / 1.75, 1.0 / 2.25)
SQRT_2PI, SQRT_HALF_PI = 2.5066282746310002, 1.2533141373155003


def surface(name, x_scale, y_scale):
    """Return a polynomial of x and y, and its slopes in x and in y, each times its scale."""
    rows = by_width(getattr(gamma_polynomials32, name), getattr(gamma_polynomials64, name))

    def scaled(slope, scale):
        return ByWidth(lambda width: polynomial2(slope(rows.at(width), float(width.of(scale)))))

    return ByWidth(lambda width: polynomial2(rows.at(width))), scaled(slope_x, x_scale), scaled(slope_y, y_scale)


low, low_x, low_y = surface("LOW", X_SCALE, 0.5)
high, high_x, high_y = surface("HIGH", X_SCALE, Y_SCALE)
large, large_x, large_y = surface("LARGE", 16.0, LARGE_SCALE)


@each_width
def log_positive(x):
    """Logarithm of a normal number > 0."""
    m, k, _ = split(x)
    return log_reduced(m - 1.0, k)


@each_width
def rounded_reciprocal(a):
    """1/a, rounded nearly once where division is not: in float32, on GPUs."""
    b = divide(1.0, a)
    return fma(b, fma(-a, b, 1.0), b)


@each_width
def plain_reciprocal(a):
    """1/a."""
    return divide(1.0, a)


reciprocal = by_width(rounded_reciprocal, plain_reciprocal)


@each_width
def tail(e):
    """(Phi(-|e|), density at e, Mills' ratio of |e|)."""
    size = absolute(e)
    square = exact_mul(size, size)
    density = exp_pair(-0.5 * square, -0.5 * fma(size, size, -square), 1.0 / SQRT_2PI)
    mills = SQRT_HALF_PI * erfcx(size * SQRT_HALF)
    return density * mills, density, mills


@each_width
def log_probability(e, tail):
    """Logarithm of Phi(e), with full relative accuracy in both tails."""
    m, k, _ = split(select(e < 0.0, tail, 1.0 - tail))
    near = (e >= 0.0) & (tail < 0.29)
    return log_reduced(select(near, -tail, m - 1.0), select(near, 0.0, k))


@each_width
def coordinates(a, b, log_p):
    """(log r, 1 - r, s, log s, x, y of the low and of the high surface); b = 1/a."""
    log_r = log_p * b
    t = -expm1(log_r)
    s = clamped(-log_positive(t), 0.0, MOST_S)
    log_s = log_positive(select(s < 4.0, 4.0, s))
    x = fma(X_SCALE, log_positive(1.0 + clamped(a, 0.0, SPLIT_A)), -1.0)
    return log_r, t, s, log_s, x, fma(0.5, select(s < 4.0, s, 4.0), -1.0), (log_s - MIDDLE) * Y_SCALE


@each_width
def edges(a, e, y):
    """Give y where a > 0 and e is a number."""
    return select(a > 0.0, select(e == e, y, e), NAN)


@each_width
def gamma_log_ratio(a, e):
    """Logarithm of z/(1 + a)."""
    b, score = reciprocal(a), clamped(e, -MOST_SCORE, MOST_SCORE)
    log_r, _, s, log_s, x, y_low, y_high = coordinates(a, b, log_probability(score, tail(score)[0]))
    small = select(s < 4.0, log_r + low(x, y_low), log_s + high(x, y_high))
    return edges(a, e, select(a > SPLIT_A, large(SPLIT_A * b, score * square_root(b) * LARGE_SCALE), small))


@each_width
def growth(s, t, y_slope_low, y_slope_high):
    """Slope of log z in log r, as that of log r in s is (1 - r)/r."""
    ratio = divide(1.0 - t, t)
    return select(s < 4.0, fma(y_slope_low, ratio, 1.0), divide(ratio * (1.0 + y_slope_high), s))


@each_width
def gamma_slope_a(a, e):
    """Slope of log z in a, at fixed e."""
    b, score = reciprocal(a), clamped(e, -MOST_SCORE, MOST_SCORE)
    log_r, t, s, _, x, y_low, y_high = coordinates(a, b, log_probability(score, tail(score)[0]))
    rest = divide(1.0 + select(s < 4.0, low_x(x, y_low), high_x(x, y_high)), 1.0 + a)
    small = fma(-log_r * b, growth(s, t, low_y(x, y_low), high_y(x, y_high)), rest)
    x, y = SPLIT_A * b, score * square_root(b) * LARGE_SCALE
    moved = fma(-0.5 * (score * square_root(b)), large_y(x, y), 1.0) - b * large_x(x, y) - divide(b, 1.0 + b)
    return edges(a, e, select(a > SPLIT_A, b * moved, small))


@each_width
def gamma_slope_e(a, e):
    """Slope of log z in e: the normal density at e over that of log z; 0 beyond the scores that are held."""
    b, score = reciprocal(a), clamped(e, -MOST_SCORE, MOST_SCORE)
    probability, density, mills = tail(score)
    _, t, s, _, x, y_low, y_high = coordinates(a, b, log_probability(score, probability))
    hazard = select(score < 0.0, divide(1.0, mills), divide(density, 1.0 - probability))
    small = hazard * b * growth(s, t, low_y(x, y_low), high_y(x, y_high))
    root = square_root(b)
    slope = select(a > SPLIT_A, root * large_y(SPLIT_A * b, score * root * LARGE_SCALE), small)
    return edges(a, e, select(absolute(e) > MOST_SCORE, 0.0, slope))
