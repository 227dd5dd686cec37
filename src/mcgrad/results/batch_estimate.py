"""The result of a batch: expectations and gradients of many rows, with standard errors."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from itertools import accumulate
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from mcgrad import tree
from mcgrad.errors import MergeError, ParameterError, shown
from mcgrad.moments import Float64Array, Moments
from mcgrad.noise import Shape
from mcgrad.results import batch_record
from mcgrad.results.components import Components
from mcgrad.results.format import origin, run
from mcgrad.results.interval import ConfidenceInterval, intervals
from mcgrad.results.pairs import pairs
from mcgrad.results.ranges import Ranges, union
from mcgrad.results.record import parsed
from mcgrad.results.row_moments import RowMoments
from mcgrad.results.strict_json import dumps, signed


class Difference(NamedTuple):
    """The difference of two values, and its standard error.

    Parameters
    ----------
    value, stderr : float
    """

    value: float
    stderr: float


@dataclass(frozen=True, eq=False, repr=False)
class BatchEstimate:
    """Monte Carlo estimates of E f(z), and of its gradients, in many problems, the rows of a batch.

    Attributes
    ----------
    value, stderr : array of the batch shape, or float
        Estimates of E f(z) by row, and their standard errors; with ``reduce="sum"`` or ``"mean"`` those of the sum or
        the mean over the rows.
    grad, grad_stderr : dict
        Estimates of the gradient, and standard errors. In parameters with batch axes those of each row's own value, of
        the parameter's shape. In parameters that all rows share the sum over the rows of their gradients, or the mean
        with ``reduce="mean"``; with ``reduce="none"`` by row, with the batch axes in front.
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
        Names and shapes of what is by row: the value, then gradients.
    shared : dict of str to tuple of int
        Shapes of the gradients that are summed over the rows, by path.
    order : tuple of str
        The parameters of the gradient, in order.
    ranges : tuple of (int, int)
        Which draws of each row these are, counted from its first.
    total : Moments or None
        With common noise, of the sum of the values in each draw.
    differences : Moments or None
        With common noise, of the differences of values between pairs of rows.
    omitted, dtype, backend, seed, seconds, method, choice, group, problem
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
    total: Moments | None = None
    differences: Moments | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {each.name: getattr(self, each.name) for each in fields(self)} | {"problem": self.fingerprint}

    # Results

    @property
    def value(self) -> Any:
        """Estimates of E f(z) by row, or of their sum or mean."""
        return self._value(self.moments.estimate, np.add.reduce, None if self.total is None else self.total.estimate)

    @property
    def stderr(self) -> Any:
        """Standard errors of `value`."""
        return self._value(self.moments.stderr, np.hypot.reduce, None if self.total is None else self.total.stderr)

    @property
    def grad(self) -> dict[str, Any]:
        """Estimates of the gradient."""
        return _nested(self._grad)

    @property
    def grad_stderr(self) -> dict[str, Any]:
        """Standard errors of `grad`, component by component."""
        return _nested(self._grad_stderr)

    @cached_property
    def _grad(self) -> dict[str, Any]:
        return self._flat(self.moments.estimate, self.moments.totals)

    @cached_property
    def _grad_stderr(self) -> dict[str, Any]:
        return self._flat(self.moments.stderr, self.moments.total_stderr)

    def _value(self, by_row: Float64Array, over_rows: Callable[..., Any], total: Float64Array | None) -> Any:
        values = by_row[:, 0]
        if self.reduce not in ("sum", "mean"):
            return values.reshape(self.batch_shape).copy()
        return float(over_rows(values, initial=0.0) if total is None else total[0]) * self._weight

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
        values, errors = self.moments.estimate[:, 0], self.moments.stderr[:, 0]
        if i == j:
            return Difference(0.0, 0.0)
        if self.differences is None:
            return Difference(float(values[i] - values[j]), float(np.hypot(errors[i], errors[j])))
        rows = pairs(self.size)
        at = np.flatnonzero((rows[0] == min(i, j)) & (rows[1] == max(i, j)))
        if not len(at):
            raise ParameterError("first, second", f"rows {first} and {second}", "row 0 and another, of so many rows")
        sign = 1.0 if i < j else -1.0
        return Difference(sign * float(self.differences.estimate[at[0]]), float(self.differences.stderr[at[0]]))

    def _row(self, name: str, given: Any) -> int:
        place = given if isinstance(given, tuple) else (given,)
        try:
            if len(place) == len(self.batch_shape):
                return int(np.ravel_multi_index(place, self.batch_shape))
        except (TypeError, ValueError):
            pass
        raise ParameterError(name, shown(given), f"the place of a row in a batch of shape {self.batch_shape}")

    @property
    def _weight(self) -> float:
        """What sums over the rows are multiplied with."""
        if self.reduce != "mean":
            return 1.0
        return 1.0 / self.size if self.size else math.nan

    def _flat(self, by_row: Float64Array, totals: Float64Array) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for path, where in self.components.slices.items():
            found[path] = by_row[:, where].reshape(*self.batch_shape, *self.components.shapes[path])
        ends = [*accumulate(map(math.prod, self.shared.values()), initial=0)]
        for (path, shape), where in zip(self.shared.items(), map(slice, ends, ends[1:]), strict=True):
            found[path] = (totals[where] * self._weight).reshape(shape)
        return {path: found[path] for path in self.order}

    @property
    def size(self) -> int:
        """Number of rows."""
        return math.prod(self.batch_shape)

    @property
    def n(self) -> int:
        """Draws of each row, those that were not finite included."""
        return sum(stop - start for start, stop in self.ranges)

    @property
    def first(self) -> int:
        """Index of each row's first draw."""
        return self.ranges[0][0]

    @property
    def draws_per_second(self) -> float:
        """Draws of all rows, divided by `seconds`."""
        return self.n * self.size / self.seconds if self.seconds > 0 else math.inf

    @cached_property
    def fingerprint(self) -> str:
        """Hash of integrand, distribution, parameters and data: the same in another process, for any backend."""
        return self.problem if isinstance(self.problem, str) else self.problem()

    def confidence_interval(self, level: float = 0.95) -> ConfidenceInterval:
        """Return confidence intervals by Student's t, for each component by itself.

        Parameters
        ----------
        level : float
            Probability that one interval covers, 0 < level < 1.

        Notes
        -----
        With the degrees of freedom of a row's draws, one less than the draws that count; those of sums and means over
        the rows have the degrees of all rows together, which is right for rows of about equal variances.
        """
        by_row = (self.moments.counts - 1).reshape(self.batch_shape)
        together = np.asarray(np.maximum(by_row, 0).sum())
        flat, errors = self._grad, self._grad_stderr
        found: dict[str, Any] = {}
        for degrees, paths in ((by_row, self.components.shapes), (together, self.shared)):
            ends = {path: (flat[path], errors[path]) for path in paths}
            found |= _ends(level, degrees, ends)
        degrees = together if self.reduce in ("sum", "mean") else by_row
        (value,) = _ends(level, degrees, {"value": (np.asarray(self.value), np.asarray(self.stderr))}).values()
        return ConfidenceInterval(float(level), value, tree.unflatten({path: found[path] for path in self.order}))

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
        if not isinstance(other, BatchEstimate):
            raise MergeError(f"other: given {shown(other)}; accepted: a BatchEstimate")
        for what, mine, others in (
            ("seeds", self.seed, other.seed),
            ("dtypes", self.dtype, other.dtype),
            ("batch shapes", self.batch_shape, other.batch_shape),
            ("reductions", self.reduce, other.reduce),
            ("parameters", self.order, other.order),
            ("methods", self.method, other.method),
            ("groups of draws", self.group, other.group),
            ("noise", self.total is None, other.total is None),
            ("treatments of non-finite draws", self.omitted, other.omitted),
        ):
            if mine != others:
                raise MergeError(f"estimates of different {what}: {mine} and {others}")
        if not np.array_equal(self.rows, other.rows):
            raise MergeError("estimates of rows with different numbers")
        if self.fingerprint != other.fingerprint:
            raise MergeError("estimates of different problems (integrand, distribution, parameters or data)")
        early, late = (self, other) if self.ranges <= other.ranges else (other, self)
        return replace(
            early,
            moments=early.moments.merge(late.moments, late.n / (early.n + late.n)),
            ranges=union(early.ranges, late.ranges),
            backend="+".join(sorted({*early.backend.split("+"), *late.backend.split("+")})),
            seconds=early.seconds + late.seconds,
            problem=early.fingerprint,
            nonfinite=early.nonfinite + late.nonfinite,
            total=_merged(early.total, late.total),
            differences=_merged(early.differences, late.differences),
        )

    # Files

    def to_dict(self) -> dict[str, Any]:
        """Return everything as dicts, lists, strings and numbers; :meth:`from_dict` reads it back exactly."""
        return batch_record.of(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """Return the estimate that :meth:`to_dict` wrote; it merges as the original does.

        Raises
        ------
        ParameterError
            Where `fields` is not what :meth:`to_dict` writes, or does not have the digest that is among them.
        """
        return cls(**batch_record.arguments(fields))

    def to_json(self) -> str:
        """Return :meth:`to_dict` as strict JSON; NaN and infinities are the strings "nan", "inf" and "-inf".

        A field more than there, "digest", is a hash of all others.
        """
        return dumps(signed(self.to_dict()))

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Return the estimate that :meth:`to_json` wrote.

        Raises
        ------
        ParameterError
            Not strict JSON, not an estimate of a batch, or changed after it was written.
        """
        return cls.from_dict(parsed(text))

    # Printing

    def __repr__(self) -> str:
        grad = ", ".join(self.order)
        return f"BatchEstimate(batch_shape={self.batch_shape}, n={self.n}, grad={{{grad}}})"

    def __str__(self) -> str:
        whole = run(self.n * self.size, self.dtype, self.backend, self.seconds, self.seed, self.first)
        lines = [f"{self.size:,} rows, {self.n:,} draws each: {whole}", *origin(self.method, self.choice, self.group)]
        grads = [(path, self._grad[path], self._grad_stderr[path]) for path in self.order]
        for path, x, error in [("value", self.value, self.stderr), *grads]:
            lines.append(f"{path} {np.shape(x)}: {_extent(x)}, std. error {_extent(error)}")
        if odd := int(np.count_nonzero(self.nonfinite)):
            lines.append(f"{odd:,} rows had draws whose value or gradient is not finite: see nonfinite.")
        return "\n".join(lines)


def _merged(early: Moments | None, late: Moments | None) -> Moments | None:
    return None if early is None or late is None else early.merge(late)


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested dicts of copies, with floats for scalars."""
    return dict(tree.unflatten({path: x.copy() if x.shape else float(x) for path, x in flat.items()}))


def _ends(level: float, degrees: Any, pairs: Mapping[str, tuple[Any, Any]]) -> dict[str, Any]:
    """Return the ends of intervals about numbers with standard errors, by path."""
    value, errors = ({path: pair[i] for path, pair in pairs.items()} for i in range(2))
    zero = np.zeros(np.shape(degrees))
    return tree.flatten(intervals(level, degrees, zero, zero, value, errors).grad) if pairs else {}


def _extent(x: Any) -> str:
    """Return the smallest and the largest of some numbers, those that are not finite aside."""
    x = np.asarray(x)
    x = x[np.isfinite(x)]
    if not x.size:
        return "no finite number"
    low, high = float(x.min()), float(x.max())
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
