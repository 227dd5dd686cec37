"""The condition of `score`, `stl` and `dreg` on a density: scores s = d log q / d phi with E[h(z) s] = d/dphi E[h(z)].

For h = 1 it says that the mean of the score is zero. It is not so where a parameter moves an end of the support at
which the density is not zero: the right side has a term at that end, which the left side lacks. It is not so, either,
where the log density is not that of the draws. Of our own families it is known which parameters move an end; what users
write is tried on draws.
"""

from __future__ import annotations

from collections.abc import Sequence

from mcgrad.distributions.joint import part_of
from mcgrad.errors import ParameterError
from mcgrad.gradients.problem import Problem
from mcgrad.gradients.score_pilot import Bias, biases


def scores_of_mean_zero(problem: Problem, wrt: Sequence[str], method: str) -> None:
    """Refuse parameters in which scores do not give the derivatives of expectations.

    Parameters
    ----------
    problem : Problem
    wrt : sequence of str
        Paths of parameters of q.
    method : str
        What is refused.

    Raises
    ------
    ParameterError
        Names the first such parameter.

    Notes
    -----
    Densities that users write are tried on draws (`score_pilot.py`), at the parameters that q has.
    """
    moving = problem.q.support.moving
    for path in wrt:
        if path in moving:
            part = part_of(problem.q, path)[0]
            raise ParameterError(
                path,
                f"a parameter of {type(part).__name__} that moves an end of its support ({part.support.describe}), "
                f"so that {method!r} is biased, or, where the density falls to zero there, its variance infinite",
                _others(problem, path),
            )
    written = [path for path in wrt if not part_of(problem.q, path)[0].is_built_in]
    for path, bias in _biases(problem, written).items():
        part = part_of(problem.q, path)[0]
        raise ParameterError(
            path,
            f"a parameter of {type(part).__name__} in which {method!r} is biased: {bias}; the log density is not "
            "that of the draws, or the parameter moves an end of the support",
            f"{_others(problem, path)}, or the density of the draws",
        )


def weights_of_mean_one(problem: Problem, wrt: Sequence[str], method: str) -> None:
    """Refuse parameters of q in which derivatives of importance weights do not give those of expectations.

    They are the weights times scores, whatever the method is called: the same condition as `scores_of_mean_zero`.
    """
    if problem.proposal:
        scores_of_mean_zero(problem, [path for path in wrt if path in problem.own], method)


def _others(problem: Problem, path: str) -> str:
    """Return the methods that do not need it."""
    if problem.proposal:
        return f'method={{"{path}": "difference"}}'
    part, _, name = part_of(problem.q, path)
    rule = name in part.decompositions and problem.draws == 1
    others = ["pathwise", *(["measure_valued"] if rule else []), "difference"]
    return " or ".join(f'method="{other}"' for other in others)


def _biases(problem: Problem, paths: Sequence[str]) -> dict[str, Bias]:
    """Return what a pilot finds wrong; it looks at each parameter of a Problem once."""
    new = [path for path in paths if path not in problem.biases]
    if new:
        problem.biases.update({**dict.fromkeys(new), **biases(problem.q, new)})
    return {path: bias for path in paths if (bias := problem.biases[path])}
