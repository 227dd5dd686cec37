"""Difference quotients of a Program's value with common random numbers, draw by draw, in one component of a parameter.

`finite_differences` compares gradients with them; `crossings` finds jumps where two of them differ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mcgrad import tree
from mcgrad.arrays import to_host
from mcgrad.distributions.base import Distribution
from mcgrad.engine.per_draw import PerDraw
from mcgrad.errors import ParameterError
from mcgrad.gradients.jumps import reaches
from mcgrad.ir import build
from mcgrad.ir.cost import cost
from mcgrad.ir.noise_vars import noise_vars
from mcgrad.ir.ops import OPS
from mcgrad.ir.program import Output, Program, toposort
from mcgrad.ir.spaces import Input, Space, of_space, param
from mcgrad.moments import Float64Array
from mcgrad.results.components import Component
from mcgrad.simplify.fixed_point import simplify
from mcgrad.trace.trace import trace

STEP = 1 / 32
ALONG = "along the vector"  # the path of what moves all parameters in a direction, that of products with a Hessian
SHRINKS = 6  # times that a step may be divided by four, where the second derivative of the integrand is too large
BEND = 0.1  # relative change of a quotient between one step and two that is accepted
FLAT = 1e-3  # of the standard deviation of quotients: accepted change where most draws have almost no slope
SLOWER: dict[float, float] = {
    50: 5.0,
    200: 20.0,
}  # factors by which ops of such costs take longer where they are interpreted
NATIVE = 3000.0  # cost in multiplications of calling a user's function from Python


@dataclass(frozen=True)
class Quotient:
    """Difference quotients of one component, draw by draw.

    Parameters
    ----------
    step : float
        How far the component is moved to either side.
    near, far : array, shape (draws,)
        With this step, and with twice this step.
    """

    step: float
    near: Float64Array
    far: Float64Array

    @property
    def best(self) -> Float64Array:
        """Richardson's extrapolation of the two."""
        return (4 * self.near - self.far) / 3


class Quotients:
    """Difference quotients of one value.

    Parameters
    ----------
    q : Distribution
    value : Program
        Of the value, in float64.
    inputs : dict of Input to array
        Values of all inputs of the Program.
    seed : int
    dtype : {"float32", "float64"}
        Dtype of the draws, parameters and data of the value.
    step : float
        Relative to the standard deviation of the draws that a parameter of q moves, or to the size of a parameter of f.
    contracted : bool
        Whether the quotients are of the linear combination of the value that the cotangent among the inputs makes.

    Attributes
    ----------
    steps : dict of str to array
        Steps by paths of parameters, where they are given.
    work : float
        Multiplications of a draw of the value.
    """

    def __init__(
        self,
        q: Distribution,
        value: Program,
        inputs: Mapping[Input, Any],
        seed: int,
        dtype: str,
        step: float,
        contracted: bool = False,
    ) -> None:
        self.q, self.seed, self.step = q, seed, step
        self.steps: Mapping[str, Float64Array] = {}
        self.inputs = {path: np.asarray(to_host(x)).astype(dtype).astype(np.float64) for path, x in inputs.items()}
        weights = of_space(self.inputs, Space.COTANGENT)
        self._direction = of_space(self.inputs, Space.DIRECTION)
        self._weights = np.concatenate([x.ravel() for x in weights.values()]) if contracted else None
        draws = _draws(q)
        self._value, self._draw = PerDraw(value, dtype), PerDraw(draws, dtype)
        roots = [out.var for out in draws.outputs]
        params = [var for var in toposort(roots) if var.op == "input"]
        self._jumping = {var.attrs.path for var in params if not reaches(var, roots)}
        self.work = float(sum(cost(var) * SLOWER.get(OPS[var.op].cost, 1.0) for var in value.body()))
        self.work += NATIVE * sum(var.op == "native_value" for var in value.body())
        self._found: dict[tuple[Component, int], Quotient] = {}

    def of(self, component: Component, n: int) -> Quotient:
        """Return the quotients of n draws, with a step that is small enough for the curvature of the integrand."""
        if (component, n) not in self._found:
            h = self._first_step(component)
            with np.errstate(all="ignore"):
                for _ in range(SHRINKS):
                    near, far = self._quotient(component, h, n), self._quotient(component, 2 * h, n)
                    # the median ignores the few draws near a jump or a kink; comparisons with NaN are false
                    bent, slope = np.median(np.abs(near - far)), np.median(np.abs(near))
                    if bent <= BEND * slope or bent <= FLAT * np.std(near):
                        break
                    h /= 4
            self._found[component, n] = Quotient(h, near, far)
        return self._found[component, n]

    def value_at(self, component: Component, by: float, draw: int) -> float:
        """Return the value at one draw, with a component moved; 0 where it is not finite."""
        value = float(self.number(component, self._value(self._moved(component, by), self.seed, 1, draw))[0])
        return value if math.isfinite(value) else 0.0

    def number(self, component: Component, values: Float64Array) -> Float64Array:
        """Return what a component is the derivative of, draw by draw, from the value draw by draw."""
        weights = self._weights
        found: Float64Array = values[component.position] if weights is None else weights @ values[: len(weights)]
        return found

    def only_jumps(self, component: Component) -> bool:
        """Whether draws follow a component in jumps alone."""
        paths = self._direction if component.path == ALONG else (component.path,)
        return any(path in self._jumping for path in paths)

    def _quotient(self, component: Component, h: float, n: int) -> Float64Array:
        values = (self._value(self._moved(component, by), self.seed, n) for by in (h, -h))
        up, down = (self.number(component, x) for x in values)
        quotient: Float64Array = (up - down) / (2 * h)
        return quotient

    def _moved(self, component: Component, by: float) -> dict[Input, Any]:
        if component.path == ALONG:
            there = {param(path): self.inputs[param(path)] + by * v for path, v in self._direction.items()}
            return {**self.inputs, **there}
        moved = param(component.path)
        value = np.array(self.inputs[moved], np.float64)
        value[component.indices] += by
        return {**self.inputs, moved: value}

    def _first_step(self, component: Component) -> float:
        """Choose the step of a component: by the move of the draws, or by its own size."""
        path, indices = component.path, component.indices
        if path == ALONG:
            return self._step_along(component)
        if path in self.steps:
            return float(self.steps[path][indices])
        size = abs(float(self.inputs[param(path)][indices])) or 1.0
        if path not in self.q.flat_params:
            return self.step * size
        return self._step_of_draws(component, size)

    def _step_along(self, component: Component) -> float:
        """Choose the step of a direction: the least that any parameter of f, or the draws, would have."""
        sizes = {
            path: float(np.min(np.where(x == 0, 1.0, np.abs(x))[v != 0] / np.abs(v[v != 0])))
            for path, v in self._direction.items()
            for x in [self.inputs[param(path)]]
            if np.any(v)
        }
        steps = [self.step * size for path, size in sizes.items() if path not in self.q.flat_params]
        if own := [size for path, size in sizes.items() if path in self.q.flat_params]:
            steps.append(self._step_of_draws(component, min(own)))
        return min(steps, default=self.step)

    def _step_of_draws(self, component: Component, size: float) -> float:
        """Return the step that moves the draws by a part of their spread, within the constraints of the parameters."""
        tiny, few = 1e-6 * size, 256
        here, there = (self._draw(self._moved(component, by), self.seed, few) for by in (0.0, tiny))
        with np.errstate(all="ignore"):
            deviation, (low, high) = here.std(axis=1), np.quantile(here, [0.25, 0.75], axis=1)
            # the standard deviation of heavy tails means nothing
            spread = np.where(high > low, np.minimum(deviation, high - low), deviation)
            speed = np.sqrt(np.mean(np.square((there - here) / tiny), axis=1))
            usable = (speed > 0) & (spread > 0) & np.isfinite(speed) & np.isfinite(spread)
        step = self.step * (float(np.min(spread[usable] / speed[usable])) if usable.any() else size)
        while step > 1e-9 * size and not (self._accepted(component, 2 * step) and self._accepted(component, -2 * step)):
            step /= 4
        return step

    def _accepted(self, component: Component, by: float) -> bool:
        moved = self._moved(component, by)
        paths = self._direction if component.path == ALONG else (component.path,)
        own = {path: moved[param(path)] for path in paths if path in self.q.flat_params}
        try:
            self.q.validate(tree.unflatten(own))
        except ParameterError:
            return False
        return True


def _draws(q: Distribution) -> Program:
    """Make the Program whose outputs are the draws themselves."""
    params = {path: build.input_(path, array.shape) for path, array in q.flat_params.items()}
    z = trace(q.transform, (tree.unflatten(noise_vars(q.noise)),), tree.unflatten(params) if params else {})
    outputs = tuple(Output(path, build.as_var(leaf)) for path, leaf in tree.flatten(z).items())
    return simplify(Program(outputs, "float64"))
