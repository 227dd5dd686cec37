"""The pathwise method: differentiate through the transform."""

from __future__ import annotations

from collections.abc import Sequence

from mcgrad.differentiate.jacobian import jacobian
from mcgrad.gradients.jump_check import check_jumps
from mcgrad.gradients.method import Method
from mcgrad.gradients.needs import smooth_draws, traced_parameters
from mcgrad.gradients.problem import Problem
from mcgrad.gradients.score_mean import weights_of_mean_one
from mcgrad.ir.program import Var


def pathwise(problem: Problem, wrt: Sequence[str]) -> list[Var]:
    """Make the gradient of f(g(phi, eps)).

    Parameters
    ----------
    problem : Problem
    wrt : sequence of str
        Paths of parameters, of q or of the integrand. Refused are those that draws follow in jumps alone, as the
        probability of a discrete distribution, and those that only an Integrand has.

    Notes
    -----
    Kingma and Welling 2014, section 2.4; Mohamed et al. 2020, section 5: the mean over draws of
    d/dphi f(g(phi, eps)) is unbiased where f is continuous, and differentiable almost everywhere. With a proposal draws
    do not move with the parameters of q, but their weights do: what is differentiated is f(z) q(z; phi) / p(z), and f
    may jump along z.
    """
    return jacobian(problem.value, [problem.params[path] for path in wrt])


PATHWISE = Method(
    "pathwise",
    pathwise,
    needs=(smooth_draws, traced_parameters, weights_of_mean_one),
    biased_by="A pathwise gradient is biased where the integrand jumps as the parameters move: look for comparisons, "
    "np.where, np.sign, np.floor and the like.",
    follows_draw=True,
    of_integrand=True,
    check=check_jumps,
)
