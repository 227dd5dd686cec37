"""The pathwise estimator: differentiate through the transform."""

from collections.abc import Sequence

from mcgrad.differentiate.modes import gradient
from mcgrad.estimators.problem import Problem
from mcgrad.ir.program import Output, Program
from mcgrad.simplify import simplify

VALUE = "value"


def pathwise(problem: Problem, wrt: Sequence[str], dtype: str) -> Program:
    """Make the Program of f(g(phi, eps)) and its gradient.

    Parameters
    ----------
    problem : Problem
    wrt : sequence of str
        Paths of the parameters to differentiate in; none for the value alone.
    dtype : {"float32", "float64"}

    Notes
    -----
    Kingma and Welling 2014, section 2.4; Mohamed et al. 2020, section 5: the mean over draws of
    d/dphi f(g(phi, eps)) is unbiased where f is continuous, and differentiable almost everywhere.
    """
    grads = gradient(problem.value, [problem.params[path] for path in wrt]) if wrt else []
    outputs = [Output(VALUE, problem.value), *(Output(path, g) for path, g in zip(wrt, grads, strict=True))]
    return simplify(Program(tuple(outputs), dtype))
