"""What happens between the times of a path: the probability not to reach a barrier, and extrema, by Brownian bridges.

Given the path at both ends of a step and its variance v in the step, the path between them is a Brownian bridge where
the coefficients are constant in the step. From x to y it stays below b with the probability
1 - exp(-2 (b - x) (b - y) / v), and its maximum is (x + y + sqrt((y - x)^2 - 2 v log u)) / 2 for a uniform u
(Glasserman, *Monte Carlo methods in financial engineering*, 2003, section 6.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mcgrad.errors import ParameterError, shown
from mcgrad.sde.reductions import Step, part_of
from mcgrad.sde.state import shape_of
from mcgrad.trace.tracer import Tracer

SHIFT = 0.5825971579390106  # -zeta(1/2) / sqrt(2 pi)
MOST = 100.0  # an exponent beyond which a bridge does not reach the barrier: exp(-100) = 4e-44
LEAST = 1e-30  # a variance in place of zero
IMAGES = 3  # of two barriers, in each direction
CORRECTIONS = ("bridge", "shift", None)


@dataclass(frozen=True, slots=True, eq=False)
class Survival:
    """The probability that a path has not reached a barrier, given its values at the times: a reduction.

    A payoff times the survival has the value of the payoff of paths that do not reach the barrier, and is a smooth
    function of what the path depends on, so that pathwise gradients are right.

    Parameters
    ----------
    lower, upper : number, array or callable, optional
        The barriers, one or both; they may be traced. Of an array state a barrier is for each number of it. One alone
        may be a function of t: between the ends of a step it is taken for a line (of `gbm` the logarithm is).
    of : key or index, optional
        Which part of the state it is of, x0[of]. A nested state needs one.
    correction : {"bridge", "shift", None}
        "bridge": in each step the probability not to reach it in between, for the coefficients at the step's
        beginning: exact for `gbm` and constant coefficients. "shift" and None look at the ends of steps alone and
        return 0 or 1, which jumps: gradients need ``method={"k": "difference"}`` or a score. "shift" moves the barrier
        towards the path by 0.5826 standard deviations of the step (Broadie, Glasserman and Kou, *A continuity
        correction for discrete barrier options*, 1997), by which the mean is close to that of a barrier that is looked
        at all the time. None is a barrier that is looked at at the times alone.

    Returns
    -------
    array of the shape of that part of the state, from 0 to 1.

    Notes
    -----
    Of two barriers the series of images has three terms in each direction. What is left out is below float64's digits
    while the standard deviation of a step is less than 0.7 of the distance of the barriers, and 1e-8 where they are
    equal.

    Examples
    --------
    >>> import numpy as np
    >>> import mcgrad as mg
    >>> last, alive = mg.sde.euler(None, lambda t, x: 1.0, 0.0, [0.0, 1.0], [0.3], reduce=("last", Survival(upper=0.5)))
    >>> bool(np.isclose(alive, 1 - np.exp(-2 * 0.5 * (0.5 - 0.3))))
    True
    """

    lower: Any = None
    upper: Any = None
    of: Any = None
    correction: Literal["bridge", "shift"] | None = "bridge"

    def __post_init__(self) -> None:
        if self.lower is None and self.upper is None:
            raise ParameterError("upper", "neither lower nor upper", "a barrier, or both")
        both = self.lower is not None and self.upper is not None
        if both and (_moves(self.lower) or _moves(self.upper)):
            raise ParameterError(
                "upper", "a function of t, and another barrier", "one barrier, or two that do not move"
            )
        if self.correction not in CORRECTIONS:
            raise ParameterError("correction", shown(self.correction), '"bridge", "shift" or None')

    @property
    def each_step(self) -> bool:
        """Whether it looks at every step."""
        return True

    def arrays(self) -> Any:
        """Return None."""
        return None

    def begin(self, first: Step) -> Any:
        """Return 1, or 0 where the first state is beyond a barrier."""
        x = part_of(first.after, self.of)(first.after)
        if self.correction == "bridge":
            return np.ones(shape_of(x))
        return np.where(self._inside(x, first, first.t, 0.0), 1.0, 0.0)

    def next(self, carry: Any, step: Step, extra: Any) -> Any:
        """Return the probability not to have reached a barrier after a step."""
        part = part_of(step.after, self.of)
        before, after, variance = part(step.before), part(step.after), part(step.variance)
        if self.correction == "bridge":
            begin, end = (self._levels(step, part, t) for t in (step.t, step.end))
            return carry * _bridged(before, after, variance, begin, end)
        shift = SHIFT * np.sqrt(variance) if self.correction == "shift" else 0.0
        inside = self._inside(before, step, step.t, shift) & self._inside(after, step, step.end, shift)
        return np.where(inside, carry, 0.0)

    def end(self, carry: Any, last: Step) -> Any:
        """Return the probability."""
        return carry

    def _levels(self, step: Step, part: Any, t: Any) -> list[Any]:
        """Return both barriers at a time, in the coordinates of the steps."""
        barriers = (b(t) if _moves(b) else b for b in (self.lower, self.upper))
        return [None if b is None else step.coordinates.inward(b, part) for b in barriers]

    def _inside(self, x: Any, step: Step, t: Any, shift: Any) -> Any:
        lower, upper = self._levels(step, part_of(step.after, self.of), t)
        above = True if lower is None else x > lower + shift
        return above if upper is None else (x < upper - shift) & above


@dataclass(frozen=True, slots=True, eq=False)
class Maximum:
    """The maximum of a path, between the times too, drawn by a uniform number for each step: a reduction.

    Parameters
    ----------
    uniforms : array, shape (steps,) or (steps, *shape of the part)
        Independent of the path's noise, such as a part of the draw of a Joint, ``u=mg.Uniform(np.zeros(steps), 1.0)``.
    of : key or index, optional
        Which part of the state it is of, x0[of].

    Returns
    -------
    array of the shape of that part of the state. It has the distribution of the maximum of the path, exactly for `gbm`
    and constant coefficients, and is a smooth function of what the path depends on.

    Examples
    --------
    >>> import numpy as np
    >>> import mcgrad as mg
    >>> top = mg.sde.euler(None, lambda t, x: 1.0, 0.0, [0.0, 1.0], [0.3], reduce=Maximum([0.5]))
    >>> bool(np.isclose(top, 0.5 * (0.3 + np.sqrt(0.09 - 2 * np.log(0.5)))))
    True
    """

    uniforms: Any
    of: Any = None

    @property
    def each_step(self) -> bool:
        """Whether it looks at every step."""
        return True

    def arrays(self) -> Any:
        """Return the uniforms."""
        return self.uniforms

    def begin(self, first: Step) -> Any:
        """Return the first value."""
        return part_of(first.after, self.of)(first.after)

    def next(self, carry: Any, step: Step, extra: Any) -> Any:
        """Return the maximum up to the end of a step."""
        return np.maximum(carry, self._extremum(step, extra, 1.0))

    def end(self, carry: Any, last: Step) -> Any:
        """Return the extremum of the state."""
        return last.coordinates.outward(carry, lambda value: part_of(value, self.of)(value))

    def _extremum(self, step: Step, uniform: Any, sign: float) -> Any:
        part = part_of(step.after, self.of)
        x, y, v = part(step.before), part(step.after), part(step.variance)
        return 0.5 * (x + y + sign * np.sqrt((y - x) ** 2 - 2.0 * v * np.log(uniform)))


@dataclass(frozen=True, slots=True, eq=False)
class Minimum(Maximum):
    """The minimum of a path, between the times too, drawn by a uniform number for each step: a reduction as `Maximum`.

    Examples
    --------
    >>> import numpy as np
    >>> import mcgrad as mg
    >>> low = mg.sde.euler(None, lambda t, x: 1.0, 0.0, [0.0, 1.0], [0.3], reduce=Minimum([0.5]))
    >>> bool(np.isclose(low, 0.5 * (0.3 - np.sqrt(0.09 - 2 * np.log(0.5)))))
    True
    """

    def next(self, carry: Any, step: Step, extra: Any) -> Any:
        """Return the minimum up to the end of a step."""
        return np.minimum(carry, self._extremum(step, extra, -1.0))


def _positive(x: Any) -> Any:
    return np.maximum(x, 0.0)


def _exponent(x: Any, y: Any, v: Any) -> Any:
    """Return 2 x y / v, from 0, where an end is beyond the barrier, to `MOST`."""
    return _ratio(_positive(x) * _positive(y), v)


def _ratio(q: Any, v: Any) -> Any:
    """Return 2 q / v, at most `MOST`; 0 where both are 0. The derivative is finite."""
    return 2.0 * q / np.maximum(v, (2.0 / MOST) * q + LEAST)


def _bridged(x: Any, y: Any, v: Any, begin: list[Any], end: list[Any]) -> Any:
    """Return the probability that a bridge from x to y of variance v stays between barriers, given at both ends."""
    lower, upper = begin
    if upper is None:
        return -np.expm1(-_exponent(x - lower, y - end[0], v))
    if lower is None:
        return -np.expm1(-_exponent(upper - x, end[1] - y, v))
    width = upper - lower
    x, y = (np.minimum(_positive(each - lower), width) for each in (x, y))  # at an end nothing survives
    total = -np.expm1(-_ratio(x * y, v))
    for k in range(1, IMAGES + 1):
        far = k * width
        total = total + np.exp(-_ratio(far * (far + (y - x)), v)) + np.exp(-_ratio(far * (far - (y - x)), v))
        total = total - np.exp(-_ratio((far - x) * (far - y), v)) - np.exp(-_ratio((far + x) * (far + y), v))
    return _positive(total)


def _moves(barrier: Any) -> bool:
    return callable(barrier) and not isinstance(barrier, Tracer)
