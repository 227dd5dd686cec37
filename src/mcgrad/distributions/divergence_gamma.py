"""Divergences in closed form of gamma variables, their powers and their shares, without cancellation for near pairs.

X = s G**(1/k) for a Gamma(a, 1) variable G is the generalized gamma distribution (Stacy 1962), k < 0 included. Gamma,
exponential, chi-squared, inverse gamma, Weibull and half-normal variables are such X, so that one form holds for all
pairs of them; families state a, k and log s.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mcgrad.distributions.divergence_forms import DivergenceForms, Form, Params
from mcgrad.functions.gamma import EULER, exp_excess, log_excess, log_height_gap
from mcgrad.functions.special import digamma, gammaln

Power = tuple[Any, Any, Any]  # a, k and log s


def powers(ours: DivergenceForms, theirs: DivergenceForms) -> Form:
    """Return the divergence of two families that are powers of gamma variables."""
    if ours.gamma and theirs.gamma:
        first_gamma, second_gamma = ours.gamma, theirs.gamma
        return lambda q, p: gamma(*first_gamma(q), *second_gamma(p))
    if ours.weibull and theirs.weibull:
        first_weibull, second_weibull = ours.weibull, theirs.weibull
        return lambda q, p: _weibull(*first_weibull(q), *second_weibull(p))
    first, second = ours.power, theirs.power
    assert first is not None
    assert second is not None
    return lambda q, p: _power(first(q), second(p))


def gamma(a: Any, rate: Any, c: Any, other_rate: Any) -> Any:
    """Return KL(Gamma(a, rate) || Gamma(c, other_rate)): of the means, and of the heights of the two densities."""
    means = (a / c) * (other_rate / rate)
    difference = (a * other_rate - c * rate) / (c * rate)
    return np.sum(c * log_excess(means, difference) + log_height_gap(a, c))


def gumbel(q: Params, p: Params) -> Any:
    """Return KL(Gumbel || Gumbel)."""
    return np.sum(_extreme((q["loc"] - p["loc"]) / p["scale"], q["scale"] / p["scale"]))


def inverse_gamma(q: Params, p: Params) -> Any:
    """Return KL of two inverse gamma distributions: that of 1/x."""
    return gamma(q["concentration"], q["rate"], p["concentration"], p["rate"])


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


def dirichlet(q: Params, p: Params) -> Any:
    """Return KL of two Dirichlet distributions along the last axis: of the means, and of the heights."""
    ours, theirs = q["concentration"], p["concentration"]
    total, other = np.sum(ours, axis=-1, keepdims=True), np.sum(theirs, axis=-1, keepdims=True)
    means = (ours / theirs) * (other / total)
    difference = (ours * other - theirs * total) / (theirs * total)
    each = theirs * log_excess(means, difference) + log_height_gap(ours, theirs)
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
