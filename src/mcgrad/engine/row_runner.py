"""Run the derived Program of a batch: run the pilots of each row, average, and make the BatchEstimate of the moments.

What `Runner` does for one problem.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.engine.derivation import Derivation
from mcgrad.engine.dispatch import Dispatched
from mcgrad.engine.fingerprint import Fingerprint
from mcgrad.engine.options import Options
from mcgrad.engine.row_averager import RowAverager
from mcgrad.engine.row_epilogue import RowFinisher
from mcgrad.errors import NonFiniteError
from mcgrad.ir.spaces import Values
from mcgrad.noise import Shape
from mcgrad.results.batch_estimate import BatchEstimate
from mcgrad.results.components import Components


class RowRunner:
    """Makes BatchEstimates of one batch.

    Parameters
    ----------
    derived : Derivation
        Of a batch.
    options : Options
        Options of runs.
    dispatched : Dispatched
        The Program on a backend.
    """

    def __init__(self, derived: Derivation, options: Options, dispatched: Dispatched) -> None:
        assert derived.batch is not None
        self._derived, self._batch, self._nonfinite = derived, derived.batch, options.nonfinite
        self.fingerprint = Fingerprint(derived.program, derived.inputs.fixed)
        self._finish = RowFinisher(derived.program, derived.q.template.free)
        omit = options.nonfinite == "omit"
        self._average = RowAverager(dispatched, derived.groups, omit, options.threads)
        shapes = {out.path: out.var.shape for out in derived.program.outputs[1:] if not out.summed}
        self._components = Components(shapes)
        self._shared = {path: shape for path, shape in derived.components.shapes.items() if path not in shapes}

    def shapes(self, batch_shape: Shape) -> tuple[Shape, dict[str, Shape]]:
        """Return the shapes of the value and, by path, of the gradient."""
        value = () if self._batch.reduce in ("sum", "mean") else batch_shape
        own = self._components.shapes
        grad = {
            path: (*batch_shape, *own[path]) if path in own else self._shared[path]
            for path in self._derived.components.shapes
        }
        return value, grad

    def estimate(
        self,
        values: Values,
        shape: Shape,
        numbers: npt.NDArray[np.int64],
        seed: int,
        first: int,
        n: int,
        watch: Callable[[int], None] | None = None,
    ) -> BatchEstimate:
        """Estimate over the draws first .. first + n of each row.

        Parameters
        ----------
        values : mapping from Input to array
            Values of all inputs but those that pilots compute, those by row with the rows on the first axis.
        shape : tuple of int
            The batch shape.
        numbers : int array, shape (rows,)
            The numbers of the rows.
        seed, first, n : int
        watch : callable, optional
            Called with the number of rows done.

        Raises
        ------
        NonFiniteError
            Some draws were not finite, under ``nonfinite="raise"``.
        """
        derived, problem = self._derived, self.fingerprint.later(values)
        values = {**values, **self._pilots(values, len(numbers), seed)}
        partial, seconds, backend = self._average(values, numbers, seed, first, n, watch)
        moments, nonfinite = self._finish(partial, values, self._nonfinite == "omit")
        if self._nonfinite == "raise" and nonfinite.any():
            raise NonFiniteError(_message(nonfinite, shape))
        return BatchEstimate(
            moments,
            self._components,
            self._shared,
            tuple(derived.components.shapes),
            shape,
            numbers.reshape(shape),
            self._batch.reduce,
            ranges=((first, first + n),),
            seed=seed,
            dtype=derived.dtype,
            backend=backend,
            seconds=seconds,
            problem=problem,
            nonfinite=nonfinite.reshape(shape),
            omitted=self._nonfinite == "omit",
            method=derived.plan.method,
            choice=derived.plan.reason,
            group=derived.groups.size,
        )

    def _pilots(self, values: Values, rows: int, seed: int) -> dict[Any, Any]:
        """Return the inputs that pilots compute, row by row."""
        if not self._derived.pilots:
            return {}
        by_row = self._batch.by_row
        found = []
        for row in range(rows):
            here = {name: x[row] if name in by_row else x for name, x in values.items()}
            found.append(self._derived.pilots(here, seed))
        if not found:
            inputs = (var for var in self._derived.program.equations() if var.op == "input")
            return {var.attrs: np.zeros((0, *var.shape)) for var in inputs if var.attrs not in values}
        return {name: np.stack([each[name] for each in found]) for name in found[0]}


def _message(nonfinite: npt.NDArray[np.int64], shape: Shape) -> str:
    """Return the message of an error: how many draws in which rows, and the remedy."""
    row = int(np.flatnonzero(nonfinite)[0])
    place = tuple(int(i) for i in np.unravel_index(row, shape))
    name = str(place[0]) if len(place) == 1 else str(list(place))
    return (
        f"{int(nonfinite.sum()):,} draws in {np.count_nonzero(nonfinite):,} rows, of which the first is row {name}, "
        f'had a value or gradient that is not finite; nonfinite="omit" leaves them out, "propagate" makes the '
        "components affected NaN"
    )
