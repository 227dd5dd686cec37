"""A normal variable between bounds that are far out or close together, without cancellation: draws and areas.

The difference of two areas cancels where both bounds are far out, or close together. Two forms do not:

- *Far*: both bounds on one side of the mean, the nearer one a > `FAR` standard deviations away, with R Mills' ratio and
  d the distance from that bound: Q(a + d) / Q(a) = exp(-a d - d^2/2) R(a + d) / R(a), almost exponential in d.
- *Narrow*: bounds w < `NARROW` standard deviations apart. In s from 0 to 1, with t = s - 1/2, the density is
  proportional to exp(-l t - q t^2/2), with q = w^2 and slope l = w m for a middle m standard deviations from the mean.
  The quantile is a series in l and q.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mcgrad.functions.implicit_derivative import stop
from mcgrad.functions.special import erfcx

FAR = 4.0
NARROW = 0.04
STEEP = 0.1  # a far and narrow pair counts as narrow below this slope
MILLS = math.sqrt(math.pi / 2)
HALF_ROOT = math.sqrt(0.5)


@dataclass(frozen=True)
class Bounds:
    """Where both bounds lie, in standard deviations from the mean, and which form that takes."""

    narrow: Any  # masks
    far: Any
    above: Any  # far, and above the mean
    slope: Any  # l and q of the narrow form, 0 elsewhere
    square: Any
    near: Any  # distances of the far form, from the mean to the nearer bound and between the two
    width: Any
    log_tail: Any  # what is between the bounds as a share of what is beyond the nearer one: -log of the rest

    @classmethod
    def of(cls, loc: Any, scale: Any, low: Any, high: Any) -> Bounds:
        """Sort out two bounds."""
        a, b, width = (low - loc) / scale, (high - loc) / scale, (high - low) / scale
        slope = width * ((low - loc) / scale + 0.5 * width)
        above, outside = a > FAR, (a > FAR) | (b < -FAR)
        far = outside & (np.abs(slope) >= STEEP)
        narrow = (width < NARROW) & np.logical_not(far)
        near = np.where(far, np.where(above, a, -b), FAR)
        safe = np.where(far, width, 1.0)
        log_tail = safe * (near + 0.5 * safe) - log_mills(near + safe, near)
        slope, square = (np.where(narrow, x, 0.0) for x in (slope, np.square(width)))
        return cls(narrow, far, above, slope, square, near, safe, log_tail)


def log_mills(x: Any, a: Any) -> Any:
    """Return log(R(x) / R(a)), R being Mills' ratio: the normal's tail over its density."""
    return np.log(erfcx(x * HALF_ROOT) / erfcx(a * HALF_ROOT))


def distance(a: Any, v: Any) -> Any:
    """Return the d of Q(a + d) = Q(a) exp(-v), for a of `FAR` and more.

    Two of Halley's steps; the derivative is that of the second, at what the first has found.
    """
    eta = v - 0.5 * np.log1p(2.0 * v / np.square(a))  # by R(x) = 1/x
    d = stop(2.0 * eta / (a + np.sqrt(np.square(a) + 2.0 * eta)))
    return _step(a, v, stop(_step(a, v, d)))


def _step(a: Any, v: Any, d: Any) -> Any:
    tail = erfcx((a + d) * HALF_ROOT)
    rest = d * (a + 0.5 * d) - np.log(tail / erfcx(a * HALF_ROOT)) - v
    mills = stop(MILLS * tail)
    return d - rest * (mills / stop(1.0 - 0.5 * rest * (1.0 - (a + d) * mills)))


def share(u: Any, slope: Any, square: Any) -> Any:
    """Return the quantile s, from 0 to 1, of a density proportional to exp(-slope t - square t^2/2), t = s - 1/2.

    For slopes up to 0.2 and squares up to 0.002. Without the square it is the cumulant generating function of a
    Bernoulli variable, over the slope; the first order in the square is in Bernoulli polynomials.
    """
    v, skew = u * (1.0 - u), 1.0 - 2.0 * u
    cumulants = (
        v / 2,
        v * skew / 6,
        v * (1.0 - 6.0 * v) / 24,
        v * skew * (1.0 - 12.0 * v) / 120,
        v * (1.0 - 30.0 * v + 120.0 * v * v) / 720,
        v * skew * (1.0 - 60.0 * v + 360.0 * v * v) / 5040,
    )
    series = cumulants[-1]
    for cumulant in cumulants[-2::-1]:
        series = cumulant - slope * series
    s = u - slope * series
    t, p = s - 0.5, s * (1.0 - s)
    first = -t / 6 + slope * (p / 24 + slope * (t * (p + 1 / 3) / 120 - slope * p * (p + 0.5) / 720))
    second = t * (1 / 160 - 7 / 120 * t * t)
    return s + square * p * (first + square * second)


def log_narrow_area(slope: Any, square: Any) -> Any:
    """Return the logarithm of the integral of exp(-slope t - square t^2/2) over t from -1/2 to 1/2."""
    s = np.square(slope)
    return s * (1 / 24 - s / 2880) + square * (square / 1440 - 1 / 24 - s / 720)
