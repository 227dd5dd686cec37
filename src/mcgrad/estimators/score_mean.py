"""What `score`, `stl` and `dreg` need of a density: that the mean of its score, d log q / d phi, is zero.

It is not where a parameter moves an end of the support at which the density is not zero: then the derivative of the
integral of q, which is zero, has a term at that end.
"""

from __future__ import annotations

from collections.abc import Sequence

from mcgrad.distributions.joint import part_of
from mcgrad.errors import ParameterError
from mcgrad.estimators.decompositions import decomposition
from mcgrad.estimators.problem import Problem


def require_zero_mean(problem: Problem, wrt: Sequence[str], method: str) -> None:
    """Refuse parameters in which the mean of the score is not zero.

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
    """
    for path in wrt:
        if path in problem.q.support.moving:
            part, _, name = part_of(problem.q, path)
            given = (
                f"a parameter of {type(part).__name__} that moves an end of its support ({part.support.describe}), "
                f"so that {method!r} is biased: the mean of the score d log q / d {name} is not zero there"
            )
            raise ParameterError(path, given, _others(problem, path))


def _others(problem: Problem, path: str) -> str:
    """Return the methods that do not need it."""
    part, _, name = part_of(problem.q, path)
    others = ["pathwise", *(["measure_valued"] if decomposition(part, name) and problem.draws == 1 else [])]
    return " or ".join(f'method="{other}"' for other in others)
