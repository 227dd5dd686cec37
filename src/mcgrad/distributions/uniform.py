"""The uniform distribution on an interval, with independent components."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike

from mcgrad.distributions import supports
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.constraints import FloatArray, real
from mcgrad.distributions.divergence_forms import CrossEntropy, DivergenceForms, Params
from mcgrad.distributions.shapes import refuse_unless


def _split_low(z: Any, u: Any, *, low: Any, high: Any) -> Any:
    return 1.0 / (high - low), z, low + 0.0 * z


def _split_high(z: Any, u: Any, *, low: Any, high: Any) -> Any:
    return 1.0 / (high - low), high + 0.0 * z, z


def _divergence(q: Params, p: Params) -> Any:
    inside = (q["low"] >= p["low"]) & (q["high"] <= p["high"])
    ratio = (p["high"] - p["low"]) / (q["high"] - q["low"])
    return np.sum(np.where(inside, np.log(ratio), np.inf))


def mean_of_log(low: Any, high: Any) -> Any:
    """Return E log x, x uniform between low >= 0 and high."""
    start = np.where(low > 0.0, low, 1.0)
    rise = np.log(np.where(low > 0.0, high / start, 1.0))
    return np.log(high) - 1.0 + np.where(low > 0.0, rise * (low / (high - low)), 0.0)


class Uniform(Distribution):
    """Uniform distribution on (low, high): z = low + (high - low) * u.

    Parameters
    ----------
    low, high : array_like
        The ends, low < high. The event shape is what they broadcast to.
    """

    constraints: ClassVar = {"low": real, "high": real}
    elementwise_check: ClassVar = True
    decompositions: ClassVar = {"low": _split_low, "high": _split_high}
    divergence_forms: ClassVar = DivergenceForms(
        within=_divergence,
        interval=lambda q: (q["low"], q["high"]),
        is_bounded=True,
        moments=lambda q: (q["low"] + 0.5 * (q["high"] - q["low"]), np.square(q["high"] - q["low"]) / 12.0),
        log_mean=lambda q: mean_of_log(q["low"], q["high"]),
        cross_entropy=CrossEntropy(("bounds",), lambda p, bounds: np.log(p["high"] - p["low"])),
    )
    # Not z <= high: rounding may carry a draw past `high`, but never past low + width.
    support = supports.interval("low", lambda low, high: low + (high - low), closed=True, moving=("low", "high"))
    noise_kind: ClassVar[Literal["normal", "uniform"]] = "uniform"

    def __init__(self, low: ArrayLike = 0.0, high: ArrayLike = 1.0, *, batch_ndim: int = 0) -> None:
        super().__init__(low=low, high=high, batch_ndim=batch_ndim)

    def check(self, flat: Mapping[str, FloatArray]) -> None:
        """Refuse low >= high."""
        refuse_unless(self.relations(flat)[0], flat, "low < high")

    def relations(self, flat: Mapping[str, FloatArray]) -> list[Any]:
        """Return where low < high."""
        return [np.less(flat["low"], flat["high"])]

    @staticmethod
    def transform(eps: Any, *, low: Any, high: Any) -> Any:
        """Stretch noise on (0, 1) to (low, high)."""
        return low + (high - low) * eps

    @staticmethod
    def log_density(z: Any, *, low: Any, high: Any) -> Any:
        """Return the log density at z, summed over the components."""
        width = high - low
        # Not z <= high: rounding may carry a draw past `high`, but never past low + width.
        inside = (z >= low) & (z <= low + width)
        return np.sum(np.where(inside, -np.log(width), -np.inf))

    @staticmethod
    def entropy(*, low: Any, high: Any) -> Any:
        """Return the entropy, summed over the components."""
        return np.sum(np.log(high - low))
