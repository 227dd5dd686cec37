"""Look for kinks that make no comparison, such as sqrt(z**2), before a gradient is differentiated along draws.

The derivative of the gradient is compared with differences of it, draw by draw, as `method="auto"` compares gradients
with differences of the value, and single draws are bisected for jumps.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from mcgrad import tree
from mcgrad.engine.auto import JUMPS
from mcgrad.engine.finite_differences import FEW, Differences, GradientCheck, farthest
from mcgrad.gradients.jumps import followers
from mcgrad.gradients.methods import METHODS
from mcgrad.gradients.pathwise import PATHWISE
from mcgrad.gradients.plan import VALUE
from mcgrad.gradients.problem import Problem
from mcgrad.gradients.second import Derivatives, Way
from mcgrad.ir.program import Output, Program, Var, toposort, with_bodies
from mcgrad.ir.spaces import Values, param
from mcgrad.results.components import Components
from mcgrad.simplify.fixed_point import simplify

BENDING = {  # may have a kink at some argument, or where what they are infinite at comes back by another op
    *("sqrt", "cbrt", "hypot", "log", "log2", "log10", "log1p", "tan"),
    *("arctan2", "arccos", "arcsin", "arctanh", "arccosh"),
    *("cholesky", "slogdet", "eigvalsh", "eigenvectors"),
    "native_value",
}
DIVISORS = {"divide": 1, "reciprocal": 0, "solve": 0, "solve_triangular": 0}  # the argument that may pass zero
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
    """

    def __init__(self, problem: Problem, looked_at: Sequence[Values]) -> None:
        self._problem, self._looked_at = problem, looked_at

    def __call__(self, made: Derivatives, way: Way, a: str, b: str) -> str:
        """Say how draws show that a gradient jumps; nothing where they do not, or where no op may have a kink."""
        a, b = (b, a) if way.swapped else (a, b)
        if way.then != PATHWISE.name or not METHODS[way.first].follows_draw or not self._may_bend(made, b):
            return ""
        gradient, block = made.gradient(way.first, a, baseline=False), made.block(Way(way.first, way.then), a, b)
        both = simplify(Program((Output(VALUE, gradient), Output(b, block)), "float64"))
        alone = simplify(Program((Output(VALUE, gradient),), "float64"))
        of = Components({b: self._problem.params[b].shape}, {"": gradient.shape})
        affordable = max(int(BUDGET / (4 * FEW * max(both.work(), 1.0))), 1)  # components, of all problems together
        looked_at = self._looked_at[:affordable]
        budget, some = BUDGET / len(looked_at), min(affordable // len(looked_at), COMPONENTS)
        checks: list[GradientCheck] = []
        for values in looked_at:
            q = self._problem.q.with_params(**_own(self._problem, values))
            differences = Differences(q, alone, values, SEED, "float64", of=of)
            checks += differences.check(both, {}, some, FEW, budget, jumps=True)[0]
        if off := farthest(checks):
            return f"its derivative is {off:.0f} standard errors from differences of that gradient"
        if any(check.jumps > JUMPS * check.deviation for check in checks):
            return "draws cross jumps of that gradient, which its derivative at single draws lacks"
        return ""

    def _may_bend(self, made: Derivatives, path: str) -> bool:
        """Whether the value follows a parameter through an op of the user's that may have a kink."""
        value, moved = self._problem.value, followers(self._problem.params[path], [self._problem.value])
        theirs = (var for var in with_bodies(toposort([value])) if var in moved and var not in made.library)
        return any(_may_bend(var, moved) for var in theirs)


def _own(problem: Problem, values: Values) -> dict[str, Any]:
    """Return the values of the distribution's parameters, as its constructor takes them."""
    found = {path: values[param(path)] for path in problem.own}
    return dict(tree.unflatten(found)) if found else {}


def _may_bend(var: Var, moved: Collection[Var]) -> bool:
    if var.op in DIVISORS:
        divisor = var.args[DIVISORS[var.op]]
        return divisor.by_draw and divisor in moved
    if var.op != "power":
        return var.op in BENDING and var.by_draw
    exponent = var.args[1]
    while exponent.op == "broadcast":
        exponent = exponent.args[0]
    return var.by_draw and not (exponent.is_const and bool((exponent.attrs.array % 1 == 0).all()))
