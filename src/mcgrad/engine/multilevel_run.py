"""Run levels until the noise and the bias of their sum are within a tolerance, and warn of what may be wrong."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mcgrad.engine.allocation import allocation
from mcgrad.engine.level_runs import LevelRun
from mcgrad.engine.multilevel_limits import Limits
from mcgrad.errors import MultilevelWarning, ToleranceWarning, user_level
from mcgrad.moments import Float64Array
from mcgrad.results.multilevel_estimate import (
    COST,
    DRAWS,
    LEVELS,
    NONFINITE,
    REACHED,
    SECONDS,
    MultilevelEstimate,
)
from mcgrad.results.multilevel_rule import MultilevelRule, zero_parts
from mcgrad.results.rates import SLOWEST

GROWTH = 8  # by which the draws of a level grow at once: variances and tolerances are known better then
SPARE = 0.95  # of the variance that is allowed: so that a few draws more or less do not ask for a round of their own
DOUBT = 0.4  # relative error of a variance, of which its standard error has half: intervals are then too short
SURE = 1 << 16  # draws of a level, after which a mean that cannot be told from zero is said
REMAINS = "atol=, the error that may remain"
APART = 5.0  # standard errors between two means that should be one


Report = Callable[[int, int], None]  # called with the draws that are done, and those expected, of all levels


def run(
    start: Callable[[int], LevelRun],
    rule: MultilevelRule,
    seed: int,
    report: Report | None = None,
    levels: int = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> MultilevelEstimate:
    """Run levels, more draws and more of them, until the error is within the tolerance or at a limit.

    Parameters
    ----------
    start : callable
        Returns the run of a level, which has had its pilot, and the draws of an earlier run.
    rule : MultilevelRule
    seed : int
    report : callable, optional
    levels : int
        How many levels an earlier run has.
    clock : callable
        Seconds.
    """
    runs: list[LevelRun] = []
    last, limits, zeros = max(rule.min_level, levels - 1), Limits(rule, clock), _Zeros(rule)
    while True:
        runs += [start(level) for level in range(len(runs), last + 1)]
        limits.begin(_cost(runs))
        reason = _average(runs, rule, limits, zeros, report)
        found = MultilevelEstimate(tuple(run.result for run in runs), rule, reason, seed)
        if reason != REACHED or _is_within(found):
            return found
        if last >= rule.max_level:
            return replace(found, reason=LEVELS)
        reason = limits.refuse(_cost(runs), rule.start * runs[-1].program.cost * _growth(runs))
        if reason:
            return replace(found, reason=reason)
        last += 1


def _cost(runs: Sequence[LevelRun]) -> float:
    """Return the cost of all draws so far."""
    return float(sum(run.n * run.program.cost for run in runs))


def _growth(runs: Sequence[LevelRun]) -> float:
    """Return how many times the cost of the last level the next one is expected to cost."""
    return max(runs[-1].program.cost / runs[-2].program.cost, 1.0)


@dataclass
class _Zeros:
    """Warns once where a part that counts cannot be told from zero, so that no number of draws may be enough."""

    rule: MultilevelRule
    said: bool = False

    def look(self, runs: Sequence[LevelRun]) -> None:
        done = [run.n for run in runs]
        if self.said or not all(done) or max(done) < SURE:
            return
        noise = np.sqrt(np.sum([run.square_error for run in runs], axis=0))
        parts = zero_parts(self.rule, runs[0].program.derived.components, np.sum([r.mean for r in runs], axis=0), noise)
        if parts:
            self.said = True
            warnings.warn(
                f"after {sum(done):,} draws {parts[0]} cannot be told from zero, and rtol={self.rule.rtol:g} is "
                f"relative to it, so that the run may go on to its limits, max_draws={self.rule.max_draws:,} a level: "
                f"give {REMAINS}, or max_cost= or max_seconds=",
                ToleranceWarning,
                stacklevel=user_level(),
            )


def _average(
    runs: Sequence[LevelRun], rule: MultilevelRule, limits: Limits, zeros: _Zeros, report: Report | None
) -> str:
    """Run all levels until the variance of their sum is small enough; return how that ended."""
    components = runs[0].program.derived.components
    random = np.array([run.program.random for run in runs])
    costs = np.array([run.program.cost for run in runs])
    while True:
        means = np.sum([run.mean for run in runs], axis=0)
        tolerances = rule.tolerances(components, means)
        counted = ~np.isposinf(tolerances)
        targets = (1 - rule.bias_share) * np.square(tolerances[counted])
        squares = np.array([run.square_error[counted] for run in runs])
        changing = random[:, counted]
        unmet = bool((changing.any(axis=0) & (targets == 0) & (squares == 0).all(axis=0)).any())  # no draw met an event
        if not unmet and (squares.sum(axis=0) <= targets).all():
            return REACHED
        variances, done = np.array([run.variance[counted] for run in runs]), np.array([run.n for run in runs])
        finite = bool(np.isfinite(variances).all() and np.isfinite(targets).all())
        if finite:
            zeros.look(runs)
        if not finite:
            expected = at_once = np.full(len(runs), rule.start)
        elif runs[0].is_of_points:
            every = np.where(2 * done > rule.max_draws, done, 2 * done)
            more = every if unmet else _doubled(_supposed(squares, changing), targets, done, costs, rule.max_draws)
            expected = at_once = np.maximum(rule.start, more)
        else:
            wanted = allocation(_supposed(_smooth(variances), changing), costs, SPARE * targets)
            wanted = np.maximum(wanted, GROWTH * done) if unmet else wanted
            expected = np.clip(np.ceil(wanted), rule.start, rule.max_draws).astype(int)
            at_once = np.minimum(expected, np.where(done > 0, GROWTH * done, rule.start))
        if (at_once <= done).all():
            return DRAWS if finite else NONFINITE
        if done.all():
            at_once, reason = limits.fitted(at_once, done, costs, runs[0].is_of_points)
            if reason:
                return reason
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


def _supposed(variances: Float64Array, changing: NDArray[np.bool_]) -> Float64Array:
    """Return variances, those of levels in which no draw met an event as large as that of any level.

    With none such a level would get no more draws, and its part of the sum would stay what it is without the event.

    Parameters
    ----------
    variances : array, shape (levels, components)
    changing : bool array, shape (levels, components)
        Whether draws change a component.
    """
    return np.where(changing & (variances == 0), variances.max(axis=0), variances)


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
            DRAWS: f"more draws are needed: give max_draws=, or {REMAINS}",
            COST: f"more draws are needed: give max_cost=, or {REMAINS}",
            SECONDS: f"more draws are needed: give max_seconds=, or {REMAINS}, or go on from this estimate, resume=",
        }[found.reason]
        zero = zero_parts(found.rule, found.components, found.mean, found.noise)
        if zero and found.reason not in (NONFINITE, LEVELS):
            remedy = f"{zero[0]} cannot be told from zero, and rtol is relative to it: give {REMAINS}"
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
