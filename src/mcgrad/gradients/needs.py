"""The requirements of methods on an integrand and on the parameters of its distribution: each raises if not met.

`Method.gradient` calls those of its method before it makes the gradient. The need of a density whose scores have mean
zero is in `score_mean`; what a single method needs is in its file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mcgrad import tree
from mcgrad.errors import ParameterError
from mcgrad.gradients.jumps import followers, reaches
from mcgrad.gradients.problem import Problem
from mcgrad.ir.ops import OPS
from mcgrad.ir.program import Var, toposort, with_bodies

Need = Callable[[Problem, Sequence[str], str], None]  # of a problem, in parameters at some paths, for a method


def smooth_draws(problem: Problem, wrt: Sequence[str], method: str) -> None:
    """Refuse parameters that reach the draw through nothing but comparisons, floors and the like."""
    read = _noise(problem.value)
    leaves = [leaf for leaf in tree.flatten(problem.z).values() if read & _noise(leaf)]  # an entropy may read no draw
    for path in wrt:
        param = problem.params[path]
        if path in problem.own and reaches(param, leaves, smoothly=False) and not reaches(param, leaves):
            given = "a parameter in which draws jump, so that the pathwise gradient is no gradient"
            raise ParameterError(path, given, f'another method, such as method="score" or method={{"{path}": "score"}}')


def traced_parameters(problem: Problem, wrt: Sequence[str], method: str) -> None:
    """Refuse the own parameters of an Integrand, which gives the gradient in its first argument alone."""
    calls = [var for var in with_bodies(toposort([problem.value])) if OPS[var.op].category == "native"]
    names = []
    for path in wrt if calls else ():
        moved = followers(problem.params[path], [problem.value])
        if any(arg in moved for call in calls for arg in call.args[1:]):
            names.append(path)
    if names:
        given = f"{', '.join(names)}, in which an Integrand gives no gradient"
        others = f"any of {', '.join(own)}, or " if (own := [path for path in problem.own if path not in names]) else ""
        raise ParameterError("wrt", given, f'{others}method={{"{names[0]}": "difference"}}')


def _noise(var: Var) -> set[Var]:
    return {source for source in toposort([var]) if source.op == "noise"}
