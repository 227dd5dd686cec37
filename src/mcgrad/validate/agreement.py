"""Compare estimates that two backends made of the same draws."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mcgrad.moments import Float64Array
from mcgrad.results.estimate import Estimate

MOST_ULPS = 1024  # two backends agree to so many ulps of a draw's root mean square,
MOST_OF_STDERR = 0.02  # or to this fraction of the standard error: one draw in n may fall on the other side of a jump


@dataclass(frozen=True)
class BackendCheck:
    """How far a backend is from the NumPy reference on the same draws.

    Attributes
    ----------
    backend : str
    unavailable : str or None
        Why it did not run.
    ulps : float
        Largest difference of a component, in units in the last place of the root mean square of its draws.
    relative : float
        Largest difference relative to the reference's component.
    z : float
        Largest difference of a component in standard errors.
    worst : str
        The component that decides.
    ok : bool
        Whether every component agrees to `MOST_ULPS` ulps or to `MOST_OF_STDERR` standard errors, its standard error to
        1%, and as many draws were not finite. True if the backend did not run.
    """

    backend: str
    unavailable: str | None = None
    ulps: float = 0.0
    relative: float = 0.0
    z: float = 0.0
    worst: str = ""
    ok: bool = True


def agreement(right: Estimate, other: Estimate) -> BackendCheck:
    """Compare two estimates over the same draws, component by component.

    Parameters
    ----------
    right, other : Estimate
        From the reference, and from the backend to look at.
    """
    mean, error = right.moments.estimate, right.moments.stderr
    given, given_error = other.moments.estimate, other.moments.stderr
    with np.errstate(all="ignore"):
        size = np.hypot(mean, error * math.sqrt(right.n))  # root mean square of the draws
        gap = np.abs(given - mean)
        gap = np.where((given == mean) | (np.isnan(given) & np.isnan(mean)), 0.0, gap)
        ulps = np.where(gap == 0, 0.0, gap / (np.finfo(right.dtype).eps * size))
        z = np.where(gap == 0, 0.0, gap / error)
        relative = np.where(gap == 0, 0.0, gap / np.abs(mean))
        same_error = np.isclose(given_error, error, rtol=0.01, atol=MOST_ULPS * np.finfo(right.dtype).eps * size)
        same_error |= np.isnan(given_error) & np.isnan(error)
    fine = ((ulps <= MOST_ULPS) | (z <= MOST_OF_STDERR)) & same_error & (right.nonfinite == other.nonfinite)
    score = np.where(np.isnan(gap), np.inf, np.where(fine, np.minimum(ulps / MOST_ULPS, 1.0), 2.0 + ulps))
    return BackendCheck(
        other.backend,
        ulps=_largest(ulps),
        relative=_largest(relative),
        z=_largest(z),
        worst=str(right.components[int(np.argmax(score))]),
        ok=bool(fine.all()),
    )


def _largest(values: Float64Array) -> float:
    return math.inf if np.isnan(values).any() else float(values.max())
