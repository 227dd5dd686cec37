"""The gradient against central differences with common random numbers: draw by draw, in float64, on the reference."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mcgrad import noise as noises
from mcgrad import tree
from mcgrad.agreement import label
from mcgrad.distributions.base import Distribution
from mcgrad.errors import ParameterError
from mcgrad.ir import build
from mcgrad.ir.program import Output, Program
from mcgrad.moments import Float64Array, Moments
from mcgrad.perdraw import PerDraw
from mcgrad.simplify import simplify
from mcgrad.trace.trace import trace

MOST_Z = 5.0  # of two million right components one is further from its finite difference
STEP = 1 / 32
SHRINKS = 6  # times that a step may become a quarter, where the integrand bends too much for it
FEW, MANY = 4_000, 20_000  # draws, by what they cost and are asked for
BUDGET = 1e10  # multiplications in all

Component = tuple[str, tuple[int, ...]]  # path of a parameter and index in it


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
    """

    component: str
    estimated: float
    finite_difference: float
    step: float
    stderr: float
    z: float

    @property
    def ok(self) -> bool:
        """Whether the two agree to `MOST_Z` standard errors; false where either is not finite."""
        return abs(self.z) <= MOST_Z


class Differences:
    """Finite differences of one problem.

    Parameters
    ----------
    q : Distribution
    gradient, value : Program
        Of the value and the gradient, and of the value alone, from the same noise, in float64.
    inputs : dict of str to array
        Values of all that the Programs read.
    seed : int
    step : float
        Relative to the standard deviation of what a parameter of q moves, or to the size of a parameter of f.
    """

    def __init__(
        self,
        q: Distribution,
        gradient: Program,
        value: Program,
        inputs: Mapping[str, Any],
        seed: int,
        step: float = STEP,
    ) -> None:
        self.q, self.inputs, self.seed, self.step = q, inputs, seed, step
        self.gradient, self.value, self.draw = PerDraw(gradient), PerDraw(value), PerDraw(_draws(q))
        self.work = value.work()
        free = q.free
        self.components: list[Component] = []
        self._rows: dict[Component, int] = {}
        row = 1
        for out in gradient.outputs[1:]:
            for index in np.ndindex(out.var.shape):
                if out.path not in free or free[out.path][index]:
                    self.components.append((out.path, index))
                    self._rows[out.path, index] = row
                row += 1

    def check(self, most: int, n: int, budget: float = BUDGET) -> tuple[tuple[GradientCheck, ...], int]:
        """Look at `most` components, chosen at random where there are more; return also the number of draws.

        Parameters
        ----------
        most : int
        n : int
            Draws to use, within `FEW`, `MANY` and the budget.
        budget : float
            Multiplications in all.
        """
        chosen = self.components
        if len(chosen) > most:
            picked = np.random.default_rng(self.seed).choice(len(chosen), most, replace=False)
            chosen = [chosen[i] for i in sorted(picked)]
        if not chosen:
            return (), 0
        affordable = budget / (4 * len(chosen) * max(self.work, 1.0))
        n = max(min(n, int(affordable), MANY), FEW)
        grads = self.gradient(self.inputs, self.seed, n)
        size = _size(grads[0])
        return tuple(self._check(component, grads[self._rows[component]], size, n) for component in chosen), n

    def _check(self, component: Component, grad: Float64Array, size: float, n: int) -> GradientCheck:
        h = self._first_step(component)
        with np.errstate(all="ignore"):
            for _ in range(SHRINKS):
                near, far = self._quotient(component, h, n), self._quotient(component, 2 * h, n)
                # by the median, so that the few draws near a jump or a kink do not count; NaN is not <=
                if np.median(np.abs(near - far)) <= 0.1 * np.median(np.abs(near)):
                    break
                h /= 4
            quotient = (4 * near - far) / 3
            gap = grad - quotient
            rounding = 64 * np.finfo(np.float64).eps * size / h
            truncation = 0.01 * abs(float(np.mean(near - far)))
            stderr = math.hypot(float(Moments.of(gap[None]).stderr[0]), rounding + truncation)
            mean = float(np.mean(gap))
        finite = math.isfinite(mean) and math.isfinite(stderr)
        z = (mean / stderr if mean else 0.0) if finite else math.inf
        return GradientCheck(label(*component), float(np.mean(grad)), float(np.mean(quotient)), h, stderr, z)

    def _quotient(self, component: Component, h: float, n: int) -> Float64Array:
        up, down = (self.value(self._moved(component, by), self.seed, n)[0] for by in (h, -h))
        quotient: Float64Array = (up - down) / (2 * h)
        return quotient

    def _moved(self, component: Component, by: float) -> dict[str, Any]:
        path, index = component
        value = np.array(self.inputs[path], np.float64)
        value[index] += by
        return {**self.inputs, path: value}

    def _first_step(self, component: Component) -> float:
        """Choose how far to move a component: by what it does to the draws, or by its own size."""
        path, index = component
        size = abs(float(self.inputs[path][index])) or 1.0
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
            self.q.validate(tree.unflatten({path: self._moved(component, by)[path]}))
        except ParameterError:
            return False
        return True


def _draws(q: Distribution) -> Program:
    """Make the Program whose outputs are the draws themselves."""
    sources = enumerate(noises.sources(q.noise).items())
    eps = {path: build.noise(i, source.kind, source.shape) for i, (path, source) in sources}
    params = {path: build.input_(path, array.shape) for path, array in q.flat_params.items()}
    z = trace(q.transform, (tree.unflatten(eps),), tree.unflatten(params) if params else {})
    outputs = tuple(Output(path, build.as_var(leaf)) for path, leaf in tree.flatten(z).items())
    return simplify(Program(outputs, "float64"))


def _size(x: Float64Array) -> float:
    """Return the root mean square of numbers whose squares may overflow, or vanish."""
    moments = Moments.of(x[None])
    return math.hypot(float(moments.mean[0]), float(moments.deviation[0]))
