"""The tail of a sample: whether its largest numbers are those of a distribution with a variance."""

from __future__ import annotations

import math

import numpy as np

from mcgrad.moments import Float64Array

FEWEST = 5  # numbers of a tail that is fitted
PRIOR, TOWARDS = 10, 0.5  # draws that a weak prior of the shape counts as, and where it draws it to
INFINITE = 0.5  # above it there is no variance
UNTRUSTED = 0.7  # above it the error of a mean of feasibly many draws is not known


def pareto_k(sample: Float64Array) -> float:
    """Return the shape k of the generalised Pareto distribution that fits the largest numbers of a sample.

    Parameters
    ----------
    sample : array, shape (n,)
        Their absolute values count; numbers that are not finite are left out.

    Returns
    -------
    float
        The number of finite moments is 1 / k: above 1/2 there is no variance, above 1 no mean. -inf where the largest
        are all equal, so that there is no tail; inf where fewer than five are not zero, so that nearly nothing is
        known; NaN of fewer than 25 numbers.

    Notes
    -----
    Vehtari, Simpson, Gelman, Yao and Gabry 2024, section 3: the min(n / 5, 3 sqrt(n)) largest, less the next, by the
    estimator of Zhang and Stephens 2009, with their prior of ten draws at 1/2.
    """
    x = np.abs(sample[np.isfinite(sample)])
    n = len(x)
    count = math.ceil(min(0.2 * n, 3.0 * math.sqrt(n)))
    if count < FEWEST:
        return math.nan
    largest = np.sort(np.partition(x, n - count - 1)[n - count - 1 :])
    if np.count_nonzero(largest) < FEWEST:
        return math.inf
    with np.errstate(under="ignore"):
        tail = (largest[1:] - largest[0]) / largest[-1]
    tail = tail[tail > np.finfo(np.float64).eps]
    return _shape(tail) if len(tail) >= FEWEST and tail[0] < tail[-1] else -math.inf


def _shape(tail: Float64Array) -> float:
    """Return the shape of a generalised Pareto distribution of sorted positive numbers.

    Notes
    -----
    Zhang and Stephens 2009, equations 5 to 7, for k with the other sign. With theta = k / scale the likelihood has its
    maximum over the scale at k(theta) = mean log(1 + theta x): what is left is a profile of one variable, whose mean
    under a weak prior is theta.
    """
    n = len(tail)
    points = 30 + math.isqrt(n)
    quartile = tail[int(n / 4 + 0.5) - 1]
    theta = -1.0 / tail[-1] - (1.0 - np.sqrt(points / (np.arange(1, points + 1) - 0.5))) / (3.0 * quartile)
    k = np.mean(np.log1p(theta[:, None] * tail), axis=1)
    with np.errstate(all="ignore"):
        profile = n * (np.log(theta / k) - k - 1.0)
    weights = np.exp(profile - np.nanmax(profile))
    weights = np.where(np.isfinite(weights), weights, 0.0)
    best = float(np.sum(theta * weights) / np.sum(weights))
    found = float(np.mean(np.log1p(best * tail)))
    return (n * found + PRIOR * TOWARDS) / (n + PRIOR)
