"""The score-function method: the integrand times the derivative of the log density, at a draw that is held."""

from __future__ import annotations

from collections.abc import Sequence

from mcgrad.differentiate.jacobian import jacobian
from mcgrad.gradients.baselines import LEAVE_ONE_OUT, MEAN, OPTIMAL
from mcgrad.gradients.method import Method
from mcgrad.gradients.problem import Problem
from mcgrad.gradients.score_mean import scores_of_mean_zero
from mcgrad.ir.build import apply
from mcgrad.ir.program import Var


def score(problem: Problem, wrt: Sequence[str]) -> list[Var]:
    """Make the gradient f(z) d log q(z; phi) / d phi, the draw z held fixed.

    Parameters
    ----------
    problem : Problem
    wrt : sequence of str
        Paths of parameters of q.

    Notes
    -----
    Mohamed et al. 2020, section 4; Williams 1992 (REINFORCE). Where f itself reads phi, as an ELBO does, its own
    derivative is added.
    """
    value, weight = problem.held()
    surrogate = apply("add", value, apply("multiply", weight, problem.log_q()))
    return jacobian(surrogate, [problem.params[path] for path in wrt])


SCORE = Method(
    "score",
    score,
    needs=(scores_of_mean_zero,),
    biased_by="A score function needs a log_prob that is the density of what is drawn, and ends of the support that no "
    "parameter moves.",
    controls=(MEAN, LEAVE_ONE_OUT, OPTIMAL),
)
