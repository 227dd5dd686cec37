"""Run a derived Program: choose the backend, run the pilots, average, and make the Estimate of the moments.

An Estimator checks the arguments of a call and passes them to its `Runner`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from mcgrad.arrays import any_on_device, synchronize
from mcgrad.backends.base import Partial
from mcgrad.engine.averager import Averager
from mcgrad.engine.call import Call, PartOfRows, State
from mcgrad.engine.control_results import in_results, warn_of_wrong_means
from mcgrad.engine.derivation import Derivation
from mcgrad.engine.dispatch import CUDA, Dispatched
from mcgrad.engine.epilogue import Finisher, nonfinite_message
from mcgrad.engine.fingerprint import Fingerprint
from mcgrad.engine.in_stream import InStreams
from mcgrad.engine.options import Options
from mcgrad.engine.outline import Outline, outline
from mcgrad.engine.rarity import warn_of_gaps, warn_of_rare_draws
from mcgrad.engine.replicates import ReplicateAverager
from mcgrad.engine.row_averager import RowAverager
from mcgrad.engine.row_runner import RowRunner
from mcgrad.engine.rows_in_streams import RowsInStreams
from mcgrad.engine.shard import Shard, of_replicates_of_shard
from mcgrad.engine.tails import Tails, warn_of_tail
from mcgrad.engine.threads import thread_count
from mcgrad.errors import NonFiniteError
from mcgrad.ir.noise_vars import keys_of
from mcgrad.ir.spaces import Values
from mcgrad.moments import Moments
from mcgrad.results.estimate import Estimate


class Runner:
    """Makes Estimates of one problem.

    Parameters
    ----------
    derived : Derivation
    options : Options
        Options of runs.
    ran : str, optional
        The backend that ran before it was pickled.

    Attributes
    ----------
    derived : Derivation
    dispatched : Dispatched
        The Program on a backend.
    finish : Finisher
    average : Averager
    in_streams : InStreams
        Makes estimates that stay on a CUDA device.
    fingerprint : Fingerprint
    rows : RowRunner or None
        Of a batch, which makes its estimates.
    """

    def __init__(self, derived: Derivation, options: Options, ran: str | None) -> None:
        self.derived, self._nonfinite, self._device = derived, options.nonfinite, options.output == "device"
        self._along = derived.plan.along(derived.wrt)
        self._tails = Tails(derived) if derived.components.weighted and not derived.batch else None
        self._looked = False
        self.fingerprint = Fingerprint(derived.program, derived.inputs.fixed, derived.plan.antithetic)
        self.dispatched = _dispatched(derived, options, ran)
        self.finish = Finisher(derived.program, derived.q.template.free, derived.components)
        omit = options.nonfinite == "omit"
        self.average = Averager(self.dispatched, self.finish, derived.groups, omit, options.threads)
        rows = RowAverager(self.dispatched, derived.groups, omit, options.threads)
        self._over_points = None
        if derived.sampler.is_point_set:
            random = keys_of(derived.program).random
            self._over_points = ReplicateAverager(derived.sampler, rows, self.finish, omit, random)
        self.rows = RowRunner(derived, options, self.dispatched) if derived.batch else None
        self.in_streams = (
            RowsInStreams(derived, self.dispatched, self.rows.finish, options.nonfinite)
            if self.rows
            else InStreams(derived, self.dispatched, self.finish, options.nonfinite)
        )

    def estimate(self, values: Values, call: Call, merges: bool = True) -> Estimate:
        """Estimate over the draws of a call.

        Parameters
        ----------
        values : dict of Input to array
            Values of all inputs but those that pilots compute.
        call : Call
        merges : bool
            Whether the estimate has a fingerprint, without which it does not merge.

        Raises
        ------
        NonFiniteError
            Some draws were not finite, under ``nonfinite="raise"``.
        """
        derived, problem = self.derived, self.fingerprint.at(values) if merges else ""
        values = {**values, **derived.pilots(values, call.seed)}
        replicates = None
        if self._over_points:
            replicates, partial, seconds, backend = self._over_points(values, call)
        else:
            partial, seconds, backend = self.average(values, call)
        n = call.draws[1] - call.draws[0]
        if partial.nonfinite and self._nonfinite == "raise":
            text = nonfinite_message(partial.nonfinite, derived.groups.of(n), derived.groups.size)
            loops = derived.overruns.said(values, call) if derived.overruns else ""
            raise NonFiniteError(f"{text}; {loops}" if loops else text)
        if partial.nonfinite and derived.overruns:
            derived.overruns.warn(partial.nonfinite, self._nonfinite == "omit", values, call)
        self._warn(partial, values, n)
        control = None
        if derived.controls and derived.pilots.controls:
            control = in_results(derived.controls, values, derived.pilots.controls.draws)
            warn_of_wrong_means(derived.controls, partial.moments, replicates is not None)
        tail = self._tail(values, call) if self._tails else math.nan
        return Estimate(
            partial.moments,
            derived.components,
            ranges=(call.draws,),
            seed=call.seed,
            dtype=derived.dtype,
            backend=backend,
            seconds=seconds,
            problem=problem,
            nonfinite=partial.nonfinite,
            omitted=self._nonfinite == "omit",
            method=derived.plan.method,
            choice=derived.plan.reason,
            group=derived.groups.size,
            antithetic=derived.plan.antithetic,
            device=self._device,
            control=control,
            tail=tail,
            replicates=replicates,
            kinds=call.kinds(backend),
        )

    def _tail(self, values: Values, call: Call) -> float | Callable[[], float]:
        """Return the tail of weighted draws: found now, with a warning, in the first call, and later in others."""
        assert self._tails
        if isinstance(call.part, PartOfRows) and call.part.whole:  # the same tail in all shards
            call = replace(call, first=call.part.whole[0], n=call.part.whole[1])
        if self._looked:
            return self._tails.later(values, call, self.derived.inputs.fixed)
        self._looked = True
        found = self._tails(values, call)
        warn_of_tail(found)
        return found.k

    def part(self, call: Call, shard: Shard) -> Call:
        """Return the call for a shard: some of the draws, or of the replicates."""
        if self._over_points:
            return of_replicates_of_shard(call, shard, self.derived.sampler.replicates)
        return replace(call, part=self.average.part(call, shard))

    def outline(self, values: Values, call: Call) -> Outline:
        """Return what completes the moments of all draws."""
        values = {**values, **self.derived.pilots(values, call.seed)}
        return outline(self.derived.program, values, self.derived.q.template.free)

    def resumes(self, call: Call) -> bool:
        """Return whether a run goes on from the state of a call."""
        return (self._over_points or self.average).resumes(call)

    def drawn(self, state: State, call: Call) -> int:
        """Return how many draws of a call are done in a state of its run."""
        return self._over_points.drawn(state, call) if self._over_points else call.drawn(state)

    def _warn(self, partial: Partial, values: Values, n: int) -> None:
        """Warn of gaps between components of mixtures, once, and of zeros that more draws may change."""
        derived = self.derived
        if derived.proposal:  # draws of q are not what it is an average of
            return
        if self._along and derived.q.bridges is not None:
            warn_of_gaps(derived.q, values, self._along, n)
            self._along = []
        components, random, moments = derived.components, self.finish.random, partial.moments
        if derived.controls:
            size = len(components)
            moments, random = Moments(moments.count, moments.mean[:size], moments.norm[:size]), random[:size]
        warn_of_rare_draws(derived.q, values, components, moments, random, n, derived.dtype)


def _dispatched(derived: Derivation, options: Options, ran: str | None) -> Dispatched:
    """Choose a backend: CUDA for arrays on a device, the backend that ran before pickling, or the best estimate."""
    on_device = any_on_device(derived.inputs.arrays())
    if on_device:
        synchronize()
    prefer, why = ran, "as before it was pickled"
    if on_device or options.output == "device":
        prefer, why = CUDA, "where the inputs are"
    name = options.backend if derived.program.body() else "numpy"  # no kernel is needed
    if options.output == "device":
        name = CUDA
    rows = derived.batch.size if derived.batch and not derived.batch.common_noise else None
    draws = options.draws and derived.groups.of(options.draws) * (1 if rows is None else rows)
    if derived.sampler.is_point_set:  # replicates run as rows
        rows = (1 if rows is None else rows) * derived.sampler.replicates
    return Dispatched(name, derived.program, draws, thread_count(options.threads), options.devices, prefer, why, rows)
