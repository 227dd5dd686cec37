"""Run the derived Program of a batch: run the pilots of each row, average, and make the BatchEstimate of the moments.

What `Runner` does for one problem.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.engine.call import Call, PartOfRows, RowState, RunState, State
from mcgrad.engine.common_noise import CommonNoise, Together
from mcgrad.engine.derivation import Derivation
from mcgrad.engine.dispatch import Dispatched
from mcgrad.engine.fingerprint import Fingerprint
from mcgrad.engine.options import Options
from mcgrad.engine.outline import Outline, outline
from mcgrad.engine.rarity import warn_of_gaps, warn_of_rare_rows
from mcgrad.engine.replicates import MeansOfReplicates, of_replicates
from mcgrad.engine.row_averager import RowAverager
from mcgrad.engine.row_epilogue import Finished, RowFinisher
from mcgrad.engine.shard import DrawsOfShard, RowsOfShard, Shard, of_replicates_of_shard
from mcgrad.engine.tails import Tails, warn_of_tail
from mcgrad.engine.threads import thread_count
from mcgrad.errors import NonFiniteError, ParameterError, shown
from mcgrad.inputs.batch import row_numbers
from mcgrad.ir.noise_vars import keys_of
from mcgrad.ir.spaces import RowInput, Values, param
from mcgrad.noise import Shape
from mcgrad.noise.rows import draws_of_row, first_of_row, seed_of
from mcgrad.results.batch_estimate import BatchEstimate
from mcgrad.results.replicates import Replicates
from mcgrad.results.row_moments import RowMoments

LOOKED_AT = 4  # rows, in which tails of weights are looked for


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

    Attributes
    ----------
    finish : RowFinisher
    components, over_rows : Components
        Of what is by row, and of the sums over the rows.
    """

    def __init__(self, derived: Derivation, options: Options, dispatched: Dispatched) -> None:
        assert derived.batch is not None
        self._derived, self._batch, self._nonfinite = derived, derived.batch, options.nonfinite
        self.fingerprint = Fingerprint(derived.program, derived.inputs.fixed, derived.plan.antithetic)
        shapes = derived.components.shapes
        self._shared = {path: shape for path, shape in shapes.items() if self._batch.sums(param(path))}
        own = {path: shape for path, shape in shapes.items() if path not in self._shared}
        self.components = replace(derived.components, shapes=own, others=self._shared)
        self.over_rows = self.components.over_rows(self._shared)
        self.finish = RowFinisher(derived.program, derived.q.template.free, self.components, self.over_rows)
        omit, self._threads = options.nonfinite == "omit", options.threads
        self._average = RowAverager(dispatched, derived.groups, omit, options.threads)
        self._common = None
        if self._batch.common_noise:
            layout = self.components, self.over_rows
            self._common = CommonNoise(derived, self._batch, layout, dispatched, omit, options.threads)
        self._along = derived.plan.along(derived.wrt)
        inputs = {var.attrs for var in derived.program.equations() if isinstance(var.attrs, RowInput)}
        self._by_row = self._batch.by_row | inputs  # with those that pilots compute
        self._tails = Tails(derived) if derived.components.weighted and not self._common else None

    @property
    def most(self) -> int:
        """How many draws a row has."""
        return draws_of_row(self._derived.dtype) * self._derived.groups.size

    def shapes(self, batch_shape: Shape) -> tuple[dict[str, Shape], dict[str, Shape], dict[str, dict[str, Shape]]]:
        """Return the shapes of the arrays of the value, of the gradient, and of second derivatives, by dotted path."""
        lead = () if self._batch.reduce in ("sum", "mean") else batch_shape
        value = {path: (*lead, *shape) for path, shape in self.components.value.items()}
        own = {path: (*batch_shape, *shape) for path, shape in self.components.split_shapes.items()}
        second = {
            name: {path: (*batch_shape, *shape) for path, shape in found.items()} | self.over_rows.second_shapes[name]
            for name, found in self.components.second_shapes.items()
        }
        return value, own | self.over_rows.split_shapes, second

    def inputs(
        self, call: Call, rows: Any, changes: Mapping[str, Any], cotangent: Any = None, direction: Any = None
    ) -> tuple[Values, Shape, npt.NDArray[np.int64]]:
        """Return the values of all inputs, those by row with the rows on the first axis, the batch shape, and numbers.

        Parameters
        ----------
        call : Call
        rows : array_like of int, or None
            The numbers of the rows, which say what they draw.
        changes : nested dict
            New values of parameters and data.
        cotangent : optional
            New weights of what f returns.
        direction : optional
            A new vector that Hessians are multiplied with.

        Raises
        ------
        ParameterError
            More draws than a row has, numbers or values that do not fit, or with common noise another number of rows.
        """
        if call.stop > self.most and not self._derived.sampler.is_point_set:
            given = f"{call.n:,} draws from {call.first:,} on"
            raise ParameterError("n", given, f"at most {self.most:,}, the draws that a row has")
        values, shape = self._derived.inputs.rows(changes, cotangent, direction)
        if self._common and rows is not None:
            given = f"{shown(rows)} with common noise"
            raise ParameterError("rows", given, "None, as all rows have the draws of row 0")
        if self._common and shape != self._batch.shape:
            given = f"a batch of shape {shape} with common noise"
            raise ParameterError("common_noise", given, f"shape {self._batch.shape}, as at first, or another Estimator")
        return values, shape, row_numbers(rows, shape, self._batch.reduce != "none")

    def estimate(
        self,
        values: Values,
        shape: Shape,
        numbers: npt.NDArray[np.int64],
        call: Call,
        merges: bool = True,
    ) -> BatchEstimate:
        """Estimate over the draws of a call, of each row.

        Parameters
        ----------
        values : mapping from Input to array
            Values of all inputs but those that pilots compute, those by row with the rows on the first axis.
        shape : tuple of int
            The batch shape.
        numbers : int array, shape (rows,)
            The numbers of the rows.
        call : Call
        merges : bool
            Whether the estimate has a fingerprint, without which it does not merge.

        Raises
        ------
        NonFiniteError
            Some draws were not finite, under ``nonfinite="raise"``.
        """
        derived, problem = self._derived, self.fingerprint.later(values) if merges else ""
        together: Together | None = None
        if self._common:
            values = {**values, **self._pilots(values, len(numbers), call)}
            (moments, nonfinite), together, seconds, backend = self._common(values, call)
            self._check(moments, nonfinite, values, shape, call.draws[1] - call.draws[0])
        else:
            (moments, nonfinite), seconds, backend = self.moments(values, shape, numbers, call)
        return BatchEstimate(
            moments,
            self.components,
            self._shared,
            tuple(derived.components.shapes),
            shape,
            numbers.reshape(shape),
            self._batch.reduce,
            ranges=(call.draws,),
            seed=call.seed,
            dtype=derived.dtype,
            backend=backend,
            seconds=seconds,
            problem=problem,
            nonfinite=nonfinite.reshape(shape),
            omitted=self._nonfinite == "omit",
            method=derived.plan.method,
            choice=derived.plan.reason,
            group=derived.groups.size,
            antithetic=derived.plan.antithetic,
            total=together.total if together else None,
            differences=together.differences if together else None,
            replicates=self._replicates(call),
            kinds=call.kinds(backend),
        )

    def _replicates(self, call: Call) -> Replicates | None:
        sampler, first = self._derived.sampler, call.first_replicate
        if not sampler.is_point_set:
            return None
        random = keys_of(self._derived.program).random
        return Replicates(sampler.generator, ((first, first + self._count(call)),), random=random)

    def _count(self, call: Call) -> int:
        """Return the number of replicates of a call over a point set: fewer in a shard."""
        return self._derived.sampler.replicates if call.replicates is None else call.replicates

    def moments(
        self, values: Values, shape: Shape, numbers: npt.NDArray[np.int64], call: Call
    ) -> tuple[Finished, float, str]:
        """Return the moments over the draws of a call, of rows that have draws of their own.

        Parameters
        ----------
        values, shape, numbers, call
            As for `estimate`.

        Returns
        -------
        finished : Finished
            By row those of the value, then of the gradients in the order of the derivation's components.
        seconds : float
        backend : str
        """
        values = {**values, **self._pilots(values, len(numbers), call)}
        if self._derived.sampler.is_point_set:
            finished, seconds, backend = self._over_replicates(values, numbers, call)
        else:
            finished, seconds, backend = self._once(values, numbers, call)
        self._check(*finished, values, shape, call.n)
        if self._tails and len(numbers):
            self._warn_of_tails(self._tails, values, shape, numbers, call)
            self._tails = None
        return finished, seconds, backend

    def _warn_of_tails(
        self, tails: Tails, values: Values, shape: Shape, numbers: npt.NDArray[np.int64], call: Call
    ) -> None:
        """Warn of the row with the heaviest tail of weighted draws, of a few rows."""
        groups, dtype = self._derived.groups, self._derived.dtype
        found = []
        for row in sorted({int(i) for i in np.linspace(0, len(numbers) - 1, LOOKED_AT)}):
            first = first_of_row(int(numbers[row]), dtype) + groups.of(call.first)
            of_row, seed = self._of_row(values, row), seed_of(call.of_rows, row)
            found.append((tails.of_draws(of_row, seed, first, groups.of(call.n)), row))
        tail, row = max(found, key=lambda pair: pair[0].k if pair[0].k == pair[0].k else -math.inf)
        place = [int(i) for i in np.unravel_index(row, shape)]
        warn_of_tail(tail, f" of row {place[0] if len(place) == 1 else place}")

    def _once(self, values: Values, numbers: npt.NDArray[np.int64], call: Call) -> tuple[Finished, float, str]:
        averaged, seconds, backend = self._average(values, numbers, call)
        return self.finish(averaged, values, self._nonfinite == "omit"), seconds, backend

    def _over_replicates(
        self, values: Values, numbers: npt.NDArray[np.int64], call: Call
    ) -> tuple[Finished, float, str]:
        """Return the moments of the means of replicates, with the time of all."""
        begun, count = call.resume, self._count(call)
        assert not isinstance(begun, RunState | DrawsOfShard)
        means = MeansOfReplicates(count, begun, call.part if isinstance(call.part, PartOfRows) else None)
        times, backends = (begun.seconds, {begun.backend}) if begun else (0.0, set())
        for own in of_replicates(call, means.done, count):
            found, seconds, backend = self._once(values, numbers, own)
            means.add(found)
            times += seconds
            backends.add(backend)
            if call.watch:
                call.watch(means.state(times, backend, call.kinds(backend)))
        return means.finished, times, "+".join(sorted(backends))

    def _check(
        self, moments: RowMoments, nonfinite: npt.NDArray[np.int64], values: Values, shape: Shape, n: int
    ) -> None:
        """Raise an error for draws that are not finite, where that is asked for; warn of what may be wrong."""
        overruns = self._derived.overruns
        if self._nonfinite == "raise" and nonfinite.any():
            text = _message(nonfinite, shape)
            raise NonFiniteError(f"{text}; {overruns.said()}" if overruns else text)
        if overruns and nonfinite.any():
            overruns.warn(int(nonfinite.sum()), self._nonfinite == "omit")
        self._warn(moments, values, n)

    def resumes(self, values: Values, numbers: npt.NDArray[np.int64], call: Call) -> bool:
        """Return whether a run goes on from the state of a call."""
        if self._derived.sampler.is_point_set:
            state, count = call.resume, self._count(call)
            if isinstance(state, RowsOfShard):
                return state.of(call.part) and 0 < state.rows <= count and not state.row
            begun = state.replicates if isinstance(state, RowState) and state.rows == len(numbers) else None
            return begun is not None and begun[1] == count and 0 < begun[0] <= count
        if self._common:
            return self._common.resumes(call)
        values = {**values, **self._unknown(values, len(numbers))}  # ranges of rows do not depend on values
        return self._average.resumes(values, numbers, call)

    def rows_done(self, state: State, rows: int, call: Call) -> int:
        """Return how many rows of a run are done; with common noise, or points, as many as the draws that are done."""
        if isinstance(state, RowState):
            done, count = state.replicates or (1, 1)
            return state.rows * done // count
        return rows * call.drawn(state) // call.n

    def numbers(self, call: Call, rows: Any) -> npt.NDArray[np.int64]:
        """Return the numbers of the rows, of the batch shape; raises as `inputs`."""
        _, shape, numbers = self.inputs(call, rows, {})
        return numbers.reshape(shape)

    def of_rows(self, chosen: Sequence[int], call: Call, rows: Any) -> BatchEstimate:
        """Estimate some rows, counted in C order, of a batch without common noise."""
        assert not self._common
        values, _, numbers = self.inputs(call, rows, {})
        where = np.asarray(chosen, np.int64)
        some = {name: x[where] if name in self._batch.by_row else x for name, x in values.items()}
        return self.estimate(some, where.shape, numbers[where], call)

    def _warn(self, moments: RowMoments, values: Values, n: int) -> None:
        """Warn of gaps between components of mixtures, once, and of zeros that more draws may change: of one row."""
        q = self._derived.q.template
        if not len(moments.counts) or self._derived.proposal:  # draws of q are not what it is an average of
            return
        if self._along and q.bridges is not None:
            warn_of_gaps(q, self._of_row(values, 0), self._along, n)
            self._along = []
        if q.rarity is None:
            return
        of_row, random = partial(self._of_row, values), (self._common or self.finish).random
        warn_of_rare_rows(q, of_row, self.components, moments, random, n, self._derived.dtype)

    def _of_row(self, values: Values, row: int) -> Values:
        """Return the inputs of one row, those of pilots among them."""
        return {name: x[row] if name in self._by_row else x for name, x in values.items()}

    def part(
        self, values: Values, shape: Shape, numbers: npt.NDArray[np.int64], call: Call, shard: Shard
    ) -> tuple[Values, Shape, npt.NDArray[np.int64], Call]:
        """Return the arguments of `estimate` for a shard: some of the draws, of the rows, or of the replicates."""
        sampler = self._derived.sampler
        if sampler.is_point_set:
            return values, shape, numbers, of_replicates_of_shard(call, shard, sampler.replicates)
        if self._common:
            return values, shape, numbers, replace(call, part=self._common.part(call, shard))
        part = self._average.part(values, numbers, call, shard)
        some = slice(part.start, part.stop)
        own = {name: x[some] if name in self._batch.by_row else x for name, x in values.items()}
        return own, (part.stop - part.start,), numbers[some], replace(call, part=part)

    def outline(self, values: Values, numbers: npt.NDArray[np.int64], call: Call) -> Outline:
        """Return what completes the moments of all rows; parameters are as for `moments`."""
        values = {**values, **self._pilots(values, len(numbers), call)}
        return outline(self._derived.program, values, self._derived.q.template.free)

    def _pilots(self, values: Values, rows: int, call: Call) -> dict[Any, Any]:
        """Return the inputs that pilots compute, with the rows on the first axis."""
        if not self._derived.pilots:
            return {}
        threads = thread_count(self._threads)
        if not rows:
            return self._unknown(values, rows)
        return {**self._derived.pilots.of_rows(values, self._batch.by_row, rows, call.of_rows, threads)}

    def _unknown(self, values: Values, rows: int) -> dict[Any, Any]:
        """Return ones for the inputs that pilots compute."""
        inputs = (var for var in self._derived.program.equations() if var.op == "input")
        return {var.attrs: np.ones((rows, *var.shape)) for var in inputs if var.attrs not in values}


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
