"""Controls whose mean the user knows: functions of the draw, and their derivatives by the method of a parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mcgrad import tree
from mcgrad.differentiate.jacobian import jacobian
from mcgrad.errors import ParameterError
from mcgrad.gradients.method import Method, averaged
from mcgrad.gradients.methods import METHODS
from mcgrad.gradients.pathwise import PATHWISE
from mcgrad.gradients.problem import Problem, described, joined
from mcgrad.inputs.control import Control, with_arguments_of
from mcgrad.ir.build import apply, as_var, reshape, take
from mcgrad.ir.program import Var
from mcgrad.trace.trace import trace


class Known:
    """A user's control for one problem.

    Parameters
    ----------
    control : Control
    problem : Problem
        Of the integrand.
    k : int
        Draws that are averaged together, besides those of the integrand.

    Raises
    ------
    ParameterError
        The mean has another shape than h, or takes arguments that there are not.
    """

    def __init__(self, control: Control, problem: Problem, k: int) -> None:
        if problem.draws > 1:
            given = f"{control!r} with an integrand of {problem.draws} draws"
            raise ParameterError("control", given, '"linear", or an integrand of one draw')
        self.control, self._k = control, k

        def h(z: Any, **given: Any) -> Any:
            return control.h(z, **with_arguments_of(control.h, given, 1, f"{control!r}"))

        self._problem = problem.of_function(h)
        self.mean = self._mean()

    def _mean(self) -> Var:
        """The mean, in the form of the result of h."""
        control, problem = self.control, self._problem
        found = control.mean
        self.is_function = callable(found)
        if self.is_function:
            given = {**tree.unflatten(dict(problem.params)), **problem.known_data} if problem.params else {}
            chosen = with_arguments_of(found, given, 0, f"a mean of {control!r}")
            found = trace(found, (), chosen)
        flat = {path: as_var(x) for path, x in tree.flatten(found).items()}
        shapes = {path: x.shape for path, x in flat.items()}
        if shapes != problem.shapes:
            raise ParameterError("control", f"a mean of {described(shapes)} for {control!r}", described(problem.shapes))
        return flat[""] if "" in flat else joined([*flat.values()])

    def of_value(self) -> list[Var]:
        """Return the controls of the value: a number each, of mean zero."""
        (value,) = averaged([self._problem.result], self._k)
        return _numbers(apply("subtract", value, self.mean))

    def of_gradients(self, method: Method, paths: Sequence[str]) -> Mapping[str, list[Var]]:
        """Return the controls of the gradients in some parameters: arrays of a parameter's shape, of mean zero.

        Raises
        ------
        ParameterError
            The method does not apply to h, or estimates a difference.
        """
        if not self.is_function:
            return {}
        problem, base = self._problem, METHODS[method.base]
        if base.moves:
            given = f"{self.control!r} for the gradient in {paths[0]} by {method.name!r}, which is that of a difference"
            raise ParameterError("control", given, "another method, or a mean that is a number, for the value alone")
        if not base.suits(problem.f):
            base = PATHWISE
        grads = base.gradient(problem, paths, self._k)
        if base.check is not None:
            base.check(problem, paths)
        means = jacobian(self.mean, [problem.params[path] for path in paths])
        return {
            path: _numbers(apply("subtract", grad, mean), problem.params[path].shape)
            for path, grad, mean in zip(paths, grads, means, strict=True)
        }


def _numbers(x: Var, shape: tuple[int, ...] = ()) -> list[Var]:
    """Return the arrays of a shape that an array consists of."""
    size = int(np.prod(shape))
    if x.size == size:
        return [reshape(x, shape)]
    flat = reshape(x, (x.size,))
    return [take(flat, np.arange(i * size, (i + 1) * size).reshape(shape)) for i in range(x.size // size)]
