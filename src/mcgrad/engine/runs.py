"""The part of an Estimator that runs it: for its calls, for jobs with checkpoints, for frameworks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.arrays import stream_context
from mcgrad.backends.registry import kind_of
from mcgrad.engine.call import Call, State, Watch
from mcgrad.engine.derivation import Derivation
from mcgrad.engine.means_alone import MeansAlone
from mcgrad.engine.options import Options
from mcgrad.engine.progress import reported
from mcgrad.engine.row_runner import RowRunner
from mcgrad.engine.runner import Runner
from mcgrad.engine.shard import Shard, ShardState
from mcgrad.engine.shard_run import PartOfRun, ShardRun
from mcgrad.engine.values import Inputs
from mcgrad.errors import BackendError, ParameterError, shown
from mcgrad.inputs import arguments
from mcgrad.inputs.sampler import first_replicate as first_replicate_of
from mcgrad.ir.program import Program
from mcgrad.results.batch_estimate import BatchEstimate
from mcgrad.results.estimate import Estimate
from mcgrad.results.out import Out
from mcgrad.system.kind import Kinds
from mcgrad.tasks.remote import Remote, on


class Runs:
    """What an Estimator inherits: runs over draws, and the states of these."""

    _runner: Runner
    _options: Options
    derived: Derivation
    inputs: Inputs
    wrt: tuple[str, ...]
    program: Program
    group: int

    @contextmanager
    def _remote(self, executor: Any, require_same: bool, earlier: Kinds = ()) -> Iterator[Remote | None]:
        """Return a context in which calls use an executor.

        Parameters
        ----------
        executor, require_same
            As for a call.
        earlier : tuple of Kind
            Of the processes of an earlier run, which this one continues.

        Raises
        ------
        ParameterError
            It is no executor, the Estimator has an option by which it stays on a device here, or the earlier run was of
            another kind.
        """
        arguments.flag("require_same", require_same)
        for kind in earlier if require_same else ():
            if kind != kind_of(kind.backend):
                given = f"True, to continue a run of another kind of process ({kind})"
                raise ParameterError("require_same", given, f"False, or a run of this kind ({kind_of(kind.backend)})")
        for name, value, none in (("output", self._options.output, "host"), ("devices", self._options.devices, None)):
            if executor is not None and value != none:
                given = f"one with {name}={shown(value)}"
                raise ParameterError("executor", given, f"None, or {name}={none!r}: each worker has devices of its own")
        with on(executor, require_same) as remote:
            yield remote

    def _call(self, n: int, seed: int, first: int, rows: Any, replicate: int = 0, remote: Remote | None = None) -> Call:
        """Return the arguments of a call, checked."""
        n, first = self.derived.sampler.draw_range(n, first, self.group)
        if rows is not None and not self._runner.rows:
            raise ParameterError("rows", f"{shown(rows)} without a batch", "None; first= says where draws begin")
        replicate = first_replicate_of(replicate, self.derived.sampler)
        return Call(arguments.seed(seed), first, n, first_replicate=replicate, remote=remote)

    def _estimate_rows(
        self,
        runner: RowRunner,
        call: Call,
        rows: Any,
        progress: bool | Callable[[int], None] = False,
        out: Mapping[str, Any] | None = None,
        changes: Mapping[str, Any] = MappingProxyType({}),
        cotangent: Any = None,
        direction: Any = None,
    ) -> Estimate | BatchEstimate:
        values, shape, numbers = runner.inputs(call, rows, changes, cotangent, direction)
        arrays = None if out is None else Out.of(out, *runner.shapes(shape))
        estimate, size = partial(runner.estimate, values, shape, numbers), len(numbers)
        found = reported(estimate, call, progress, size, "rows", lambda state: runner.rows_done(state, size, call))
        if arrays:
            arrays.fill(found)
        return found

    def numbers(
        self, n: int, seed: int, changes: Mapping[str, Any], stream: Any = None, cotangent: Any = None
    ) -> Estimate | BatchEstimate:
        """Estimate as a call does, for frameworks, which read numbers alone: the estimate does not merge."""
        call, runner = self._call(n, seed, 0, None), self._runner
        if stream is not None:
            with stream_context(stream):
                return self.numbers(n, seed, changes, None, cotangent)
        if runner.rows:
            values, shape, numbers = runner.rows.inputs(call, None, changes, cotangent)
            return runner.rows.estimate(values, shape, numbers, call, merges=False)
        return runner.estimate(self.inputs.values(changes, cotangent), call, merges=False)

    def means_alone(self, n: int, names: Sequence[str], paths: Sequence[str]) -> MeansAlone:
        """Return what estimates the value and the gradient in some parameters, in calls at arrays of these names."""
        return MeansAlone(self._runner, self.numbers, n, names, paths)

    def of_rows(self, chosen: Sequence[int], n: int, seed: int, rows: Any = None) -> Estimate | BatchEstimate:
        """Estimate some rows of a batch, counted in C order: each has the bits that it has among all."""
        assert self._runner.rows
        return self._runner.rows.of_rows(chosen, self._call(n, seed, 0, rows), rows)

    def run(
        self,
        n: int,
        seed: int = 0,
        *,
        first: int = 0,
        rows: Any = None,
        watch: Watch | None = None,
        resume: State | None = None,
        first_replicate: int = 0,
        executor: Any = None,
        require_same: bool = False,
    ) -> Estimate | BatchEstimate:
        """Estimate as a call does; report the state after each chunk of draws, or continue from such a state.

        Parameters
        ----------
        n, seed, first, rows, first_replicate, executor, require_same
            As for a call. A run on an executor goes on from a state of one without, and the other way round.
        watch : callable, optional
            Called with a `RunState` after each chunk of draws; of a batch, unless its rows have common noise, with a
            `RowState` after each range of rows, and after each chunk of the draws of a long row; of a point set
            likewise, with replicates for rows.
        resume : RunState or RowState, optional
            A state of an earlier run with this `fingerprint`, n, seed, first and rows on this backend: the result has
            the bits that the earlier one would have had.

        Returns
        -------
        Estimate, or BatchEstimate of a batch
        """
        call = replace(self._call(n, seed, first, rows, first_replicate), watch=watch, resume=resume)
        if resume is not None and not self.resumes(resume, n, first, rows):
            accepted = "a draw at which a chunk of this run ends, or a row at which a range of its rows does"
            raise ParameterError("resume", resume.place, accepted)
        with self._remote(executor, require_same, resume.kinds if resume else ()) as remote:
            call = replace(call, remote=remote)
            if self._runner.rows:
                return self._estimate_rows(self._runner.rows, call, rows)
            return self._runner.estimate(self.inputs.values({}), call)

    def resumes(self, state: State, n: int, first: int = 0, rows: Any = None) -> bool:
        """Return whether a run over the draws first .. first + n goes on from a state: a chunk of it ends there."""
        call = Call(0, first, n, resume=state)
        if self._runner.rows:
            values, _, numbers = self._runner.rows.inputs(call, rows, {})
            return self._runner.rows.resumes(values, numbers, call)
        return self._runner.resumes(call)

    def part(self, shard: Shard, n: int, seed: int = 0, *, rows: Any = None) -> PartOfRun:
        """Return the part of a run over the draws 0 .. n that a shard has; other parameters are as for `run`."""
        call, runner, of_rows = self._call(n, seed, 0, rows), self._runner, self._runner.rows
        backend = runner.dispatched.running.backend.name
        if of_rows:
            values, shape, numbers = of_rows.inputs(call, rows, {})
            own, of_part, some, part = of_rows.part(values, shape, numbers, call, shard)
            return PartOfRun(
                part,
                backend,
                partial(of_rows.estimate, own, of_part, some),
                partial(of_rows.resumes, own, some),
                partial(of_rows.outline, values, numbers, call),
                has_all=not len(numbers) and not self.derived.sampler.is_point_set,
            )
        values = self.inputs.values({})
        estimate, outline = partial(runner.estimate, values), partial(runner.outline, values, call)
        return PartOfRun(runner.part(call, shard), backend, estimate, runner.resumes, outline)

    def run_shard(
        self,
        shard: Shard,
        n: int,
        seed: int = 0,
        *,
        rows: Any = None,
        watch: Callable[[ShardState], None] | None = None,
        resume: ShardState | None = None,
    ) -> ShardRun:
        """Work out one shard of a run over the draws 0 .. n.

        Parameters
        ----------
        shard : Shard
        n, seed, rows
            As for a call.
        watch : callable, optional
            Called with the state after each chunk of draws, or range of rows, or replicate.
        resume : DrawsOfShard or RowsOfShard, optional
            A state of an earlier run of this shard with this `fingerprint`, n, seed and rows on this backend.

        Notes
        -----
        Where a backend fails under "auto", the shard runs anew on the next best one. Shards of two backends do not
        merge, as these cut runs into other chunks.
        """
        while True:
            running, part, states = self._runner.dispatched.running, self.part(shard, n, seed, rows=rows), [resume]

            def kept(state: ShardState, states: list[ShardState | None] = states) -> None:
                states[0] = state
                if watch:
                    watch(state)

            call = replace(part.call, watch=kept, resume=resume)
            if resume is not None and not part.resumes(call):
                accepted = "a draw at which a chunk of this shard ends, or a row at which a range of its rows does"
                raise ParameterError("resume", resume.place, accepted)
            try:
                estimate = None if part.is_empty else part.estimate(call)
            except BackendError as error:
                self._runner.dispatched.fall_back(running, error)
                resume = None
                continue
            outline = part.outline() if shard.number == 1 else None
            return ShardRun(states[0] or part.begun, estimate, outline)

    def row_numbers(self, rows: Any = None) -> npt.NDArray[np.int64] | None:
        """Return the numbers of the rows of a batch, of its shape; None without a batch."""
        call = self._call(self.derived.whole(0), 0, 0, rows)
        return self._runner.rows.numbers(call, rows) if self._runner.rows else None

    @property
    def fingerprint(self) -> str:
        """Fingerprint of integrand, distribution, parameters and data: the same in another process, for any backend."""
        if self._runner.rows:
            return self._runner.rows.fingerprint.later(self.inputs.rows({})[0])()
        found = self._runner.fingerprint.at(self.inputs.values({}))
        return found if isinstance(found, str) else found()
