"""The pathwise estimator: differentiate through the transform."""

from __future__ import annotations

from collections.abc import Sequence

from mcgrad import tree
from mcgrad.differentiate.modes import gradient
from mcgrad.errors import ParameterError
from mcgrad.gradients.jumps import reaches
from mcgrad.gradients.problem import Problem
from mcgrad.inputs.integrand import Integrand
from mcgrad.ir.program import Var, toposort


def pathwise(problem: Problem, wrt: Sequence[str]) -> list[Var]:
    """Make the gradient of f(g(phi, eps)).

    Parameters
    ----------
    problem : Problem
    wrt : sequence of str
        Paths of the parameters to differentiate in.

    Raises
    ------
    ParameterError
        A parameter that draws follow in jumps alone, as the probability of a discrete distribution; a parameter that
        only an Integrand has.

    Notes
    -----
    Kingma and Welling 2014, section 2.4; Mohamed et al. 2020, section 5: the mean over draws of
    d/dphi f(g(phi, eps)) is unbiased where f is continuous, and differentiable almost everywhere.
    """
    refuse_jumps(problem, wrt)
    _refuse_native(problem, wrt)
    return gradient(problem.value, [problem.params[path] for path in wrt])


def refuse_jumps(problem: Problem, wrt: Sequence[str]) -> None:
    """Refuse parameters that reach the draw through nothing but comparisons, floors and the like."""
    read = _noise(problem.value)
    leaves = [leaf for leaf in tree.flatten(problem.z).values() if read & _noise(leaf)]  # an entropy may read no draw
    for path in wrt:
        param = problem.params[path]
        if path in problem.own and reaches(param, leaves, smoothly=False) and not reaches(param, leaves):
            given = "a parameter in which draws jump, so that the pathwise gradient is no gradient"
            raise ParameterError(path, given, f'another method, such as method="score" or method={{"{path}": "score"}}')


def _refuse_native(problem: Problem, wrt: Sequence[str]) -> None:
    """Refuse the own parameters of an Integrand: it gives the gradient in the draw alone."""
    names = [path for path in wrt if path not in problem.own]
    if names and isinstance(getattr(problem.f, "log_joint", problem.f), Integrand):
        given = f"{', '.join(names)}, in which an Integrand gives no gradient"
        others = f"any of {', '.join(problem.own)}, or " if problem.own else ""
        raise ParameterError("wrt", given, f'{others}method={{"{names[0]}": "difference"}}')


def _noise(var: Var) -> set[Var]:
    return {source for source in toposort([var]) if source.op == "noise"}
