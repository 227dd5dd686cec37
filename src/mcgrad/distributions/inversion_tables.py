"""Counts by inversion of a table: one uniform is compared with cumulative probabilities around the mean.

The host makes the table, in float64 and once for all draws; a draw costs a comparison and an addition for each entry.
What lies outside of the table has a probability below 1e-16, and is never drawn.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mcgrad.distributions.thresholds import along, is_above, split
from mcgrad.functions.gamma import log_height
from mcgrad.functions.implicit_derivative import look_up, stop
from mcgrad.ir.lookup import Array, Table

DEVIATIONS = 9.0  # to either side of the mean


def poisson_width(max_rate: float) -> int:
    """Return how many cumulative probabilities a Poisson distribution of at most this rate needs."""
    return math.ceil(2 * DEVIATIONS * math.sqrt(max_rate)) + 32


def poisson_row(rate: float, width: int) -> Array:
    """Return a count, and the probabilities of at most that, of at most the next ..., in their two parts."""
    from scipy.special import pdtr

    start = max(0.0, math.floor(rate - DEVIATIONS * math.sqrt(rate)))
    return _row(start, pdtr(start + np.arange(width), rate))


def binomial_width(total_count: int) -> int:
    """Return the same for a binomial distribution."""
    return min(total_count, math.ceil(DEVIATIONS * math.sqrt(total_count)) + 32)


def binomial_row(probability: float, total_count: int, width: int) -> Array:
    """Return the same row for a binomial distribution."""
    from scipy.special import bdtr

    start = min(max(0, math.floor(total_count * probability) - width // 2), total_count - width)
    return _row(start, bdtr(start + np.arange(width), total_count, probability))


def binomial_row_of_logits(logits: float, total_count: int, width: int) -> Array:
    """Return the same, by the log odds of success."""
    return binomial_row(1.0 / (1.0 + math.exp(-logits)) if logits > -700 else 0.0, total_count, width)


def _row(start: float, cumulative: Array) -> Array:
    return np.concatenate([[start], *split(cumulative)])


def invert(eps: Any, table: Table, param: Any) -> Any:
    """Return the first count plus how many of the row's probabilities are below the noise."""
    rows = look_up(table, stop(param))
    width = rows.shape[-1] // 2
    passed = is_above(along(eps), (rows[..., 1 : 1 + width], rows[..., 1 + width :]))
    return rows[..., 0] + np.sum(passed.astype(rows.dtype), axis=-1)


def log_count(k: Any, mean: Any, log_mean: Any) -> Any:
    """Return the log probability of k = 0, 1, 2 ... under a Poisson distribution of that mean.

    A deviance, k (log x - x + 1) at x = mean/k, and the rest of Stirling's series: these keep their digits for large
    counts, which k log(mean) - mean - log k! does not (Loader 2000, *Fast and accurate computation of binomial
    probabilities*).
    """
    some = k > 0
    safe = np.where(some, k, 1.0)
    log_k = np.log(safe)
    rest = (mean - safe) / safe
    near = np.abs(rest) < 0.5  # there log x - (x - 1) is of x - 1, which is almost exact
    below = np.where(near, np.log1p(np.where(near, rest, 0.0)), log_mean - log_k) - rest
    found = safe * below + log_height(safe) - log_k
    return np.where(some, found, -mean)


def is_count(z: Any) -> Any:
    """Whether z is 0, 1, 2 ..."""
    return (z >= 0) & (z == np.floor(z))
