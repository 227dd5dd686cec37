"""Gradients against central differences with common random numbers: draw by draw, on the reference.

The differences are in float64, of the draws that the gradient has in its own dtype.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np

from mcgrad import tree
from mcgrad.arrays import to_host
from mcgrad.distributions.base import Distribution
from mcgrad.engine.per_draw import PerDraw
from mcgrad.errors import ParameterError
from mcgrad.gradients.jumps import reaches
from mcgrad.ir import build
from mcgrad.ir.draws import noise_vars
from mcgrad.ir.ops import OPS
from mcgrad.ir.program import Output, Program, cost, toposort
from mcgrad.ir.spaces import Input, param
from mcgrad.moments import Float64Array, Moments
from mcgrad.results.components import Component, Components
from mcgrad.simplify.passes import simplify
from mcgrad.trace.trace import trace

MOST_Z = 5.0  # of two million right components one is further from its finite difference
STEP = 1 / 32
SHRINKS = 6  # times that a step may become a quarter, where the integrand bends too much for it
FEW, MANY = 4_000, 20_000  # draws, by what they cost and are asked for
BUDGET = 1e10  # multiplications in all
SLOWER: dict[float, float] = {50: 5.0, 200: 20.0}  # factors for ops of such costs where they are interpreted
NATIVE = 3000.0  # multiplications that a call of a function of the user from Python costs

SMOOTH = 0.05  # two quotients of a draw that agree to this part see no jump
SUSPECTS = 8  # draws in which a jump is looked for, those whose quotients differ most
BISECTIONS = 14  # of the interval in which it is
SHORT = 4 * 0.5**BISECTIONS  # length of the last one, in steps
EARLY, SLOW = 5, 0.04  # after so many there is less than this part of the change left of what only bends
BEND = 0.1  # part of a quotient that may change between one step and two, by bending
FLAT = 1e-3  # standard deviations of a quotient that this may be where most draws have next to no slope
NEGLIGIBLE = 2e-5  # of the standard deviation of a draw: with five of these a bias is the standard error of 1e8 draws
ROUNDING = 1e4  # units in the last place of the value, below which nothing is a jump
STEEP = 10.0  # times the mean slope: what changes so much faster, after the last, jumps as far as draws can tell


@dataclass(frozen=True)
class GradientCheck:
    """One component of the gradient against its finite difference.

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
        What jumps that draws cross contribute to the derivative, as far as they were looked for; without a sign.
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


@dataclass(frozen=True)
class Quotients:
    """Difference quotients of one component, draw by draw, with one step and with two."""

    step: float
    near: Float64Array
    far: Float64Array


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
        Of the gradients that are looked at: whose draws, parameters and data the differences have.
    step : float
        Relative to the standard deviation of what a parameter of q moves, or to the size of a parameter of f.

    Attributes
    ----------
    steps : dict of str to array
        The steps themselves, by the paths of parameters, where they are given.
    """

    def __init__(
        self,
        q: Distribution,
        value: Program,
        inputs: Mapping[Input, Any],
        seed: int,
        dtype: str = "float64",
        step: float = STEP,
    ) -> None:
        self.q, self.seed, self.step = q, seed, step
        self.steps: Mapping[str, Float64Array] = {}
        self.inputs = {path: np.asarray(to_host(x)).astype(dtype).astype(np.float64) for path, x in inputs.items()}
        draws = _draws(q)
        self.value, self.draw = PerDraw(value, dtype), PerDraw(draws, dtype)
        roots = [out.var for out in draws.outputs]
        params = [var for var in toposort(roots) if var.op == "input"]
        self._jumping = {var.attrs.path for var in params if not reaches(var, roots)}
        self.work = float(sum(cost(var) * SLOWER.get(OPS[var.op].cost, 1.0) for var in value.body()))
        self.work += NATIVE * sum(var.op == "native_value" for var in value.body())
        self._quotients: dict[tuple[Component, int], Quotients] = {}
        self._crossed: dict[tuple[Component, int], tuple[float, list[tuple[int, float, float]]]] = {}

    def components(self, gradient: Program) -> dict[Component, int]:
        """Return the components of a gradient that may move, and where they are among those of its outputs."""
        free = self.q.free
        found = Components({out.path: out.var.shape for out in gradient.outputs[1:]})
        return {x: i for i, x in enumerate(found) if i and (x.path not in free or free[x.path][x.indices])}

    def check(
        self,
        gradient: Program,
        inputs: Mapping[Input, Any],
        most: int,
        n: int,
        budget: float = BUDGET,
        jumps: bool = False,
    ) -> tuple[tuple[GradientCheck, ...], int]:
        """Look at `most` components of a gradient, chosen at random where there are more.

        Parameters
        ----------
        gradient : Program
            Of the value and the gradient, in the dtype that it has.
        inputs : dict of Input to array
            What it reads besides parameters and data: baselines.
        most : int
        n : int
            Draws to use, at least `FEW` and within the budget.
        budget : float
            Multiplications in all.
        jumps : bool
            Whether to look for jumps in single draws, too, which differences of few draws would not show.

        Returns
        -------
        tuple of GradientCheck, and the number of draws
        """
        positions, chosen, n = self._planned(gradient, most, n, budget)
        if not chosen:
            return (), 0
        grads, eps = self._draws_of(gradient, inputs, n)
        size, found = _size(grads[0]), []
        for component in chosen:
            unseen = self._unseen(component, grads[0], self._found(component, n))
            found.append(self._check(component, grads[positions[component]], size, unseen, eps, jumps))
        return tuple(found), n

    def unpaired(
        self, gradient: Program, inputs: Mapping[Input, Any], most: int, n: int, budget: float = BUDGET
    ) -> tuple[tuple[GradientCheck, ...], int]:
        """Look at components of a gradient whose draws are others, as those of groups are: by the means alone."""
        positions, chosen, n = self._planned(gradient, most, n, budget)
        if not chosen:
            return (), 0
        grads, eps = self._draws_of(gradient, inputs, n)
        size, found = _size(grads[0]), []
        for component in chosen:
            quotients, grad = self._found(component, n), grads[positions[component]]
            with np.errstate(all="ignore"):
                best = (4 * quotients.near - quotients.far) / 3
                both = Moments.of(np.stack([best, grad]))
                allowed = _rounding(quotients, size, grad, eps) + NEGLIGIBLE * float(both.deviation[0])
                allowed += self._unseen(component, grads[0], quotients)
                stderr = math.hypot(*both.stderr, allowed)
                means = float(np.mean(grad)), float(np.mean(best))
                z = (means[0] - means[1]) / stderr if stderr else 0.0
            z = z if math.isfinite(z) else math.inf
            found.append(GradientCheck(str(component), *means, quotients.step, stderr, z))
        return tuple(found), n

    def _draws_of(self, gradient: Program, inputs: Mapping[Input, Any], n: int) -> tuple[Float64Array, float]:
        """Value and gradient draw by draw, and the relative rounding of the dtype that they were computed in."""
        grads = PerDraw(gradient)({**self.inputs, **inputs}, self.seed, n).astype(np.float64)
        return grads, float(np.finfo(gradient.dtype).eps)

    def _planned(
        self, gradient: Program, most: int, n: int, budget: float
    ) -> tuple[dict[Component, int], Sequence[Component], int]:
        """Where components are among outputs, those that are looked at, and the number of draws."""
        positions = self.components(gradient)
        chosen = self.chosen(gradient, most)
        affordable = budget / (4 * max(len(chosen), 1) * max(self.work, 1.0))
        return positions, chosen, max(min(n, int(affordable)), FEW)

    def chosen(self, gradient: Program, most: int) -> Sequence[Component]:
        """Return the components of a gradient that are looked at: some of each parameter in turn."""
        components = list(self.components(gradient))
        if len(components) <= most:
            return components
        rng = np.random.default_rng(self.seed)
        by_path: dict[str, list[int]] = {}
        for i in rng.permutation(len(components)):
            by_path.setdefault(components[i][0], []).append(int(i))
        turns = [i for turn in zip_longest(*by_path.values()) for i in turn if i is not None]
        return [components[i] for i in sorted(turns[:most])]

    def _check(
        self, component: Component, grad: Float64Array, size: float, unseen: float, eps: float, jumps: bool
    ) -> GradientCheck:
        found = self._found(component, len(grad))
        h, near, far = found.step, found.near, found.far
        with np.errstate(all="ignore"):
            quotient = (4 * near - far) / 3
            gap = grad - quotient
            deviation = float(Moments.of(quotient[None]).deviation[0])
            allowed = _rounding(found, size, grad, eps) + NEGLIGIBLE * deviation + unseen
            stderr = math.hypot(float(Moments.of(gap[None]).stderr[0]), allowed)
            mean = float(np.mean(gap))
        finite = math.isfinite(mean) and math.isfinite(stderr)
        z = (mean / stderr if mean else 0.0) if finite else math.inf
        means = float(np.mean(grad)), float(np.mean(quotient))
        crossed = self._jumps(component, grad, size) if jumps else 0.0
        return GradientCheck(str(component), *means, h, stderr, z, crossed, deviation)

    def _found(self, component: Component, n: int) -> Quotients:
        """Difference quotients with a step for which the integrand does not bend too much."""
        if (component, n) not in self._quotients:
            h = self._first_step(component)
            with np.errstate(all="ignore"):
                for _ in range(SHRINKS):
                    near, far = self._quotient(component, h, n), self._quotient(component, 2 * h, n)
                    # by the median, so that the few draws near a jump or a kink do not count; NaN is not <=
                    bent, slope = np.median(np.abs(near - far)), np.median(np.abs(near))
                    if bent <= BEND * slope or bent <= FLAT * np.std(near):
                        break
                    h /= 4
            self._quotients[component, n] = Quotients(h, near, far)
        return self._quotients[component, n]

    def _unseen(self, component: Component, values: Float64Array, quotients: Quotients) -> float:
        """Return what one draw more that jumps would add to the mean quotient, where draws follow in jumps alone.

        Where few draws jump, or none, the quotients' own scatter says too little of how many might have.
        """
        if component[0] not in self._jumping:
            return 0.0
        return float(np.ptp(values)) / (2 * quotients.step * len(quotients.near))

    def _jumps(self, component: Component, grad: Float64Array, size: float) -> float:
        """Add up the changes of the value that are left of single draws' moves when these are bisected.

        Of a value that bends nothing is left but what its slope explains. `size` is that of the value, which rounds.
        """
        n = len(grad)
        key = component, n
        if key not in self._crossed:
            self._crossed[key] = self._crossings(component, n, size)
        share, crossings = self._crossed[key]
        h = self._found(component, n).step
        steep = [across for i, across, slope in crossings if across > STEEP * (slope + abs(grad[i])) * h * SHORT]
        return share * sum(steep) / (4 * h * n)

    def _crossings(self, component: Component, n: int, size: float) -> tuple[float, list[tuple[int, float, float]]]:
        """Return draws, what is left of the change of the value in each, and its mean slope.

        Of those draws whose quotients with one step and with two differ most; the number before says of how many more.
        """
        found = self._found(component, n)
        h, near, far = found.step, found.near, found.far
        with np.errstate(all="ignore"):
            gap, least = np.abs(near - far), ROUNDING * np.finfo(np.float64).eps * size
            suspect = np.flatnonzero((gap > SMOOTH * (np.abs(near) + np.abs(far))) & (gap * h > least))
        crossings = []
        for i in suspect[np.argsort(-gap[suspect], kind="stable")][:SUSPECTS]:
            at = {by: self._at(component, by, int(i)) for by in (-2 * h, 2 * h)}
            low, high = at
            whole = abs(at[high] - at[low])
            for step in range(BISECTIONS):
                middle = (low + high) / 2
                at[middle] = self._at(component, middle, int(i))
                low, high = max(((low, middle), (middle, high)), key=lambda ends: abs(at[ends[1]] - at[ends[0]]))
                if step == EARLY and abs(at[high] - at[low]) < SLOW * whole:
                    break
            else:
                across, slope = abs(at[high] - at[low]), max(abs(near[i]), abs(far[i]), whole / (4 * h))
                if across > least:
                    crossings.append((int(i), across, slope))
        return (len(suspect) / min(len(suspect), SUSPECTS) if len(suspect) else 0.0), crossings

    def _at(self, component: Component, by: float, draw: int) -> float:
        """The value at one draw, with a component moved."""
        value = float(self.value(self._moved(component, by), self.seed, 1, draw)[0, 0])
        return value if math.isfinite(value) else 0.0

    def _quotient(self, component: Component, h: float, n: int) -> Float64Array:
        up, down = (self.value(self._moved(component, by), self.seed, n)[0] for by in (h, -h))
        quotient: Float64Array = (up - down) / (2 * h)
        return quotient

    def _moved(self, component: Component, by: float) -> dict[Input, Any]:
        path, index = component
        value = np.array(self.inputs[param(path)], np.float64)
        value[index] += by
        return {**self.inputs, param(path): value}

    def _first_step(self, component: Component) -> float:
        """Choose how far to move a component: by what it does to the draws, or by its own size."""
        path, index = component
        if path in self.steps:
            return float(self.steps[path][index])
        size = abs(float(self.inputs[param(path)][index])) or 1.0
        if path not in self.q.flat_params:
            return self.step * size
        tiny, few = 1e-6 * size, 256
        here, there = (self.draw(self._moved(component, by), self.seed, few) for by in (0.0, tiny))
        with np.errstate(all="ignore"):
            deviation, (low, high) = here.std(axis=1), np.quantile(here, [0.25, 0.75], axis=1)
            spread = np.where(
                high > low, np.minimum(deviation, high - low), deviation
            )  # heavy tails deviate by anything
            speed = np.sqrt(np.mean(np.square((there - here) / tiny), axis=1))
            usable = (speed > 0) & (spread > 0) & np.isfinite(speed) & np.isfinite(spread)
        step = self.step * (float(np.min(spread[usable] / speed[usable])) if usable.any() else size)
        while step > 1e-9 * size and not (self._accepted(component, 2 * step) and self._accepted(component, -2 * step)):
            step /= 4
        return step

    def _accepted(self, component: Component, by: float) -> bool:
        path = component[0]
        try:
            self.q.validate(tree.unflatten({path: self._moved(component, by)[param(path)]}))
        except ParameterError:
            return False
        return True


def _draws(q: Distribution) -> Program:
    """Make the Program whose outputs are the draws themselves."""
    params = {path: build.input_(path, array.shape) for path, array in q.flat_params.items()}
    z = trace(q.transform, (tree.unflatten(noise_vars(q.noise)),), tree.unflatten(params) if params else {})
    outputs = tuple(Output(path, build.as_var(leaf)) for path, leaf in tree.flatten(z).items())
    return simplify(Program(outputs, "float64"))


def _rounding(quotients: Quotients, size: float, grad: Float64Array, eps: float) -> float:
    """Return what rounding, and steps that are not small, may have made of differences and of a gradient of `eps`."""
    rounding = 64 * np.finfo(np.float64).eps * size / quotients.step
    if eps > np.finfo(np.float64).eps:
        rounding += 64 * eps * _size(grad)
    return float(rounding + 0.05 * abs(np.mean(quotients.near - quotients.far)))


def _size(x: Float64Array) -> float:
    """Return the root mean square of numbers whose squares may overflow, or vanish."""
    moments = Moments.of(x[None])
    return math.hypot(float(moments.mean[0]), float(moments.deviation[0]))
