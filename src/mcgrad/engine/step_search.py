"""Search for the steps of central differences in some rows at once, or in a single problem.

`steps` makes the Programs that a search averages, and says what steps should be like.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mcgrad import tree
from mcgrad.backends.base import one_chunk
from mcgrad.backends.numpy import NumpyKernel
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.constraints import real
from mcgrad.engine.epilogue import Finisher
from mcgrad.engine.per_draw import PerDraw
from mcgrad.errors import ParameterError
from mcgrad.gradients.common_noise import of_rows
from mcgrad.gradients.difference import SIDES, Moves
from mcgrad.ir.program import Program
from mcgrad.ir.spaces import Input, Space, Values, param
from mcgrad.moments import Float64Array, Moments

Array = npt.NDArray[Any]

STEP = 1 / 16  # of the move that changes a probe by its spread
FALLBACK = 1 / 64  # of a parameter's size, where no probe depends on it
MOST = 1 / 8  # of the size of a parameter, where no op of the integrand jumps
ROUNDS = 3  # of fitting the step to the effect of a move of its size
RATIO = (
    1.2360679775  # steps are powers of two times this, so that no round period of the integrand is a multiple of them
)
GROW, HALVINGS = 8.0, 30
DRAWS, FEWER, FEWEST = 4096, 1024, 64  # of a pilot
BUDGET, MOST_WORK = 1e8, 5e8  # multiplications of a pilot, above which it has FEWER draws, or as few as FEWEST
SHARE = 1e-5  # bias accepted, in standard deviations of a draw: a tenth of the standard error of 1e8 draws
SEED = 0
BLOCK_BYTES = 1 << 20  # of the largest intermediate values of a block of draws of several rows


class Programs(NamedTuple):
    """What a search averages, of one row; None where there is nothing.

    Parameters
    ----------
    spread : Program or None
        Of the probes.
    moved : Program or None
        Of how far probes are moved, by the paths of parameters.
    quotients : Program or None
        Of the integrand, and of differences with one and with two steps, their gap, and what is extrapolated from both.
    """

    spread: Program | None
    moved: Program | None
    quotients: Program | None


class Search:
    """Searches the steps of all moved parameters.

    Parameters
    ----------
    q : Distribution
        Of one row.
    moves : sequence of Moves
    smooth : container of str
        The parameters for which no op of the integrand jumps.
    dtype : dtype
        Of the Program that the points are for.
    programs : Programs
    rows : int, optional
        How many rows are searched at once; a single problem, if nothing is given.

    Raises
    ------
    TypeError
        An op has no rule for several rows.
    """

    def __init__(
        self,
        q: Distribution,
        moves: Sequence[Moves],
        smooth: Container[str],
        dtype: np.dtype[Any],
        programs: Programs,
        rows: int | None = None,
    ) -> None:
        self.q, self.moves, self.smooth, self.dtype, self.rows = q, moves, smooth, dtype, rows
        self._draws = [0 if program is None else _draws(program) for program in programs]
        several = [program and of_rows(program, rows) for program in programs] if rows else programs
        self._programs = Programs(*several)
        self._means = [None if program is None else _Means(program, rows) for program in several]

    def __call__(self, inputs: Values, by_row: Container[Input] = ()) -> dict[Input, Array]:
        """Return the points of all moved parameters, and their distances: of several rows with these on the first axis.

        Parameters
        ----------
        inputs : mapping from Input to array
        by_row : container of Input
            Those of them that have the rows on the first axis.
        """
        centers, steps, wide = self._begun(inputs, by_row)
        for _ in range(HALVINGS):
            again = self._too_large(centers, steps, wide)
            if not any(bad.any() for bad in again.values()):
                break
            for path, bad in again.items():
                steps[path] = np.where(bad, steps[path] / 2, steps[path])
        return self._points(centers, steps, self.dtype)

    def first(self, inputs: Values) -> dict[str, Float64Array]:
        """Return the steps of a single problem before the bias has been looked at, one for each moved component."""
        return {path: h[0] for path, h in self._begun(inputs, ())[1].items()}

    def _begun(
        self, inputs: Values, by_row: Container[Input]
    ) -> tuple[dict[str, Float64Array], dict[str, Float64Array], dict[Input, Array]]:
        """Return the moved components, shape (rows, components), steps for them, and the inputs in float64."""
        count, centers = self.rows or 1, {}
        for m in self.moves:
            x = np.asarray(inputs[param(m.path)], np.float64)
            lines = x.reshape(count, -1) if param(m.path) in by_row else np.broadcast_to(x.ravel(), (count, x.size))
            centers[m.path] = lines[:, m.index]
        wide = {name: np.asarray(x, np.float64) if x.dtype.kind == "f" else x for name, x in inputs.items()}
        return centers, self._first(centers, _Inside(self, wide, by_row), wide), wide

    def _points(
        self, centers: Mapping[str, Float64Array], steps: Mapping[str, Float64Array], dtype: npt.DTypeLike = np.float64
    ) -> dict[Input, Array]:
        found = {}
        for path, h in steps.items():
            points = np.stack([(centers[path] + side * h).astype(dtype) for side in SIDES], axis=1)
            apart = points.astype(np.float64)
            widths = np.stack([apart[:, 0] - apart[:, 1], apart[:, 2] - apart[:, 3]], axis=1).astype(dtype)
            found[Input(Space.POINTS, path)] = self._given(points)
            found[Input(Space.WIDTHS, path)] = self._given(widths)
        return found

    def _given(self, x: Array) -> Array:
        """Return an array as a Program reads it: without the axis of rows in a single problem."""
        return x if self.rows else x[0]

    def _lines(self, vector: Array, where: slice) -> Array:
        """Return the components of an output, shape (rows, components of a row)."""
        found: Array = vector[where].reshape(self.rows or 1, -1)
        return found

    def _first(self, centers: Mapping[str, Float64Array], inside: _Inside, inputs: Values) -> dict[str, Float64Array]:
        """Return steps from the effect of moves of their size on the probes."""
        sizes = {path: np.where(center == 0, 1.0, np.abs(center)) for path, center in centers.items()}
        fallback = {path: inside(path, centers[path], FALLBACK * size) for path, size in sizes.items()}
        steps, program, means = dict(fallback), self._programs.moved, self._means[1]
        if program is None or means is None or self._programs.spread is None:
            return steps
        spreads, slices = self._spreads(inputs), program.slices()
        for _ in range(ROUNDS):
            points = {Input(Space.POINTS, path): self._given((centers[path] + h)[:, None]) for path, h in steps.items()}
            mean = means({**inputs, **spreads, **points}, self._draws[1]).mean
            for out, where in zip(program.outputs, slices, strict=True):
                by, h = self._lines(mean, where), steps[out.path]
                with np.errstate(all="ignore"):
                    fitting = np.where(by > 0, STEP * h / by, np.where(np.isnan(by), h / GROW, GROW * h))
                steps[out.path] = inside(out.path, centers[out.path], fitting)
        for out, where in zip(program.outputs, slices, strict=True):
            followed = self._lines(mean, where) > 0  # some probe moves, in a pilot
            most = MOST * sizes[out.path] if out.path in self.smooth else np.inf
            fitting = np.where(followed, np.minimum(steps[out.path], most), fallback[out.path])
            steps[out.path] = inside(out.path, centers[out.path], fitting)
        return steps

    def _spreads(self, inputs: Values) -> dict[Input, Array]:
        """Return the spread of each probe: the smaller of standard deviation and interquartile range; inf for 0."""
        program = self._programs.spread
        assert program is not None
        samples = PerDraw(program)(inputs, SEED, self._draws[0])
        with np.errstate(all="ignore"):
            deviation, (low, high) = samples.std(axis=1), np.quantile(samples, [0.25, 0.75], axis=1)
            spread = np.where(high > low, np.fmin(deviation, high - low), deviation)
            rounding = 8 * np.finfo(samples.dtype).eps * np.abs(samples).max(axis=1)  # of the mean of equal numbers
        spread[~(np.isfinite(spread) & (spread > rounding))] = np.inf
        return {
            Input(Space.SPREAD, out.path): spread[where].reshape(out.var.shape)
            for out, where in zip(program.outputs, program.slices(), strict=True)
        }

    def _too_large(
        self, centers: Mapping[str, Float64Array], steps: Mapping[str, Float64Array], inputs: Values
    ) -> dict[str, npt.NDArray[np.bool_]]:
        """Return whether the bias of each difference is significant, or the integrand is not finite at a point."""
        program, means = self._programs.quotients, self._means[2]
        assert program is not None
        assert means is not None
        found, rows = means({**inputs, **self._points(centers, steps)}, self._draws[2]), self.rows or 1
        numbers, slices = program.outputs[0].var.size // rows, iter(program.slices())
        where = next(slices)
        size = np.hypot(self._lines(found.mean, where), self._lines(found.deviation, where))[..., None]
        finite, too_large = np.isfinite(size), {}
        for m in self.moves:
            near, gap, best = (np.arange(len(found.mean))[next(slices)].reshape(rows, numbers, -1) for _ in range(3))
            with np.errstate(all="ignore"):
                seen = np.maximum(np.abs(found.mean[gap]) - 3 * found.stderr[gap], 0.0)
                bias = 0.5 * seen * (seen / (np.abs(found.mean[near]) + seen))
                rounding = 8 * np.finfo(self.dtype).eps * size / steps[m.path][:, None]
                biased = bias > np.maximum(SHARE * found.deviation[best], rounding)
            bad = (seen > 0) & biased | (finite & ~np.isfinite(found.mean[best]))
            too_large[m.path] = bad.any(axis=1) & (steps[m.path] / 2 > least(centers[m.path], self.dtype))
        return too_large


class _Inside:
    """Puts steps on a grid, with all points inside the constraints of parameters.

    Parameters
    ----------
    search : Search
    inputs : mapping from Input to array
    by_row : container of Input
    """

    def __init__(self, search: Search, inputs: Values, by_row: Container[Input]) -> None:
        self.search, self.inputs, self.by_row = search, inputs, by_row

    def __call__(self, path: str, centers: Float64Array, steps: Float64Array) -> Float64Array:
        """Return steps on the grid of `RATIO`, larger than rounding errors, with all points inside."""
        smallest = least(centers, self.search.dtype)
        steps = RATIO * np.exp2(np.round(np.log2(np.clip(steps, smallest, 1e300) / RATIO)))
        if path not in self.search.q.flat_params:
            return steps
        while (outside := ~self._accepted(path, centers, steps)).any():
            steps = np.where(outside, steps / 2, steps)
            if (steps < smallest).any():
                given = "a value at the end of what it may be, from which it cannot be moved to either side"
                raise ParameterError(path, given, 'a value inside, or another method than "difference"')
        return steps

    def _accepted(self, path: str, centers: Float64Array, steps: Float64Array) -> npt.NDArray[np.bool_]:
        """Return where two steps to either side lead to a value that the parameter may have."""
        q = self.search.q
        constraint = q.constraints.get(path, real)
        if not q.has_check and constraint.by_element and constraint.wrong is not None:
            low, high = (constraint.wrong(centers + side * steps) for side in (-2, 2))
            return np.asarray(~(low | high))
        index, found = next(m.index for m in self.search.moves if m.path == path), np.zeros(steps.shape, bool)
        for row, i in np.ndindex(steps.shape):
            found[row, i] = all(self._is_valid(path, row, int(index[i]), side * steps[row, i]) for side in (-2, 2))
        return found

    def _is_valid(self, path: str, row: int, entry: int, by: Any) -> bool:
        flat = {own: self._of_row(param(own), row) for own in self.search.q.flat_params}
        flat[path] = np.array(flat[path], np.float64)
        flat[path].flat[entry] += by
        try:
            self.search.q.validate(tree.unflatten(flat))
        except ParameterError:
            return False
        return True

    def _of_row(self, name: Input, row: int) -> Array:
        return self.inputs[name][row] if name in self.by_row else self.inputs[name]


class _Means:
    """Averages the outputs of a Program over the draws of a pilot: of several rows in blocks that a cache holds."""

    def __init__(self, program: Program, rows: int | None) -> None:
        self._kernel, self._finish = NumpyKernel(program), Finisher(program, {})
        if rows:
            largest = max((var.size for var in program.body()), default=1)
            self._kernel.block = max(min(self._kernel.block, BLOCK_BYTES // (8 * largest)), 1)

    def __call__(self, inputs: Values, draws: int) -> Moments:
        with self._kernel.limits():
            partial = one_chunk(self._kernel.bind(inputs), SEED, 0, draws, False)
            return self._finish(partial.moments, inputs)


def least(centers: Float64Array, dtype: np.dtype[Any]) -> Float64Array:
    """Return the smallest steps that are larger than rounding errors."""
    spacing = np.spacing(np.abs(centers).astype(dtype)).astype(np.float64)
    found: Float64Array = np.maximum(4 * spacing, 1e-30)
    return found


def _draws(program: Program) -> int:
    work = max(program.work(), 1.0)
    return int(np.clip(BUDGET / work, np.clip(MOST_WORK / work, FEWEST, FEWER), DRAWS))
