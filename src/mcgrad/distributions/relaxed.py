"""Relaxed discrete distributions: smooth draws that come near 0 and 1 as the temperature falls."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike

from mcgrad import supports
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.constraints import open_unit_interval, positive, real
from mcgrad.distributions.odds import either, log_odds, log_weights
from mcgrad.errors import ParameterError
from mcgrad.noise import Shape
from mcgrad.special import expit, logsumexp, softmax


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
    At low temperatures many draws round to 0 or 1, where the log density is infinite; the gradient of such a draw is 0.
    No gradient is infinite. Maddison, Mnih and Teh 2017; Jang, Gu and Poole 2017.
    """

    constraints: ClassVar = {"temperature": positive, "probs": open_unit_interval, "logits": real}
    support = supports.unit_interval
    noise_kind: ClassVar[Literal["normal", "uniform"]] = "uniform"

    def __init__(self, temperature: ArrayLike, probs: ArrayLike | None = None, logits: ArrayLike | None = None) -> None:
        super().__init__(temperature=temperature, **either(probs, logits))

    @staticmethod
    def transform(eps: Any, *, temperature: Any, probs: Any = None, logits: Any = None) -> Any:
        """Squash the log odds with logistic noise."""
        return expit((log_odds(probs, logits) + (np.log(eps) - np.log1p(-eps))) / temperature)

    @staticmethod
    def log_density(z: Any, *, temperature: Any, probs: Any = None, logits: Any = None) -> Any:
        """Return the log density at z, summed over the components."""
        inside = (z > 0) & (z < 1)
        safe = np.where(inside, z, 0.5)
        log_z, log_rest = np.log(safe), np.log1p(-safe)
        y = log_odds(probs, logits) - temperature * (log_z - log_rest)
        density = np.log(temperature) + y - 2.0 * np.logaddexp(0.0, y) - log_z - log_rest
        return np.sum(np.where(inside, density, -np.inf))


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
    below the smallest number are 0, where the log density is infinite. Maddison, Mnih and Teh 2017, equation 10.
    """

    constraints: ClassVar = {"temperature": positive, "probs": positive, "logits": real}
    support = supports.simplex
    noise_kind: ClassVar[Literal["normal", "uniform"]] = "uniform"

    def __init__(self, temperature: ArrayLike, probs: ArrayLike | None = None, logits: ArrayLike | None = None) -> None:
        super().__init__(temperature=temperature, **either(probs, logits))

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
    def log_density(z: Any, *, temperature: Any, probs: Any = None, logits: Any = None) -> Any:
        """Return the log density at z, summed over the independent draws."""
        k = z.shape[-1]
        inside = np.all((z > 0) & (z < 1), axis=-1)
        log_z = np.log(np.where(z > 0, z, 1.0))
        y = log_weights(probs, logits) - temperature * log_z
        density = np.sum(y - log_z, axis=-1) - k * logsumexp(y, axis=-1)
        density = density + (math.lgamma(k) + (k - 1) * np.log(temperature))
        return np.sum(np.where(inside, density, -np.inf))
