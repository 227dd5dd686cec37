"""A stochastic differential equation with its grid and motions: what all schemes read of a step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mcgrad.paths.constructions import Construction
from mcgrad.sde import diffusion as diffusions, jumps as jumping
from mcgrad.sde.grid import Grid, grid
from mcgrad.sde.motion import Motion, motion
from mcgrad.sde.state import called, check_shapes, start
from mcgrad.sde.walk import Now, by_step, walk
from mcgrad.trace.nested import mapped

Function = Callable[..., Any]


@dataclass(frozen=True, slots=True, eq=False)
class Equation:
    """What is stepped: dx = drift dt + diffusion dW + jump dJ, over a grid.

    Parameters
    ----------
    drift, diffusion : callable
    x0 : nested arrays
    grid : Grid
    motion : Motion
    xs : nested arrays or None
        What both functions get an element of at each step.
    jumps : nested arrays or None
    jump : callable or None
    """

    drift: Function | None
    diffusion: Function
    x0: Any
    grid: Grid
    motion: Motion
    xs: Any
    jumps: Any = None
    jump: Function | None = None

    def rate(self, t: Any, x: Any, now: Now) -> Any:
        """Return the drift, nested as the state is."""
        if self.drift is None:
            return mapped(lambda path, _: 0.0, x)
        found = called(self.drift, x, self.arguments(t, x, now), "drift")
        check_shapes(self.drift, x, found, "drift")
        return found

    def values(self, t: Any, x: Any, now: Now) -> Any:
        """Return the values of the diffusion."""
        return diffusions.values(self.diffusion, x, self.arguments(t, x, now))

    def driven(self, g: Any, x: Any, dw: Any) -> Any:
        """Return the product of the diffusion's values and increments of the motions."""
        return diffusions.driven(g, x, dw, self.motion, self.diffusion)

    def arguments(self, t: Any, x: Any, now: Now) -> tuple[Any, ...]:
        """Return what the user's functions are called with."""
        return (t, x) if self.xs is None else (t, x, now["xs"])

    def variance(self, g: Any, x: Any, dt: Any) -> Any:
        """Return the variance of the increment of a step, each number's."""
        return mapped(lambda path, v: v * dt, diffusions.variance(g, x, self.motion))

    def jumped(self, x: Any, now: Now) -> Any:
        """Return the state after the jumps of a step."""
        return x if self.jumps is None else jumping.after(now["jumps"], x, self.jump, self.arguments(now["t"], x, now))

    def increments(self, now: Now) -> tuple[Any, Any]:
        """Return the length of a step and the increments of the motions in it."""
        dt, root = self.grid.of_step(now)
        return dt, self.motion.of_step(now["noise"], root)

    def walked(self, advance: Callable[[Now, Any], tuple[Any, Any, Any]], reduce: Any, observe: Any) -> Any:
        """Return what is kept of the path."""
        arrays = {"noise": self.motion.noise, "xs": self.xs, "jumps": self.jumps}
        return walk(advance, self.x0, self.grid, arrays, reduce, observe)


def equation_of(
    drift: Function | None,
    diffusion: Function,
    x0: Any,
    times: Any,
    z: Any,
    *,
    xs: Any,
    correlation: Any,
    scale_tril: Any,
    construction: Construction,
    substeps: int,
    jumps: Any = None,
    jump: Function | None = None,
) -> Equation:
    """Check the arguments of a scheme."""
    steps, x = grid(times, substeps), start(x0)
    driving = motion(z, x, steps, construction, correlation, scale_tril)
    data = by_step("xs", xs, steps)
    return Equation(drift, diffusion, x, steps, driving, data, jumping.checked(jumps, x, steps), jump)
