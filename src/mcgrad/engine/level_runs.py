"""One level of a multilevel run: its Programs, a pilot of a few draws, and the run of many."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcgrad.arrays import all_to_host, to_host
from mcgrad.engine.derivation import Derivation
from mcgrad.engine.estimator import Estimator
from mcgrad.engine.fingerprint import Fingerprint
from mcgrad.engine.options import Options, Request
from mcgrad.engine.per_draw import PerDraw
from mcgrad.errors import ParameterError, shown
from mcgrad.gradients.pathwise import PATHWISE
from mcgrad.inputs.coupling import Coupling
from mcgrad.moments import Float64Array, Moments
from mcgrad.noise.derived_seeds import derived_seeds
from mcgrad.noise.streams import LEVELS
from mcgrad.results.estimate import Estimate
from mcgrad.results.levels import Level
from mcgrad.tasks.remote import Remote

AGAIN = 16  # times as many draws as expected, for which another backend may be the best
NUMBERS = 1 << 22  # of a pilot that are in memory at once
LEAST = 16  # draws that are interpreted at once
Cost = Callable[[int], float]


@dataclass(frozen=True)
class Pilot:
    """What the first draws of a level show.

    Parameters
    ----------
    mean, variance : array, shape (components,)
        Of one draw of the difference, and of its gradient.
    kurtosis : array, shape (components,)
    fine, coarse : Moments
        Of the numbers of f at the level, and at the level before.
    """

    mean: Float64Array
    variance: Float64Array
    kurtosis: Float64Array
    fine: Moments
    coarse: Moments


class LevelProgram:
    """The Programs of one level, which are made once: of the difference, and of f there and at the level before.

    Parameters
    ----------
    coupling : Coupling
    level : int
    options : Options
    cost : callable, optional
        Cost of one draw of a level, in place of the count of multiplications.
    """

    def __init__(self, coupling: Coupling, level: int, options: Options, cost: Cost | None) -> None:
        self.level, self._options = level, options
        q = coupling.q(level)
        self.derived = Derivation.of(Request(coupling.difference(level), q, options))
        self.group = self.derived.groups.size
        plain = Options(params=options.params, data=options.data, wrt=(), dtype=options.dtype, method=PATHWISE.name)
        both = Derivation.of(Request(coupling.both(level), q, plain)) if level else None
        self._difference = PerDraw(self.derived.of_result)
        self._both = (both, PerDraw(both.program)) if both else None
        self._estimator: Estimator | None = None
        self._expected = 0
        self.cost = self.derived.program.work() / self.group if cost is None else _checked(cost(level), level)

    @cached_property
    def random(self) -> NDArray[np.bool_]:
        """Whether draws change each component of the difference: of the value, and of its gradient."""
        components = self.derived.components
        value, *gradients = self.derived.program.outputs
        found = np.zeros(components.gradient.stop, bool)
        found[components.values] = value.var.by_draw
        for out in gradients:
            if out.path in components.shapes:
                found[components.slices[out.path]] = out.var.by_draw
        return found

    def check_like(self, first: LevelProgram) -> None:
        """Refuse parameters to differentiate in that are others than at level 0."""
        here, there = self.derived, first.derived
        for path, shape in there.components.shapes.items():
            if here.components.shapes.get(path) != shape:
                given = f"{path!r}, of shape {here.components.shapes.get(path)} at level {self.level} and {shape} at 0"
                raise ParameterError("wrt", given, "parameters that all levels share, such as those in params")
            own = [to_host(each.q.flat_params[path]) for each in (here, there) if path in each.q.shapes]
            if own and not np.array_equal(own[0], own[-1]):
                given = f"{path!r}, which has another value at level {self.level} than at 0"
                raise ParameterError("wrt", given, "parameters that all levels share")
        if here.components.value != there.components.value:
            given = f"a value of shapes {dict(here.components.value)} at level {self.level}"
            raise ParameterError("f", given, f"{dict(there.components.value)}, as at level 0")

    def check_resumes(self, earlier: Estimate, changes: Mapping[str, Any]) -> None:
        """Refuse an estimate of an earlier run that is of another problem, or not of the first draws."""
        derived, place = self.derived, f"resume, levels[{self.level}]"
        own = Fingerprint(derived.program, derived.inputs.fixed, derived.plan.antithetic)
        found = own.at(derived.inputs.values(changes))
        if earlier.fingerprint != (found if isinstance(found, str) else found()):
            raise ParameterError(place, "another integrand, distribution, parameters or data", "those of this run")
        if earlier.dtype != derived.dtype:
            raise ParameterError(place, f"an estimate in {earlier.dtype}", derived.dtype)
        if earlier.ranges != ((0, earlier.n),):
            raise ParameterError(place, shown(earlier.ranges), "an estimate over the first draws of the level")

    def pilot(self, changes: Mapping[str, Any], seed: int, n: int) -> Pilot:
        """Interpret n draws."""
        derived, groups = self.derived, max(n // self.group, 2)
        values = all_to_host(derived.inputs.values(changes))
        found, kurtosis = _moments(self._difference, {**values, **derived.pilots(values, seed)}, seed, groups)
        where = derived.components.values
        fine = Moments(found.count, found.mean[where], found.norm[where])
        coarse = Moments.of(np.empty((where.stop, 0)))
        if self._both:
            both, per_draw = self._both
            apart, _ = _moments(per_draw, all_to_host(both.inputs.values(changes)), seed, n)
            fine, coarse = (
                Moments(n, *(x[half] for x in (apart.mean, apart.norm))) for half in (where, slice(where.stop, None))
            )
        return Pilot(found.mean, found.variance * self.group, kurtosis, fine, coarse)

    def start(self, draws: int) -> int:
        """Return with how many draws a run begins: at least so many, and of points as many as it may have."""
        groups = -(-draws // self.group) * self.group
        whole = self.derived.whole(groups)
        return whole if whole >= groups else 2 * whole

    def estimator(self, draws: int) -> Estimator:
        """Return what averages the difference; "auto" takes the best backend for so many draws.

        It looks again where there are many more draws than it expected.
        """
        if self._estimator is None or draws > AGAIN * self._expected:
            self._estimator = Estimator.of_derivation(self.derived, replace(self._options, draws=draws))
            self._expected = draws
        return self._estimator


class LevelRun:
    """A run over the draws of one level, which goes on as more are asked for.

    Parameters
    ----------
    program : LevelProgram
    changes : dict of str to array
        New values of parameters and data.
    seed : int
        Of all levels: each has a seed that is made of it (docs/draws.md).
    start : int
        Draws of the pilot.
    remote : Remote, optional
    earlier : Estimate, optional
        Of the difference, over the first draws.
    """

    def __init__(
        self,
        program: LevelProgram,
        changes: Mapping[str, Any],
        seed: int,
        start: int,
        remote: Remote | None,
        earlier: Estimate | None = None,
    ) -> None:
        self.program, self._changes, self._remote = program, changes, remote
        self._seed = int(derived_seeds(seed, LEVELS, program.level, 1)[0])
        self.pilot = program.pilot(changes, self._seed, start)
        self.estimate = earlier

    @property
    def n(self) -> int:
        """Draws that are averaged."""
        return self.estimate.n if self.estimate else 0

    @property
    def mean(self) -> Float64Array:
        """Means of the difference so far: before the first run of the pilot."""
        return self.result.mean if self.estimate else self.pilot.mean

    @property
    def variance(self) -> Float64Array:
        """Variance of one draw."""
        return self.result.variance if self.estimate else self.pilot.variance

    @property
    def square_error(self) -> Float64Array:
        """Squares of the standard errors of the means: infinite before the first run."""
        return np.square(self.result.stderr) if self.estimate else np.full(len(self.pilot.mean), np.inf)

    @property
    def is_of_points(self) -> bool:
        """Whether draws are points, whose number doubles."""
        return self.program.derived.sampler.is_point_set

    def extend(self, n: int, expected: int, progress: bool | Callable[[int], None] = False) -> None:
        """Average until there are n draws; of points, which are whole nets, until there are at least so many.

        Parameters
        ----------
        n : int
        expected : int
            How many there will be in the end, by what is known now.
        progress : callable, optional
            Called with the number of draws that are not in `n` yet.
        """
        program, group = self.program, self.program.group
        while self.n < n:
            more = max(-(-(n - self.n) // group), 2) * group
            if self.is_of_points:
                more = self.n or program.start(n)
            estimator = program.estimator(max(expected, self.n + more))
            how: dict[str, Any] = {"first": self.n, "executor": self._remote, "progress": progress}
            part = estimator(more, self._seed, **how, **self._changes)
            assert isinstance(part, Estimate)
            self.estimate = self.estimate.merge(part) if self.estimate else part

    @property
    def result(self) -> Level:
        """What there is so far."""
        assert self.estimate
        pilot = self.pilot
        return Level(self.estimate, self.program.cost, pilot.variance, pilot.kurtosis, pilot.fine, pilot.coarse)


def _moments(per_draw: PerDraw, values: Mapping[Any, Any], seed: int, n: int) -> tuple[Moments, Float64Array]:
    """Return the moments of outputs over the first n draws, and the kurtosis of each.

    Of many outputs a few draws at once are in memory. Powers are of deviations from the mean of the first of them.
    """
    found: Moments | None = None
    block = max(NUMBERS // sum(out.var.size for out in per_draw.program.outputs), LEAST)
    with per_draw.kernel.limits(), np.errstate(all="ignore"):
        for first in range(0, n, block):
            draws = per_draw(values, seed, min(block, n - first), first).astype(np.float64)
            part = Moments.of(draws)
            if found is None:
                shift, sums = part.mean, np.zeros((4, len(draws)))
            found = found.merge(part) if found else part
            deviations = draws - shift[:, None]
            sums += [np.sum(deviations**power, axis=1) for power in (1, 2, 3, 4)]
        assert found
        d, second, third, fourth = sums / n
        kurtosis = (fourth - 4 * d * third + 6 * d**2 * second - 3 * d**4) / np.square(second - d**2)
    return found, np.where(found.norm > 0, kurtosis, np.nan)


def _checked(cost: Any, level: int) -> float:
    if isinstance(cost, bool) or not isinstance(cost, int | float | np.number) or not 0 < cost < np.inf:
        raise ParameterError("cost", f"a function that returns {shown(cost)} at level {level}", "a number above 0")
    return float(cost)
