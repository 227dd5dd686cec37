"""method="auto": a pilot of every estimator that applies, and the choice of the one that gives most for its work."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad import tree
from mcgrad.arrays import fetch
from mcgrad.backends.numpy import NumpyKernel
from mcgrad.differences import Differences
from mcgrad.distributions.draw import Draw
from mcgrad.distributions.joint import part_of
from mcgrad.errors import ParameterError, TraceError
from mcgrad.estimators.jumps import flat_between
from mcgrad.estimators.plan import BY_DRAWS, PATHWISE, SCORE, Choice, Plan
from mcgrad.estimators.problem import Problem
from mcgrad.estimators.score import BASELINES
from mcgrad.finish import Finisher
from mcgrad.ir.build import noise
from mcgrad.ir.program import Program
from mcgrad.moments import Float64Array, Moments
from mcgrad.pilot import STREAMS, Pilot, elsewhere

DRAWS = 8192  # of a pilot, or fewer where they are dear
FEWEST = 1024
BUDGET = 1e9  # multiplications of one estimator's pilot
MOST_Z = 5.0  # beyond which two estimators' means are not of one gradient
SEED = 0
COMPONENTS = 8  # of the gradient, that are held against finite differences
FOLLOW = (PATHWISE, *BY_DRAWS)
CANDIDATES = (
    Choice(PATHWISE),
    Choice("stl"),
    Choice("dreg"),
    Choice("measure_valued"),
    *(Choice(SCORE, baseline) for baseline in (*BASELINES, None)),
)


@dataclass(frozen=True)
class Trial:
    """What a pilot found of one estimator.

    Attributes
    ----------
    choice : Choice
    moments : Moments
        Of the value and the gradient, over groups of draws.
    group : int
        Draws in a group.
    work : float
        Multiplications a draw, as estimated.
    """

    choice: Choice
    moments: Moments
    group: int
    work: float

    @property
    def error(self) -> float:
        """Standard error of the gradient, all components together, that a unit of work gets."""
        spread = float(np.hypot.reduce(self.moments.deviation[1:]))  # a variance may overflow, or vanish
        return spread * math.sqrt(self.group * self.work)


def select(problem: Problem, wrt: Sequence[str], inputs: Mapping[str, Any], k: int, dtype: str) -> Plan:
    """Choose the estimator of the gradient in q's parameters, one for each part of a Joint.

    Parameters
    ----------
    problem : Problem
    wrt : sequence of str
        Paths of q's parameters to differentiate in.
    inputs : dict of str to array
        Values of parameters and data.
    k : int
        Draws that share leave-one-out baselines.
    dtype : {"float32", "float64"}

    Raises
    ------
    ParameterError
        Where no estimator applies.

    Notes
    -----
    The one with the largest 1 / (variance x work), by the mean over a pilot of draws of its own. The work is that of
    the Program in multiplications, not a time: so the choice is the same wherever and whenever it is made. Estimators
    that follow the draw (pathwise, stl, dreg) are checked where the integrand may jump in it, as comparisons, floors
    and signs do. They are left out where the pilot's mean is more than `MOST_Z` standard errors from that of one that
    holds the draw (score, measure-valued), or from finite differences on the same draws, which see smaller jumps.
    """
    values = {path: fetch(value) for path, value in inputs.items()}
    parts: dict[str, list[str]] = {}
    for path in wrt:
        parts.setdefault(part_of(problem.q, path)[1], []).append(path)
    choices, reasons = dict.fromkeys(problem.params, Choice(PATHWISE)), []
    for part, paths in parts.items():
        best, reason = _best(problem, paths, values, k, dtype)
        choices |= dict.fromkeys([path for path in problem.own if part_of(problem.q, path)[1] == part], best)
        reasons.append(f"{part}: {reason}" if len(parts) > 1 else reason)
    return Plan(choices, tuple(wrt), k, "; ".join(reasons) or "no parameter of q to differentiate in")


def _best(
    problem: Problem, wrt: Sequence[str], values: Mapping[str, npt.NDArray[Any]], k: int, dtype: str
) -> tuple[Choice, str]:
    """Choose for the parameters of one part of q, and say why."""
    trials: dict[Choice, Trial] = {}
    refused: list[str] = []
    for choice in CANDIDATES:
        if choice.method == "dreg" and problem.draws == 1:  # it is stl
            continue
        try:
            trials[choice] = _trial(problem, wrt, choice, values, k, dtype)
        except (ParameterError, TraceError, TypeError) as error:
            refused.append(f"{choice}: {error}")
    biased: list[str] = []
    if _may_jump(problem):
        for choice in [choice for choice in trials if choice.method in FOLLOW]:
            why = _bias(problem, wrt, choice, trials, values, k)
            if why:
                biased.append(f"{choice} is biased: {why}")
                del trials[choice]
    usable = {choice: trial for choice, trial in trials.items() if np.isfinite(trial.error)}
    if not usable:
        spoiled = [f"{choice}: draws of the pilot were not finite" for choice in trials]
        detail = "; ".join([*refused, *biased, *spoiled])
        raise ParameterError("method", f"'auto', and nothing applies ({detail})", "a method that applies")
    best = min(usable, key=lambda choice: usable[choice].error)
    return best, "; ".join([_reason(best, usable), *biased])


def _trial(
    problem: Problem,
    wrt: Sequence[str],
    choice: Choice,
    values: Mapping[str, npt.NDArray[Any]],
    k: int,
    dtype: str,
) -> Trial:
    plan = Plan(dict.fromkeys(problem.own, choice), k=k)
    program = elsewhere(plan.program(problem, wrt, dtype), 2 * STREAMS)
    pilot, group = plan.pilot(problem, wrt, dtype), plan.group * problem.draws
    inputs = {**values, **(Pilot(pilot)(values, SEED) if pilot else {})}
    work = max(program.work(), 1.0) / group
    n = int(np.clip(BUDGET / work, FEWEST, DRAWS)) // group
    return Trial(choice, average(program, inputs, n), group, work)


def _bias(
    problem: Problem,
    wrt: Sequence[str],
    choice: Choice,
    trials: Mapping[Choice, Trial],
    values: Mapping[str, npt.NDArray[Any]],
    k: int,
) -> str:
    """Say how an estimator that follows the draw is seen to be biased, or nothing."""
    held = {other: _disagreement(trials[choice], trials[other]) for other in trials if other.method not in FOLLOW}
    far = max(held, key=lambda other: held[other], default=None)
    if far is not None and held[far] > MOST_Z:
        return f"{held[far]:.0f} standard errors from {far}"
    plan = Plan(dict.fromkeys(problem.own, choice), k=k)
    full, value = (plan.program(problem, paths, "float64") for paths in (wrt, ()))
    wide = {path: np.asarray(x, np.float64) for path, x in values.items()}
    checks, _ = Differences(problem.q, full, value, wide, SEED).check(COMPONENTS, DRAWS, BUDGET)
    off = max((abs(check.z) for check in checks if not check.ok and np.isfinite(check.z)), default=0.0)
    return f"{off:.0f} standard errors from finite differences" if off else ""


def average(program: Program, inputs: Mapping[str, npt.NDArray[Any]], n: int) -> Moments:
    """Interpret a Program over n draws; those that are not finite do not count."""
    kernel = NumpyKernel(program)
    with kernel.limits():
        partial = kernel.bind(inputs).partial(SEED, 0, n, True)
    return Finisher(program, {})(partial.moments, inputs)


def _disagreement(one: Trial, other: Trial) -> float:
    """The largest difference of a component of the gradient, in standard errors."""
    gap = np.abs(one.moments.mean - other.moments.mean)[1:]
    error: Float64Array = np.hypot(one.moments.stderr, other.moments.stderr)[1:]
    with np.errstate(all="ignore"):
        z = np.where(gap == 0, 0.0, gap / error)
    return float(np.max(z, initial=0.0))


def _may_jump(problem: Problem) -> bool:
    """Whether something in the integrand, as a function of the draw, has no derivative where it jumps."""
    flat = tree.flatten(problem.z)
    leaves = {path: noise(-1 - i, "draw", z.shape) for i, (path, z) in enumerate(flat.items())}
    value = problem.integrand_at(Draw(tree.unflatten(leaves)), problem.params, problem.draws > 1)
    return any(flat_between(leaf, [value]) for leaf in leaves.values())


def _reason(best: Choice, trials: Mapping[Choice, Trial]) -> str:
    others = sorted((choice for choice in trials if choice != best), key=lambda choice: trials[choice].error)
    if not others:
        return "the only one that applies"
    mine, next_best = trials[best].error, trials[others[0]].error
    return f"{_times((next_best / mine) ** 2 if mine else np.inf)} as efficient as {others[0]}"


def _times(ratio: float) -> str:
    return "exact, infinitely" if not np.isfinite(ratio) else f"{ratio:.2g} times"
