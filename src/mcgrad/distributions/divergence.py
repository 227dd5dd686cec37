"""Divergences KL(q || p) in closed form, found from the `divergence_forms` that the two families state."""

from __future__ import annotations

from typing import Any

import numpy as np

from mcgrad.distributions import divergence_gamma as gammas, divergence_moments as moments, divergence_normal as normals
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.divergence_forms import Form, Params


def closed_form(q: Distribution, p: Distribution) -> Form | None:
    """Return the divergence as plain NumPy of the parameters of q and of p, or None where it has no closed form here.

    Infinite where q is not inside the support of p: by a condition on the parameters, or as a constant.
    """
    ours, theirs = q.divergence_forms, p.divergence_forms
    within = q.divergence_within(p)
    if within is not None:
        return within
    if ours.power and theirs.power:
        return gammas.powers(ours, theirs)
    if ours.vector and theirs.vector:
        return normals.vectors(ours.vector, theirs.vector, q.event_shape[0])
    if ours.interval and theirs.interval:
        return _across(q, p)
    return None


def _across(q: Distribution, p: Distribution) -> Form | None:
    """Return the divergence by the entropy of q and the cross entropy, infinite where q leaves the interval of p."""
    ours, theirs, entropy = q.divergence_forms, p.divergence_forms, q.entropy
    first, second = ours.interval, theirs.interval
    assert first is not None
    assert second is not None
    cross = moments.cross_entropy(q, p)
    if not ours.is_bounded and not np.all(_inside(first(q.params), second(p.params))):
        return lambda q_params, p_params: np.sum(np.full(q.event_shape, np.inf))
    if cross is None or entropy is None:
        return None

    def form(q_params: Params, p_params: Params) -> Any:
        inside = _inside(first(q_params), second(p_params))
        return np.sum(np.where(inside, cross(q_params, p_params), np.inf)) - entropy(**q_params)

    return form


def _inside(ours: tuple[Any, Any], theirs: tuple[Any, Any]) -> Any:
    return (ours[0] >= theirs[0]) & (ours[1] <= theirs[1])
