"""Divergences KL(q || p) in closed form, by the families of the two."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mcgrad.distributions.base import Distribution
from mcgrad.distributions.lognormal import LogNormal
from mcgrad.distributions.multivariate_normal import MultivariateNormal
from mcgrad.distributions.normal import Normal
from mcgrad.distributions.uniform import Uniform
from mcgrad.triangular import solve_lower

Form = Callable[[Mapping[str, Any], Mapping[str, Any]], Any]


def closed_form(q: Distribution, p: Distribution) -> Form | None:
    """Return the divergence as plain NumPy of the parameters of q and of p, or None where it is not in the table."""
    return FORMS.get((type(q), type(p)))


def _normal(q: Mapping[str, Any], p: Mapping[str, Any]) -> Any:
    ratio, shift = q["scale"] / p["scale"], (q["loc"] - p["loc"]) / p["scale"]
    return np.sum(0.5 * (np.square(ratio) + np.square(shift) - 1.0) - np.log(ratio))


def _multivariate_normal(q: Mapping[str, Any], p: Mapping[str, Any]) -> Any:
    ours, theirs = q["scale_tril"], p["scale_tril"]
    d = ours.shape[0]
    log_diagonals = [np.sum(np.log(tril[np.arange(d), np.arange(d)])) for tril in (ours, theirs)]
    spread = np.sum(np.square(solve_lower(theirs, ours)))
    shift = np.sum(np.square(solve_lower(theirs, q["loc"] - p["loc"])))
    return 0.5 * (spread + shift - d) - log_diagonals[0] + log_diagonals[1]


def _uniform(q: Mapping[str, Any], p: Mapping[str, Any]) -> Any:
    inside = (q["low"] >= p["low"]) & (q["high"] <= p["high"])
    ratio = (p["high"] - p["low"]) / (q["high"] - q["low"])
    return np.sum(np.where(inside, np.log(ratio), np.inf))


FORMS: dict[tuple[type[Distribution], type[Distribution]], Form] = {
    (Normal, Normal): _normal,
    (LogNormal, LogNormal): _normal,
    (MultivariateNormal, MultivariateNormal): _multivariate_normal,
    (Uniform, Uniform): _uniform,
}
