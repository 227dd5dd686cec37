"""Counts by inversion of a table: one uniform is compared with each of the cumulative probabilities.

No draw changes the table, so it is computed once, and a draw costs a comparison and an addition for each entry.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mcgrad.special import softmax


def invert(eps: Any, log_weights: Any) -> Any:
    """Return how many cumulative probabilities are below the noise; 0 ... K - 1 for K weights along the last axis."""
    cdf = np.cumsum(softmax(log_weights, axis=-1), axis=-1)[..., :-1]
    return np.sum(np.less(cdf, eps[..., None]).astype(cdf.dtype), axis=-1)


def is_count(z: Any) -> Any:
    """Whether z is 0, 1, 2 ..."""
    return (z >= 0) & (z == np.floor(z))
