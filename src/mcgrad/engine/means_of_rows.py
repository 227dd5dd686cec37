"""Means alone of a batch: of rows that are one range, by a kernel that has means of many rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np

from mcgrad.backends.base import Known, Part, limits_of_rows
from mcgrad.engine.means_of_draws import Numbers, is_one
from mcgrad.inputs.batch import row_numbers
from mcgrad.ir.spaces import Values
from mcgrad.moments import Float64Array
from mcgrad.noise import Shape
from mcgrad.results.row_sums import added_up

if TYPE_CHECKING:
    from mcgrad.engine.row_runner import RowRunner
    from mcgrad.engine.runner import Runner


class MeansOfRows:
    """The value and the gradient in some parameters, by row or over the rows, as `reduce` has it.

    Parameters
    ----------
    runner : Runner
    rows : RowRunner
    shape : tuple of int
        The batch shape.
    n : int
        Draws of each row.
    paths : sequence of str
    """

    def __init__(self, runner: Runner, rows: RowRunner, shape: Shape, n: int, paths: Sequence[str]) -> None:
        assert runner.derived.batch is not None
        self._batch, reduce = runner.derived.batch, runner.derived.batch.reduce
        self._kernel: Any = runner.dispatched.running.kernel
        self._finish, self._draws, self._shape = rows.finish, runner.derived.groups.of(n), shape
        self._numbers = row_numbers(None, shape)
        self._is_reduced = reduce in ("sum", "mean")
        self._weight = 1.0 / max(len(self._numbers), 1) if reduce == "mean" else 1.0
        self._own, shared = rows.components, rows.over_rows
        first = shared.values.stop  # of the totals, which have gradients only
        self._slices = [
            (True, self._own.slices[path])
            if path in self._own.shapes
            else (False, slice(shared.slices[path].start - first, shared.slices[path].stop - first))
            for path in paths
        ]

    def limits(self) -> AbstractContextManager[Any]:
        """Return the kernel's context."""
        return limits_of_rows(self._kernel, 0, self._draws)

    def suit(self, values: Values) -> bool:
        """Return whether the kernel has means of many rows, and these are one range."""
        if not hasattr(self._kernel, "bind_rows"):
            return False
        with self.limits():
            bound = self._kernel.bind_rows(values, self._numbers)
            return hasattr(bound, "means") and is_one(bound.chunks(self._draws))

    def at_addresses(self, values: Values, known: Sequence[Known]) -> MeansAtAddresses | None:
        """Return the same at arrays whose addresses are given, after a call with `values`; None where there is nothing.

        Parameters
        ----------
        values : mapping from Input to array
        known : sequence of Known
            Those that change.
        """
        bound: Any = self._kernel.bind_rows(self._batch.rows(values), self._numbers)
        if not (hasattr(bound, "at_addresses") and self._finish.has_all_means):
            return None
        flat = [x._replace(shape=self._batch.shape_of_input(x.name, x.shape)) for x in known]
        parts = [Part(by_row, where.start, where.stop - where.start) for by_row, where in self._slices]
        means = bound.at_addresses(flat, 0, self._draws, parts, self._weight, self._own.values)
        return None if means is None else MeansAtAddresses(self, means)

    def __call__(self, values: Values, seed: int) -> Numbers | None:
        """Return the value and the gradients; None where sums have to be looked at again."""
        values = self._batch.rows(values)
        found = self._kernel.bind_rows(values, self._numbers).means(seed, 0, self._draws)
        if found is None:
            return None
        by_row, summed = found
        means, totals = self._finish.means(by_row, summed, values)
        if not math.isfinite(np.add.reduce(means, axis=None) + np.add.reduce(totals)):
            return None
        if self._weight != 1.0:
            totals = totals * self._weight
        grads = [means[:, where].reshape(-1) if own else totals[where] for own, where in self._slices]
        return self.value(means[:, self._own.values]), grads

    def value(self, by_row: Float64Array) -> Float64Array:
        """Return the value of the whole batch, of the components of that of each row."""
        own = self._own
        if not self._is_reduced:
            return by_row.reshape((*self._shape, *own.flat_value))
        total = added_up(by_row)
        return (total if self._weight == 1.0 else total * self._weight).reshape(own.flat_value)


class MeansAtAddresses:
    """The value, and the gradients one after the other, at arrays whose addresses are given.

    Parameters
    ----------
    of : MeansOfRows
    means : RowsAtAddresses
        Of the backend.
    """

    def __init__(self, of: MeansOfRows, means: Any) -> None:
        self._of, self._means = of, means

    def __call__(self, seed: int, addresses: Sequence[int], dtype: np.dtype[Any]) -> tuple[Float64Array, Any] | None:
        """Return the value and the gradients, these in a dtype; None where a call has to make an estimate."""
        grad = np.empty(self._means.size, dtype)
        by_row = self._means(seed, addresses, grad)
        return None if by_row is None else (self._of.value(by_row), grad)
