"""What each function should give, by mpmath, and the sampling of a stated domain."""

import mpmath as mp
import numpy as np

from mcgrad.ir import gamma_quantile

mp.mp.dps = 60


def log_ndtr(x):
    tail = mp.erfc(abs(x) / mp.sqrt(2)) / 2
    return mp.log(tail) if x < 0 else mp.log1p(-tail)


def log_cosh(x):
    return mp.log1p(mp.sinh(x) ** 2) / 2 if abs(x) < 1 else abs(x) + mp.log1p(mp.exp(-2 * abs(x))) - mp.log(2)


def erfcx(x):
    return 1 / (x * mp.sqrt(mp.pi)) if x > 1e40 else mp.exp(x * x) * mp.erfc(x)


def ndtri_exp(y):
    """Newton's method on log_ndtr, from the far tail's leading term."""
    if y > -mp.log(2):
        return -ndtri_exp(mp.log(-mp.expm1(y)))
    x = -mp.sqrt(max(-2 * y - mp.log(2 * mp.pi), mp.mpf(1) / 4))
    for _ in range(12):
        x -= (log_ndtr(x) - y) * mp.erfc(-x / mp.sqrt(2)) * mp.sqrt(mp.pi / 2) * mp.exp(x * x / 2)
    return x


def reference(function):
    """A function of `ir.gamma`, which test_gamma_quantile.py holds to a table made with mpmath."""
    return lambda a, e: mp.mpf(float(function(float(a), float(e))))


RIGHT = {
    "arccos": mp.acos, "arccosh": mp.acosh, "arcsin": mp.asin, "arcsinh": mp.asinh, "arctan": mp.atan,
    "arctan2": mp.atan2, "arctanh": mp.atanh, "cbrt": lambda x: mp.sign(x) * mp.cbrt(abs(x)), "cos": mp.cos,
    "cosh": mp.cosh, "digamma": lambda x: mp.psi(0, x), "erf": mp.erf, "erfc": mp.erfc,
    "erfcx": erfcx, "ndtri": lambda p: ndtri_exp(mp.log(p)), "ndtri_exp": ndtri_exp,
    "exp": mp.exp,
    "exp2": lambda x: mp.mpf(2) ** x, "expit": lambda x: 1 / (1 + mp.exp(-x)), "expm1": mp.expm1,
    "gamma_log_ratio": reference(gamma_quantile.log_ratio),
    "gamma_slope_a": reference(gamma_quantile.slope_a), "gamma_slope_e": reference(gamma_quantile.slope_e),
    "gammaln": lambda x: mp.log(abs(mp.gamma(x))) if x < 1e3 else mp.loggamma(x), "hypot": mp.hypot, "log": mp.log,
    "log10": mp.log10, "log1p": mp.log1p, "log2": lambda x: mp.log(x, 2), "log_cosh": log_cosh, "log_ndtr": log_ndtr,
    "logaddexp": lambda x, y: max(x, y) + mp.log1p(mp.exp(-abs(x - y))), "ndtr": lambda x: mp.erfc(-x / mp.sqrt(2)) / 2,
    "power": mp.power, "reciprocal": lambda x: 1 / x, "sin": mp.sin, "sinh": mp.sinh,
    "softplus": lambda x: mp.log1p(mp.exp(x)), "sqrt": mp.sqrt, "tan": mp.tan, "tanh": mp.tanh,
    "trigamma": lambda x: mp.psi(1, x),
}  # fmt: skip


def sample(rng, span, n):
    values = rng.uniform(span.low, span.high, n)
    if span.kind == "log":
        values = 10.0**values
    return values * rng.choice([-1.0, 1.0], n) if span.signed else values


def error_ratio(name, arguments, got, bound):
    """Error as a fraction of what the bound allows; 0 where the right value is outside the normal range."""
    kind = got.dtype.type
    right = RIGHT[name](*(mp.mpf(float(argument)) for argument in arguments))
    size = abs(right)
    if not np.finfo(kind).tiny <= size <= np.finfo(kind).max:
        return 0.0
    allowed = max(bound.ulps * float(np.spacing(kind(float(size)))), bound.floor)
    return float(abs(mp.mpf(float(got)) - right) / allowed)
