"""The special functions in float32, under SciPy's names: what an emitted float32 kernel calls."""

import numpy as np

from mcgrad.kernels.errorfunction32 import erf, erfc, erfcx, log_ndtr, ndtr
from mcgrad.kernels.exponential32 import exp
from mcgrad.kernels.gamma32 import digamma, gammaln, trigamma
from mcgrad.kernels.gammaquantile32 import gamma_log_ratio, gamma_slope_a, gamma_slope_e
from mcgrad.kernels.intrinsics import absolute, divide, select
from mcgrad.kernels.jit import scalar
from mcgrad.kernels.logarithm32 import LN2, log_reduced
from mcgrad.kernels.normalquantile32 import ndtri, ndtri_exp

__all__ = [
    "digamma", "erf", "erfc", "erfcx", "expit", "gamma_log_ratio", "gamma_slope_a", "gamma_slope_e", "gammaln",
    "log_ndtr", "logaddexp", "ndtr", "ndtri", "ndtri_exp", "softplus", "trigamma",
]  # fmt: skip

F = np.float32


@scalar
def log1p_exp_negative(a):
    """log(1 + e**-a) for a >= 0."""
    t = exp(-a)
    upper = t > F(0.41421356)
    return log_reduced(select(upper, F(0.5) * (t - F(1.0)), t), select(upper, F(1.0), F(0.0)))


@scalar
def expit(x):
    """1 / (1 + e**-x)."""
    t = exp(-absolute(x))  # as in softplus, whose derivative this is: LLVM computes it once for both
    return divide(select(x >= F(0.0), F(1.0), t), F(1.0) + t)


@scalar
def softplus(x):
    """log(1 + e**x)."""
    return select(x > F(0.0), x, F(0.0)) + log1p_exp_negative(absolute(x))


@scalar
def logaddexp(x, y):
    """log(e**x + e**y)."""
    result = select(x > y, x, y) + log1p_exp_negative(absolute(x - y))
    return select(x == y, x + LN2, result)  # inf - inf is no number
