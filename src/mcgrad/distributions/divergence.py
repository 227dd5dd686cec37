"""Divergences KL(q || p) in closed form, by the families of the two."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from mcgrad.distributions.base import Distribution
from mcgrad.distributions.bernoulli import Bernoulli
from mcgrad.distributions.binomial import Binomial
from mcgrad.distributions.categorical import Categorical, OneHotCategorical, log_probabilities
from mcgrad.distributions.exponential import Exponential
from mcgrad.distributions.geometric import Geometric
from mcgrad.distributions.half_normal import HalfNormal
from mcgrad.distributions.laplace import Laplace
from mcgrad.distributions.lognormal import LogNormal
from mcgrad.distributions.multivariate_normal import MultivariateNormal
from mcgrad.distributions.normal import Normal
from mcgrad.distributions.odds import log_odds, probabilities
from mcgrad.distributions.poisson import Poisson
from mcgrad.distributions.uniform import Uniform
from mcgrad.triangular import solve_lower

Params = Mapping[str, Any]
Form = Callable[[Params, Params], Any]


def closed_form(q: Distribution, p: Distribution) -> Form | None:
    """Return the divergence as plain NumPy of the parameters of q and of p, or None where it is not in the table."""
    if isinstance(q, Binomial) and isinstance(p, Binomial):
        return partial(_binomial, q.total_count) if q.total_count == p.total_count else None
    return FORMS.get((type(q), type(p)))


def _normal(q: Params, p: Params) -> Any:
    ratio, shift = q["scale"] / p["scale"], (q["loc"] - p["loc"]) / p["scale"]
    return np.sum(0.5 * (np.square(ratio) + np.square(shift) - 1.0) - np.log(ratio))


def _half_normal(q: Params, p: Params) -> Any:
    ratio = q["scale"] / p["scale"]
    return np.sum(0.5 * (np.square(ratio) - 1.0) - np.log(ratio))


def _multivariate_normal(q: Params, p: Params) -> Any:
    ours, theirs = q["scale_tril"], p["scale_tril"]
    d = ours.shape[0]
    log_diagonals = [np.sum(np.log(tril[np.arange(d), np.arange(d)])) for tril in (ours, theirs)]
    spread = np.sum(np.square(solve_lower(theirs, ours)))
    shift = np.sum(np.square(solve_lower(theirs, q["loc"] - p["loc"])))
    return 0.5 * (spread + shift - d) - log_diagonals[0] + log_diagonals[1]


def _uniform(q: Params, p: Params) -> Any:
    inside = (q["low"] >= p["low"]) & (q["high"] <= p["high"])
    ratio = (p["high"] - p["low"]) / (q["high"] - q["low"])
    return np.sum(np.where(inside, np.log(ratio), np.inf))


def _exponential(q: Params, p: Params) -> Any:
    ratio = p["rate"] / q["rate"]
    return np.sum(ratio - 1.0 - np.log(ratio))


def _laplace(q: Params, p: Params) -> Any:
    ratio, apart = q["scale"] / p["scale"], np.abs(q["loc"] - p["loc"])
    return np.sum(apart / p["scale"] + ratio * np.exp(-apart / q["scale"]) - 1.0 - np.log(ratio))


def _poisson(q: Params, p: Params) -> Any:
    return np.sum(q["rate"] * (np.log(q["rate"]) - np.log(p["rate"])) - q["rate"] + p["rate"])


def _bernoulli(q: Params, p: Params) -> Any:
    ours, theirs = (log_odds(x.get("probs"), x.get("logits")) for x in (q, p))
    mean = probabilities(q.get("probs"), q.get("logits"))
    return np.sum(mean * (ours - theirs) + np.logaddexp(0.0, theirs) - np.logaddexp(0.0, ours))


def _binomial(total_count: int, q: Params, p: Params) -> Any:
    return total_count * _bernoulli(q, p)


def _geometric(q: Params, p: Params) -> Any:
    """Of successes and of the failures before them, of which there are (1 - p) / p."""
    ours, theirs = (log_odds(x.get("probs"), x.get("logits")) for x in (q, p))
    success = np.logaddexp(0.0, -theirs) - np.logaddexp(0.0, -ours)
    failure = np.logaddexp(0.0, theirs) - np.logaddexp(0.0, ours)
    return np.sum(success + np.exp(-ours) * failure)


def _categorical(q: Params, p: Params) -> Any:
    ours, theirs = (log_probabilities(x.get("probs"), x.get("logits")) for x in (q, p))
    return np.sum(np.exp(ours) * (ours - theirs))


FORMS: dict[tuple[type[Distribution], type[Distribution]], Form] = {
    (Normal, Normal): _normal,
    (LogNormal, LogNormal): _normal,
    (HalfNormal, HalfNormal): _half_normal,
    (MultivariateNormal, MultivariateNormal): _multivariate_normal,
    (Uniform, Uniform): _uniform,
    (Exponential, Exponential): _exponential,
    (Laplace, Laplace): _laplace,
    (Poisson, Poisson): _poisson,
    (Bernoulli, Bernoulli): _bernoulli,
    (Geometric, Geometric): _geometric,
    (Categorical, Categorical): _categorical,
    (OneHotCategorical, OneHotCategorical): _categorical,
}
