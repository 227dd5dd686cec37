"""Divergences in closed form across families, from the entropy and moments of q: -H(q) - E_q log p."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mcgrad.distributions.base import Distribution
from mcgrad.distributions.beta import Beta
from mcgrad.distributions.divergence_gamma import EULER
from mcgrad.distributions.exponential import Exponential
from mcgrad.distributions.gamma import Chi2, Gamma, InverseGamma
from mcgrad.distributions.gumbel import Gumbel
from mcgrad.distributions.half_normal import HalfNormal
from mcgrad.distributions.kumaraswamy import Kumaraswamy
from mcgrad.distributions.laplace import Laplace
from mcgrad.distributions.logistic import Logistic
from mcgrad.distributions.lognormal import LogNormal
from mcgrad.distributions.normal import HALF_LOG_2PI, Normal
from mcgrad.distributions.pareto import Pareto
from mcgrad.distributions.triangular import Triangular
from mcgrad.distributions.uniform import Uniform
from mcgrad.distributions.weibull import Weibull
from mcgrad.functions.special import digamma, erf, gammaln

Params = Mapping[str, Any]
Form = Callable[[Params, Params], Any]
Moments = tuple[Any, Any]


def _weibull(log_scale: Any, k: Any) -> Moments:
    mean = np.exp(log_scale + gammaln(1.0 + 1.0 / k))
    return mean, np.exp(2.0 * log_scale + gammaln(1.0 + 2.0 / k)) - np.square(mean)


def _lognormal(loc: Any, scale: Any) -> Moments:
    mean = np.exp(loc + 0.5 * np.square(scale))
    return mean, np.square(mean) * np.expm1(np.square(scale))


def _beta(a: Any, b: Any) -> Moments:
    total = a + b
    return a / total, (a / total) * (b / total) / (total + 1.0)


def _inverse_gamma(a: Any, rate: Any) -> Moments:
    mean = rate / np.where(a > 1.0, a - 1.0, 1.0)
    variance = np.square(mean) / np.where(a > 2.0, a - 2.0, 1.0)
    return np.where(a > 1.0, mean, np.inf), np.where(a > 2.0, variance, np.inf)


def _pareto(scale: Any, alpha: Any) -> Moments:
    one = scale / np.where(alpha > 1.0, alpha - 1.0, 1.0)
    variance = np.square(one) * alpha / np.where(alpha > 2.0, alpha - 2.0, 1.0)
    return np.where(alpha > 1.0, one * alpha, np.inf), np.where(alpha > 2.0, variance, np.inf)


def _triangular(low: Any, high: Any, peak: Any) -> Moments:
    left, right = peak - low, high - peak
    return low + (2.0 * left + right) / 3.0, (np.square(left) + left * right + np.square(right)) / 18.0


def _mean_of_log(low: Any, high: Any) -> Any:
    """E log x, x uniform between low >= 0 and high."""
    start = np.where(low > 0.0, low, 1.0)
    rise = np.log(np.where(low > 0.0, high / start, 1.0))
    return np.log(high) - 1.0 + np.where(low > 0.0, rise * (low / (high - low)), 0.0)


MOMENTS: dict[type[Distribution], Callable[[Params], Moments]] = {  # mean and variance
    Normal: lambda q: (q["loc"], np.square(q["scale"])),
    Laplace: lambda q: (q["loc"], 2.0 * np.square(q["scale"])),
    Logistic: lambda q: (q["loc"], np.square(q["scale"]) * (math.pi**2 / 3)),
    Gumbel: lambda q: (q["loc"] + EULER * q["scale"], np.square(q["scale"]) * (math.pi**2 / 6)),
    Uniform: lambda q: (q["low"] + 0.5 * (q["high"] - q["low"]), np.square(q["high"] - q["low"]) / 12.0),
    Triangular: lambda q: _triangular(q["low"], q["high"], q["peak"]),
    Beta: lambda q: _beta(q["concentration1"], q["concentration0"]),
    Gamma: lambda q: (q["concentration"] / q["rate"], q["concentration"] / np.square(q["rate"])),
    Chi2: lambda q: (q["df"], 2.0 * q["df"]),
    Exponential: lambda q: (1.0 / q["rate"], 1.0 / np.square(q["rate"])),
    Weibull: lambda q: _weibull(np.log(q["scale"]), q["concentration"]),
    HalfNormal: lambda q: (q["scale"] * math.sqrt(2 / math.pi), np.square(q["scale"]) * (1 - 2 / math.pi)),
    LogNormal: lambda q: _lognormal(q["loc"], q["scale"]),
    InverseGamma: lambda q: _inverse_gamma(q["concentration"], q["rate"]),
    Pareto: lambda q: _pareto(q["scale"], q["alpha"]),
}
LOGARITHMS: dict[type[Distribution], Callable[[Params], Any]] = {  # E log x
    Beta: lambda q: digamma(q["concentration1"]) - digamma(q["concentration1"] + q["concentration0"]),
    LogNormal: lambda q: q["loc"],
    Pareto: lambda q: np.log(q["scale"]) + 1.0 / q["alpha"],
    Uniform: lambda q: _mean_of_log(q["low"], q["high"]),
}
LOGARITHMIC_SQUARES: dict[type[Distribution], Callable[[Params], Moments]] = {  # mean and variance of log x
    Pareto: lambda q: (np.log(q["scale"]) + 1.0 / q["alpha"], 1.0 / np.square(q["alpha"])),
    Exponential: lambda q: (-EULER - np.log(q["rate"]), math.pi**2 / 6),
    Weibull: lambda q: (
        np.log(q["scale"]) - EULER / q["concentration"],
        math.pi**2 / 6 / np.square(q["concentration"]),
    ),
}
ENDS: dict[type[Distribution], Callable[[Params], tuple[Any, Any]]] = {  # of the bounded families
    Uniform: lambda q: (q["low"], q["high"]),
    Triangular: lambda q: (q["low"], q["high"]),
    Beta: lambda q: (0.0, 1.0),
    Kumaraswamy: lambda q: (0.0, 1.0),
}


def _normal(moments: Moments, p: Params) -> Any:
    mean, variance = moments
    square = (variance + np.square(mean - p["loc"])) / np.square(p["scale"])
    return 0.5 * square + np.log(p["scale"]) + HALF_LOG_2PI


def _half_normal(moments: Moments, p: Params) -> Any:
    mean, variance = moments
    return 0.5 * (variance + np.square(mean)) / np.square(p["scale"]) + np.log(p["scale"]) + HALF_LOG_2PI - math.log(2)


def _exponential(moments: Moments, p: Params) -> Any:
    return p["rate"] * moments[0] - np.log(p["rate"])


def _gamma(mean: Any, log_mean: Any, a: Any, rate: Any) -> Any:
    return rate * mean - (a - 1.0) * log_mean - a * np.log(rate) + gammaln(a)


def _pareto_density(log_mean: Any, scale: Any, alpha: Any) -> Any:
    return log_mean - np.log(alpha) + alpha * (log_mean - np.log(scale))


def _lognormal_of(moments: Moments, p: Params) -> Any:
    return _normal(moments, p) + moments[0]


def _laplace_of_normal(q: Params, p: Params) -> Any:
    m = (q["loc"] - p["loc"]) / q["scale"]
    apart = math.sqrt(2 / math.pi) * np.exp(-0.5 * np.square(m)) + m * erf(m * math.sqrt(0.5))
    return q["scale"] / p["scale"] * apart + np.log(2.0 * p["scale"])


def _gumbel_of_normal(q: Params, p: Params) -> Any:
    shift = (q["loc"] - p["loc"]) / p["scale"]
    return shift + np.exp(0.5 * np.square(q["scale"] / p["scale"]) - shift) + np.log(p["scale"])


def cross_entropy(first: type[Distribution], second: type[Distribution]) -> Form | None:
    """Return -E_q log p, element by element, or None where it is not here; where p is positive, for q's above zero."""
    if second is Normal and first in MOMENTS:
        return lambda q, p: _normal(MOMENTS[first](q), p)
    if second is HalfNormal and first in MOMENTS:
        return lambda q, p: _half_normal(MOMENTS[first](q), p)
    if second is Exponential and first in MOMENTS:
        return lambda q, p: _exponential(MOMENTS[first](q), p)
    if second is Gamma and first in LOGARITHMS:
        return lambda q, p: _gamma(MOMENTS[first](q)[0], LOGARITHMS[first](q), p["concentration"], p["rate"])
    if second is Chi2 and first in LOGARITHMS:
        return lambda q, p: _gamma(MOMENTS[first](q)[0], LOGARITHMS[first](q), 0.5 * p["df"], 0.5)
    if second is LogNormal and first in LOGARITHMIC_SQUARES:
        return lambda q, p: _lognormal_of(LOGARITHMIC_SQUARES[first](q), p)
    if second is Pareto and first in LOGARITHMS:
        return lambda q, p: _pareto_density(LOGARITHMS[first](q), p["scale"], p["alpha"])
    if second is Laplace and first is Normal:
        return _laplace_of_normal
    if second is Gumbel and first is Normal:
        return _gumbel_of_normal
    if second is Uniform and first in ENDS:
        return lambda q, p: np.log(p["high"] - p["low"])
    if second is Beta and first is Uniform:
        return _beta_of_uniform
    return None


def _beta_of_uniform(q: Params, p: Params) -> Any:
    a, b, low, high = p["concentration1"], p["concentration0"], q["low"], q["high"]
    normalizer = gammaln(a) + gammaln(b) - gammaln(a + b)
    return normalizer - (a - 1.0) * _mean_of_log(low, high) - (b - 1.0) * _mean_of_log(1.0 - high, 1.0 - low)
