"""Compare estimates that two backends made of the same draws."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mcgrad.moments import Float64Array
from mcgrad.results.batch_estimate import BatchEstimate
from mcgrad.results.estimate import Estimate

MOST_ULPS = 1024  # two backends agree to so many ulps of a draw's root mean square,
MOST_OF_STDERR = 0.02  # or to this fraction of the standard error: one draw in n may fall on the other side of a jump
SAME_ERROR = 0.01  # relative difference of standard errors
MOST_Z = 5.0  # standard deviations that a variance from other pairs of draws may differ by


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


def agreement(right: Estimate | BatchEstimate, other: Estimate | BatchEstimate) -> BackendCheck:
    """Compare two estimates over the same draws, component by component, of a batch also row by row.

    Parameters
    ----------
    right, other : Estimate or BatchEstimate
        From the reference, and from the backend to look at.
    """
    mine, given = _numbers(right), _numbers(other)
    mean, error = mine.means, mine.errors
    with np.errstate(all="ignore"):
        size = np.hypot(mean, error * math.sqrt(right.n))  # root mean square of the draws
        gap = np.abs(given.means - mean)
        gap = np.where((given.means == mean) | (np.isnan(given.means) & np.isnan(mean)), 0.0, gap)
        ulps = np.where(gap == 0, 0.0, gap / (np.finfo(right.dtype).eps * size))
        z = np.where(gap == 0, 0.0, gap / error)
        relative = np.where(gap == 0, 0.0, gap / np.abs(mean))
        allowed = mine.tolerances * error + MOST_ULPS * np.finfo(right.dtype).eps * size
        same_error = np.abs(given.errors - error) <= allowed
    same_error |= (np.isnan(given.errors) & np.isnan(error)) | (given.errors == error)
    fine = ((ulps <= MOST_ULPS) | (z <= MOST_OF_STDERR)) & same_error
    score = np.where(np.isnan(gap), np.inf, np.where(fine, np.minimum(ulps / MOST_ULPS, 1.0), 2.0 + ulps))
    return BackendCheck(
        other.backend,
        ulps=_largest(ulps),
        relative=_largest(relative),
        z=_largest(z),
        worst=mine.name(int(np.argmax(score))) if score.size else "",
        ok=bool(fine.all()) and np.array_equal(right.nonfinite, other.nonfinite),
    )


class _Numbers(NamedTuple):
    """All numbers of an estimate: means, standard errors, how far these may differ relatively, and their names."""

    means: Float64Array
    errors: Float64Array
    tolerances: Float64Array
    name: Callable[[int], str]


def _numbers(estimate: Estimate | BatchEstimate) -> _Numbers:
    if isinstance(estimate, BatchEstimate):
        return _of_batch(estimate)
    moments = estimate.finished
    tolerances = np.full(len(moments.mean), SAME_ERROR)
    return _Numbers(moments.estimate, moments.stderr, tolerances, lambda i: str(estimate.components[i]))


def _of_batch(estimate: BatchEstimate) -> _Numbers:
    moments, over = estimate.moments, estimate.components.over_rows(estimate.shared)
    shared = over[over.derivatives]
    together = [part for part in (estimate.total, estimate.differences) if part is not None]
    by_row, columns = moments.means.size, moments.means.shape[1]
    # backends may take the variance of a sum over rows from pairs of draws of each row
    pairs = SAME_ERROR + MOST_Z / math.sqrt(max(estimate.n // estimate.group // 2, 1))
    several = sum(len(part.mean) for part in together)
    tolerances = np.repeat([SAME_ERROR, pairs, SAME_ERROR], [by_row, len(shared), several])

    def name(i: int) -> str:
        if i < by_row:
            return f"{estimate.components[i % columns]}, row {estimate.rows.flat[i // columns]}"
        return f"{shared[i - by_row]}, all rows" if i < by_row + len(shared) else "values of all rows"

    return _Numbers(
        np.concatenate([moments.estimate.ravel(), moments.totals, *(part.estimate for part in together)]),
        np.concatenate([moments.stderr.ravel(), moments.total_stderr, *(part.stderr for part in together)]),
        tolerances,
        name,
    )


def _largest(values: Float64Array) -> float:
    return math.inf if np.isnan(values).any() else float(values.max(initial=0.0))
