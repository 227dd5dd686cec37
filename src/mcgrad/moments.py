"""Count, mean and second central moment of several components at once, and how parts of a sample merge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float64Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Moments:
    """Moments of K components over the same draws.

    Parameters
    ----------
    count : int
        Number of draws.
    mean : array of float64, shape (K,)
        Mean of each component; NaN where `count` is 0.
    m2 : array of float64, shape (K,)
        Sum of squared deviations from the mean.

    Notes
    -----
    The deviations are always taken from a mean near theirs, so a mean that is a million times the standard deviation
    costs no digits of it. NaN and infinities make the component they are in NaN or infinite, without a warning, and
    leave the others alone.

    References
    ----------
    Chan, Golub and LeVeque, Updating formulae and a pairwise algorithm for computing sample variances, Stanford
    report STAN-CS-79-773, 1979. Pebay, Formulas for robust, one-pass parallel computation of covariances and
    arbitrary-order statistical moments, Sandia report SAND2008-6212, 2008.
    """

    count: int
    mean: Float64Array
    m2: Float64Array

    @classmethod
    def of(cls, samples: ArrayLike) -> Self:
        """Return the moments of `samples`, shape (K, draws), in two passes (the mean, then the deviations)."""
        x = np.asarray(samples, dtype=np.float64)
        count = x.shape[-1]
        if not count:
            return cls(0, np.full(len(x), np.nan), np.full(len(x), np.nan))
        with np.errstate(invalid="ignore", over="ignore"):
            mean = x.mean(axis=-1)
            deviations = x - mean[:, None]
            slip = deviations.mean(axis=-1)  # what rounding left in the mean
            return cls(count, mean + slip, np.square(deviations).sum(axis=-1) - count * np.square(slip))

    @classmethod
    def pool(cls, counts: ArrayLike, means: ArrayLike, m2s: ArrayLike) -> Self:
        """Return the moments of parts put together.

        Parameters
        ----------
        counts : array_like of int, shape (P,)
            Draws of each part; parts without draws are passed over, whatever their moments say.
        means, m2s : array_like, shape (P, K)
            Moments of each part.

        Notes
        -----
        The sums run in an order that only P and K determine.
        """
        counts, means, m2s = np.asarray(counts), np.asarray(means, np.float64), np.asarray(m2s, np.float64)
        if not counts.all():
            means, m2s, counts = means[counts > 0], m2s[counts > 0], counts[counts > 0]
        if len(counts) <= 1:
            return cls(int(counts[0]), means[0], m2s[0]) if len(counts) else cls.of(np.empty((means.shape[1], 0)))
        count = int(counts.sum())
        with np.errstate(invalid="ignore", over="ignore"):
            weights = counts / count
            mean = means[0] + np.einsum("p,pk->k", weights, means - means[0])
            deviations = means - mean
            m2 = m2s.sum(axis=0) + count * np.einsum("p,pk,pk->k", weights, deviations, deviations)
        return cls(count, mean, m2)

    @classmethod
    def combine(cls, parts: Sequence[Moments]) -> Self:
        """Return the moments of parts put together, in the order given; at least one part."""
        return cls.pool([part.count for part in parts], [part.mean for part in parts], [part.m2 for part in parts])

    def merge(self, other: Moments) -> Moments:
        """Return the moments of both samples together."""
        if not self.count or not other.count:
            return self if self.count else other
        count = self.count + other.count
        share = other.count / count
        with np.errstate(invalid="ignore", over="ignore"):
            delta = np.where(other.mean == self.mean, 0.0, other.mean - self.mean)  # equal infinities have none
            mean = self.mean + share * delta
            m2 = self.m2 + other.m2 + (self.count * share) * np.square(delta)
        return Moments(count, mean, m2)

    @cached_property
    def variance(self) -> Float64Array:
        """Sample variance of one draw, shape (K,); NaN below two draws."""
        if self.count < 2:
            return np.full_like(self.m2, np.nan)
        return self.m2 / (self.count - 1)

    @cached_property
    def stderr(self) -> Float64Array:
        """Standard error of the mean, shape (K,); NaN below two draws."""
        error: NDArray[Any] = np.sqrt(np.maximum(self.variance, 0.0) / max(self.count, 1))
        return error
