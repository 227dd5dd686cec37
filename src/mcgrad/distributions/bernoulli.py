"""The Bernoulli distribution, with independent components."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from mcgrad.distributions import supports
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.constraints import open_unit_interval, real
from mcgrad.distributions.divergence_discrete import bernoulli
from mcgrad.distributions.divergence_forms import DivergenceForms
from mcgrad.distributions.probs_logits import either, log_odds, odds_slope, probabilities
from mcgrad.distributions.thresholds import is_below, split, two_uniforms
from mcgrad.noise import NoiseSpec


def _split_probs(z: Any, u: Any, *, probs: Any) -> Any:
    return 1.0 + 0.0 * probs, 1.0 + 0.0 * z, 0.0 * z


def _split_logits(z: Any, u: Any, *, logits: Any) -> Any:
    return odds_slope(logits), 1.0 + 0.0 * z, 0.0 * z


class Bernoulli(Distribution):
    """Bernoulli distribution: z = 1 with a probability, 0 otherwise.

    Parameters
    ----------
    probs, logits : array_like
        One of them: the probability of 1, between 0 and 1, or its log odds. The event shape is its shape.

    Notes
    -----
    Draws jump as the parameter moves: pathwise gradients in it are refused, and there is ``method="score"``. They are
    as frequent as they should be for probabilities down to 1e-12 in float32, and those of 0 down to 1e-12 in float64.
    """

    constraints: ClassVar = {"probs": open_unit_interval, "logits": real}
    decompositions: ClassVar = {"probs": _split_probs, "logits": _split_logits}
    divergence_forms: ClassVar = DivergenceForms(within=bernoulli)
    support = supports.counts(1)
    reparameterized: ClassVar[bool] = False

    def __init__(self, probs: ArrayLike | None = None, logits: ArrayLike | None = None, *, batch_ndim: int = 0) -> None:
        super().__init__(**either(probs, logits), batch_ndim=batch_ndim)

    def noise_of(self, event_shape: Any) -> NoiseSpec:
        """Return two uniforms for each component."""
        return two_uniforms(event_shape)

    @staticmethod
    def transform(eps: Any, *, probs: Any = None, logits: Any = None) -> Any:
        """Compare noise on (0, 1) with the probability."""
        return is_below(eps, split(probabilities(probs, logits))).astype(eps["fine"].dtype)

    @staticmethod
    def log_density(z: Any, *, probs: Any = None, logits: Any = None) -> Any:
        """Return the log probability of z, summed over the components."""
        odds = log_odds(probs, logits)
        return np.sum(np.where((z == 0) | (z == 1), z * odds - np.logaddexp(0.0, odds), -np.inf))

    @staticmethod
    def rarity(*, probs: Any = None, logits: Any = None) -> Any:
        """Return about the probability of a draw other than the most frequent value."""
        return dict.fromkeys(("probs", "logits"), np.exp(-np.abs(log_odds(probs, logits))))

    @staticmethod
    def entropy(*, probs: Any = None, logits: Any = None) -> Any:
        """Return the entropy, summed over the components."""
        odds = log_odds(probs, logits)
        return np.sum(np.logaddexp(0.0, odds) - odds * probabilities(probs, logits))
