"""Look for kinks that make no comparison, such as sqrt(z**2), before a gradient is differentiated along draws.

Equations are refused that the ranges of their arguments do not prove to be smooth (`gradients/smoothness`). Of
functions of matrices, Integrands and norms that is not known, and a user may know better: there the derivative of the
gradient is compared with differences of it, draw by draw, as `method="auto"` compares gradients with differences of the
value, and single draws are bisected for jumps.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from mcgrad import tree
from mcgrad.differentiate.modes import pushed_forward
from mcgrad.engine.auto import JUMPS
from mcgrad.engine.finite_differences import FEW, Differences, GradientCheck, farthest
from mcgrad.gradients.jumps import followers
from mcgrad.gradients.kinks import said
from mcgrad.gradients.methods import METHODS
from mcgrad.gradients.pathwise import PATHWISE
from mcgrad.gradients.plan import VALUE
from mcgrad.gradients.problem import Problem
from mcgrad.gradients.second import Derivatives, Way
from mcgrad.gradients.smoothness import Smoothness
from mcgrad.ir.build import broadcast, concatenate, const, reshape, take
from mcgrad.ir.ops import OPS
from mcgrad.ir.program import Output, Program, Var
from mcgrad.ir.spaces import Values, param
from mcgrad.noise import Shape
from mcgrad.results.components import Component
from mcgrad.simplify.fixed_point import simplify

COMPONENTS = 8  # of the second derivatives in a pair of parameters that are looked at
BUDGET = 4e8  # multiplications
SEED = 0


class UnseenKinks:
    """Looks at the gradients of one problem.

    Parameters
    ----------
    problem : Problem
    looked_at : sequence of dict of Input to array
        Values of its inputs on the host: of a batch those of some rows, of which fewer are looked at where one is much
        work.
    asked : bool
        Whether the user says that the gradient is differentiated along draws: draws alone may then refuse it.
    """

    def __init__(self, problem: Problem, looked_at: Sequence[Values], asked: bool = False) -> None:
        self._problem, self._looked_at, self._asked = problem, looked_at, asked

    def __call__(self, made: Derivatives, way: Way, a: str, b: str) -> str:
        """Say how draws show that a gradient jumps; nothing where they do not, or where no op may have a kink."""
        a, b = (b, a) if way.swapped else (a, b)
        if way.then != PATHWISE.name or not METHODS[way.first].follows_draw:
            return ""
        unsure = self._unsure(made, a, b)
        for var, is_norm in unsure.items():
            if OPS[var.op].category == "elementwise" and not is_norm and not self._asked:
                line = self._problem.lines.get(var)
                place = f" {said(line)}" if line else ""
                return (
                    f"{var.op}{place} may have a kink, or be infinite, in some draws "
                    "(where you know that it has not, give hessian_method='pathwise')"
                )
        if not unsure:
            return ""
        gradient = made.gradient(way.first, a, baseline=False)
        alone, both, among = self._programs(gradient, b)
        affordable = max(int(BUDGET / (4 * FEW * max(both.work(), 1.0))), 1)  # components, of all problems together
        looked_at = self._looked_at[:affordable]
        budget, some = BUDGET / len(looked_at), affordable // len(looked_at)
        checks: list[GradientCheck] = []
        for values in looked_at:
            q = self._problem.q.with_params(**_own(self._problem, values))
            differences = Differences(q, alone, values, SEED)
            checks += differences.check(both, {}, some, FEW, budget, jumps=True, among=among)[0]
        if off := farthest(checks):
            return f"its derivative is {off:.0f} standard errors from differences of that gradient"
        if any(check.jumps > JUMPS * check.deviation for check in checks):
            return "draws cross jumps of that gradient, which its derivative at single draws lacks"
        return ""

    def _programs(self, gradient: Var, path: str) -> tuple[Program, Program, dict[Component, int]]:
        """Make some numbers of a gradient, and with these their derivatives in a component of a parameter each.

        Returns
        -------
        alone, both : Program
            Without and with the derivatives.
        among : dict of Component to int
            Where these are among the numbers of the second.
        """
        source = self._problem.params[path]
        moved = np.flatnonzero(np.broadcast_to(self._problem.q.free.get(path, True), source.shape))
        rng, size = np.random.default_rng(SEED), gradient.size * len(moved)
        chosen = np.sort(rng.choice(size, min(size, COMPONENTS), replace=False, shuffle=False))
        numbers, columns = chosen // len(moved), moved[chosen % len(moved)]
        value = Output(VALUE, take(reshape(gradient, (gradient.size,)), numbers))
        tangents = {int(i): _tangent(value.var, source, int(i)) for i in dict.fromkeys(columns)}
        derivatives = [take(tangents[int(i)], np.array([number])) for number, i in enumerate(columns)]
        both = (value, Output(path, concatenate(derivatives, 0)))
        components = [
            Component(path, _index(int(i), source.shape), position=number) for number, i in enumerate(columns)
        ]
        among = {component: len(numbers) + number for number, component in enumerate(components)}
        return simplify(Program((value,), "float64")), simplify(Program(both, "float64")), among

    def _unsure(self, made: Derivatives, a: str, b: str) -> dict[Var, bool]:
        """Return equations of the user's that may have a kink, and whether each is a norm."""
        value, params = self._problem.value, self._problem.params
        of_a, of_b = (followers(params[path], [value]) for path in (a, b))
        found: dict[Var, bool] = {}
        for known in self._smoothness:
            theirs = (var for var in known.unsure(of_a, of_b) if var not in made.library)
            found |= {var: known.is_norm(var) for var in theirs if var not in found}
        return found

    @cached_property
    def _smoothness(self) -> list[Smoothness]:
        return [Smoothness(self._problem.value, values) for values in self._looked_at]


def _index(place: int, shape: Shape) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(place, shape)) if shape else ()


def _tangent(value: Var, source: Var, component: int) -> Var:
    """Return the derivative of a vector in a component of a parameter."""
    seed = np.zeros(source.size)
    seed[component] = 1.0
    (found,) = pushed_forward([value], {source: const(seed.reshape(source.shape))}, few=source.size > 1)
    return broadcast(const(0.0), value.shape) if found is None else found


def _own(problem: Problem, values: Values) -> dict[str, Any]:
    """Return the values of the distribution's parameters, as its constructor takes them."""
    found = {path: values[param(path)] for path in problem.own}
    return dict(tree.unflatten(found)) if found else {}
