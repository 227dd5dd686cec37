"""The special functions, under SciPy's names; `special32` and `special64` hold them for each width."""

from mcgrad.kernels.error_function import erf, erfc, erfcx, log_ndtr, ndtr
from mcgrad.kernels.exponential import LN2, exp, tanh
from mcgrad.kernels.gamma import digamma, gammaln, trigamma
from mcgrad.kernels.gamma_quantile import gamma_log_ratio, gamma_slope_a, gamma_slope_e
from mcgrad.kernels.intrinsics import absolute, divide, select
from mcgrad.kernels.logarithm import log1p_reduced, log_reduced
from mcgrad.kernels.normal_quantile import ndtri, ndtri_exp
from mcgrad.kernels.widths import each_width

__all__ = [
    "digamma", "erf", "erfc", "erfcx", "expit", "gamma_log_ratio", "gamma_slope_a", "gamma_slope_e", "gammaln",
    "log_cosh", "log_ndtr", "logaddexp", "ndtr", "ndtri", "ndtri_exp", "softplus", "trigamma",
]  # fmt: skip


@each_width
def log1p_exp_negative(a):
    """log(1 + e**-a) for a >= 0."""
    t = exp(-a)
    upper = t > 0.41421356
    return log_reduced(select(upper, 0.5 * (t - 1.0), t), select(upper, 1.0, 0.0))


@each_width
def expit(x):
    """1 / (1 + e**-x)."""
    t = exp(-absolute(x))  # as in softplus, whose derivative this is: LLVM computes it once for both
    return divide(select(x >= 0.0, 1.0, t), 1.0 + t)


@each_width
def softplus(x):
    """log(1 + e**x)."""
    return select(x > 0.0, x, 0.0) + log1p_exp_negative(absolute(x))


@each_width
def log_cosh(x):
    """log(cosh(x)); LLVM computes tanh, its derivative, once."""
    return log_cosh_of_tanh(x, tanh(x))


@each_width
def log_cosh_of_tanh(x, tanh_x):
    """log(cosh(x)) = |x| - log(1 + tanh |x|) = -log(1 - tanh(x)**2) / 2 from x and tanh(x)."""
    size, t = absolute(x), absolute(tanh_x)
    large = t > 0.54  # from where 1 - t**2 is beyond the range of `log1p_reduced`
    y = log1p_reduced(select(large, 0.5 * (t - 1.0), -t * t))
    return select(large, size - LN2 - y, -0.5 * y)


@each_width
def logaddexp(x, y):
    """log(e**x + e**y)."""
    result = select(x > y, x, y) + log1p_exp_negative(absolute(x - y))
    return select(x == y, x + LN2, result)  # inf - inf is no number
