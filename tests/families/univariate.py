"""Families of continuous numbers, by element, and images of normal draws."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.special as sc
import scipy.stats as st

import mcgrad as mg
from tests.families.table import LOC, SCALE, family, normal_mean, total

EULER = 0.5772156649015329


def _locscale(mean: float, variance: float) -> Callable[..., Any]:
    """E sum(z + z**2) of loc + scale * x, x of a mean and a variance."""
    return lambda loc, scale: np.sum(
        np.broadcast_to(
            loc + scale * mean + (loc + scale * mean) ** 2 + scale**2 * variance,
            np.broadcast_shapes(np.shape(loc), np.shape(scale)),
        )
    )


family(
    "Exponential",
    mg.Exponential(SCALE),
    total,
    lambda rate: np.sum(1 / rate + 2 / rate**2),
    lambda rate: st.expon(scale=1 / rate),
)
family("Laplace", mg.Laplace(LOC, 0.7), total, _locscale(0.0, 2.0), st.laplace)
family("Logistic", mg.Logistic(LOC, SCALE), total, _locscale(0.0, math.pi**2 / 3), st.logistic)
family("Gumbel", mg.Gumbel(LOC, SCALE), total, _locscale(EULER, math.pi**2 / 6), st.gumbel_r)
family(
    "Cauchy",
    mg.Cauchy(LOC, SCALE),
    lambda z: np.sum(np.cos(z)),
    lambda loc, scale: np.sum(np.exp(-scale) * np.cos(loc)),
    st.cauchy,
)
family(
    "HalfNormal",
    mg.HalfNormal(SCALE),
    total,
    lambda scale: np.sum(scale * math.sqrt(2 / math.pi) + scale**2),
    lambda scale: st.halfnorm(scale=scale),
)
family(
    "HalfCauchy",
    mg.HalfCauchy(SCALE),
    lambda z: np.sum(np.cos(z)),
    lambda scale: np.sum(np.exp(-scale)),
    lambda scale: st.halfcauchy(scale=scale),
)
family(
    "Weibull",
    mg.Weibull(SCALE, [1.4, 2.5]),
    total,
    lambda scale, concentration: np.sum(
        scale * sc.gamma(1 + 1 / concentration) + scale**2 * sc.gamma(1 + 2 / concentration)
    ),
    lambda scale, concentration: st.weibull_min(concentration, scale=scale),
)
family(
    "Pareto",
    mg.Pareto(SCALE, [5.0, 9.0]),
    lambda z: np.sum(z),
    lambda scale, alpha: np.sum(scale * alpha / (alpha - 1)),
    lambda scale, alpha: st.pareto(alpha, scale=scale),
)
family(
    "GeneralizedPareto",
    mg.GeneralizedPareto([0.3, -0.5, 0.2], [0.6, 1.1, 0.9], [0.15, -0.4, 0.0]),
    lambda z: np.sum(z),
    lambda loc, scale, concentration: np.sum(loc + scale / (1 - concentration)),
    lambda loc, scale, concentration: st.genpareto(concentration, loc, scale),
)
family(
    "InverseGaussian",
    mg.InverseGaussian([0.8, 1.5], [2.0, 3.0]),
    total,
    lambda loc, concentration: np.sum(loc + loc**2 + loc**3 / concentration),
    lambda loc, concentration: st.invgauss(loc / concentration, scale=concentration),
)
family(
    "Kumaraswamy",
    mg.Kumaraswamy([0.8, 2.0], [1.5, 0.7]),
    total,
    lambda concentration1, concentration0: sum(
        np.sum(concentration0 * sc.beta(1 + k / concentration1, concentration0)) for k in (1, 2)
    ),
)
family(
    "LogitNormal",
    mg.LogitNormal(LOC, SCALE),
    total,
    lambda loc, scale: np.sum(
        normal_mean(lambda x: (lambda y: y + y * y)(sc.expit(loc[:, None] + scale[:, None] * x)))
    ),
)
family(
    "SinhArcsinh",
    mg.SinhArcsinh(LOC, SCALE, [0.3, -0.2], [0.8, 1.2]),
    np.sum,
    lambda loc, scale, skewness, tailweight: np.sum(
        loc
        + 2
        * scale
        / np.sinh(tailweight * math.asinh(2))
        * normal_mean(lambda x: np.sinh((np.arcsinh(x) + skewness[:, None]) * tailweight[:, None]))
    ),
)
family(
    "Triangular",
    mg.Triangular([-1.0, 0.0], [2.0, 1.5], [0.5, 1.2]),
    total,
    lambda low, high, peak: np.sum(
        (low + high + peak) / 3
        + ((low + high + peak) / 3) ** 2
        + (low**2 + high**2 + peak**2 - low * high - low * peak - high * peak) / 18
    ),
    lambda low, high, peak: st.triang((peak - low) / (high - low), low, high - low),
)


def _truncated(loc: Any, scale: Any, low: Any = -np.inf, high: Any = np.inf) -> Any:
    a, b = (low - loc) / scale, (high - loc) / scale
    flip = a > 0
    a, b = np.where(flip, -b, a), np.where(flip, -a, b)
    area = sc.ndtr(b) - sc.ndtr(a)
    density = [np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi) for x in (a, b)]
    first = (density[0] - density[1]) / area
    second = (
        1
        + sum(
            sign * np.where(np.isinf(x), 0.0, np.nan_to_num(x) * d)
            for sign, x, d in ((1, a, density[0]), (-1, b, density[1]))
        )
        / area
    )
    first = np.where(flip, -first, first)
    return np.sum(loc + scale * first + loc**2 + 2 * loc * scale * first + scale**2 * second)


def _truncnorm(loc: Any, scale: Any, low: Any = -np.inf, high: Any = np.inf) -> Any:
    return st.truncnorm((low - loc) / scale, (high - loc) / scale, loc, scale)


family(
    "TruncatedNormal",
    mg.TruncatedNormal([0.3, -0.5, 0.0, 0.0], [0.6, 1.1, 1.0, 0.5], [-0.2, -3.0, 1.5, -9.0], [1.0, 0.5, 2.0, -3.0]),
    total,
    _truncated,
    _truncnorm,
)
family(
    "TruncatedNormal, below",
    mg.TruncatedNormal([0.3, 0.0, 0.0], [0.6, 1.1, 1.0], low=[-0.2, -30.0, 8.0]),
    total,
    _truncated,
    _truncnorm,
)
family(
    "TruncatedNormal, above",
    mg.TruncatedNormal([0.3, 0.0], [0.6, 1.1], high=[0.4, -5.0]),
    total,
    _truncated,
    _truncnorm,
)
family(
    "Transformed",
    mg.Normal(LOC, SCALE).transformed(mg.bijections.Exp()),
    np.sum,
    lambda loc, scale: np.sum(np.exp(loc + 0.5 * scale**2)),
    lambda loc, scale: st.lognorm(scale, scale=np.exp(loc)),
)
family(
    "Transformed by parameters",
    mg.Normal(LOC, SCALE).transformed(
        lambda x, *, a: np.sinh(a * x),
        params={"a": 0.7},
        inverse=lambda y, *, a: np.arcsinh(y) / a,
        log_det=lambda x, *, a: np.sum(np.log(a * np.cosh(a * x))),
    ),
    np.sum,
    lambda loc, scale, a: np.sum(np.exp(0.5 * (a * scale) ** 2) * np.sinh(a * loc)),
)
