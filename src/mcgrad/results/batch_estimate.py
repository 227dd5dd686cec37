"""The result of a batch: expectations and gradients of many rows, with standard errors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mcgrad.errors import MergeError, ParameterError, shown
from mcgrad.moments import Float64Array, Moments
from mcgrad.noise import Shape
from mcgrad.results import batch_record
from mcgrad.results.components import VALUE, Components
from mcgrad.results.covariance import matrix
from mcgrad.results.flat import flat_gradient, flat_value, joined
from mcgrad.results.format import extent_lines, kinds_lines, origin, run, second_lines, shapes_line, stopping_lines
from mcgrad.results.interval import ConfidenceInterval, ends, interval
from mcgrad.results.pairs import Difference, paired
from mcgrad.results.ranges import Ranges
from mcgrad.results.ratio import Whole
from mcgrad.results.replicates import Replicates
from mcgrad.results.result import nested
from mcgrad.results.row_moments import RowMoments
from mcgrad.results.row_sums import RowSums
from mcgrad.results.second_estimates import SecondEstimates
from mcgrad.results.stopping import Stopping
from mcgrad.results.weights import of_weights
from mcgrad.system.kind import Kinds


@dataclass(frozen=True, eq=False, repr=False)
class BatchEstimate(SecondEstimates):
    """Monte Carlo estimates of E f(z), and of its gradients, in many problems, the rows of a batch.

    Attributes
    ----------
    value, stderr : array of the batch shape, or float
        Estimates of E f(z) by row, and their standard errors; with ``reduce="sum"`` or ``"mean"`` those of the sum or
        the mean over the rows. Where f returns an array, of shape (*batch, *shape of f), or without the batch axes;
        where it returns a nested dict, they nest as that does.
    grad, grad_stderr : dict
        Estimates of the gradient, and standard errors. In parameters with batch axes those of each row's own value, of
        the parameter's shape. In parameters that all rows share the sum over the rows of their gradients, or the mean
        with ``reduce="mean"``; with ``reduce="none"`` by row, with the batch axes in front. Where f returns an array,
        its axes are after those of the batch and before those of the parameter; where it returns a nested dict, there
        is one inside each parameter.
    hessian, hvp, their standard errors, hessian_method
        As of an `Estimate`, by row or of sums over the rows.
    covariance : array, or nested dict of them
        As of an `Estimate`, by row or of the sum or the mean over the rows, as the value is.
    effective_sample_size : array of the batch shape
        With a proposal, as of an `Estimate`.
    batch_shape : tuple of int
        Extents of the batch axes.
    rows : array of int64
        The numbers of the rows, of the batch shape, which say what they draw.
    n : int
        Draws of each row, those that were not finite included.
    nonfinite : array of int64, of the batch shape
        Draws of each row whose value or gradient was not finite. Unless they were omitted, they spoil what they would
        in an `Estimate` of that row, and the sums over the rows.
    reduce : {None, "sum", "mean", "none"}
    moments : RowMoments
        Of the rows, in C order, and of the sums over them.
    components : Components
        Names and shapes of what is by row: the value, then derivatives.
    shared : dict of str to tuple of int
        Shapes of the parameters whose gradients are summed over the rows, by path.
    order : tuple of str
        The parameters of the gradient, in order.
    ranges : tuple of (int, int)
        Which draws of each row these are, counted from its first.
    total : Moments or None
        With common noise, of the sum of the values in each draw, and of what its covariance is made of.
    differences : Moments or None
        With common noise, of the differences of values between pairs of rows.
    replicates : Replicates or None
        With ``sampler="sobol"``, over which replicates the moments are: of the means of each over its points.
    omitted, dtype, backend, seed, seconds, method, choice, group, antithetic, problem, stopping, kinds
        As of an `Estimate`.
    """

    moments: RowMoments
    components: Components
    shared: Mapping[str, Shape]
    order: tuple[str, ...]
    batch_shape: Shape
    rows: NDArray[np.int64]
    reduce: str | None
    ranges: Ranges
    seed: int
    dtype: str
    backend: str
    seconds: float
    problem: str | Callable[[], str] = ""
    nonfinite: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    omitted: bool = False
    method: str | dict[str, str] = "pathwise"
    choice: str = ""
    group: int = 1
    antithetic: bool = False
    total: Moments | None = None
    differences: Moments | None = None
    stopping: Stopping | None = None
    replicates: Replicates | None = None
    kinds: Kinds = ()

    # Results

    @property
    def _value(self) -> dict[str, Any]:
        return self._values(self.moments.estimate, self._sums.estimate)

    @property
    def _stderr(self) -> dict[str, Any]:
        return self._values(self.moments.stderr, self._sums.stderr)

    @cached_property
    def _grad(self) -> dict[str, Any]:
        return self._gradients(self.moments.estimate, self._sums.estimate)

    @cached_property
    def _grad_stderr(self) -> dict[str, Any]:
        return self._gradients(self.moments.stderr, self._sums.stderr)

    def _values(self, by_row: Float64Array, sums: Float64Array) -> dict[str, Any]:
        if self._is_reduced:
            return self._sums.components.value_in(sums)
        return {path: self._in_batch(x) for path, x in self.components.value_in(by_row).items()}

    def _gradients(self, by_row: Float64Array, sums: Float64Array) -> dict[str, Any]:
        found = {path: self._in_batch(x) for path, x in self.components.split(by_row).items()}
        found |= self._sums.components.split(sums)
        return {path: found[path] for parameter in self.order for path in self.components.paths(parameter)}

    def _second_in(self, errors: bool) -> dict[str, NDArray[Any]]:
        moments, sums = self.moments, self._sums
        by_row, over_rows = (moments.stderr, sums.stderr) if errors else (moments.estimate, sums.estimate)
        found = {path: self._in_batch(x) for path, x in self.components.second_in(by_row).items()}
        return self._with_sums(found, sums.components.second_in(over_rows))

    def _with_sums(self, by_row: Mapping[str, Any], over_rows: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is given of second derivatives by row, and of sums, in one order."""
        return self.components.second.in_order({**by_row, **over_rows}, self.components.differentiated)

    def flat(self, paths: Iterable[str], errors: bool = False) -> list[NDArray[Any]]:
        """Return the value and gradients as single arrays, those by row behind the batch axes."""
        moments, sums, own = self.moments, self._sums, self.components
        by_row, over_rows = (moments.stderr, sums.stderr) if errors else (moments.estimate, sums.estimate)
        return [
            flat_value(sums.components, over_rows) if self._is_reduced else self._in_batch(flat_value(own, by_row)),
            *(
                self._in_batch(flat_gradient(own, by_row, path))
                if path in own.shapes
                else flat_gradient(sums.components, over_rows, path)
                for path in paths
            ),
        ]

    def joined(
        self, paths: Sequence[str], dtype: DTypeLike, errors: bool = False
    ) -> tuple[NDArray[np.float64], NDArray[Any]]:
        """Return the value, and the numbers of gradients one after the other."""
        moments, sums, own = self.moments, self._sums, self.components
        by_row = moments.stderr if errors else moments.estimate
        if self._is_reduced:
            value = (sums.value_stderr if errors else sums.value).reshape(own.flat_value)
        else:
            value = self._in_batch(flat_value(own, by_row))
        over_rows = sums.gradient_stderr if errors else sums.gradient
        parts, shared = [], sums.components
        for path in paths:
            if path in own.shapes:
                parts.append(by_row[:, own.slices[path]].ravel())
            else:
                where = shared.slices[path]
                parts.append(over_rows[where.start - shared.values.stop : where.stop - shared.values.stop])
        return value, joined(parts, dtype)

    def _in_batch(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return an array with the batch axes in place of the axis of rows, the first."""
        return x.reshape((*self.batch_shape, *x.shape[1:]))

    @property
    def _is_reduced(self) -> bool:
        """Whether the value is over the rows."""
        return self.reduce in ("sum", "mean")

    @cached_property
    def _sums(self) -> RowSums:
        weight = 1.0 if self.reduce != "mean" else 1.0 / self.size if self.size else math.nan
        return RowSums(self.moments, self.components, self.shared, self.total, weight)

    @cached_property
    def _whole(self) -> Whole:
        moments, sums, where = self.moments, self._sums, self.components.values
        if self._is_reduced:
            numbers, errors = sums.estimate[where], sums.stderr[where]
            return Whole(self.components.value, numbers, errors, sums.covariance, self._gradients_by_parameter)
        return Whole(
            self.components.value,
            self._in_batch(moments.estimate[:, where]),
            self._in_batch(moments.stderr[:, where]),
            self._covariance_by_row,
            self._gradients_by_parameter,
        )

    def _covariance_by_row(self) -> Float64Array:
        """Return the covariances of the numbers of the value of each row, for `Whole`."""
        return self._in_batch(matrix(self.components, self.moments.estimate, self.moments.counts))

    def _gradients_by_parameter(self) -> dict[str, tuple[int, Float64Array]]:
        """Return gradients of the value, for `Whole`: of a value by row, those that are by row, too."""
        if self.components.contracted:
            return {}
        flat, sums = self.components.by_parameter(self.moments.estimate), self._sums
        weight = sums.weight if self._is_reduced else 1.0
        found = {path: (len(self.batch_shape), weight * self._in_batch(x)) for path, x in flat.items()}
        if self._is_reduced:
            found |= {path: (0, x) for path, x in sums.components.by_parameter(sums.estimate).items()}
        return found

    def difference(self, first: Any, second: Any) -> Difference:
        """Return the difference of the values of two rows, with its standard error.

        Parameters
        ----------
        first, second : int or tuple of int
            Which rows.

        Raises
        ------
        ParameterError
            No row of the batch; with common noise and many rows, a pair without the first row.

        Notes
        -----
        With common noise it is the mean of the differences draw by draw, which are small where the rows are alike. Of
        more than 32 rows each is compared with the first alone.
        """
        i, j = self._row("first", first), self._row("second", second)
        where = self.components.values
        if i == j:
            zero = np.zeros(where.stop)
            return self._difference(zero, zero)
        if self.differences is None:
            (a, b), errors = (x[[i, j], where] for x in (self.moments.estimate, self.moments.stderr))
            return self._difference(a - b, np.hypot(*errors))
        found = paired(self.differences, self.size, i, j)
        if found is None:
            raise ParameterError("first, second", f"rows {first} and {second}", "row 0 and another, of so many rows")
        return self._difference(*found)

    def _difference(self, mean: Float64Array, error: Float64Array) -> Difference:
        of_value = Components({}, self.components.value)
        return Difference(*(nested(of_value.value_in(x)) for x in (mean, error)))

    def _row(self, name: str, given: Any) -> int:
        place = given if isinstance(given, tuple) else (given,)
        try:
            if len(place) == len(self.batch_shape) and not any(isinstance(i, bool | np.bool_) for i in place):
                return int(np.ravel_multi_index(place, self.batch_shape))
        except (TypeError, ValueError):
            pass
        raise ParameterError(name, shown(given), f"the place of a row in a batch of shape {self.batch_shape}")

    @property
    def size(self) -> int:
        """Number of rows."""
        return math.prod(self.batch_shape)

    @property
    def effective_sample_size(self) -> NDArray[np.float64]:
        """Of each row, of the batch shape: as of an `Estimate`."""
        self._check_weighted("effective_sample_size")
        where, moments = self.components.weight, self.moments
        means, norms = moments.means[:, where], moments.norms[:, where]
        of_each = self.n // len(self.replicates) if self.replicates else self.group
        return of_weights(means, norms, moments.counts[:, None], of_each).reshape(self.batch_shape)

    @property
    def draws_per_second(self) -> float:
        """Draws of all rows, divided by `seconds`."""
        return self.n * self.size / self.seconds if self.seconds > 0 else math.inf

    def confidence_interval(self, level: float = 0.95) -> ConfidenceInterval:
        """Return confidence intervals by Student's t, for each component by itself.

        Parameters
        ----------
        level : float
            Probability that one interval covers, 0 < level < 1.

        Notes
        -----
        With the degrees of freedom of a row's draws, one less than the draws that count. Sums and means of values over
        the rows have Satterthwaite's: those of all rows together where the rows have equal variances, and fewer where
        some have most of it. Sums of derivatives, whose variances by row are not kept, have those of all rows together:
        where variances differ much and n is below 10, their intervals are too short. With common noise all have those
        of the draws.
        """
        by_row = (self.moments.counts - 1).reshape(self.batch_shape)
        sums = self._sums
        of_value = sums.components.value_in(sums.degrees) if self._is_reduced else dict.fromkeys(self._value, by_row)
        of_grad = {**dict.fromkeys(self._grad, by_row), **sums.components.split(sums.degrees)}
        means, errors = self._second_in(False), self._second_in(True)
        of_second = {**dict.fromkeys(means, by_row), **sums.components.second_in(sums.degrees)}
        value = ends(level, of_value, self._value, self._stderr, self._looks)
        grad = ends(level, of_grad, self._grad, self._grad_stderr, self._looks)
        return interval(level, value, grad, ends(level, of_second, means, errors, self._looks))

    # Merging

    def merge(self, other: BatchEstimate) -> BatchEstimate:
        """Return the estimate over the draws of both.

        Parameters
        ----------
        other : BatchEstimate
            Of the same problem, rows, seed and dtype, over other draws.

        Raises
        ------
        MergeError
            Where the two differ in anything but their draws, or share draws.

        Notes
        -----
        What is by row has the moments of all draws. Sums over the rows are weighted by the numbers of draws, and so are
        their standard errors.
        """
        early, late, common = self._in_order(other, BatchEstimate, "a BatchEstimate")
        if not np.array_equal(self.rows, other.rows):
            raise MergeError("estimates of rows with different numbers")
        mine, others = early.replicates, late.replicates
        if mine and others and mine.numbers == others.numbers:
            raise MergeError(
                "estimates of a batch over the same replicates: rows keep no means of each, so that what merges has "
                "other replicates (first_replicate=) and the same points"
            )
        return replace(
            early,
            replicates=mine.both(others) if mine and others else None,
            moments=early.moments.merge(late.moments, late.n / (early.n + late.n)),
            nonfinite=early.nonfinite + late.nonfinite,
            total=_merged(early.total, late.total),
            differences=_merged(early.differences, late.differences),
            **common,
        )

    def _kinds(self) -> dict[str, Any]:
        return super()._kinds() | {
            "batch shapes": self.batch_shape,
            "reductions": self.reduce,
            "parameters": self.order,
            "shared parameters": dict(self.shared),
            "noise": self.total is None,
            "samplers": self.replicates.points if self.replicates else "independent draws",
        }

    def _joined(self, late: Self) -> Ranges:
        mine, others = self.replicates, late.replicates
        return mine.draws_with(others, self.ranges, late.ranges) if mine and others else super()._joined(late)

    # Files

    def to_dict(self) -> dict[str, Any]:
        """Return everything as dicts, lists, strings and numbers; :meth:`from_dict` reads it back exactly.

        ``value``, ``stderr``, ``grad`` and ``grad_stderr`` are there for other readers; :meth:`from_dict` works them
        out again from ``moments``. Of more than 10,000 numbers by row they are left out, and arrays are objects of
        "dtype", "shape" and "base64", their bytes: lists would take minutes for millions.
        """
        return batch_record.of(self)

    @staticmethod
    def _arguments(given: Mapping[str, Any]) -> dict[str, Any]:
        return batch_record.arguments(given)

    # Printing

    def __repr__(self) -> str:
        grad = ", ".join(self.order)
        of = "" if self.components.of_number else f"value of shape {shapes_line(self.components)}, "
        return f"BatchEstimate({of}batch_shape={self.batch_shape}, n={self.n}, grad={{{grad}}})"

    def __str__(self) -> str:
        whole = run(self.n * self.size, self.dtype, self.backend, self.seconds, self.seed, self.first)
        how = origin(self.method, self.choice, self.group, self.antithetic)
        lines = [f"{self.size:,} rows, {self.n:,} draws each: {whole}", *how, *stopping_lines(self.stopping)]
        lines += [*kinds_lines(self.kinds), *second_lines(self.components.second)]
        lines += [self.replicates.line(self.n)] if self.replicates else []
        lines += extent_lines(VALUE, self._value, self._stderr) + extent_lines("", self._grad, self._grad_stderr)
        lines += extent_lines(self.components.second.of_results, self._second_in(False), self._second_in(True))
        if odd := int(np.count_nonzero(self.nonfinite)):
            lines.append(f"{odd:,} rows had draws whose value or gradient is not finite: see nonfinite.")
        return "\n".join(lines)


def _merged(early: Moments | None, late: Moments | None) -> Moments | None:
    return None if early is None or late is None else early.merge(late)
