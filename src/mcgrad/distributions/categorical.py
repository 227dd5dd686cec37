"""Categorical distributions: the number of a category, or its indicator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from mcgrad.distributions import supports
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.constraints import positive, real
from mcgrad.distributions.divergence_discrete import categorical
from mcgrad.distributions.divergence_forms import DivergenceForms
from mcgrad.distributions.probs_logits import either, log_probabilities, log_weights
from mcgrad.distributions.supports import Support
from mcgrad.distributions.thresholds import along, is_above, split, two_uniforms
from mcgrad.errors import ParameterError
from mcgrad.functions.special import softmax
from mcgrad.noise import NoiseSpec, Shape


class _Categories(Distribution):
    """Weights of K categories along the last axis; independent draws along the others."""

    constraints: ClassVar = {"probs": positive, "logits": real}
    reparameterized: ClassVar[bool] = False

    def __init__(self, probs: ArrayLike | None = None, logits: ArrayLike | None = None, *, batch_ndim: int = 0) -> None:
        super().__init__(**either(probs, logits), batch_ndim=batch_ndim)

    def noise_of(self, event_shape: Any) -> NoiseSpec:
        """Return two uniforms for each draw."""
        return two_uniforms(next(iter(self.shapes.values()))[:-1])

    @staticmethod
    def entropy(*, probs: Any = None, logits: Any = None) -> Any:
        """Return the entropy, summed over the independent draws."""
        log_p = log_probabilities(probs, logits)
        return -np.sum(np.exp(log_p) * log_p)

    @staticmethod
    def rarity(*, probs: Any = None, logits: Any = None) -> Any:
        """Return the probability of a draw of another category than the most probable one."""
        others = np.sort(softmax(log_weights(probs, logits), axis=-1), axis=-1)[..., :-1]
        return dict.fromkeys(("probs", "logits"), np.sum(others, axis=-1, keepdims=True))


class Categorical(_Categories):
    """Categorical distribution: z is the number of a category, 0.0, 1.0 ... K - 1.

    Parameters
    ----------
    probs, logits : array_like, shape (..., K)
        One of them: weights > 0 of the categories, or their logarithms. They are normalized, and gradients are those of
        the normalized weights, as in torch.distributions. The event shape is (...).

    Notes
    -----
    A draw indexes, ``values[z.astype(int)]``; `OneHotCategorical` chooses by a product, ``z @ values``. Draws jump as
    the parameter moves: pathwise gradients in it are refused, and there is ``method="score"``. Categories are drawn as
    often as they should be down to probabilities of 1e-12, in float32 too: cumulative weights are summed in float64.
    """

    divergence_forms: ClassVar = DivergenceForms(within=categorical)

    @property
    def support(self) -> Support:  # type: ignore[override]
        """The categories' numbers."""
        return supports.counts(_checked(self.shapes)[-1] - 1)

    def event_shape_of(self, shapes: Mapping[str, Shape]) -> Shape:
        """Return the leading axes."""
        return _checked(shapes)[:-1]

    @staticmethod
    def transform(eps: Any, *, probs: Any = None, logits: Any = None) -> Any:
        """Count the cumulative weights that noise on (0, 1) exceeds."""
        return np.sum(_exceeded(eps, probs, logits), axis=-1)

    @staticmethod
    def log_density(z: Any, *, probs: Any = None, logits: Any = None) -> Any:
        """Return the log probability of z, summed over the independent draws."""
        log_p = log_probabilities(probs, logits)
        here = z[..., None] == np.arange(float(log_p.shape[-1]))
        return np.sum(np.where(np.any(here, axis=-1), np.sum(np.where(here, log_p, 0.0), axis=-1), -np.inf))


class OneHotCategorical(_Categories):
    """Categorical distribution: z is 1 at the place of a category, and 0 elsewhere.

    Parameters
    ----------
    probs, logits : array_like, shape (..., K)
        As for :class:`Categorical`. The event shape is (..., K).

    Notes
    -----
    As for :class:`Categorical`.
    """

    divergence_forms: ClassVar = DivergenceForms(within=categorical)
    support = supports.indicator

    def event_shape_of(self, shapes: Mapping[str, Shape]) -> Shape:
        """Return the shape of the weights."""
        return _checked(shapes)

    @staticmethod
    def transform(eps: Any, *, probs: Any = None, logits: Any = None) -> Any:
        """Mark the last of the cumulative weights that noise on (0, 1) exceeds."""
        steps = _exceeded(eps, probs, logits)
        ends = np.zeros_like(steps[..., :1])
        return np.concatenate([ends + 1.0, steps], axis=-1) - np.concatenate([steps, ends], axis=-1)

    @staticmethod
    def log_density(z: Any, *, probs: Any = None, logits: Any = None) -> Any:
        """Return the log probability of z, summed over the independent draws."""
        log_p = log_probabilities(probs, logits)
        inside = np.all((z == 0) | (z == 1), axis=-1) & (np.sum(z, axis=-1) == 1)
        return np.sum(np.where(inside, np.sum(np.where(z == 1, log_p, 0.0), axis=-1), -np.inf))


def _checked(shapes: Mapping[str, Shape]) -> Shape:
    if len(shapes) != 1:
        raise ParameterError("probs, logits", "a dict", "an array")
    ((name, shape),) = shapes.items()
    if not shape or shape[-1] < 2:
        raise ParameterError(name, f"shape {shape}", "two categories or more along the last axis")
    return shape


def _exceeded(eps: Any, probs: Any, logits: Any) -> Any:
    """1 for each of the first K - 1 cumulative probabilities that is below the noise, 0 for the others."""
    cdf = np.cumsum(softmax(log_weights(probs, logits), axis=-1), axis=-1)[..., :-1]
    return is_above(along(eps), split(cdf)).astype(cdf.dtype)
