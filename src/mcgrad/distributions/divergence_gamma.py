"""Divergences in closed form of gamma variables, their powers and their shares, without cancellation for near pairs.

X = s G**(1/k) for a Gamma(a, 1) variable G is the generalized gamma distribution (Stacy 1962), k < 0 included. Gamma,
exponential, chi-squared, inverse gamma, Weibull and half-normal variables are such X, so that one form has all pairs of
them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mcgrad.distributions.base import Distribution
from mcgrad.distributions.exponential import Exponential
from mcgrad.distributions.gamma import Chi2, Gamma, InverseGamma
from mcgrad.distributions.half_normal import HalfNormal
from mcgrad.distributions.weibull import Weibull
from mcgrad.functions.gamma import exp_excess, log_excess, log_height_gap
from mcgrad.functions.special import digamma, gammaln

Params = Mapping[str, Any]
EULER = 0.5772156649015329

Power = tuple[Any, Any, Any]
POWERS: dict[type[Distribution], Callable[[Params], Power]] = {  # a, k and log s
    Gamma: lambda x: (x["concentration"], 1.0, -np.log(x["rate"])),
    InverseGamma: lambda x: (x["concentration"], -1.0, np.log(x["rate"])),
    Exponential: lambda x: (1.0, 1.0, -np.log(x["rate"])),
    Chi2: lambda x: (0.5 * x["df"], 1.0, math.log(2.0)),
    Weibull: lambda x: (1.0, x["concentration"], np.log(x["scale"])),
    HalfNormal: lambda x: (0.5, 2.0, np.log(x["scale"]) + 0.5 * math.log(2.0)),
}
GAMMAS: dict[type[Distribution], Callable[[Params], tuple[Any, Any]]] = {  # concentration and rate
    Gamma: lambda x: (x["concentration"], x["rate"]),
    Exponential: lambda x: (1.0, x["rate"]),
    Chi2: lambda x: (0.5 * x["df"], 0.5),
}


def powers(first: type[Distribution], second: type[Distribution]) -> Callable[[Params, Params], Any]:
    """Return the divergence of two families that are powers of gamma variables."""
    if first in GAMMAS and second in GAMMAS:
        return lambda q, p: gamma(*GAMMAS[first](q), *GAMMAS[second](p))
    if first is second is InverseGamma:  # that of 1/x
        return lambda q, p: gamma(q["concentration"], q["rate"], p["concentration"], p["rate"])
    if first in (Weibull, Exponential) and second in (Weibull, Exponential):
        return lambda q, p: _weibull(*POWERS[first](q)[1:], *POWERS[second](p)[1:])
    return lambda q, p: _power(POWERS[first](q), POWERS[second](p))


def gamma(a: Any, rate: Any, c: Any, other_rate: Any) -> Any:
    """Return KL(Gamma(a, rate) || Gamma(c, other_rate)): of the means, and of the heights of the two densities."""
    means = (a / c) * (other_rate / rate)
    difference = (a * other_rate - c * rate) / (c * rate)
    return np.sum(c * log_excess(means, difference) + log_height_gap(a, c))


def gumbel(loc: Any, scale: Any, other_loc: Any, other_scale: Any) -> Any:
    """Return KL(Gumbel || Gumbel)."""
    return np.sum(_extreme((loc - other_loc) / other_scale, scale / other_scale))


def _extreme(shift: Any, ratio: Any) -> Any:
    return exp_excess(gammaln(1.0 + ratio) - shift) + (gammaln(ratio) + EULER * (ratio - 1.0))


def _weibull(k: Any, log_scale: Any, other_k: Any, other_log_scale: Any) -> Any:
    """Of two Weibull distributions: -log X is Gumbel."""
    return np.sum(_extreme((other_log_scale - log_scale) * other_k, other_k / k))


def _power(q: Power, p: Power) -> Any:
    (a, k, log_s), (c, other_k, other_log_s) = q, p
    ratio = other_k / k
    exists = a + ratio > 0
    safe = np.where(exists, ratio, 0.0)
    rising = gammaln(a + safe) - gammaln(a)
    moment = other_k * (log_s - other_log_s) + rising - np.log(c)  # log of E (x / s')**k' / c
    rest = c * (1.0 - np.log(c) + rising) + gammaln(c) - gammaln(a) + (a - c * ratio) * digamma(a) - a
    return np.sum(np.where(exists, c * exp_excess(moment) + rest - np.log(np.abs(ratio)), np.inf))


def dirichlet(q: Any, p: Any) -> Any:
    """Return KL of two Dirichlet distributions along the last axis: of the means, and of the heights."""
    total, other = np.sum(q, axis=-1, keepdims=True), np.sum(p, axis=-1, keepdims=True)
    means = (q / p) * (other / total)
    difference = (q * other - p * total) / (p * total)
    each = p * log_excess(means, difference) + log_height_gap(q, p)
    return np.sum(each) - np.sum(log_height_gap(total, other))


def beta(q: Params, p: Params) -> Any:
    """Return KL of two beta distributions."""
    a, b, c, d = q["concentration1"], q["concentration0"], p["concentration1"], p["concentration0"]
    total, other = a + b, c + d
    each = [
        mine * log_excess((own / mine) * (other / total), (own * other - mine * total) / (mine * total))
        + log_height_gap(own, mine)
        for own, mine in ((a, c), (b, d))
    ]
    return np.sum(each[0] + each[1] - log_height_gap(total, other))
