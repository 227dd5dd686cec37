"""The triangular distribution, with independent components."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike

from mcgrad.arrays import to_host
from mcgrad.distributions import supports
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.constraints import FloatArray, real
from mcgrad.distributions.divergence_forms import DivergenceForms, Params
from mcgrad.distributions.shapes import broadcast, refuse_unless
from mcgrad.distributions.supports import Support


def _moments(q: Params) -> tuple[Any, Any]:
    left, right = q["peak"] - q["low"], q["high"] - q["peak"]
    return q["low"] + (2.0 * left + right) / 3.0, (np.square(left) + left * right + np.square(right)) / 18.0


class Triangular(Distribution):
    """Triangular distribution on (low, high): a density of two straight lines that meet above peak.

    Parameters
    ----------
    low, high : array_like
        The ends, low < high.
    peak : array_like
        The mode, low <= peak <= high. The event shape is what all three broadcast to.
    """

    constraints: ClassVar = {"low": real, "high": real, "peak": real}
    elementwise_check: ClassVar = True
    has_crease = True
    divergence_forms: ClassVar = DivergenceForms(
        interval=lambda q: (q["low"], q["high"]), is_bounded=True, moments=_moments
    )
    noise_kind: ClassVar[Literal["normal", "uniform"]] = "uniform"

    def __init__(
        self, low: ArrayLike = 0.0, high: ArrayLike = 1.0, peak: ArrayLike = 0.5, *, batch_ndim: int = 0
    ) -> None:
        super().__init__(low=low, high=high, peak=peak, batch_ndim=batch_ndim)

    def check(self, flat: Mapping[str, FloatArray]) -> None:
        """Refuse low >= high, and a peak outside of them."""
        refuse_unless(self.relations(flat)[0], flat, "low < high and low <= peak <= high")

    def relations(self, flat: Mapping[str, FloatArray]) -> list[Any]:
        """Return where low < high and low <= peak <= high."""
        low, high, peak = flat["low"], flat["high"], flat["peak"]
        return [(low < high) & (low <= peak) & (peak <= high)]

    @property
    def support(self) -> Support:  # type: ignore[override]
        """Between the ends; where the peak is one of them it moves as the peak does, and there the density jumps."""
        low, high, peak = (to_host(self.flat_params[name]) for name in ("low", "high", "peak"))
        at_an_end = bool(np.any((peak == low) | (peak == high)))
        return supports.interval("low", "high", moving=("low", "high", *(["peak"] if at_an_end else [])))

    @staticmethod
    def transform(eps: Any, *, low: Any, high: Any, peak: Any) -> Any:
        """Take the root of the part of the area on the noise's side of the peak."""
        width = high - low
        left = eps < (peak - low) / width
        root = np.sqrt(width) * np.sqrt(np.where(left, eps * (peak - low), (1.0 - eps) * (high - peak)))
        return np.where(left, low + root, high - root)

    @staticmethod
    def log_density(z: Any, *, low: Any, high: Any, peak: Any) -> Any:
        """Return the log density at z, summed over the components."""
        left = z < peak
        height = np.where(left, (z - low) / np.where(left, peak - low, 1.0), 1.0)
        height = np.where(z > peak, (high - z) / np.where(z > peak, high - peak, 1.0), height)
        inside = (z >= low) & (z <= high) & (height > 0)
        # A difference of logarithms: derivatives of the quotient are squares of 1 / (high - low).
        return np.sum(np.where(inside, np.log(2.0 * np.where(inside, height, 1.0)) - np.log(high - low), -np.inf))

    @staticmethod
    def entropy(*, low: Any, high: Any, peak: Any) -> Any:
        """Return the entropy, summed over the components."""
        return np.sum(np.log(0.5 * broadcast(high - low, peak)) + 0.5)
