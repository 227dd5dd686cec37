"""The geometric distribution, with independent components."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from mcgrad.distributions import supports
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.constraints import open_unit_interval, real
from mcgrad.distributions.divergence_discrete import geometric
from mcgrad.distributions.divergence_forms import DivergenceForms
from mcgrad.distributions.probs_logits import either, log_odds
from mcgrad.distributions.thresholds import minus_log, two_uniforms
from mcgrad.noise import NoiseSpec


def _split_probs(z: Any, u: Any, *, probs: Any) -> Any:
    return 1.0 / probs, z, z + 1.0 + np.floor(np.log(u) / np.log1p(-probs))


def _split_logits(z: Any, u: Any, *, logits: Any) -> Any:
    return np.exp(-np.logaddexp(0.0, logits)), z, z + 1.0 + np.floor(-np.log(u) / np.logaddexp(0.0, logits))


class Geometric(Distribution):
    """Geometric distribution: failures before the first success, 0, 1, 2 ...

    Parameters
    ----------
    probs, logits : array_like
        One of them: the probability of success, between 0 and 1, or its log odds. The event shape is its shape.

    Notes
    -----
    z = floor(log(u) / log(1 - p)) for a u of 48 bits and more; from 2**24 on, float32 does not have all whole numbers.
    Draws jump as the parameter moves: pathwise gradients in it are refused, and there is ``method="score"``.
    """

    constraints: ClassVar = {"probs": open_unit_interval, "logits": real}
    decompositions: ClassVar = {"probs": _split_probs, "logits": _split_logits}
    divergence_forms: ClassVar = DivergenceForms(within=geometric)
    support = supports.counts()
    reparameterized: ClassVar[bool] = False

    def __init__(self, probs: ArrayLike | None = None, logits: ArrayLike | None = None, *, batch_ndim: int = 0) -> None:
        super().__init__(**either(probs, logits), batch_ndim=batch_ndim)

    def noise_of(self, event_shape: Any) -> NoiseSpec:
        """Return two uniforms for each component."""
        return two_uniforms(event_shape)

    @staticmethod
    def transform(eps: Any, *, probs: Any = None, logits: Any = None) -> Any:
        """Round an exponential down."""
        return np.floor(minus_log(eps) / -_log_failure(probs, logits))

    @staticmethod
    def log_density(z: Any, *, probs: Any = None, logits: Any = None) -> Any:
        """Return the log probability of z, summed over the components."""
        failure = _log_failure(probs, logits)
        success = log_odds(probs, logits) + failure
        return np.sum(np.where((z >= 0) & (z == np.floor(z)), z * failure + success, -np.inf))

    @staticmethod
    def rarity(*, probs: Any = None, logits: Any = None) -> Any:
        """Return the probability of a draw that is not 0."""
        return dict.fromkeys(("probs", "logits"), np.exp(_log_failure(probs, logits)))

    @staticmethod
    def entropy(*, probs: Any = None, logits: Any = None) -> Any:
        """Return the entropy, summed over the components."""
        failure, odds = _log_failure(probs, logits), log_odds(probs, logits)
        return np.sum(-(odds + failure) - failure * np.exp(-odds))


def _log_failure(probs: Any, logits: Any) -> Any:
    return -np.logaddexp(0.0, logits) if probs is None else np.log1p(-probs)
