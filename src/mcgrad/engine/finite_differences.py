"""Compare gradients with central differences with common random numbers: draw by draw, on the reference.

The differences are in float64, of the draws that the gradient has in its own dtype. `verify`, `compare` and
``method="auto"`` compare the Program of a gradient with them, component by component.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np

from mcgrad.distributions.base import Distribution
from mcgrad.engine.crossings import Crossings
from mcgrad.engine.per_draw import PerDraw
from mcgrad.engine.quotients import STEP, Quotient, Quotients
from mcgrad.ir.program import Program
from mcgrad.ir.spaces import Input
from mcgrad.moments import Float64Array, Moments
from mcgrad.results.components import Component, Components

MOST_Z = 5.0  # one of two million unbiased components has a larger z
FEW, MANY = 4_000, 20_000  # draws: the least, and the most that `verify` uses
BUDGET = 1e10  # multiplications in all
NEGLIGIBLE = 2e-5  # of the standard deviation of a draw: with five of these a bias is the standard error of 1e8 draws


@dataclass(frozen=True)
class GradientCheck:
    """One component of the gradient, compared with its finite difference.

    Attributes
    ----------
    component : str
    estimated, finite_difference : float
        Both over the same draws.
    step : float
        How far the parameter was moved to either side; twice as far, too, for Richardson's extrapolation.
    stderr : float
        Standard error of the difference, of paired draws; the finite difference's own error is included.
    z : float
        The difference in standard errors.
    jumps : float
        Size of the contribution of jumps to the derivative, in the draws that were bisected; 0 without a search.
    deviation : float
        Standard deviation of the difference quotient of one draw.
    """

    component: str
    estimated: float
    finite_difference: float
    step: float
    stderr: float
    z: float
    jumps: float = 0.0
    deviation: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether the two agree to `MOST_Z` standard errors; false where either is not finite."""
        return abs(self.z) <= MOST_Z


def farthest(checks: Iterable[GradientCheck]) -> float:
    """Return the largest z of the components that fail, in size; 0 where none does, or none has a finite z."""
    return max((abs(check.z) for check in checks if not check.ok and math.isfinite(check.z)), default=0.0)


class Differences:
    """Finite differences of one problem.

    Parameters
    ----------
    q : Distribution
    value : Program
        Of the value, in float64.
    inputs : dict of Input to array
        Values of all that the Programs read.
    seed : int
    dtype : {"float32", "float64"}
        Dtype of the gradients, whose draws, parameters and data the differences have.
    step : float
        As for `Quotients`.
    of : Components, optional
        The components of the gradients; of one number, if nothing is given.
    """

    def __init__(
        self,
        q: Distribution,
        value: Program,
        inputs: Mapping[Input, Any],
        seed: int,
        dtype: str = "float64",
        step: float = STEP,
        of: Components | None = None,
    ) -> None:
        self.q, self.seed, self._of = q, seed, of
        self.quotients = Quotients(q, value, inputs, seed, dtype, step, of is not None and of.contracted)
        self._crossings = Crossings(self.quotients)

    def components(self, gradient: Program) -> dict[Component, int]:
        """Return the free components of a gradient, and their indices among the components of its outputs."""
        free = self.q.free
        of = self._of or Components({out.path: out.var.shape for out in gradient.outputs[1:]})
        found = ((of[i], i) for i in range(len(of))[of.gradient])
        return {x: i for x, i in found if x.path not in free or free[x.path][x.indices]}

    def check(
        self,
        gradient: Program,
        inputs: Mapping[Input, Any],
        most: int,
        n: int,
        budget: float = BUDGET,
        jumps: bool = False,
        among: Mapping[Component, int] | None = None,
    ) -> tuple[tuple[GradientCheck, ...], int]:
        """Compare `most` components of a gradient, chosen at random where there are more.

        Parameters
        ----------
        gradient : Program
            Of the value and the gradient, in the dtype that it has.
        inputs : dict of Input to array
            Its inputs besides parameters and data, such as baselines.
        most : int
        n : int
            Draws to use, at least `FEW` and within the budget.
        budget : float
            Multiplications in all.
        jumps : bool
            Whether to find jumps in single draws, too, which differences of few draws may not show.
        among : dict of Component to int, optional
            The components to choose from, and where they are among those of the outputs: by default the gradient's.

        Returns
        -------
        tuple of GradientCheck, and the number of draws
        """
        positions = self.components(gradient) if among is None else among
        chosen, n = self._planned(positions, most, n, budget)
        if not chosen:
            return (), 0
        grads, eps = self._draws_of(gradient, inputs, n)
        found = []
        for component in chosen:
            value = self.quotients.number(component, grads)
            unseen = self._unseen(component, value)
            found.append(self._check(component, grads[positions[component]], _size(value), unseen, eps, jumps))
        return tuple(found), n

    def unpaired(
        self, gradient: Program, inputs: Mapping[Input, Any], most: int, n: int, budget: float = BUDGET
    ) -> tuple[tuple[GradientCheck, ...], int]:
        """Compare components of a gradient with other draws, such as one of groups, by means alone."""
        positions = self.components(gradient)
        chosen, n = self._planned(positions, most, n, budget)
        if not chosen:
            return (), 0
        grads, eps = self._draws_of(gradient, inputs, n)
        found = []
        for component in chosen:
            value = self.quotients.number(component, grads)
            size = _size(value)
            quotient, grad = self.quotients.of(component, n), grads[positions[component]]
            with np.errstate(all="ignore"):
                both = Moments.of(np.stack([quotient.best, grad]))
                allowed = _rounding(quotient, size, grad, eps) + NEGLIGIBLE * float(both.deviation[0])
                allowed += self._unseen(component, value)
                stderr = math.hypot(*both.stderr, allowed)
                means = float(np.mean(grad)), float(np.mean(quotient.best))
                z = (means[0] - means[1]) / stderr if stderr else 0.0
            z = z if math.isfinite(z) else math.inf
            found.append(GradientCheck(str(component), *means, quotient.step, stderr, z))
        return tuple(found), n

    def _draws_of(self, gradient: Program, inputs: Mapping[Input, Any], n: int) -> tuple[Float64Array, float]:
        """Value and gradient draw by draw, and the relative rounding of the dtype that they were computed in."""
        grads = PerDraw(gradient)({**self.quotients.inputs, **inputs}, self.seed, n).astype(np.float64)
        return grads, float(np.finfo(gradient.dtype).eps)

    def _planned(
        self, positions: Mapping[Component, int], most: int, n: int, budget: float
    ) -> tuple[Sequence[Component], int]:
        """Return the components to compare, and the number of draws."""
        chosen = self._chosen([*positions], most)
        affordable = budget / (4 * max(len(chosen), 1) * max(self.quotients.work, 1.0))
        return chosen, max(min(n, int(affordable)), FEW)

    def chosen(self, gradient: Program, most: int) -> Sequence[Component]:
        """Return the components of a gradient to compare: some of each parameter in turn."""
        return self._chosen([*self.components(gradient)], most)

    def _chosen(self, components: Sequence[Component], most: int) -> Sequence[Component]:
        if len(components) <= most:
            return components
        rng = np.random.default_rng(self.seed)
        by_path: dict[str, list[int]] = {}
        for i in rng.permutation(len(components)):
            by_path.setdefault(components[i].path, []).append(int(i))
        turns = [i for turn in zip_longest(*by_path.values()) for i in turn if i is not None]
        return [components[i] for i in sorted(turns[:most])]

    def _check(
        self, component: Component, grad: Float64Array, size: float, unseen: float, eps: float, jumps: bool
    ) -> GradientCheck:
        quotient = self.quotients.of(component, len(grad))
        with np.errstate(all="ignore"):
            best = quotient.best
            gap = grad - best
            deviation = float(Moments.of(best[None]).deviation[0])
            allowed = _rounding(quotient, size, grad, eps) + NEGLIGIBLE * deviation + unseen
            stderr = math.hypot(float(Moments.of(gap[None]).stderr[0]), allowed)
            mean = float(np.mean(gap))
        finite = math.isfinite(mean) and math.isfinite(stderr)
        z = (mean / stderr if mean else 0.0) if finite else math.inf
        means = float(np.mean(grad)), float(np.mean(best))
        crossed = self._crossings.contribution(component, grad, size) if jumps else 0.0
        return GradientCheck(str(component), *means, quotient.step, stderr, z, crossed, deviation)

    def _unseen(self, component: Component, values: Float64Array) -> float:
        """Return what one more draw with a jump would add to the mean quotient, where draws follow in jumps alone.

        Where few draws jump, or none, the scatter of the quotients does not measure how many might have.
        """
        if not self.quotients.only_jumps(component):
            return 0.0
        return float(np.ptp(values)) / (2 * self.quotients.of(component, len(values)).step * len(values))


def _rounding(quotient: Quotient, size: float, grad: Float64Array, eps: float) -> float:
    """Return bounds of the errors by rounding, and by the size of steps, of differences and of a gradient of `eps`."""
    rounding = 64 * np.finfo(np.float64).eps * size / quotient.step
    if eps > np.finfo(np.float64).eps:
        rounding += 64 * eps * _size(grad)
    return float(rounding + 0.05 * abs(np.mean(quotient.near - quotient.far)))


def _size(x: Float64Array) -> float:
    """Return the root mean square of numbers whose squares may overflow, or vanish."""
    moments = Moments.of(x[None])
    return math.hypot(float(moments.mean[0]), float(moments.deviation[0]))
