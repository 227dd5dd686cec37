"""The binomial distribution, with independent components."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from mcgrad.distributions import supports
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.constraints import open_unit_interval, real
from mcgrad.distributions.decompositions import Decomposition
from mcgrad.distributions.divergence_discrete import binomial
from mcgrad.distributions.divergence_forms import Form
from mcgrad.distributions.inversion_tables import (
    binomial_row,
    binomial_row_of_logits,
    binomial_width,
    invert,
    is_count,
    log_count,
)
from mcgrad.distributions.probs_logits import either, log_odds, odds_slope
from mcgrad.distributions.supports import Support
from mcgrad.distributions.thresholds import two_uniforms
from mcgrad.errors import ParameterError, shown
from mcgrad.ir.lookup import Table
from mcgrad.noise import NoiseSpec

MOST = 1_000_000


def _split_probs(z: Any, u: Any, *, probs: Any, total_count: int) -> Any:
    others = _without_one(z, u, total_count)
    return total_count + 0.0 * probs, others + 1.0, others


def _split_logits(z: Any, u: Any, *, logits: Any, total_count: int) -> Any:
    others = _without_one(z, u, total_count)
    return total_count * odds_slope(logits), others + 1.0, others


def _without_one(z: Any, u: Any, total_count: int) -> Any:
    """Successes in all trials but one, chosen at random."""
    return z - np.where(u * total_count < z, 1.0, 0.0)


def _with_total_count(rules: Mapping[str, Decomposition], total_count: int) -> dict[str, Decomposition]:
    return {parameter: partial(rule, total_count=total_count) for parameter, rule in rules.items()}


class Binomial(Distribution):
    """Binomial distribution: successes in a number of independent trials.

    Parameters
    ----------
    total_count : int
        Number of trials, 1 to 1,000,000, the same for all components. It is no parameter: it does not change.
    probs, logits : array_like
        One of them: the probability of success, between 0 and 1, or its log odds. The event shape is its shape.

    Notes
    -----
    By inversion of a table of cumulative probabilities within 9 standard deviations of the mean: a draw takes as many
    comparisons, at most 9 sqrt(total_count) + 32. In float32 they are rounded to multiples of 2**-24. Draws jump as the
    parameter moves: pathwise gradients in it are refused, and there is ``method="score"``.
    """

    constraints: ClassVar = {"probs": open_unit_interval, "logits": real}
    decompositions: ClassVar = {"probs": _split_probs, "logits": _split_logits}
    reparameterized: ClassVar[bool] = False
    total_count: int

    def __init__(
        self,
        total_count: float = 1,
        probs: ArrayLike | None = None,
        logits: ArrayLike | None = None,
        *,
        batch_ndim: int = 0,
    ) -> None:
        whole = isinstance(total_count, int | float | np.integer) and not isinstance(total_count, bool)
        count = int(total_count) if whole and total_count % 1 == 0 else 0
        if not 1 <= count <= MOST:
            raise ParameterError("total_count", shown(total_count), f"a whole number from 1 to {MOST:,}")
        self._set(total_count=count, decompositions=_with_total_count(self.decompositions, count))
        super().__init__(**either(probs, logits), batch_ndim=batch_ndim)

    def divergence_within(self, p: Distribution) -> Form | None:
        """Return KL(q || p) of the same number of trials."""
        same = isinstance(p, Binomial) and p.total_count == self.total_count
        return partial(binomial, self.total_count) if same else None

    @property
    def support(self) -> Support:  # type: ignore[override]
        """Whole numbers up to that of the trials."""
        return supports.counts(self.total_count)

    @property
    def signature(self) -> Hashable:
        """As for every distribution, and the number of trials."""
        return (super().signature, self.total_count)

    def noise_of(self, event_shape: Any) -> NoiseSpec:
        """Return two uniforms for each component."""
        return two_uniforms(event_shape)

    def transform(self, eps: Any, *, probs: Any = None, logits: Any = None) -> Any:
        """Invert the distribution function at noise on (0, 1)."""
        function = binomial_row if logits is None else binomial_row_of_logits
        width = binomial_width(self.total_count)
        table = Table(function, (self.total_count, width), (1 + 2 * width,))
        return invert(eps, table, probs if logits is None else logits)

    def log_density(self, z: Any, *, probs: Any = None, logits: Any = None) -> Any:
        """Return the log probability of z, summed over the components."""
        n, odds = float(self.total_count), log_odds(probs, logits)
        inside = is_count(z) & (z <= n)
        successes = np.where(inside, z, 0.0)
        log_success, log_failure = -np.logaddexp(0.0, -odds), -np.logaddexp(0.0, odds)
        each = log_count(successes, n * np.exp(log_success), math.log(n) + log_success)
        others = log_count(n - successes, n * np.exp(log_failure), math.log(n) + log_failure)
        sums = float(log_count(n, n, math.log(n)))  # of Poisson counts, given their sum
        return np.sum(np.where(inside, each + others - sums, -np.inf))

    def rarity(self, *, probs: Any = None, logits: Any = None) -> Any:
        """Return about the probability of a draw other than the most frequent value."""
        return dict.fromkeys(("probs", "logits"), self.total_count * np.exp(-np.abs(log_odds(probs, logits))))

    def __repr__(self) -> str:
        return super().__repr__().replace("(", f"(total_count={self.total_count}, ", 1)
