"""One level of a multilevel estimate: the estimate of its difference, its cost, and how well it is coupled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np

from mcgrad.errors import ParameterError, renamed, shown
from mcgrad.moments import Float64Array, Moments
from mcgrad.results import record
from mcgrad.results.estimate import Estimate


@dataclass(frozen=True, eq=False)
class Level:
    """A level: f there minus f at the level before, both of the same draws; at level 0 f itself.

    Attributes
    ----------
    estimate : Estimate
        Of the difference and of its gradient.
    cost : float
        Of one draw of the difference, in multiplications, or in the unit of ``cost=``.
    spread : array, shape (components,)
        Variance of one draw of each component, by a pilot.
    kurtosis : array, shape (components,)
        Fourth central moment of each component over its squared variance, by a pilot; 3 of normal numbers, NaN of what
        no draw changes. A standard error of n draws has a relative error of about sqrt((kurtosis - 1) / n) / 2.
    fine, coarse : Moments
        Of the numbers of f at this level, and at the level before, each over the draws of the pilot. At level 0 the
        second has none.
    """

    estimate: Estimate
    cost: float
    spread: Float64Array
    kurtosis: Float64Array
    fine: Moments
    coarse: Moments

    @property
    def n(self) -> int:
        """Draws."""
        return self.estimate.n

    @property
    def work(self) -> float:
        """Cost of all draws."""
        return self.n * self.cost

    @cached_property
    def mean(self) -> Float64Array:
        """Mean of each component of the difference: of the value, then of the gradient."""
        return self.estimate.finished.estimate[: self.estimate.components.gradient.stop]

    @cached_property
    def stderr(self) -> Float64Array:
        """Standard error of each mean."""
        return self.estimate.finished.stderr[: self.estimate.components.gradient.stop]

    @property
    def variance(self) -> Float64Array:
        """Variance of one draw of each component; of points that of the pilot, as errors are not of draws."""
        if self.estimate.replicates:
            return self.spread
        with np.errstate(over="ignore"):
            return np.asarray(np.square(self.stderr) * self.n)

    @property
    def doubt(self) -> Float64Array:
        """Relative standard error of the square of each `stderr`; 0 where no draw changes the component."""
        if self.estimate.replicates:
            return np.where(self.stderr > 0, np.sqrt(2 / (len(self.estimate.replicates) - 1)), 0.0)
        with np.errstate(invalid="ignore"):
            found = np.sqrt(np.maximum(self.kurtosis - 1.0, 0.0) / (self.n / self.estimate.group))
        return np.where(np.isfinite(found), found, 0.0)

    def mismatch(self, before: Level) -> float:
        """Return by how many standard errors f of the level before has another mean here than there.

        The largest over the numbers of f. Where levels are coupled as they should be it is that of normal numbers.
        """
        there, here = before.fine, self.coarse
        with np.errstate(all="ignore"):
            z = np.abs(here.mean - there.mean) / np.hypot(here.stderr, there.stderr)
        return float(np.nanmax(z, initial=0.0))

    @property
    def is_uncoupled(self) -> bool:
        """Whether some number of the difference has half of the variance that independent draws would give it."""
        if not self.coarse.count:
            return False
        values = self.variance[self.estimate.components.values]
        apart = self.fine.variance + self.coarse.variance
        return bool(np.any((values > 0.5 * apart) & (apart > 0)))

    def to_fields(self) -> dict[str, Any]:
        """Return the level as values of a file."""
        return {
            "estimate": self.estimate.to_dict(),
            "cost": self.cost,
            "spread": self.spread.tolist(),
            "kurtosis": self.kurtosis.tolist(),
            "fine": record.of_moments(self.fine),
            "coarse": record.of_moments(self.coarse),
        }

    @classmethod
    def of_fields(cls, name: str, given: Any) -> Self:
        """Return the level that is in a file."""
        names = ("estimate", "cost", "spread", "kurtosis", "fine", "coarse")
        if not isinstance(given, Mapping) or set(given) != set(names):
            raise ParameterError(name, shown(given), f"an object with {', '.join(names)}")
        with renamed(lambda key: f"{name}.{key}"):
            estimate = Estimate.from_dict(given["estimate"])
            values = estimate.components.values.stop
            cost, size = record.number("cost", given["cost"]), estimate.components.gradient.stop
            spread, kurtosis = (record.numbers(key, given[key]) for key in ("spread", "kurtosis"))
            for key, found in (("spread", spread), ("kurtosis", kurtosis)):
                if len(found) != size:
                    raise ParameterError(key, f"{len(found)} numbers", f"{size}, one for each component")
            if not 0 < cost < np.inf:
                raise ParameterError("cost", shown(given["cost"]), "a number above 0")
            fine, coarse = (record.moments(given[key], size=values) for key in ("fine", "coarse"))
        return cls(estimate, cost, spread, kurtosis, fine, coarse)
