"""The pathwise estimator: differentiate through the transform."""

from __future__ import annotations

from collections.abc import Sequence

from mcgrad import tree
from mcgrad.differentiate.elementwise import ELEMENTWISE
from mcgrad.differentiate.modes import gradient
from mcgrad.errors import ParameterError
from mcgrad.estimators.problem import Problem
from mcgrad.ir.program import Var, ancestors


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
        A parameter that draws follow in jumps alone, as the probability of a discrete distribution.

    Notes
    -----
    Kingma and Welling 2014, section 2.4; Mohamed et al. 2020, section 5: the mean over draws of
    d/dphi f(g(phi, eps)) is unbiased where f is continuous, and differentiable almost everywhere.
    """
    refuse_jumps(problem, wrt)
    return gradient(problem.value, [problem.params[path] for path in wrt])


def refuse_jumps(problem: Problem, wrt: Sequence[str]) -> None:
    """Refuse parameters that reach the draw through nothing but comparisons, floors and the like."""
    read = _noise(problem.value)
    leaves = [leaf for leaf in tree.flatten(problem.z).values() if read & _noise(leaf)]  # an entropy may read no draw
    for path in wrt:
        param = problem.params[path]
        if path in problem.own and _reaches(param, leaves, smoothly=False) and not _reaches(param, leaves):
            given = "a parameter in which draws jump, so that the pathwise gradient is no gradient"
            raise ParameterError(path, given, f'another method, such as method="score" or method={{"{path}": "score"}}')


def jumps(value: Var, leaves: Sequence[Var]) -> bool:
    """Whether a value may jump as the leaves move: whether a comparison, a floor or the like reads them."""
    reached = set(leaves)
    for var in ancestors([value]):
        on = [arg in reached for arg in var.args]
        if any(on):
            rules = _rules(var)
            if any(here and rule is None for here, rule in zip(on, rules, strict=True)) and var.op != "float":
                return True
            reached.add(var)
    return False


def _reaches(source: Var, leaves: Sequence[Var], smoothly: bool = True) -> bool:
    """Whether a leaf depends on the source; with `smoothly`, along a way that has a derivative."""
    reached = {source}
    for var in ancestors(leaves):
        rules = _rules(var) if smoothly else var.args
        if any(arg in reached and rule is not None for arg, rule in zip(var.args, rules, strict=True)):
            reached.add(var)
    return any(leaf in reached for leaf in leaves)


def _noise(var: Var) -> set[Var]:
    return {source for source in ancestors([var]) if source.op == "noise"}


def _rules(var: Var) -> Sequence[object]:
    """For each argument None where the op has no derivative in it."""
    if var.kind == "bool":
        return [None] * len(var.args)
    return ELEMENTWISE.get(var.op, var.args)
