"""Relaxed discrete distributions: smooth draws that come near 0 and 1 as the temperature falls."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike

from mcgrad.distributions import supports
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.charts import LOGIT, SIMPLEX, SPAN, about, shifted, total
from mcgrad.distributions.constraints import open_unit_interval, positive, real
from mcgrad.distributions.divergence_forms import DivergenceForms, unit_interval
from mcgrad.distributions.probs_logits import either, log_odds, log_weights
from mcgrad.errors import ParameterError
from mcgrad.functions.special import expit, log_expit, logsumexp, softmax
from mcgrad.noise import Shape


class RelaxedBernoulli(Distribution):
    """Relaxed Bernoulli (binary Concrete) distribution on (0, 1): z = expit((logits + L) / temperature), L logistic.

    Parameters
    ----------
    temperature : array_like
        > 0; the draws of a Bernoulli at 0.
    probs, logits : array_like
        One of them: the probability of z > 1/2, between 0 and 1, or its log odds. The event shape is what it and
        `temperature` broadcast to.

    Notes
    -----
    At low temperatures many draws round to 0 or 1; their density is computed from their log odds. Maddison, Mnih and
    Teh 2017; Jang, Gu and Poole 2017.
    """

    constraints: ClassVar = {"temperature": positive, "probs": open_unit_interval, "logits": real}
    divergence_forms: ClassVar = DivergenceForms(interval=unit_interval)
    support = supports.unit_interval
    noise_kind: ClassVar[Literal["normal", "uniform"]] = "uniform"
    chart = LOGIT

    def __init__(
        self,
        temperature: ArrayLike,
        probs: ArrayLike | None = None,
        logits: ArrayLike | None = None,
        *,
        batch_ndim: int = 0,
    ) -> None:
        super().__init__(temperature=temperature, **either(probs, logits), batch_ndim=batch_ndim)

    @staticmethod
    def transform(eps: Any, *, temperature: Any, probs: Any = None, logits: Any = None) -> Any:
        """Return the logistic function of the log odds with logistic noise, over the temperature."""
        return expit((log_odds(probs, logits) + (np.log(eps) - np.log1p(-eps))) / temperature)

    @staticmethod
    def rarity(*, temperature: Any, **weights: Any) -> Any:
        """Return about the probability of a draw that is neither 0 nor 1, for low temperatures."""
        return dict.fromkeys(("temperature", *weights), SPAN * temperature)

    @staticmethod
    def coordinates(eps: Any, *, temperature: Any, probs: Any = None, logits: Any = None) -> Any:
        """Return the log odds of z."""
        return shifted((np.log(eps) - np.log1p(-eps)) / temperature, log_odds(probs, logits) / temperature)

    @staticmethod
    def log_density(x: Any, *, temperature: Any, probs: Any = None, logits: Any = None) -> Any:
        """Return the log density of z, summed over the components."""
        odds, y = total(x), temperature * about(x, log_odds(probs, logits) / temperature)
        density = np.log(temperature) + log_expit(y) + log_expit(-y)
        return np.sum(density - log_expit(odds) - log_expit(-odds))


class RelaxedOneHotCategorical(Distribution):
    """Relaxed one-hot (Concrete, Gumbel-softmax) distribution on the simplex.

    z = softmax((logits + G) / temperature), G independent Gumbel.

    Parameters
    ----------
    temperature : array_like, shape ()
        > 0; one-hot draws at 0.
    probs, logits : array_like, shape (..., K)
        One of them: weights > 0 of the K categories, or their logarithms; they need not be normalized. The event shape
        is theirs, with independent draws along all axes but the last.

    Notes
    -----
    The density is with respect to the first K - 1 components, as in torch.distributions and TFP. Elements that are
    below the smallest number are 0; the density is computed from their logarithms. Maddison, Mnih and Teh 2017,
    equation 10.
    """

    constraints: ClassVar = {"temperature": positive, "probs": positive, "logits": real}
    support = supports.simplex
    noise_kind: ClassVar[Literal["normal", "uniform"]] = "uniform"
    chart = SIMPLEX

    def __init__(
        self,
        temperature: ArrayLike,
        probs: ArrayLike | None = None,
        logits: ArrayLike | None = None,
        *,
        batch_ndim: int = 0,
    ) -> None:
        super().__init__(temperature=temperature, **either(probs, logits), batch_ndim=batch_ndim)

    def event_shape_of(self, shapes: Mapping[str, Shape]) -> Shape:
        """Return the shape of the weights."""
        if shapes["temperature"]:
            raise ParameterError("temperature", f"shape {shapes['temperature']}", "one number")
        name = "probs" if "probs" in shapes else "logits"
        if not shapes[name] or shapes[name][-1] < 2:
            raise ParameterError(name, f"shape {shapes[name]}", "two categories or more along the last axis")
        return shapes[name]

    @staticmethod
    def transform(eps: Any, *, temperature: Any, probs: Any = None, logits: Any = None) -> Any:
        """Take the softmax of the logits with Gumbel noise."""
        return softmax((log_weights(probs, logits) - np.log(-np.log(eps))) / temperature, axis=-1)

    @staticmethod
    def rarity(*, temperature: Any, **weights: Any) -> Any:
        """Return about the probability of a draw that is neither 0 nor 1, for low temperatures."""
        return dict.fromkeys(("temperature", *weights), SPAN * temperature)

    @staticmethod
    def coordinates(eps: Any, *, temperature: Any, probs: Any = None, logits: Any = None) -> Any:
        """Return log z."""
        x = (log_weights(probs, logits) - np.log(-np.log(eps))) / temperature
        return x - logsumexp(x, axis=-1, keepdims=True)

    @staticmethod
    def log_density(x: Any, *, temperature: Any, probs: Any = None, logits: Any = None) -> Any:
        """Return the log density of z, summed over the independent draws."""
        k = x.shape[-1]
        y = log_weights(probs, logits) - temperature * x
        density = np.sum(y - x, axis=-1) - k * logsumexp(y, axis=-1)
        return np.sum(density + (math.lgamma(k) + (k - 1) * np.log(temperature)))
