"""The binomial distribution, with independent components."""

from __future__ import annotations

import math
import operator
from collections.abc import Hashable
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike

from mcgrad.distributions.base import Distribution
from mcgrad.distributions.constraints import open_unit_interval, real
from mcgrad.distributions.counts import invert, is_count
from mcgrad.distributions.odds import either, log_odds
from mcgrad.errors import ParameterError, shown
from mcgrad.special import gammaln

MOST = 10_000


class Binomial(Distribution):
    """Binomial distribution: successes in a number of independent trials.

    Parameters
    ----------
    total_count : int
        Number of trials, 1 to 10,000, the same for all components. It is no parameter: it does not change.
    probs, logits : array_like
        One of them: the probability of success, between 0 and 1, or its log odds. The event shape is its shape.

    Notes
    -----
    By inversion of a table of `total_count` cumulative probabilities, so a draw takes as many comparisons. In float32
    their steps are right to about 1e-5 of themselves for a thousand trials. Draws jump as the parameter moves: pathwise
    gradients in it are refused, and there is ``method="score"``.
    """

    constraints: ClassVar = {"probs": open_unit_interval, "logits": real}
    noise_kind: ClassVar[Literal["normal", "uniform"]] = "uniform"
    reparameterized: ClassVar[bool] = False
    total_count: int

    def __init__(self, total_count: int = 1, probs: ArrayLike | None = None, logits: ArrayLike | None = None) -> None:
        try:
            count = -1 if isinstance(total_count, bool) else operator.index(total_count)
        except TypeError:
            count = -1
        if not 1 <= count <= MOST:
            raise ParameterError("total_count", shown(total_count), f"a whole number from 1 to {MOST:,}")
        self._set(total_count=count)
        super().__init__(**either(probs, logits))

    @property
    def signature(self) -> Hashable:
        """As for every distribution, and the number of trials."""
        return (super().signature, self.total_count)

    def transform(self, eps: Any, *, probs: Any = None, logits: Any = None) -> Any:
        """Invert the distribution function at noise on (0, 1)."""
        n, odds = self.total_count, log_odds(probs, logits)
        k = np.arange(n + 1.0)
        # about the middle, and less n log 2, so that rounding to float32 costs little
        choices = np.array([math.lgamma(n + 1) - math.lgamma(j + 1) - math.lgamma(n - j + 1) for j in range(n + 1)])
        table = (choices - n * math.log(2)).astype(odds.dtype) + odds[..., None] * (k - 0.5 * n).astype(odds.dtype)
        return invert(eps, table)

    def log_prob(self, z: Any, *, probs: Any = None, logits: Any = None) -> Any:
        """Return the log probability of z, summed over the components."""
        n, odds = self.total_count, log_odds(probs, logits)
        inside = is_count(z) & (z <= n)
        safe = np.where(inside, z, 0.0)
        choices = math.lgamma(n + 1) - gammaln(safe + 1.0) - gammaln(n + 1.0 - safe)
        return np.sum(np.where(inside, choices + safe * odds - n * np.logaddexp(0.0, odds), -np.inf))

    def __repr__(self) -> str:
        return super().__repr__().replace("(", f"(total_count={self.total_count}, ", 1)
