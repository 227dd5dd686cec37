"""Sums over the rows of a batch, or their means, with standard errors: of the value, and of derivatives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mcgrad.moments import Float64Array, Moments
from mcgrad.noise import Shape
from mcgrad.results.components import Components
from mcgrad.results.covariance import matrix
from mcgrad.results.row_moments import RowMoments


@dataclass(frozen=True, eq=False)
class RowSums:
    """Sums over rows.

    Parameters
    ----------
    moments : RowMoments
    rows : Components
        What is by row.
    shared : mapping from str to tuple of int
        Shapes of the parameters whose gradients are summed, by path.
    total : Moments or None
        With common noise, of the sum of the values in each draw, and of what its covariance is made of.
    weight : float
        With which sums are multiplied: one, or for means one over the number of rows.
    """

    moments: RowMoments
    rows: Components
    shared: Mapping[str, Shape]
    total: Moments | None
    weight: float

    @cached_property
    def components(self) -> Components:
        """What they are of: the value, then the gradients and the second derivatives in shared parameters."""
        return self.rows.over_rows(self.shared)

    @cached_property
    def estimate(self) -> Float64Array:
        """The sums, shape (components,)."""
        return np.concatenate([self.value, self.gradient])

    @cached_property
    def stderr(self) -> Float64Array:
        """Their standard errors."""
        return np.concatenate([self.value_stderr, self.gradient_stderr])

    @property
    def value(self) -> Float64Array:
        """The sums of the value."""
        total = self._over(self.moments.estimate, np.add) if self.total is None else self.total.estimate
        return self._weighted(total[self.rows.values])

    @property
    def value_stderr(self) -> Float64Array:
        """Their standard errors."""
        total = self._over(self.moments.stderr, np.hypot) if self.total is None else self.total.stderr
        return self._weighted(total[self.rows.values])

    @property
    def gradient(self) -> Float64Array:
        """The sums of gradients and second derivatives."""
        return self._weighted(self.moments.totals)

    @property
    def gradient_stderr(self) -> Float64Array:
        """Their standard errors."""
        return self._weighted(self.moments.total_stderr)

    @property
    def degrees(self) -> Float64Array:
        """Degrees of freedom of these."""
        where = self.rows.values
        if self.total is None:
            of_value = self.moments.degrees_of_sums(where)
        else:
            of_value = np.full(where.stop, max(self.total.count - 1.0, 0.0))
        return np.concatenate([of_value, self.moments.total_degrees])

    def covariance(self) -> Float64Array:
        """Return the covariance of the sums of the numbers of the value, shape (K, K).

        Raises
        ------
        ParameterError
            The components hold no products.
        """
        if self.total is None:
            square = matrix(self.rows, self.moments.estimate, self.moments.counts).sum(axis=0)
        else:
            square = matrix(Components({}, self.rows.value, covariance=True), self.total.estimate, self.total.count)
        found: Float64Array = square * self.weight**2
        return found

    def _over(self, by_row: Float64Array, add: np.ufunc) -> Float64Array:
        return added_up(by_row[:, self.rows.values], add)

    def _weighted(self, sums: Float64Array) -> Float64Array:
        return sums if self.weight == 1.0 else sums * self.weight


def added_up(by_row: Float64Array, add: np.ufunc = np.add) -> Float64Array:
    """Return the sums of the columns of an array over its rows."""
    found: Float64Array = add.reduce(np.ascontiguousarray(by_row.T), axis=1, initial=0.0)
    return found
