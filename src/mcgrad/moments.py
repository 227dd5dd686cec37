"""Moments of samples: count, mean and scatter of several components, and the merging of those of parts of a sample.

Backends return them for chunks of draws, `engine` merges them, `results` reads means and standard errors from them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float64Array: TypeAlias = NDArray[np.float64]


SMALL = 1e-280  # sums of squares below have lost digits to numbers that are no longer normal


@dataclass(frozen=True, eq=False)
class Moments:
    """Moments of K components over the same draws.

    Parameters
    ----------
    count : int
        Number of draws.
    mean : array of float64, shape (K,)
        Mean of each component; NaN where `count` is 0.
    norm : array of float64, shape (K,)
        Root of the sum of squared deviations from the mean: the Euclidean norm of the deviations.

    Notes
    -----
    The deviations are always taken from a mean near theirs, so a mean that is a million times the standard deviation
    costs no digits of it. The norm is kept rather than its square, which would overflow for values beyond 1e154 and
    vanish below 1e-162. NaN and infinities make their component NaN or infinite, without a warning, and do
    not affect the others.

    References
    ----------
    Chan, Golub and LeVeque, Updating formulae and a pairwise algorithm for computing sample variances, Stanford
    report STAN-CS-79-773, 1979. Pebay, Formulas for robust, one-pass parallel computation of covariances and
    arbitrary-order statistical moments, Sandia report SAND2008-6212, 2008.
    """

    count: int
    mean: Float64Array
    norm: Float64Array

    @classmethod
    def of(cls, samples: ArrayLike) -> Self:
        """Return the moments of `samples`, shape (K, draws), in two passes (the mean, then the deviations)."""
        x = np.asarray(samples, dtype=np.float64)
        count = x.shape[-1]
        if not count:
            return cls(0, np.full(len(x), np.nan), np.full(len(x), np.nan))
        mean, m2 = _two_passes(x)
        norm = np.sqrt(m2)
        odd = ~((m2 >= SMALL) & (m2 < np.inf))  # true for NaN, too: a sum may have overflowed
        if odd.any():
            top = np.abs(x[odd]).max(axis=-1)
            exponent = np.where(np.isfinite(top), np.frexp(top)[1], 0)
            scaled_mean, scaled_m2 = _two_passes(np.ldexp(x[odd], -exponent[:, None]))
            with np.errstate(over="ignore"):  # the norm of values near the largest number may be infinite
                mean[odd], norm[odd] = np.ldexp(scaled_mean, exponent), np.ldexp(np.sqrt(scaled_m2), exponent)
        return cls(count, mean, norm)

    @cached_property
    def estimate(self) -> Float64Array:
        """The means: infinite ones only where every draw is the same, NaN where infinite draws met others."""
        with np.errstate(invalid="ignore", over="ignore"):
            total = np.add.reduce(self.mean)
        if math.isfinite(total):
            return self.mean
        return np.where(np.isfinite(self.mean) | (self.norm == 0.0), self.mean, np.nan)

    @classmethod
    def pool(cls, counts: ArrayLike, means: ArrayLike, norms: ArrayLike) -> Self:
        """Return the moments of parts put together.

        Parameters
        ----------
        counts : array_like of int, shape (P,)
            Draws of each part; the moments of parts without draws are ignored.
        means, norms : array_like, shape (P, K)
            Moments of each part.

        Notes
        -----
        The order of summation depends on P and K alone.
        """
        counts, means, norms = np.asarray(counts), np.asarray(means, np.float64), np.asarray(norms, np.float64)
        if not counts.all():
            means, norms, counts = means[counts > 0], norms[counts > 0], counts[counts > 0]
        if len(counts) <= 1:
            return cls(int(counts[0]), means[0], norms[0]) if len(counts) else cls.of(np.empty((means.shape[1], 0)))
        count = int(counts.sum())
        with np.errstate(invalid="ignore", over="ignore"):
            weights = counts / count
            mean = means[0] + np.einsum("p,pk->k", weights, means - means[0])
            deviations = means - mean
            between = np.sqrt(counts)[:, None] * np.abs(deviations)
            norm = np.hypot.reduce(np.concatenate([norms, between]), axis=0)
            norm += 0.0 * deviations.sum(axis=0)  # NaN where a mean is infinite: hypot(inf, nan) is inf
        return cls(count, mean, norm)

    @classmethod
    def combine(cls, parts: Sequence[Moments]) -> Self:
        """Return the moments of parts put together, in the order given; at least one part."""
        return cls.pool([part.count for part in parts], [part.mean for part in parts], [part.norm for part in parts])

    def merge(self, other: Moments) -> Moments:
        """Return the moments of both samples together."""
        if not self.count or not other.count:
            return self if self.count else other
        count = self.count + other.count
        share = other.count / count
        with np.errstate(invalid="ignore", over="ignore", under="ignore"):
            delta = np.where(
                other.mean == self.mean, 0.0, other.mean - self.mean
            )  # equal infinities have no difference
            mean = self.mean + share * delta
            between = math.sqrt(self.count * share) * np.abs(delta)
            norm = np.hypot(np.hypot(self.norm, other.norm), between) + 0.0 * delta  # NaN where delta is infinite
        return Moments(count, mean, norm)

    @cached_property
    def m2(self) -> Float64Array:
        """Sum of squared deviations, shape (K,); infinite or zero where float64 has no such number."""
        with np.errstate(over="ignore", under="ignore"):
            return np.square(self.norm)

    @cached_property
    def variance(self) -> Float64Array:
        """Sample variance of one draw, shape (K,); NaN below two draws."""
        if self.count < 2:
            return np.full_like(self.norm, np.nan)
        return self.m2 / (self.count - 1)

    @cached_property
    def deviation(self) -> Float64Array:
        """Sample standard deviation of one draw, shape (K,); NaN below two draws."""
        if self.count < 2:
            return np.full_like(self.norm, np.nan)
        return self.norm / math.sqrt(self.count - 1)

    @cached_property
    def stderr(self) -> Float64Array:
        """Standard error of the mean, shape (K,); NaN below two draws."""
        if self.count < 2:
            return np.full_like(self.norm, np.nan)
        return self.norm / math.sqrt((self.count - 1) * self.count)


def degrees_of_rows(counts: NDArray[np.int64]) -> float:
    """Return the degrees of freedom of the variance of a sum of means, each over some draws: those of all together."""
    return float(np.maximum(counts - 1, 0).sum())


def _two_passes(x: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return the means of rows, and their sums of squared deviations."""
    count = x.shape[-1]
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        mean = x.mean(axis=-1)
        deviations = x - mean[:, None]
        slip = deviations.mean(axis=-1)  # the rounding error of the mean
        m2 = np.square(deviations).sum(axis=-1) - count * np.square(slip)
        return mean + slip, np.maximum(m2, 0.0)
