"""Baselines: control variates of the score-function method, constants that are taken from the integrand.

A constant times the score has mean zero, as the score has. So the gradient stays unbiased where the constant does not
depend on the draw: it is made of other draws, those of a pilot or of the same group.
"""

from __future__ import annotations

from collections.abc import Sequence

from mcgrad.differentiate.jacobian import jacobian
from mcgrad.differentiate.modes import gradient
from mcgrad.gradients.method import ControlVariate, Mean
from mcgrad.gradients.problem import Problem
from mcgrad.ir.build import apply, broadcast, reduce, reshape, transpose
from mcgrad.ir.program import Var
from mcgrad.ir.spaces import Input, Space
from mcgrad.ir.vmap import vmap_noise

SHARED = Input(Space.BASELINE, "")  # the mean of f, for the scores of all parameters


def mean(problem: Problem, wrt: Sequence[str]) -> list[Var]:
    """Make (f - b) s, with b = E f from a pilot and the score s."""
    value, weight = problem.held()
    weight = apply("subtract", weight, problem.computed(SHARED, weight.shape))
    surrogate = apply("add", value, apply("multiply", weight, problem.log_q()))
    return jacobian(surrogate, [problem.params[path] for path in wrt])


def mean_pilot(problem: Problem, wrt: Sequence[str]) -> list[Mean]:
    """Make f."""
    return [Mean(SHARED, problem.held()[1])]


def optimal(problem: Problem, wrt: Sequence[str]) -> list[Var]:
    """Make (f - b) s, with b = E[f s^2] / E[s^2] from a pilot for each component of s: its variance is then least.

    Notes
    -----
    Greensmith, Bartlett and Baxter 2004; Ranganath, Gerrish and Blei 2014, section 3.2.
    """
    params = [problem.params[path] for path in wrt]
    value, weight = problem.held()
    direct, scores = jacobian(value, params), gradient(problem.log_q(), params)
    gaps = [
        apply(
            "subtract",
            _in_front(weight, s),
            problem.computed(Input(Space.BASELINE, path), (*weight.shape, *s.shape)),
        )
        for path, s in zip(wrt, scores, strict=True)
    ]
    return [apply("add", d, apply("multiply", gap, s)) for d, gap, s in zip(direct, gaps, scores, strict=True)]


def optimal_pilot(problem: Problem, wrt: Sequence[str]) -> list[Mean]:
    """Make f s^2 and s^2: the ratio of their means is b."""
    _, weight = problem.held()
    found = []
    for path, s in zip(wrt, gradient(problem.log_q(), [problem.params[path] for path in wrt]), strict=True):
        squares = apply("multiply", s, s)
        found.append(Mean(Input(Space.BASELINE, path), apply("multiply", _in_front(weight, s), squares), squares))
    return found


def leave_one_out(problem: Problem, wrt: Sequence[str], k: int) -> list[Var]:
    """Make the mean over k draws of (f - b) s, with b for each draw the mean of f over the k - 1 others.

    Notes
    -----
    The k baselines make it sum_i (f_i - mean f) s_i / (k - 1). Unbiased, as each baseline is independent of its draw:
    Mnih and Rezende 2016; Kool, van Hoof and Welling 2019.
    """
    value, weight, log_q = vmap_noise([*problem.held(), problem.log_q()], k)
    center = apply("multiply", reduce("sum", weight, (0,)), 1 / k)
    weight = apply("multiply", apply("subtract", weight, broadcast(center, weight.shape)), 1 / (k - 1))
    axes = len(center.shape)
    weight = transpose(weight, [*range(1, axes + 1), 0])  # the draws last, as those of log q are
    surrogate = apply(
        "add",
        apply("multiply", reduce("sum", value, (0,)), 1 / k),
        reduce("sum", apply("multiply", weight, log_q), (axes,)),
    )
    return jacobian(surrogate, [problem.params[path] for path in wrt])


def _in_front(values: Var, score: Var) -> Var:
    """Return the numbers of a value in a shape that broadcasts with a score, with the axes of the value first."""
    return reshape(values, (*values.shape, *(1,) * len(score.shape))) if values.shape else values


MEAN = ControlVariate("mean", mean, pilot=mean_pilot)
LEAVE_ONE_OUT = ControlVariate("leave_one_out", leave_one_out, grouped=True)
OPTIMAL = ControlVariate("optimal", optimal, pilot=optimal_pilot)
