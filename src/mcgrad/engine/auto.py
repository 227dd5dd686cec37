"""method="auto": a pilot of every method that applies, and the choice of the one that gives most for its work."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mcgrad.arrays import to_host
from mcgrad.backends.base import one_chunk
from mcgrad.backends.numpy import NumpyKernel
from mcgrad.distributions.joint import part_of
from mcgrad.engine.epilogue import Finisher
from mcgrad.engine.finite_differences import Differences, farthest
from mcgrad.engine.groups import Groups
from mcgrad.engine.options import Request
from mcgrad.engine.pilot import offset_streams
from mcgrad.engine.pilots import Pilots
from mcgrad.engine.steps import Steps
from mcgrad.engine.values import Inputs
from mcgrad.errors import ParameterError, TraceError
from mcgrad.gradients.difference import DIFFERENCE
from mcgrad.gradients.jump_check import without_jump_warnings
from mcgrad.gradients.method import Method
from mcgrad.gradients.methods import METHODS
from mcgrad.gradients.pathwise import PATHWISE
from mcgrad.gradients.plan import AUTO, Plan, plan
from mcgrad.gradients.problem import Problem
from mcgrad.ir.program import Program, toposort
from mcgrad.ir.spaces import Input, Values
from mcgrad.moments import Float64Array, Moments
from mcgrad.noise import streams
from mcgrad.results.components import Component, Components
from mcgrad.tree import flatten

DRAWS = 8192  # of a pilot, or fewer where a draw is expensive
FEWEST = 1024
BUDGET = 1e9  # multiplications of one method's pilot
SEED = 0
COMPONENTS = 8  # of the gradient, that are compared with finite differences
CHECKED = 16_384  # draws for that, or fewer where a draw is expensive
CHECKING = 4e8  # multiplications of the finite differences
JUMPS = 1e-5  # of the standard deviation of a draw, that jumps may contribute
FALLBACK = DIFFERENCE  # where no other method is left


def candidates(f: object) -> list[Method]:
    """Return the methods to look at for an integrand, in the order in which they are taken where they are equal.

    Those along draws come first, then those without control variates, then those with one.
    """
    suited = (method for method in METHODS.values() if method.suits(f) and method is not FALLBACK)
    return sorted(suited, key=lambda m: (not m.follows_draw, m.is_controlled or bool(m.controls), not m.is_controlled))


@dataclass(frozen=True)
class Trial:
    """What a pilot found of one method.

    Attributes
    ----------
    method : Method
    moments : Moments
        Of the value and the gradient, over groups of draws.
    numbers : int
        Components of the value.
    group : int
        Draws in a group.
    work : float
        Multiplications a draw, as estimated.
    """

    method: Method
    moments: Moments
    numbers: int
    group: int
    work: float

    @property
    def error(self) -> float:
        """Standard error of the gradient, all components together, that a unit of work gets."""
        spread = float(np.hypot.reduce(self.moments.deviation[self.numbers :]))  # a variance may overflow, or vanish
        return spread * math.sqrt(self.group * self.work)


def planned(given: Request, problem: Problem, wrt: Sequence[str], inputs: Inputs) -> Plan:
    """Return which method each parameter has: by the arguments of an `Estimator`, an earlier pilot, or a pilot now.

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
        Names `method` or `baseline`.
    """
    if given.plan is not None:
        return given.plan
    options = given.options
    if not isinstance(options.method, str) or options.method != AUTO:
        others = [path for path in problem.params if path not in problem.own]
        return plan(options.method, options.baseline, options.k, problem.own, others, wrt)
    if options.baseline is not None:
        raise ParameterError("baseline", f"{options.baseline!r} with method='auto'", "None: auto chooses it, too")
    found = select(problem, wrt, inputs.first_row(), options.k, inputs.dtype, options.antithetic)
    return replace(found, reason=f"{found.reason}, by the first row") if inputs.batch else found


def select(
    problem: Problem,
    wrt: Sequence[str],
    inputs: Mapping[Input, Any],
    k: int,
    dtype: str,
    antithetic: bool = False,
) -> Plan:
    """Choose the method of the gradient, one for each part of a Joint, and for each parameter of the integrand.

    Parameters
    ----------
    problem : Problem
    wrt : sequence of str
        Paths of the parameters to differentiate in.
    inputs : dict of Input to array
        Values of parameters and data.
    k : int
        Draws that share leave-one-out baselines.
    dtype : {"float32", "float64"}
    antithetic : bool
        Whether variances are those of antithetic pairs.

    Raises
    ------
    ParameterError
        Where the pilot is not finite.

    Notes
    -----
    The one with the largest 1 / (variance x work), by the mean over a pilot of draws of its own, that is not seen to be
    biased: they are looked at in this order, until one is not. The work is that of the Program in multiplications, not
    a time: so the choice is the same wherever and whenever it is made. A method is compared with finite differences
    of the expectation over the same draws. It is left out where a component of the two differs by more than five
    standard errors, and, if it follows the draw (pathwise, stl, dreg), where single draws cross a jump of f or of the
    transform: bisection finds one that the mean over a pilot does not show. Where none is left the choice is
    "difference".
    """
    values = {path: to_host(value) for path, value in inputs.items()}
    methods, reasons = dict.fromkeys(problem.params, PATHWISE), []
    parts: dict[str, list[str]] = {}
    for path in wrt:
        parts.setdefault(part_of(problem.q, path)[1] if path in problem.own else path, []).append(path)
    for part, paths in parts.items():
        if paths[0] in problem.own:
            best, reason = _Part(problem, paths, values, k, dtype, antithetic).best()
            affected = [path for path in problem.own if part_of(problem.q, path)[1] == part]
        else:
            best, reason = _direct(problem, part, values, k, dtype)
            affected = paths
        methods |= dict.fromkeys(affected, best)
        if reason:
            reasons.append(f"{part or 'q'}: {reason}" if len(parts) > 1 else reason)
    return Plan(methods, tuple(wrt), k, "; ".join(reasons) or "no parameter of q to differentiate in")


class _Part:
    """Parameters that get the same method: those of one part of q, or one of the integrand."""

    def __init__(
        self,
        problem: Problem,
        wrt: Sequence[str],
        values: Values,
        k: int,
        dtype: str,
        antithetic: bool = False,
    ) -> None:
        self._antithetic = antithetic
        self.problem, self.wrt, self.values, self.k, self.dtype = problem, wrt, values, k, dtype
        self._differences: dict[tuple[bool, int], Differences] = {}
        self._steps: dict[str, Float64Array] | None = None

    def best(self) -> tuple[Method, str]:
        """Return the method and the reason for it."""
        trials: dict[Method, Trial] = {}
        refused: list[str] = []
        for method in candidates(self.problem.f):
            try:
                trials[method] = self._trial(method)
            except (ParameterError, TraceError, TypeError) as error:
                refused.append(f"{method}: {error}")
        finite = {method: trial for method, trial in trials.items() if np.isfinite(trial.error)}
        if trials and not finite:
            spoiled = [f"{method}: draws of the pilot were not finite" for method in trials]
            detail = "; ".join([*refused, *spoiled])
            raise ParameterError("method", f"'auto', and nothing applies ({detail})", "a method that applies")
        ordered = sorted(finite, key=lambda method: finite[method].error)
        said: list[str] = []
        while ordered:
            best = ordered[0]
            same = [method for method in ordered if method.base == best.base]  # of one mean, whatever is subtracted
            why = self.bias(next((method for method in same if not method.grouped), best))
            if not why:
                return best, "; ".join([_reason(best, ordered, finite), *said])
            said += [f"{method} is biased: {why}" for method in same]
            ordered = [method for method in ordered if method not in same]
        return FALLBACK, f"nothing else applies ({'; '.join([*said, *refused])})"

    def _trial(self, method: Method) -> Trial:
        plan, inputs = self._planned(method)
        plan = replace(plan, antithetic=self._antithetic)
        program = offset_streams(plan.program(self.problem, self.wrt, self.dtype), streams.AUTO)
        groups = Groups(plan.draws * self.problem.draws)
        work = max(program.work(), 1.0) / groups.size
        n = groups.of(int(np.clip(BUDGET / work, FEWEST, DRAWS)))
        moments = average(program, {**self.values, **inputs}, n)
        return Trial(method, moments, self.problem.result.size, groups.size, work)

    def bias(self, method: Method) -> str:
        """Return in words how the pilot shows that a method is biased; nothing where it does not."""
        plan, inputs = self._planned(method)
        follows = method.follows_draw and not self._by_distribution_function()
        full = plan.program(self.problem, self.wrt, self.dtype)
        differences = self._against(method.by_draws, plan, full)
        checks, _ = differences.check(full, inputs, COMPONENTS, CHECKED, CHECKING, jumps=follows)
        if off := farthest(checks):
            return f"{off:.0f} standard errors from finite differences"
        jumps = [check for check in checks if check.jumps > JUMPS * check.deviation]
        return "draws cross jumps, which it leaves out" if jumps else ""

    def _by_distribution_function(self) -> bool:
        """Whether derivatives of draws are those of distribution functions: right, though the draws may jump."""
        return any(var.op == "implicit" for var in toposort(flatten(self.problem.z).values()))

    def _planned(self, method: Method) -> tuple[Plan, Values]:
        plan = Plan(dict.fromkeys(self.problem.params, method), k=self.k)
        return plan, Pilots.of(plan, self.problem, self.wrt, self.dtype)(self.values, SEED)

    def _against(self, by_draws: bool, plan: Plan, gradient: Program) -> Differences:
        """Differences of the value, with its entropy from the draws or not, in as large groups of draws."""
        kind = by_draws, plan.group
        if kind not in self._differences:
            value = plan.program(self.problem, (), "float64")
            found = Differences(self.problem.q, value, self.values, SEED, self.dtype, of=self._components())
            found.quotients.steps = self._first_steps(found.chosen(gradient, COMPONENTS))
            self._differences[kind] = found
        return self._differences[kind]

    def _components(self) -> Components:
        """The components of the gradient in these parameters."""
        problem = self.problem
        shapes = {path: problem.params[path].shape for path in self.wrt}
        return Components(shapes, problem.shapes, contracted=not problem.is_whole)

    def _first_steps(self, components: Sequence[Component]) -> dict[str, Float64Array]:
        """The steps that the method "difference" would have, for those components that are looked at."""
        if self._steps is None:
            only: dict[str, list[int]] = {}
            for path, index in dict.fromkeys((x.path, x.indices) for x in components):
                shape = self.problem.params[path].shape
                only.setdefault(path, []).append(int(np.ravel_multi_index(index, shape)) if shape else 0)
            self._steps = Steps(self.problem, list(only), self.dtype, only).steps(self.values)
        return self._steps


def _direct(problem: Problem, path: str, values: Values, k: int, dtype: str) -> tuple[Method, str]:
    """Choose for a parameter of the integrand: its own derivative, or differences where that is biased."""
    part = _Part(problem, [path], values, k, dtype)
    try:
        with without_jump_warnings():
            Plan({path: PATHWISE}).check(problem, [path])
        why = part.bias(PATHWISE)
    except ParameterError as error:
        return FALLBACK, f"{PATHWISE} does not apply: {error.given}"
    return (FALLBACK, f"{PATHWISE} is biased: {why}") if why else (PATHWISE, "")


def average(program: Program, inputs: Values, n: int) -> Moments:
    """Interpret a Program over n draws; those that are not finite do not count."""
    kernel = NumpyKernel(program)
    with kernel.limits():
        partial = one_chunk(kernel.bind(inputs), SEED, 0, n, True)
        return Finisher(program, {})(partial.moments, inputs)


def _reason(best: Method, ordered: Sequence[Method], trials: Mapping[Method, Trial]) -> str:
    others = [method for method in ordered if method != best]
    if not others:
        return "the only one that applies"
    mine, next_best = trials[best].error, trials[others[0]].error
    return f"{_times((next_best / mine) ** 2 if mine else np.inf)} as efficient as {others[0]}"


def _times(ratio: float) -> str:
    if not np.isfinite(ratio):
        return "exact, infinitely"
    return "about" if (rounded := f"{ratio:.2g}") == "1" else f"{rounded} times"
