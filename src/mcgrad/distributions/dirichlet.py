"""The Dirichlet distribution, on the simplex."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from mcgrad.distributions import supports
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.charts import SIMPLEX, SPAN
from mcgrad.distributions.constraints import positive
from mcgrad.distributions.divergence_forms import DivergenceForms
from mcgrad.distributions.divergence_gamma import dirichlet
from mcgrad.errors import ParameterError
from mcgrad.functions.gamma import gamma_log_ratio, log_below_one, log_height, log_height_slope
from mcgrad.functions.special import logsumexp, softmax
from mcgrad.noise import Shape


class Dirichlet(Distribution):
    """Dirichlet distribution: gamma variables over their sum, along the last axis.

    Parameters
    ----------
    concentration : array_like, shape (..., K)
        > 0. The event shape is that of `concentration`.

    Notes
    -----
    z is the softmax of the logarithms of gamma variables, each the quantile of its own noise. What rounds to 0 becomes
    the smallest number of the dtype; the density is computed from logarithms. It is with respect to the first K - 1
    components.
    """

    constraints: ClassVar = {"concentration": positive}
    divergence_forms: ClassVar = DivergenceForms(within=dirichlet)
    support = supports.simplex
    chart = SIMPLEX

    def __init__(self, concentration: ArrayLike, *, batch_ndim: int = 0) -> None:
        super().__init__(concentration=concentration, batch_ndim=batch_ndim)

    def event_shape_of(self, shapes: Mapping[str, Shape]) -> Shape:
        """Return the shape of `concentration`."""
        shape = shapes["concentration"]
        if not shape or shape[-1] < 2:
            raise ParameterError("concentration", f"shape {shape}", "shape (..., K) with K of 2 or more")
        return shape

    @staticmethod
    def transform(eps: Any, *, concentration: Any) -> Any:
        """Divide gamma variables by their sum."""
        scale = (1.0 + concentration) / np.sum(1.0 + concentration, axis=-1, keepdims=True)
        z = softmax(gamma_log_ratio(concentration, eps) + np.log(scale), axis=-1)
        return np.nextafter(z, 1.0)

    @staticmethod
    def coordinates(eps: Any, *, concentration: Any) -> Any:
        """Return log z."""
        scale = (1.0 + concentration) / np.sum(1.0 + concentration, axis=-1, keepdims=True)
        log_gamma = gamma_log_ratio(concentration, eps) + np.log(scale)
        return log_gamma - logsumexp(log_gamma, axis=-1, keepdims=True)

    @staticmethod
    def log_density(x: Any, *, concentration: Any) -> Any:
        """Return the log density of z, summed over all axes but the last.

        What `log_below_one` takes off adds up to zero, as z and its mean both add up to one: it keeps digits.
        """
        total = np.sum(concentration, axis=-1, keepdims=True)
        mass = concentration * log_below_one(x - np.log(concentration / total)) + log_height(concentration)
        return np.sum(mass - x) - np.sum(log_height(total))

    @staticmethod
    def rarity(*, concentration: Any) -> Any:
        """Return the rarity of each component, that of a gamma variable."""
        return {"concentration": SPAN * concentration}

    @staticmethod
    def entropy(*, concentration: Any) -> Any:
        """Return the entropy, summed over all axes but the last."""
        total, extent = np.sum(concentration, axis=-1, keepdims=True), concentration.shape[-1]
        each = np.log(concentration / total) - log_height(concentration)
        each = each + (concentration - 1.0) * log_height_slope(concentration)
        return np.sum(each) + np.sum(log_height(total) - (total - extent) * log_height_slope(total))
