"""Run levels until the noise and the bias of their sum are within a tolerance, and warn of what may be wrong."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mcgrad.engine.allocation import allocation
from mcgrad.engine.level_runs import LevelRun
from mcgrad.errors import MultilevelWarning, ToleranceWarning, user_level
from mcgrad.moments import Float64Array
from mcgrad.results.components import Components
from mcgrad.results.multilevel_estimate import DRAWS, LEVELS, NONFINITE, REACHED, MultilevelEstimate
from mcgrad.results.multilevel_rule import MultilevelRule
from mcgrad.results.rates import SLOWEST

GROWTH = 8  # by which the draws of a level grow at once: variances and tolerances are known better then
SPARE = 0.95  # of the variance that is allowed: so that a few draws more or less do not ask for a round of their own
DOUBT = 0.4  # relative error of a variance, of which its standard error has half: intervals are then too short
APART = 5.0  # standard errors between two means that should be one


Report = Callable[[int, int], None]  # called with the draws that are done, and those expected, of all levels


def run(
    start: Callable[[int], LevelRun], rule: MultilevelRule, seed: int, report: Report | None = None
) -> MultilevelEstimate:
    """Run levels, more draws and more of them, until the error is within the tolerance or at a limit.

    Parameters
    ----------
    start : callable
        Returns the run of a level, which has had its pilot.
    rule : MultilevelRule
    seed : int
    report : callable, optional
    """
    runs: list[LevelRun] = []
    last = rule.min_level
    while True:
        runs += [start(level) for level in range(len(runs), last + 1)]
        reason = _average(runs, rule, runs[0].program.derived.components, report)
        found = MultilevelEstimate(tuple(run.result for run in runs), rule, reason, seed)
        if reason != REACHED or _is_within(found):
            return found
        if last == rule.max_level:
            return MultilevelEstimate(found.levels, rule, LEVELS, seed)
        last += 1


def _average(runs: Sequence[LevelRun], rule: MultilevelRule, components: Components, report: Report | None) -> str:
    """Run all levels until the variance of their sum is small enough; return how that ended."""
    while True:
        tolerances = rule.tolerances(components, np.sum([run.mean for run in runs], axis=0))
        counted = ~np.isposinf(tolerances)
        targets = (1 - rule.bias_share) * np.square(tolerances[counted])
        squares = np.array([run.square_error[counted] for run in runs])
        if (squares.sum(axis=0) <= targets).all():
            return REACHED
        variances, done = np.array([run.variance[counted] for run in runs]), np.array([run.n for run in runs])
        finite = bool(np.isfinite(variances).all() and np.isfinite(targets).all())
        costs = np.array([run.program.cost for run in runs])
        if not finite:
            expected = at_once = np.full(len(runs), rule.start)
        elif runs[0].is_of_points:
            expected = at_once = np.maximum(rule.start, _doubled(squares, targets, done, costs, rule.max_draws))
        else:
            wanted = allocation(_smooth(variances), costs, SPARE * targets)
            expected = np.clip(np.ceil(wanted), rule.start, rule.max_draws).astype(int)
            at_once = np.minimum(expected, np.where(done > 0, GROWTH * done, rule.start))
        if (at_once <= done).all():
            return DRAWS if finite else NONFINITE
        for run, n, most in zip(runs, at_once, expected, strict=True):
            if n > run.n:
                run.extend(int(n), int(most), _progress(runs, int(np.maximum(expected, done).sum()), report))


def _progress(runs: Sequence[LevelRun], expected: int, report: Report | None) -> bool | Callable[[int], None]:
    """Return what reports the draws of a level that runs, with those that were done before."""
    if report is None:
        return False
    return lambda more: report(sum(run.n for run in runs) + more, expected)


def _doubled(
    squares: Float64Array, targets: Float64Array, done: NDArray[np.int64], costs: Float64Array, limit: int
) -> NDArray[np.int64]:
    """Return the numbers of points with one level doubled: where the error is the largest for what that costs.

    Parameters
    ----------
    squares : array, shape (levels, components)
        Of the standard errors of levels.
    targets : array, shape (components,)
        What their sums may be.
    done : int array, shape (levels,)
    costs : array, shape (levels,)
    limit : int
        Points that a level may have.

    References
    ----------
    Giles and Waterhouse, Multilevel quasi-Monte Carlo path simulation, 2009.
    """
    if not done.all():
        return done
    with np.errstate(divide="ignore", invalid="ignore"):
        worst = int(np.argmax(np.nan_to_num(squares.sum(axis=0) / targets)))
    gain = squares[:, worst] / (done * costs)
    gain[2 * done > limit] = -1.0
    level = int(np.argmax(gain))
    found = done.copy()
    found[level] *= 2 if gain[level] > 0 else 1
    return found


def _smooth(variances: Float64Array) -> Float64Array:
    """Return variances by level that do not fall by surprise: of a level whose few draws met no event.

    From level 2 on they are at least half of what the level before has, times 2^-1/2 (the code of Giles 2015, at the
    slowest rate).
    """
    found = variances.copy()
    for level in range(2, len(found)):
        found[level] = np.maximum(found[level], 0.5 * 2.0**-SLOWEST * found[level - 1])
    return found


def _is_within(found: MultilevelEstimate) -> bool:
    """Return whether the root mean square error of each component is within its tolerance."""
    tolerances = found.rule.tolerances(found.components, found.mean)
    return bool((found.errors <= tolerances).all())


def warn(found: MultilevelEstimate) -> None:
    """Warn of a tolerance that is not reached, of levels that do not fit together, and of heavy tails.

    Warns
    -----
    ToleranceWarning, MultilevelWarning
    """
    if not found.reached:
        remedy = {
            NONFINITE: "the pathwise gradient, or f, is not defined at some draws",
            LEVELS: f"more than {found.rule.max_level} levels are needed: give max_level=, or a larger tolerance",
            DRAWS: "more draws are needed: give max_draws=, or atol=, the error that may remain",
        }[found.reason]
        warnings.warn(f"{found.ending}; {remedy}", ToleranceWarning, stacklevel=user_level())
    for text in (*_apart(found), *_uncoupled(found), *_heavy(found)):
        warnings.warn(text, MultilevelWarning, stacklevel=user_level())


def _apart(found: MultilevelEstimate) -> list[str]:
    """Say which levels do not add up."""
    return [
        f"f has another mean at level {i} than as the coarse part of level {i + 1}, by {apart:.0f} standard errors, so "
        "that the levels do not add up: coarsen= does not make draws of the level before"
        for i, (before, level) in enumerate(pairwise(found.levels))
        if (apart := level.mismatch(before)) > APART
    ]


def _uncoupled(found: MultilevelEstimate) -> list[str]:
    """Say whether the last level gains nothing."""
    if not found.levels[-1].is_uncoupled:
        return []
    return [
        f"at level {len(found.levels) - 1} the difference has nearly the variance of independent draws: coarsen= does "
        "not make a draw at which f is close to f of the fine draw, and levels gain nothing"
    ]


def _heavy(found: MultilevelEstimate) -> list[str]:
    """Say whether few draws decide what the standard errors are."""
    counted = ~np.isposinf(found.rule.tolerances(found.components, found.mean))
    doubt = np.where(counted, found.doubt, 0.0)
    i = int(np.argmax(doubt))
    if not doubt[i] > DOUBT:
        return []
    shares = [np.nan_to_num(level.doubt[i] * level.stderr[i] ** 2) for level in found.levels]
    worst = int(np.argmax(shares))
    level = found.levels[worst]
    return [
        f"{found.components[i]}: its standard error has a relative error of {0.5 * doubt[i]:.0%}, as the difference "
        f"has a kurtosis of {level.kurtosis[i]:.0f} at level {worst}, of which there are {level.n:,} draws: few "
        "of them decide. start= gives each level more, and an f without jumps, such as a conditional expectation, has "
        "a smaller kurtosis"
    ]
