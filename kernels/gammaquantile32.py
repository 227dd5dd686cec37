"""The gamma distribution's quantile at a normal score, in float32: log(z/(1 + a)) and the slopes of log z.

As in float64 (`gammaquantile64.py`), with shorter polynomials; scores are held to |e| <= 6.7. 1e-18 < a < 1e30. Error
bounds: `bounds.py`.
"""

import numpy as np

from mcgrad.kernels.errorfunction32 import SQRT_HALF, erfcx
from mcgrad.kernels.exponential32 import clamped, exp_pair, expm1
from mcgrad.kernels.gammapolynomials32 import HIGH, LARGE, LOW
from mcgrad.kernels.intrinsics import absolute, divide, exact_mul, fma, select, square_root
from mcgrad.kernels.jit import scalar
from mcgrad.kernels.logarithm32 import log_reduced, split
from mcgrad.kernels.polynomial2 import polynomial2, slope_x, slope_y

F = np.float32
NAN = F(np.nan)
MOST_SCORE, MOST_S, SPLIT_A = F(6.7), F(29.0), F(16.0)
X_SCALE = F(2.0 / 2.833213344056216)  # 2 / log(17)
MIDDLE, Y_SCALE = F(2.3767951), F(1.0095904)  # log(4 S)/2 and 2/log(S/4)
LARGE_SCALE = F(1.0 / 1.75)
SQRT_2PI, SQRT_HALF_PI = F(2.5066283), F(1.2533141)

low, high, large = polynomial2(LOW), polynomial2(HIGH), polynomial2(LARGE)
low_x, low_y = polynomial2(slope_x(LOW, float(X_SCALE))), polynomial2(slope_y(LOW, 0.5))
high_x, high_y = polynomial2(slope_x(HIGH, float(X_SCALE))), polynomial2(slope_y(HIGH, float(Y_SCALE)))
large_x, large_y = polynomial2(slope_x(LARGE, 16.0)), polynomial2(slope_y(LARGE, float(LARGE_SCALE)))


@scalar
def log_positive(x):
    """Logarithm of a normal number > 0."""
    m, k, _ = split(x)
    return log_reduced(m - F(1.0), k)


@scalar
def reciprocal(a):
    """1/a, rounded nearly once where division is not."""
    b = divide(F(1.0), a)
    return fma(b, fma(-a, b, F(1.0)), b)


@scalar
def tail(e):
    """(Phi(-|e|), density at e, Mills' ratio of |e|)."""
    size = absolute(e)
    square = exact_mul(size, size)
    density = exp_pair(F(-0.5) * square, F(-0.5) * fma(size, size, -square), F(1.0) / SQRT_2PI)
    mills = SQRT_HALF_PI * erfcx(size * SQRT_HALF)
    return density * mills, density, mills


@scalar
def log_probability(e, tail):
    """Logarithm of Phi(e), with full relative accuracy in both tails."""
    m, k, _ = split(select(e < F(0.0), tail, F(1.0) - tail))
    near = (e >= F(0.0)) & (tail < F(0.29))
    return log_reduced(select(near, -tail, m - F(1.0)), select(near, F(0.0), k))


@scalar
def coordinates(a, b, log_p):
    """(log r, 1 - r, s, log s, x, y of the low and of the high surface); b = 1/a."""
    log_r = log_p * b
    t = -expm1(log_r)
    s = clamped(-log_positive(t), F(0.0), MOST_S)
    log_s = log_positive(select(s < F(4.0), F(4.0), s))
    x = fma(X_SCALE, log_positive(F(1.0) + clamped(a, F(0.0), SPLIT_A)), F(-1.0))
    return log_r, t, s, log_s, x, fma(F(0.5), select(s < F(4.0), s, F(4.0)), F(-1.0)), (log_s - MIDDLE) * Y_SCALE


@scalar
def edges(a, e, y):
    """Give y where a > 0 and e is a number."""
    return select(a > F(0.0), select(e == e, y, e), NAN)


@scalar
def gamma_log_ratio(a, e):
    """Logarithm of z/(1 + a)."""
    b, score = reciprocal(a), clamped(e, -MOST_SCORE, MOST_SCORE)
    log_r, _, s, log_s, x, y_low, y_high = coordinates(a, b, log_probability(score, tail(score)[0]))
    small = select(s < F(4.0), log_r + low(x, y_low), log_s + high(x, y_high))
    return edges(a, e, select(a > SPLIT_A, large(SPLIT_A * b, score * square_root(b) * LARGE_SCALE), small))


@scalar
def growth(s, t, y_slope_low, y_slope_high):
    """Slope of log z in log r, as that of log r in s is (1 - r)/r."""
    ratio = divide(F(1.0) - t, t)
    return select(s < F(4.0), fma(y_slope_low, ratio, F(1.0)), divide(ratio * (F(1.0) + y_slope_high), s))


@scalar
def gamma_slope_a(a, e):
    """Slope of log z in a, at fixed e."""
    b, score = reciprocal(a), clamped(e, -MOST_SCORE, MOST_SCORE)
    log_r, t, s, _, x, y_low, y_high = coordinates(a, b, log_probability(score, tail(score)[0]))
    rest = divide(F(1.0) + select(s < F(4.0), low_x(x, y_low), high_x(x, y_high)), F(1.0) + a)
    small = fma(-log_r * b, growth(s, t, low_y(x, y_low), high_y(x, y_high)), rest)
    x, y = SPLIT_A * b, score * square_root(b) * LARGE_SCALE
    moved = fma(F(-0.5) * (score * square_root(b)), large_y(x, y), F(1.0)) - b * large_x(x, y) - divide(b, F(1.0) + b)
    return edges(a, e, select(a > SPLIT_A, b * moved, small))


@scalar
def gamma_slope_e(a, e):
    """Slope of log z in e: the normal density at e over that of log z; 0 beyond the scores that are held."""
    b, score = reciprocal(a), clamped(e, -MOST_SCORE, MOST_SCORE)
    probability, density, mills = tail(score)
    _, t, s, _, x, y_low, y_high = coordinates(a, b, log_probability(score, probability))
    hazard = select(score < F(0.0), divide(F(1.0), mills), divide(density, F(1.0) - probability))
    small = hazard * b * growth(s, t, low_y(x, y_low), high_y(x, y_high))
    root = square_root(b)
    slope = select(a > SPLIT_A, root * large_y(SPLIT_A * b, score * root * LARGE_SCALE), small)
    return edges(a, e, select(absolute(e) > MOST_SCORE, F(0.0), slope))
