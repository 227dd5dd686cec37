"""method="auto": a pilot of every estimator that applies, and the choice of the one that gives most for its work."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.arrays import to_host
from mcgrad.backends.numpy import NumpyKernel
from mcgrad.distributions.joint import part_of
from mcgrad.engine.epilogue import Finisher
from mcgrad.engine.finite_differences import Differences, farthest
from mcgrad.engine.pickling import Request
from mcgrad.engine.pilot import STREAMS, Pilot, offset_streams
from mcgrad.engine.steps import Steps
from mcgrad.engine.values import Inputs
from mcgrad.errors import ParameterError, TraceError
from mcgrad.gradients.jump_check import check_jumps, without_jump_warnings
from mcgrad.gradients.plan import AUTO, BY_DRAWS, DIFFERENCE, LEAVE_ONE_OUT, PATHWISE, SCORE, Choice, Plan, plan
from mcgrad.gradients.problem import Problem
from mcgrad.gradients.score import BASELINES
from mcgrad.inputs.arguments import count
from mcgrad.ir.program import Program, toposort
from mcgrad.moments import Float64Array, Moments
from mcgrad.results.components import Component
from mcgrad.tree import flatten

DRAWS = 8192  # of a pilot, or fewer where they are dear
FEWEST = 1024
BUDGET = 1e9  # multiplications of one estimator's pilot
MOST_Z = 5.0  # beyond which two estimators' means are not of one gradient
SEED = 0
COMPONENTS = 8  # of the gradient, that are held against finite differences
CHECKED = 16_384  # draws for that, or fewer where they are dear
CHECKING = 4e8  # multiplications of the finite differences
JUMPS = 1e-5  # of the standard deviation of a draw, that jumps may contribute
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


def planned(given: Request, problem: Problem, wrt: Sequence[str], inputs: Inputs) -> Plan:
    """Return which estimator each parameter has: by the arguments of an `Estimator`, an earlier pilot, or a pilot now.

    Parameters
    ----------
    given : Request
    problem : Problem
    wrt : sequence of str
        Paths of the parameters to differentiate in.
    inputs : Inputs

    Raises
    ------
    ParameterError
        Names `method`, `baseline` or `k`.
    """
    k = count("k", given.k, 2)
    if given.plan is not None:
        return given.plan
    if not isinstance(given.method, str) or given.method != AUTO:
        others = [path for path in problem.params if path not in problem.own]
        return plan(given.method, given.baseline, k, problem.own, others, wrt)
    if given.baseline is not None:
        raise ParameterError("baseline", f"{given.baseline!r} with method='auto'", "None: auto chooses it, too")
    return select(problem, wrt, inputs.values({}), k, inputs.dtype)


def select(problem: Problem, wrt: Sequence[str], inputs: Mapping[str, Any], k: int, dtype: str) -> Plan:
    """Choose the estimator of the gradient, one for each part of a Joint, and for each parameter of the integrand.

    Parameters
    ----------
    problem : Problem
    wrt : sequence of str
        Paths of the parameters to differentiate in.
    inputs : dict of str to array
        Values of parameters and data.
    k : int
        Draws that share leave-one-out baselines.
    dtype : {"float32", "float64"}

    Raises
    ------
    ParameterError
        Where the pilot is not finite.

    Notes
    -----
    The one with the largest 1 / (variance x work), by the mean over a pilot of draws of its own, that is not seen to be
    biased: they are looked at in this order, until one is not. The work is that of the Program in multiplications, not
    a time: so the choice is the same wherever and whenever it is made. An estimator is held against finite differences
    of the expectation over the same draws. It is left out where a component of the two differs by more than `MOST_Z`
    standard errors, and, if it follows the draw (pathwise, stl, dreg), where single draws cross a jump of f or of the
    transform: bisection finds one that the mean over a pilot does not show. Where none is left the choice is
    "difference".
    """
    values = {path: to_host(value) for path, value in inputs.items()}
    choices, reasons = dict.fromkeys(problem.params, Choice(PATHWISE)), []
    parts: dict[str, list[str]] = {}
    for path in wrt:
        parts.setdefault(part_of(problem.q, path)[1] if path in problem.own else path, []).append(path)
    for part, paths in parts.items():
        if paths[0] in problem.own:
            best, reason = _Part(problem, paths, values, k, dtype).best()
            affected = [path for path in problem.own if part_of(problem.q, path)[1] == part]
        else:
            best, reason = _direct(problem, part, values, k, dtype)
            affected = paths
        choices |= dict.fromkeys(affected, best)
        if reason:
            reasons.append(f"{part or 'q'}: {reason}" if len(parts) > 1 else reason)
    return Plan(choices, tuple(wrt), k, "; ".join(reasons) or "no parameter of q to differentiate in")


class _Part:
    """The parameters that shall have one estimator: those of one part of q, or one of the integrand."""

    def __init__(
        self, problem: Problem, wrt: Sequence[str], values: Mapping[str, npt.NDArray[Any]], k: int, dtype: str
    ) -> None:
        self.problem, self.wrt, self.values, self.k, self.dtype = problem, wrt, values, k, dtype
        self._differences: dict[tuple[bool, int], Differences] = {}
        self._steps: dict[str, Float64Array] | None = None

    def best(self) -> tuple[Choice, str]:
        """Choose, and say why."""
        trials: dict[Choice, Trial] = {}
        refused: list[str] = []
        for choice in CANDIDATES:
            if choice.method == "dreg" and self.problem.draws == 1:  # it is stl
                continue
            try:
                trials[choice] = self._trial(choice)
            except (ParameterError, TraceError, TypeError) as error:
                refused.append(f"{choice}: {error}")
        finite = {choice: trial for choice, trial in trials.items() if np.isfinite(trial.error)}
        if trials and not finite:
            spoiled = [f"{choice}: draws of the pilot were not finite" for choice in trials]
            detail = "; ".join([*refused, *spoiled])
            raise ParameterError("method", f"'auto', and nothing applies ({detail})", "a method that applies")
        ordered = sorted(finite, key=lambda choice: finite[choice].error)
        said: list[str] = []
        while ordered:
            best = ordered[0]
            same = [choice for choice in ordered if choice.method == best.method]  # one gradient, by several baselines
            why = self.bias(next((choice for choice in same if choice.baseline != LEAVE_ONE_OUT), best))
            if not why:
                return best, "; ".join([_reason(best, ordered, finite), *said])
            said += [f"{choice} is biased: {why}" for choice in same]
            ordered = [choice for choice in ordered if choice not in same]
        return Choice(DIFFERENCE), f"nothing else applies ({'; '.join([*said, *refused])})"

    def _trial(self, choice: Choice) -> Trial:
        plan, inputs = self._planned(choice)
        program = offset_streams(plan.program(self.problem, self.wrt, self.dtype), 2 * STREAMS)
        group = plan.group * self.problem.draws
        work = max(program.work(), 1.0) / group
        n = int(np.clip(BUDGET / work, FEWEST, DRAWS)) // group
        return Trial(choice, average(program, {**self.values, **inputs}, n), group, work)

    def bias(self, choice: Choice) -> str:
        """Say how an estimator is seen to be biased, or nothing."""
        plan, inputs = self._planned(choice)
        follows = choice.method in FOLLOW and not self._by_distribution_function()
        full = plan.program(self.problem, self.wrt, self.dtype)
        differences = self._against(choice.method in BY_DRAWS, plan, full)
        checks, _ = differences.check(full, inputs, COMPONENTS, CHECKED, CHECKING, jumps=follows)
        if off := farthest(checks):
            return f"{off:.0f} standard errors from finite differences"
        jumps = [check for check in checks if check.jumps > JUMPS * check.deviation]
        return "draws cross jumps, which it leaves out" if jumps else ""

    def _by_distribution_function(self) -> bool:
        """Whether derivatives of draws are those of distribution functions: right, though the draws may jump."""
        return any(var.op == "implicit" for var in toposort(flatten(self.problem.z).values()))

    def _planned(self, choice: Choice) -> tuple[Plan, dict[str, npt.NDArray[Any]]]:
        plan = Plan(dict.fromkeys(self.problem.params, choice), k=self.k)
        pilot = plan.pilot(self.problem, self.wrt, self.dtype)
        return plan, Pilot(pilot)(self.values, SEED) if pilot else {}

    def _against(self, by_draws: bool, plan: Plan, gradient: Program) -> Differences:
        """Differences of the value, with its entropy from the draws or not, in as large groups of draws."""
        kind = by_draws, plan.group
        if kind not in self._differences:
            value = plan.program(self.problem, (), "float64")
            found = Differences(self.problem.q, value, self.values, SEED, self.dtype)
            found.steps = self._first_steps(found.chosen(gradient, COMPONENTS))
            self._differences[kind] = found
        return self._differences[kind]

    def _first_steps(self, components: Sequence[Component]) -> dict[str, Float64Array]:
        """The steps that the estimator "difference" would have, for those components that are looked at."""
        if self._steps is None:
            only: dict[str, list[int]] = {}
            for path, index in components:
                shape = self.problem.params[path].shape
                only.setdefault(path, []).append(int(np.ravel_multi_index(index, shape)) if shape else 0)
            self._steps = Steps(self.problem, list(only), self.dtype, only).steps(self.values)
        return self._steps


def _direct(
    problem: Problem, path: str, values: Mapping[str, npt.NDArray[Any]], k: int, dtype: str
) -> tuple[Choice, str]:
    """Choose for a parameter of the integrand: its own derivative, or differences where that is biased."""
    part = _Part(problem, [path], values, k, dtype)
    try:
        with without_jump_warnings():
            check_jumps(problem, [path])
        why = part.bias(Choice(PATHWISE))
    except ParameterError as error:
        return Choice(DIFFERENCE), f"{PATHWISE} does not apply: {error.given}"
    return (Choice(DIFFERENCE), f"{PATHWISE} is biased: {why}") if why else (Choice(PATHWISE), "")


def average(program: Program, inputs: Mapping[str, npt.NDArray[Any]], n: int) -> Moments:
    """Interpret a Program over n draws; those that are not finite do not count."""
    kernel = NumpyKernel(program)
    with kernel.limits():
        partial = kernel.bind(inputs).partial(SEED, 0, n, True)
        return Finisher(program, {})(partial.moments, inputs)


def _reason(best: Choice, ordered: Sequence[Choice], trials: Mapping[Choice, Trial]) -> str:
    others = [choice for choice in ordered if choice != best]
    if not others:
        return "the only one that applies"
    mine, next_best = trials[best].error, trials[others[0]].error
    return f"{_times((next_best / mine) ** 2 if mine else np.inf)} as efficient as {others[0]}"


def _times(ratio: float) -> str:
    return "exact, infinitely" if not np.isfinite(ratio) else f"{ratio:.2g} times"
