"""Moments of many rows: of each row by itself, and of what is summed over the rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mcgrad.moments import Float64Array, degrees_of_rows


@dataclass(frozen=True, eq=False)
class RowMoments:
    """Moments of the components of each row over its own draws, and of sums over the rows.

    Parameters
    ----------
    counts : array of int64, shape (rows,)
        Draws of each row that count.
    means, norms : array of float64, shape (rows, K)
        As of `Moments`, for each row.
    totals, variances : array of float64, shape (S,)
        Sums over the rows of the means of other components, and of the variances of these means.
    degrees : array of float64, shape (S,), optional
        Degrees of freedom of these variances, those of all rows together: by default one less than its draws for each
        row. Some kernels take them from pairs of draws, which have half as many.
    """

    counts: NDArray[np.int64]
    means: Float64Array
    norms: Float64Array
    totals: Float64Array
    variances: Float64Array
    degrees: Float64Array | None = None

    @cached_property
    def estimate(self) -> Float64Array:
        """The means by row: infinite ones only where every draw is the same, NaN where infinite draws met others."""
        if math.isfinite(np.add.reduce(self.means, axis=None)):
            return self.means
        return np.where(np.isfinite(self.means) | (self.norms == 0.0), self.means, np.nan)

    @cached_property
    def stderr(self) -> Float64Array:
        """Standard errors of the means by row; NaN for rows with fewer than two draws."""
        counts = self.counts.astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            root = np.where(self.counts > 1, np.sqrt((counts - 1.0) * counts), np.nan)
            return np.asarray(self.norms / root[:, None])

    @cached_property
    def total_stderr(self) -> Float64Array:
        """Standard errors of the sums over the rows."""
        return np.sqrt(self.variances)

    @cached_property
    def total_degrees(self) -> Float64Array:
        """Degrees of freedom of `total_stderr`, shape (S,)."""
        if self.degrees is not None:
            return self.degrees
        return np.full(len(self.totals), degrees_of_rows(self.counts))

    def degrees_of_sums(self, where: slice) -> Float64Array:
        """Return the degrees of freedom of sums over the rows of components that are by row.

        Parameters
        ----------
        where : slice
            Of the components.

        References
        ----------
        Satterthwaite, An approximate distribution of estimates of variance components, Biometrics Bulletin 2, 1946.
        """
        each, variances = np.maximum(self.counts - 1.0, 0.0), np.square(self.stderr[:, where])
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = variances / variances.sum(axis=0)
            found: Float64Array = 1.0 / (np.square(shares) / each[:, None]).sum(axis=0)
        found[~np.isfinite(found)] = each.sum()
        return found

    def merge(self, other: RowMoments, share: float) -> RowMoments:
        """Return the moments over the draws of both.

        Parameters
        ----------
        other : RowMoments
            Of the same rows, over other draws.
        share : float
            The part of all draws asked for that is the other's: the weight of its sums over the rows.
        """
        counts = self.counts + other.counts
        with np.errstate(all="ignore"):
            part = np.where(counts > 0, other.counts / np.maximum(counts, 1), 0.0)[:, None]
            delta = np.where(other.means == self.means, 0.0, other.means - self.means)
            means = self.means + part * delta
            between = np.sqrt(self.counts[:, None] * part) * np.abs(delta)
            norms = np.hypot(np.hypot(self.norms, other.norms), between) + 0.0 * delta
            for empty, full in ((self, other), (other, self)):
                rows = empty.counts == 0
                means[rows], norms[rows] = full.means[rows], full.norms[rows]
            totals = (1.0 - share) * self.totals + share * other.totals
            variances = np.square(1.0 - share) * self.variances + np.square(share) * other.variances
        return RowMoments(counts, means, norms, totals, variances, self.total_degrees + other.total_degrees)
