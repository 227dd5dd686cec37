"""The score-function estimator, with control variates that are constants: baselines."""

from __future__ import annotations

from collections.abc import Sequence

from mcgrad.differentiate.modes import gradient, sum_of
from mcgrad.gradients.problem import Problem
from mcgrad.gradients.score_mean import require_zero_mean
from mcgrad.ir.build import apply, broadcast, input_, reduce
from mcgrad.ir.program import Output, Var
from mcgrad.ir.vmap import vmap_noise

BASELINES = ("mean", "leave_one_out", "optimal")
BASELINE = "baseline:"  # before the paths of inputs that a pilot gives
SQUARES = ":squares"  # after the paths of the pilot's outputs that it divides by


def score(problem: Problem, wrt: Sequence[str], baseline: str | None = None) -> list[Var]:
    """Make the gradient f(z) d log q(z; phi) / d phi, the draw z held fixed, less a baseline times the score.

    Parameters
    ----------
    problem : Problem
    wrt : sequence of str
        Paths of parameters of q.
    baseline : {None, "mean", "optimal"}
        What is taken from f: nothing; E f; or E[f s^2] / E[s^2] for each component s of the score, which makes its
        variance least. The last two are inputs, from a pilot of draws of its own: so the gradient stays unbiased.

    Notes
    -----
    Mohamed et al. 2020, section 4; Williams 1992 (REINFORCE). The optimal baseline: Greensmith, Bartlett and Baxter
    2004; Ranganath, Gerrish and Blei 2014, section 3.2. Where f itself reads phi, as an ELBO does, its own derivative
    is added.
    """
    require_zero_mean(problem, wrt, "score")
    params = [problem.params[path] for path in wrt]
    held = problem.integrand(problem.fixed, problem.params)
    (weight,) = problem.frozen(held)
    log_q = problem.log_q()
    if baseline == "optimal":
        direct, scores = gradient(held, params), gradient(log_q, params)
        gaps = [apply("subtract", weight, input_(BASELINE + path, problem.params[path].shape)) for path in wrt]
        return [apply("add", d, apply("multiply", gap, s)) for d, gap, s in zip(direct, gaps, scores, strict=True)]
    if baseline == "mean":
        weight = apply("subtract", weight, input_(BASELINE, ()))
    return gradient(apply("add", held, apply("multiply", weight, log_q)), params)


def leave_one_out(problem: Problem, wrt: Sequence[str], k: int) -> list[Var]:
    """Make the mean of k such gradients, each with the mean of f over the k - 1 other draws as its baseline.

    Parameters
    ----------
    problem : Problem
    wrt : sequence of str
    k : int
        Draws in a group, at least 2.

    Notes
    -----
    The k baselines make it sum_i (f_i - mean f) s_i / (k - 1). Unbiased, as each baseline is independent of its draw:
    Mnih and Rezende 2016; Kool, van Hoof and Welling 2019.
    """
    require_zero_mean(problem, wrt, "score")
    held = problem.integrand(problem.fixed, problem.params)
    held, weight, log_q = vmap_noise([held, *problem.frozen(held), problem.log_q()], k)
    center = apply("multiply", reduce("sum", weight, (0,)), 1 / k)
    weight = apply("multiply", apply("subtract", weight, broadcast(center, (k,))), 1 / (k - 1))
    surrogate = apply(
        "add",
        apply("multiply", reduce("sum", held, (0,)), 1 / k),
        reduce("sum", apply("multiply", weight, log_q), (0,)),
    )
    return gradient(surrogate, [problem.params[path] for path in wrt])


def pilot_outputs(problem: Problem, means: bool, optimal: Sequence[str]) -> list[Output]:
    """Make what a pilot averages: f, where baselines are its mean, and f s^2 and s^2 for each path in `optimal`."""
    (weight,) = problem.frozen(problem.integrand(problem.fixed, problem.params))
    outputs = [Output(BASELINE, weight)] if means else []
    scores = gradient(problem.log_q(), [problem.params[path] for path in optimal]) if optimal else []
    for path, s in zip(optimal, scores, strict=True):
        squares = apply("multiply", s, s)
        outputs += [
            Output(BASELINE + path, apply("multiply", weight, squares)),
            Output(BASELINE + path + SQUARES, squares),
        ]
    return outputs


def averaged(roots: Sequence[Var], k: int) -> list[Var]:
    """Make the means of roots over k draws."""
    if k == 1:
        return list(roots)
    return [apply("multiply", reduce("sum", x, (0,)), 1 / k) for x in vmap_noise(roots, k)]


def total(terms: Sequence[Var]) -> Var:
    """Return the sum of at least one Var."""
    found = sum_of(terms)
    assert found is not None
    return found
