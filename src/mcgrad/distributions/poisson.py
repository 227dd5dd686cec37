"""The Poisson distribution, with independent components."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from mcgrad.distributions import supports
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.constraints import FloatArray, positive
from mcgrad.distributions.divergence_discrete import poisson
from mcgrad.distributions.divergence_forms import DivergenceForms
from mcgrad.distributions.inversion_tables import invert, is_count, log_count, poisson_row, poisson_width
from mcgrad.distributions.shapes import refuse_unless
from mcgrad.distributions.thresholds import two_uniforms
from mcgrad.errors import ParameterError, shown
from mcgrad.ir.lookup import Table
from mcgrad.noise import NoiseSpec

MOST = 1_000_000.0


def _split_rate(z: Any, u: Any, *, rate: Any) -> Any:
    return 1.0 + 0.0 * rate, z + 1.0, z


class Poisson(Distribution):
    """Poisson distribution.

    Parameters
    ----------
    rate : array_like
        Mean, > 0 and at most `max_rate`. The event shape is its shape.
    max_rate : float, optional
        How far rates may go in later calls, at most 1,000,000. By default the power of 2 that is at least twice the
        largest rate, at least 16.

    Notes
    -----
    By inversion of a table of cumulative probabilities within 9 standard deviations of the mean: a draw takes as many
    comparisons, 18 sqrt(max_rate) + 32. Draws jump as the rate moves: pathwise gradients in it are refused, and there
    is ``method="score"``.
    """

    constraints: ClassVar = {"rate": positive}
    elementwise_check: ClassVar = True
    decompositions: ClassVar = {"rate": _split_rate}
    divergence_forms: ClassVar = DivergenceForms(within=poisson)
    support = supports.counts()
    reparameterized: ClassVar[bool] = False
    max_rate: float

    def __init__(self, rate: ArrayLike, max_rate: float | None = None, *, batch_ndim: int = 0) -> None:
        if max_rate is not None and not (isinstance(max_rate, int | float) and 0 < max_rate <= MOST):
            raise ParameterError("max_rate", shown(max_rate), f"a number > 0, at most {MOST:,.0f}")
        self._set(max_rate=max_rate)
        super().__init__(rate=rate, batch_ndim=batch_ndim)
        if self.max_rate is None:  # no row was checked
            self._set(max_rate=self.template.max_rate)

    def check(self, flat: Mapping[str, FloatArray]) -> None:
        """Refuse rates beyond the table."""
        if self.max_rate is None:
            largest = float(flat["rate"].max())
            self._set(max_rate=min(MOST, 2.0 ** max(4, math.ceil(math.log2(2.0 * largest)))))
        remedy = f"at most max_rate = {self.max_rate:,.0f}"
        if self.max_rate < MOST:
            remedy += f"; a larger one, up to {MOST:,.0f}, goes into Poisson(rate, max_rate=...)"
        refuse_unless(self.relations(flat)[0], flat, remedy)

    def relations(self, flat: Mapping[str, FloatArray]) -> list[Any]:
        """Return where rates are within the table."""
        return [flat["rate"] <= self.max_rate]

    @property
    def signature(self) -> Hashable:
        """As for every distribution, and the length of the table."""
        return (super().signature, self.max_rate)

    def noise_of(self, event_shape: Any) -> NoiseSpec:
        """Return two uniforms for each component."""
        return two_uniforms(event_shape)

    def transform(self, eps: Any, *, rate: Any) -> Any:
        """Invert the distribution function at noise on (0, 1)."""
        width = poisson_width(self.max_rate)
        return invert(eps, Table(poisson_row, (width,), (1 + 2 * width,)), rate)

    @staticmethod
    def log_density(z: Any, *, rate: Any) -> Any:
        """Return the log probability of z, summed over the components."""
        inside = is_count(z)
        safe = np.where(inside, z, 0.0)
        return np.sum(np.where(inside, log_count(safe, rate, np.log(rate)), -np.inf))

    @staticmethod
    def rarity(*, rate: Any) -> Any:
        """Return about the probability of a draw that is not 0."""
        return {"rate": rate}

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, max_rate={self.max_rate:g})"
