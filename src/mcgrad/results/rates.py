"""Rates of a multilevel estimate: how fast means, variances and costs of differences change with the level; its bias.

A rate is one of powers of two: |E D_l| falls as 2^(-alpha l), V[D_l] as 2^(-beta l), and the cost of a draw grows as
2^(gamma l).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mcgrad.moments import Float64Array

SLOWEST = 0.5  # rate of the means that is assumed where they show none
SCATTER = 0.25  # of a binary logarithm about the line: differences follow their rate but roughly
CLEAR = 2.0  # standard errors of a size with which the fit begins
ROUNDS = 50
LAST = 3  # levels whose means the bias is estimated from


@dataclass(frozen=True)
class Rate:
    """A rate, and its standard error.

    Parameters
    ----------
    value : float
        NaN where fewer than two levels have a difference that is more than noise; infinite where all are exactly zero.
    stderr : float
    """

    value: float
    stderr: float

    @property
    def low(self) -> float:
        """One standard error less, and at least 1/2: what the bias is extrapolated with."""
        low = self.value - self.stderr if math.isfinite(self.value) else self.value
        return max(low, SLOWEST) if not math.isnan(low) else SLOWEST

    def __str__(self) -> str:
        if not math.isfinite(self.value):
            return "-"
        return f"{self.value:.2f} \u00b1 {self.stderr:.2f}" if math.isfinite(self.stderr) else f"{self.value:.2f}"


def norms(means: Float64Array, errors: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return the Euclidean norms of the means of levels, without what their noise adds, and the errors of the norms.

    Parameters
    ----------
    means, errors : array, shape (levels, components)
        And their standard errors.
    """
    with np.errstate(all="ignore"):
        squares = np.maximum((np.square(means) - np.square(errors)).sum(axis=1), 0.0)
        noise = np.sqrt((4 * np.square(means * errors) + 2 * errors**4).sum(axis=1))
        sizes = np.sqrt(squares)
        return sizes, np.where(sizes > 0, noise / (2 * sizes), np.sqrt(noise))


def falling(sizes: Float64Array, errors: Float64Array) -> Rate:
    """Return the rate at which numbers fall, from level 1 on.

    Parameters
    ----------
    sizes, errors : array, shape (levels,)
        Numbers that are not negative, and their standard errors. Level 0 is no difference, and is not looked at.

    Notes
    -----
    By least squares of log2(sizes). Weights are of errors relative to the line, not to the numbers: those of late
    levels are noise, of a size that does not fall, and would make the line flat.
    """
    levels, found, spread = (x[1:] for x in (np.arange(len(sizes), dtype=np.float64), sizes, errors))
    positive = np.isfinite(found) & (found > 0)
    if not positive.any():
        is_exact = np.isfinite(found).all() and not spread.any()
        return Rate(math.inf, 0.0) if is_exact else Rate(math.nan, math.inf)
    if positive.sum() < 2:
        return Rate(math.nan, math.inf)
    x, logs, spread = levels[positive], np.log2(found[positive]), spread[positive]
    clear = np.exp2(logs) > CLEAR * spread
    kept = clear if clear.sum() >= 2 else np.ones(len(x), bool)
    slope, middle, height, scatter = _line(x[kept], logs[kept], np.full(int(kept.sum()), SCATTER))
    for _ in range(ROUNDS):
        line = height + slope * (x - middle)
        widths = np.hypot(spread / np.exp2(np.clip(line, -1000, 1000)) / math.log(2), SCATTER)
        before, (slope, middle, height, scatter) = slope, _line(x, logs, widths)
        if abs(slope - before) < 1e-6:
            break
    return Rate(-slope, 1 / math.sqrt(scatter))


def _line(x: Float64Array, y: Float64Array, widths: Float64Array) -> tuple[float, float, float, float]:
    """Return the line of least squares: its slope, the middle, the height there, and the scatter of x in widths."""
    weights = 1 / np.square(widths)
    middle, height = float(weights @ x / weights.sum()), float(weights @ y / weights.sum())
    scatter = float(weights @ np.square(x - middle))
    return float(weights @ ((x - middle) * y)) / scatter, middle, height, scatter


def bias(means: Float64Array, errors: Float64Array, rate: float) -> Float64Array:
    """Return the sizes of what the levels after the last one would add, by component.

    Parameters
    ----------
    means, errors : array, shape (levels, components)
        Of the differences, and their standard errors; level 0 is no difference.
    rate : float
        alpha.

    Notes
    -----
    If E D_l falls as 2^(-alpha l), all levels after L add |E D_L| / (2^alpha - 1) (Giles 2008, section 4.2). |E D_L| is
    the largest of four: of the last three levels, each brought to L by the rate, and of a fit to all levels. So a mean
    that is small by chance does not decide. What noise adds to a square is taken from it.
    """
    if math.isinf(rate):
        return np.zeros(means.shape[1])
    with np.errstate(all="ignore"):
        sizes = np.sqrt(np.maximum(np.square(means) - np.square(errors), 0.0))[1:][-LAST:]
        decay = np.exp2(-rate * np.arange(len(means))[::-1, None])[1:]  # from the last level back
        inverse = 1 / decay
        weights = 1 / (np.square(errors[1:]) + np.square(SCATTER * math.log(2) * means[1:]))
        fitted = (weights * means[1:] * inverse).sum(axis=0) / (weights * np.square(inverse)).sum(axis=0)
        fitted = np.where(np.isfinite(fitted), np.abs(fitted), 0.0)
    last = (sizes * decay[-LAST:]).max(axis=0, initial=0.0)
    return np.asarray(np.maximum(last, fitted) / (2.0**rate - 1.0))
