"""Functions of the gamma family for transforms and densities, in plain NumPy: they may be traced.

`gamma_log_ratio` is the draw itself. The others are pieces of log densities, written so that they keep their digits for
concentrations from 1e-6 to 1e6, in float32 too, where differences of `gammaln` have none left.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mcgrad.functions.special import digamma, gammaln
from mcgrad.ir import gamma_quantile
from mcgrad.ir.build import apply
from mcgrad.trace.operands import operand
from mcgrad.trace.tracer import Tracer, unwrap

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188)
LARGE = 20.0  # from here on Stirling's series has float64's digits
EULER = 0.5772156649015329  # -digamma(1)


def gamma_log_ratio(concentration: Any, score: Any) -> Any:
    """Return log(z / (1 + a)), z being the Gamma(a, 1) draw of a standard normal score.

    Parameters
    ----------
    concentration : array_like
        a > 0; it may depend on the draw.
    score : array_like
        Standard normal noise e: z is where the distribution function of Gamma(a, 1) is Phi(e).

    Notes
    -----
    Differentiable in both: the derivative in a at a fixed score is the implicit one, -(dF/da)/p (Figurnov, Mohamed and
    Mnih, *Implicit reparameterization gradients*, 2018; Jankowiak and Obermeyer, *Pathwise derivatives beyond the
    reparameterization trick*, 2018). The logarithm keeps small a, where z itself is too small for a float, and 1 + a
    the digits of large a, where z/a is close to 1. Compiled kernels hold scores to 6.7 in float32 and 9 in float64,
    which noise does not reach.
    """
    if isinstance(concentration, Tracer) or isinstance(score, Tracer):
        return Tracer(apply("gamma_log_ratio", operand(unwrap(concentration)), operand(unwrap(score))))
    return gamma_quantile.log_ratio(concentration, score).astype(np.result_type(concentration, score, np.float32))


def log_height(a: Any) -> Any:
    """Return a log a - a - log Gamma(a): the logarithm of a times the Gamma(a, 1) density at a."""
    large = a > LARGE
    b = np.where(large, a, LARGE)  # either branch is finite whatever is taken
    square = 1.0 / np.square(b)
    series = sum((term * square**k for k, term in enumerate(STIRLING[1:], 1)), start=STIRLING[0]) / b
    c = np.where(large, 1.0, a)
    return np.where(large, 0.5 * np.log(b) - HALF_LOG_2PI - series, c * np.log(c) - c - gammaln(c))


def log_height_slope(a: Any) -> Any:
    """Return log a - digamma(a), the derivative of `log_height`, without the cancellation for large a."""
    large = a > LARGE
    b = np.where(large, a, LARGE)
    square = 1.0 / np.square(b)
    terms = [(2 * k - 1) * term for k, term in enumerate(STIRLING, 1)]
    series = 0.5 / b + sum((term * square**k for k, term in enumerate(terms[1:], 1)), start=terms[0]) * square
    c = np.where(large, 1.0, a)
    return np.where(large, series, np.log(c) - digamma(c))


def log_height_gap(a: Any, c: Any) -> Any:
    """Return how far `log_height` at c is below its tangent at a, >= 0: it is concave."""
    return (c - a) * log_height_slope(a) - (log_height(c) - log_height(a))


def log_excess(ratio: Any, difference: Any) -> Any:
    """Return x - 1 - log x >= 0 from x > 0 and x - 1, to the relative precision of x - 1 where x is close to 1.

    For what no draw changes: it has nine terms of a series, log(1 + d) = 2 artanh(d / (2 + d)).
    """
    near = np.abs(difference) < 0.25
    d = np.where(near, difference, 0.0)
    r = d / (2.0 + d)
    square = np.square(r)
    series: Any = 1 / 19
    for k in range(17, 2, -2):
        series = 1 / k + series * square
    safe = np.where(near, 1.0, ratio)
    return np.where(near, r * (d - 2.0 * square * series), safe - 1.0 - np.log(safe))


def exp_excess(x: Any) -> Any:
    """Return e**x - 1 - x >= 0, to relative precision for small x."""
    near = np.abs(x) < 0.2
    s = np.where(near, x, 0.0)
    difference = np.expm1(s)
    safe = np.where(near, 1.0, x)
    return np.where(near, log_excess(1.0 + difference, difference), np.expm1(safe) - safe)


def log_below_one(log_x: Any) -> Any:
    """Return log x - (x - 1) from log x."""
    return log_x - np.expm1(log_x)


def log_rising(a: Any, c: Any) -> Any:
    """Return log(Gamma(a + c) / Gamma(a)) for a, c > 0."""
    return a * np.log1p(c / a) + c * np.log(a + c) - c + (log_height(a) - log_height(a + c))
