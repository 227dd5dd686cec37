"""Families that take either probabilities or logits, as torch.distributions has them."""

from __future__ import annotations

from typing import Any

import numpy as np

from mcgrad.errors import ParameterError
from mcgrad.functions.special import expit, logsumexp


def either(probs: Any, logits: Any) -> dict[str, Any]:
    """Return the one that was given, by its name; refuse both or none."""
    given = {name: value for name, value in (("probs", probs), ("logits", logits)) if value is not None}
    if len(given) != 1:
        raise ParameterError("probs, logits", "both" if given else "neither", "one of the two")
    return given


def log_odds(probs: Any, logits: Any) -> Any:
    """log(p / (1 - p))."""
    return logits if probs is None else np.log(probs) - np.log1p(-probs)


def log_weights(probs: Any, logits: Any) -> Any:
    """Logarithms of the weights of categories, which need not be normalized."""
    return logits if probs is None else np.log(probs)


def probabilities(probs: Any, logits: Any) -> Any:
    """Return p."""
    return expit(logits) if probs is None else probs


def odds_slope(logits: Any) -> Any:
    """Return the derivative of a probability in its log odds."""
    return np.exp(-np.logaddexp(0.0, logits) - np.logaddexp(0.0, -logits))


def log_probabilities(probs: Any, logits: Any) -> Any:
    """Logarithms of the normalized weights along the last axis."""
    weights = log_weights(probs, logits)
    return weights - logsumexp(weights, axis=-1, keepdims=True)
