"""Methods for objectives with log q inside: sticking the landing, and the doubly reparameterized gradient of bounds."""

from __future__ import annotations

from collections.abc import Sequence

from mcgrad.differentiate.modes import gradient
from mcgrad.errors import ParameterError
from mcgrad.gradients.method import Kind, Method
from mcgrad.gradients.needs import smooth_draws
from mcgrad.gradients.problem import Problem
from mcgrad.gradients.score_mean import scores_of_mean_zero
from mcgrad.inputs.objectives import Objective
from mcgrad.ir.build import apply, broadcast, reduce
from mcgrad.ir.program import Var


def stl(problem: Problem, wrt: Sequence[str]) -> list[Var]:
    """Make the pathwise gradient of an ELBO or a divergence without the score of q, whose mean is zero.

    Parameters
    ----------
    problem : Problem
        Of an objective that takes one draw.
    wrt : sequence of str
        Paths of parameters of q.

    Notes
    -----
    Roeder, Wu and Duvenaud 2017, equation 8 (sticking the landing): d/dphi [log p(x, z) - log q(z; stop(phi))] along
    z = g(phi, eps). It is zero for every draw where q is the posterior. The parameters of q inside log q are constants;
    the entropy is taken from the draws.
    """
    value = problem.integrand(problem.params, problem.fixed, by_draws=True)
    return gradient(value, [problem.params[path] for path in wrt])


def dreg(problem: Problem, wrt: Sequence[str]) -> list[Var]:
    """Make the doubly reparameterized gradient of an importance-weighted bound.

    Parameters
    ----------
    problem : Problem
        Of an objective that takes k draws; for k = 1 it is `stl`.
    wrt : sequence of str
        Paths of parameters of q.

    Notes
    -----
    Tucker, Lawson, Gu and Maddison 2018, equation 8: sum_i v_i^2 d log w_i / dz_i dz_i / dphi, with v the normalised
    weights. The signal-to-noise ratio of it grows as the square root of k, while that of the bound's own pathwise
    gradient falls (Rainforth et al. 2018).
    """
    if problem.draws == 1:
        return stl(problem, wrt)
    log_w = problem.log_weights(problem.params, problem.fixed)
    (held,) = problem.frozen(log_w)
    raw = apply("exp", apply("subtract", held, reduce("max", held, (0,))))
    share = apply("divide", raw, broadcast(reduce("sum", raw, (0,)), raw.shape))
    surrogate = reduce("sum", apply("multiply", apply("multiply", share, share), log_w), (0,))
    return gradient(surrogate, [problem.params[path] for path in wrt])


def _objective(problem: Problem, wrt: Sequence[str], method: str) -> None:
    """Refuse integrands that do not read the density of their own distribution."""
    if not isinstance(problem.f, Objective):
        given = f"{method!r} for an integrand without log q inside"
        raise ParameterError("method", given, f"{method!r} for mg.elbo, mg.kl or mg.iwae; 'pathwise' for others")


def _one_draw(problem: Problem, wrt: Sequence[str], method: str) -> None:
    """Refuse bounds of several draws."""
    if problem.draws > 1:
        raise ParameterError("method", f"{method!r}, biased for a bound of {problem.draws} draws", "'dreg'")


BIASED_BY = (
    "stl and dreg are pathwise, and biased where the log joint jumps. They leave the score of q out, and need a "
    "log_prob that is the density of what is drawn, and ends of the support that no parameter moves."
)
STL = Method(
    "stl",
    stl,
    kinds=Kind.OBJECTIVE,
    needs=(_objective, _one_draw, smooth_draws, scores_of_mean_zero),
    biased_by=BIASED_BY,
    follows_draw=True,
    by_draws=True,
)
DREG = Method(
    "dreg",
    dreg,
    kinds=Kind.BOUND,
    needs=(_objective, smooth_draws, scores_of_mean_zero),
    biased_by=BIASED_BY,
    follows_draw=True,
    by_draws=True,
)
