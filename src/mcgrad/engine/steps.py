"""Choose the steps of `method="difference"` for each parameter: by a pilot, before a run, from the inputs alone.

The points at which the integrand is evaluated are inputs of the Program.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad import tree
from mcgrad.backends.base import one_chunk
from mcgrad.backends.numpy import NumpyKernel
from mcgrad.engine.epilogue import Finisher
from mcgrad.engine.per_draw import PerDraw
from mcgrad.engine.pilot import offset_streams
from mcgrad.errors import ParameterError
from mcgrad.gradients.difference import SIDES, Moves, at_points, largest, quotients
from mcgrad.gradients.jumps import flat_arguments
from mcgrad.gradients.problem import Problem
from mcgrad.ir.build import apply, broadcast
from mcgrad.ir.program import Output, Program, Var, toposort
from mcgrad.ir.spaces import Input, Space, Values, param
from mcgrad.moments import Float64Array, Moments
from mcgrad.noise import streams
from mcgrad.simplify.fixed_point import simplify

Array = npt.NDArray[Any]

STEP = 1 / 16  # of the move that changes a probe by its spread
FALLBACK = 1 / 64  # of a parameter's size, where no probe depends on it
MOST = 1 / 8  # of the size of a parameter, where no op of the integrand jumps
ROUNDS = 3  # of fitting the step to the effect of a move of its size
RATIO = (
    1.2360679775  # steps are powers of two times this, so that no round period of the integrand is a multiple of them
)
MOST_MOVE = 8.0  # spreads: larger moves of a probe, as of draws with heavy tails, count as this
GROW, HALVINGS = 8.0, 30
DRAWS, FEWER, FEWEST = 4096, 1024, 64  # of a pilot
BUDGET, MOST_WORK = 1e8, 5e8  # multiplications of a pilot, above which it has FEWER draws, or as few as FEWEST
SHARE = 1e-5  # bias accepted, in standard deviations of a draw: a tenth of the standard error of 1e8 draws
SEED = 0


class Steps:
    """Chooses the points at which central differences evaluate the integrand.

    Parameters
    ----------
    problem : Problem
    wrt : sequence of str
        Paths of the parameters that are moved.
    dtype : {"float32", "float64"}
        Of the Program that the points are for.
    only : dict of str to sequence of int, optional
        The components that are moved, counted in C order, by path: all, if nothing is given.

    Notes
    -----
    The variance of a difference across a jump is inversely proportional to the step, and the bias grows as its fourth
    power. A step is at first `STEP` times what moves a *probe* by its spread: the draws, for parameters of q; for those
    of the integrand what its comparisons, floors and signs read, and its value. It is then halved until the bias, as
    the differences with one and with two steps show it, is below `SHARE`, and while the points are outside the
    constraint of the parameter or the integrand is not finite there. They depend on the inputs alone, not on seeds,
    draws or backends, so that estimates merge.
    """

    def __init__(
        self, problem: Problem, wrt: Sequence[str], dtype: str, only: Mapping[str, Sequence[int]] | None = None
    ) -> None:
        self.q, self.dtype, self._problem = problem.q, np.dtype(dtype), problem
        self.moves = [Moves.of(problem, path, only[path] if only else None) for path in wrt]
        probes = {path: _probes(problem, path) for path in wrt}
        self._smooth = [path for path, found in probes.items() if found == [problem.value]]
        distinct = dict.fromkeys(var for found in probes.values() for var in found)
        names = {var: str(i) for i, var in enumerate(distinct)}
        self._spread = _program([Output(name, var) for var, name in names.items()])
        self._moved = _program(
            [Output(m.path, _response(problem, m, probes[m.path], names)) for m in self.moves if probes[m.path]]
        )
        self._last: tuple[bytes, dict[Input, Array]] = b"", {}
        self._averaging: dict[Program, _Means] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Return the fields with all Programs, and without the traced problem that they are made of."""
        kept = {name: value for name, value in vars(self).items() if name not in ("_problem", "_last", "_averaging")}
        return {**kept, "_quotients": self._quotients, "_last": (b"", {}), "_averaging": {}}

    def prepare(self) -> None:
        """Make what all calls share, before several threads call."""
        for program in (self._moved, self._quotients):
            if program is not None:
                self._averages(program)

    def _averages(self, program: Program) -> _Means:
        if program not in self._averaging:
            self._averaging[program] = _Means(program)
        return self._averaging[program]

    @cached_property
    def _quotients(self) -> Program | None:
        outputs = [Output("", self._problem.value)]
        for m in self.moves:
            near, far = quotients(self._problem, m)
            best = apply("divide", apply("subtract", apply("multiply", near, 4.0), far), 3.0)
            gap = apply("subtract", near, far)
            outputs += [Output(f"{name} in {m.path}", x) for name, x in (("near", near), ("gap", gap), ("best", best))]
        return _program(outputs)

    def __call__(self, inputs: Values) -> dict[Input, Array]:
        """Return the points of all moved parameters, and their distances."""
        digest = hashlib.blake2b(digest_size=16)
        for path, array in inputs.items():
            digest.update(f"{path}{array.dtype}{array.shape}".encode() + array.tobytes())
        if self._last[0] != digest.digest():
            self._last = digest.digest(), self._chosen(inputs)
        return self._last[1]

    def steps(self, inputs: Values) -> dict[str, Float64Array]:
        """Return the steps themselves, in the shapes of the parameters, before the bias has been looked at."""
        _, _, steps = self._begun(inputs)
        found = {}
        for m in self.moves:
            found[m.path] = np.ones(m.shape)
            found[m.path].flat[m.index] = steps[m.path]
        return found

    def _begun(self, inputs: Values) -> tuple[dict[str, Float64Array], dict[Input, Array], dict[str, Float64Array]]:
        centers = {m.path: np.asarray(inputs[param(m.path)], np.float64).ravel()[m.index] for m in self.moves}
        wide = {path: np.asarray(x, np.float64) if x.dtype.kind == "f" else x for path, x in inputs.items()}
        return centers, wide, self._first(centers, wide)

    def _chosen(self, inputs: Values) -> dict[Input, Array]:
        centers, wide, steps = self._begun(inputs)
        for _ in range(HALVINGS):
            again = self._too_large(centers, steps, wide)
            if not any(bad.any() for bad in again.values()):
                break
            for path, bad in again.items():
                steps[path] = np.where(bad, steps[path] / 2, steps[path])
        found = {}
        for path, h in steps.items():
            points = np.stack([(centers[path] + side * h).astype(self.dtype) for side in SIDES])
            apart = points.astype(np.float64)
            found[Input(Space.POINTS, path)] = points
            found[Input(Space.WIDTHS, path)] = np.stack([apart[0] - apart[1], apart[2] - apart[3]]).astype(self.dtype)
        return found

    def _first(self, centers: Mapping[str, Float64Array], inputs: Values) -> dict[str, Float64Array]:
        """Return steps from the effect of moves of their size on the probes."""
        sizes = {path: np.where(center == 0, 1.0, np.abs(center)) for path, center in centers.items()}
        fallback = {path: self._inside(path, FALLBACK * size, inputs) for path, size in sizes.items()}
        steps = dict(fallback)
        if self._moved is None or self._spread is None:
            return steps
        spreads = self._spreads(inputs)
        for _ in range(ROUNDS):
            points = {Input(Space.POINTS, path): (centers[path] + h)[None] for path, h in steps.items()}
            moved = self._averages(self._moved)({**inputs, **spreads, **points}).mean
            for out, where in zip(self._moved.outputs, self._moved.slices(), strict=True):
                by, h = moved[where], steps[out.path]
                with np.errstate(all="ignore"):
                    fitting = np.where(by > 0, STEP * h / by, np.where(np.isnan(by), h / GROW, GROW * h))
                steps[out.path] = self._inside(out.path, fitting, inputs)
        for out, where in zip(self._moved.outputs, self._moved.slices(), strict=True):
            followed = moved[where] > 0  # some probe moves, in a pilot
            most = MOST * sizes[out.path] if out.path in self._smooth else np.inf
            fitting = np.where(followed, np.minimum(steps[out.path], most), fallback[out.path])
            steps[out.path] = self._inside(out.path, fitting, inputs)
        return steps

    def _spreads(self, inputs: Values) -> dict[Input, Array]:
        """Return the spread of each probe: the smaller of standard deviation and interquartile range; inf for 0."""
        assert self._spread is not None
        samples = PerDraw(self._spread)(inputs, SEED, _draws(self._spread))
        with np.errstate(all="ignore"):
            deviation, (low, high) = samples.std(axis=1), np.quantile(samples, [0.25, 0.75], axis=1)
            spread = np.where(high > low, np.fmin(deviation, high - low), deviation)
        spread[~(np.isfinite(spread) & (spread > 0))] = np.inf
        return {
            Input(Space.SPREAD, out.path): spread[where].reshape(out.var.shape)
            for out, where in zip(self._spread.outputs, self._spread.slices(), strict=True)
        }

    def _too_large(
        self, centers: Mapping[str, Float64Array], steps: Mapping[str, Float64Array], inputs: Values
    ) -> dict[str, npt.NDArray[np.bool_]]:
        """Return whether the bias of each difference is significant, or the integrand is not finite at a point."""
        assert self._quotients is not None
        moved: dict[Input, Array] = {}
        for path, h in steps.items():
            points = np.stack([centers[path] + side * h for side in SIDES])
            moved[Input(Space.POINTS, path)] = points
            moved[Input(Space.WIDTHS, path)] = np.stack([points[0] - points[1], points[2] - points[3]])
        found = self._averages(self._quotients)({**inputs, **moved})
        numbers, parts = self._quotients.outputs[0].var.size, iter(self._quotients.slices()[1:])
        size = np.hypot(found.mean[:numbers], found.deviation[:numbers])[:, None]
        finite, too_large = np.isfinite(size), {}
        for m in self.moves:
            near, gap, best = (np.arange(len(found.mean))[next(parts)].reshape(numbers, -1) for _ in range(3))
            with np.errstate(all="ignore"):
                seen = np.maximum(np.abs(found.mean[gap]) - 3 * found.stderr[gap], 0.0)
                bias = 0.5 * seen * (seen / (np.abs(found.mean[near]) + seen))
                rounding = 8 * np.finfo(self.dtype).eps * size / steps[m.path]
                biased = bias > np.maximum(SHARE * found.deviation[best], rounding)
            bad = (seen > 0) & biased | (finite & ~np.isfinite(found.mean[best]))
            too_large[m.path] = bad.any(axis=0) & (steps[m.path] / 2 > self._least(centers[m.path]))
        return too_large

    def _inside(self, path: str, steps: Float64Array, inputs: Values) -> Float64Array:
        """Return steps on the grid of `RATIO`, larger than rounding errors, with all points inside the constraint."""
        index = next(m.index for m in self.moves if m.path == path)
        least = self._least(np.asarray(inputs[param(path)], np.float64).ravel()[index])
        steps = RATIO * np.exp2(np.round(np.log2(np.clip(steps, least, 1e300) / RATIO)))
        if path in self.q.flat_params:
            for i, entry in enumerate(index):
                while not all(self._accepted(path, int(entry), side * steps[i], inputs) for side in (-2, 2)):
                    steps[i] /= 2
                    if steps[i] < least[i]:
                        given = "a value at the end of what it may be, from which it cannot be moved to either side"
                        raise ParameterError(path, given, 'a value inside, or another method than "difference"')
        return steps

    def _accepted(self, path: str, entry: int, by: float, inputs: Values) -> bool:
        moved = np.array(inputs[param(path)], np.float64)
        moved.flat[entry] += by
        others = {own: inputs[param(own)] for own in self.q.flat_params if own != path}
        try:
            self.q.validate(tree.unflatten({**others, path: moved}))
        except ParameterError:
            return False
        return True

    def _least(self, centers: Float64Array) -> Float64Array:
        """Return the smallest steps that are larger than rounding errors."""
        spacing = np.spacing(np.abs(centers).astype(self.dtype)).astype(np.float64)
        least: Float64Array = np.maximum(4 * spacing, 1e-30)
        return least


def _probes(problem: Problem, path: str) -> list[Var]:
    """Return the probes of a parameter: random Vars that depend on it."""
    param = problem.params[path]
    if path in problem.own:
        found = list(tree.flatten(problem.z).values())
    else:
        found = flat_arguments(problem.value, param) or [problem.value]
    return [var for var in found if var.by_draw and any(source is param for source in toposort([var]))]


def _response(problem: Problem, moves: Moves, probes: Sequence[Var], names: Mapping[Var, str]) -> Var:
    """Return the largest move of the probes by a move of each component, in units of their spreads."""
    extent = len(moves.index)
    there = at_points(problem, probes, moves, 1)
    parts = []
    for probe, moved in zip(probes, there, strict=True):
        spread = broadcast(problem.computed(Input(Space.SPREAD, names[probe]), probe.shape), moved.shape)
        distance = apply("absolute", apply("subtract", moved, broadcast(probe, moved.shape)))
        parts.append(apply("minimum", apply("divide", distance, spread), MOST_MOVE))
    return largest(parts, extent)


def _program(outputs: Sequence[Output]) -> Program | None:
    return offset_streams(simplify(Program(tuple(outputs), "float64")), streams.STEPS) if outputs else None


class _Means:
    """Averages the outputs of a Program over the draws of a pilot."""

    def __init__(self, program: Program) -> None:
        self._kernel, self._finish, self._draws = NumpyKernel(program), Finisher(program, {}), _draws(program)

    def __call__(self, inputs: Values) -> Moments:
        with self._kernel.limits():
            partial = one_chunk(self._kernel.bind(inputs), SEED, 0, self._draws, False)
            return self._finish(partial.moments, inputs)


def _draws(program: Program) -> int:
    work = max(program.work(), 1.0)
    return int(np.clip(BUDGET / work, np.clip(MOST_WORK / work, FEWEST, FEWER), DRAWS))
