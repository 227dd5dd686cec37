"""Divergences in closed form of discrete families, without cancellation for near pairs and for rare events."""

from __future__ import annotations

from typing import Any

import numpy as np

from mcgrad.distributions.divergence_forms import Params
from mcgrad.distributions.probs_logits import log_probabilities
from mcgrad.functions.gamma import exp_excess, log_excess
from mcgrad.functions.special import log_expit


def poisson(q: Params, p: Params) -> Any:
    """Of independent Poisson counts."""
    ours, theirs = q["rate"], p["rate"]
    return np.sum(ours * log_excess(theirs / ours, (theirs - ours) / ours))


def bernoulli(q: Params, p: Params) -> Any:
    """Of independent events."""
    return np.sum(_event(q, p)[0])


def binomial(total_count: int, q: Params, p: Params) -> Any:
    """Of successes in the same number of trials."""
    return total_count * bernoulli(q, p)


def geometric(q: Params, p: Params) -> Any:
    """Of trials until a success, of which there are 1 / probability."""
    event, log_success = _event(q, p)
    return np.sum(event * np.exp(-log_success))


def categorical(q: Params, p: Params) -> Any:
    """Of weights along the last axis."""
    ours, theirs = (log_probabilities(x.get("probs"), x.get("logits")) for x in (q, p))
    return np.sum(np.exp(ours) * exp_excess(theirs - ours))


def _event(q: Params, p: Params) -> tuple[Any, Any]:
    """Return the divergence of each event, and the logarithm of its probability under q."""
    (success, failure), (other_success, other_failure) = _logarithms(q), _logarithms(p)
    for_success = np.exp(success) * exp_excess(other_success - success)
    return for_success + np.exp(failure) * exp_excess(other_failure - failure), success


def _logarithms(x: Params) -> tuple[Any, Any]:
    """Logarithms of p and 1 - p."""
    if "probs" in x:
        return np.log(x["probs"]), np.log1p(-x["probs"])
    return log_expit(x["logits"]), log_expit(-x["logits"])
