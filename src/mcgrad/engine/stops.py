"""The part of an Estimator that runs until its error is small enough."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

from mcgrad import tree
from mcgrad.engine.call import Call
from mcgrad.engine.progress import reporting_looks
from mcgrad.engine.runs import Runs
from mcgrad.engine.until import Looks, UntilState, UntilWatch, until
from mcgrad.errors import ParameterError, renamed, shown
from mcgrad.inputs import arguments
from mcgrad.inputs.sampler import MOST_POINTS
from mcgrad.results.batch_estimate import BatchEstimate
from mcgrad.results.estimate import Estimate
from mcgrad.results.stopping import FIRST, GRAD, GROUPS, SECOND, VALUE, StoppingRule
from mcgrad.tasks.remote import Remote


class Stops(Runs):
    """What an Estimator inherits: `until`, and what jobs need for the same with checkpoints."""

    def until(
        self,
        rtol: float = 1e-3,
        *,
        atol: float = 0.0,
        of: str | Iterable[str] = "grad",
        norm: str = "max",
        confidence: float = 0.95,
        start: int | None = None,
        max_draws: int | None = None,
        max_seconds: float | None = None,
        seed: int = 0,
        first: int = 0,
        rows: Any = None,
        progress: bool | Callable[[int], None] = False,
        cotangent: Any = None,
        executor: Any = None,
        require_same: bool = False,
        **changes: Any,
    ) -> Estimate | BatchEstimate:
        """Estimate until the error is within a tolerance: look at it after n, 2 n, 4 n ... draws of one sequence.

        Parameters
        ----------
        rtol, atol : float
            The run ends where, for each part, norm(half widths) <= rtol * norm(estimates) + atol. The half widths are
            those of the intervals that the result returns.
        of : {"grad", "value", "all"} or iterable of str
            The parts: all components of the gradient together, all numbers of the value, each of the two, or the
            gradients in some parameters, each by itself (``["loc", "scale"]``, or ``"a"`` for all inside a; with
            "value", "grad", "hessian" or "hvp" among the names, that too). In a batch each row is a part, and so are
            sums over rows.
        norm : {"max", "l2"}
            Of a part: the largest of absolute values, or the root of the sum of their squares.
        confidence : float
            Probability that an interval covers, for each component by itself. For K components at once give
            1 - 0.05 / K.
        start : int, optional
            Draws at the first look, as many as a call may have. Default: 4096, or 1024 groups of draws that are
            averaged together; of a point set the next number that it may have.
        max_draws : int, optional
            The run ends at the last look with at most so many draws, of each row. Default: 2**30.
        max_seconds : float, optional
            The run ends at a look from which it would not come to the next in this time, at its speed so far. It comes
            to the first look in any case. Its bits depend on the time through the number of looks alone.
        seed, first, rows, cotangent, executor, require_same
            As for a call.
        progress : bool or callable
            Whether to show a bar, with the error, the tolerance and the time that is expected to be left; or a function
            to call with the number of draws done.
        **changes
            As for a call. What has the name of an argument of this method stays as it was.

        Returns
        -------
        Estimate, or BatchEstimate of a batch
            Its `stopping` says whether the tolerance was reached, and after how many looks. It has the bits of the
            estimates over the ranges between the looks, merged in their order.

        Warns
        -----
        ToleranceWarning
            The run has ended at a limit, or with components that are not finite.

        Raises
        ------
        ParameterError
            Before anything runs.

        Notes
        -----
        No number of draws reaches a relative tolerance of a part whose components are all zero: it needs `atol`. As the
        run may end at several looks, its intervals are at the level 1 - (1 - confidence) / 2: docs/until.md has the
        reason, and measured coverages.

        Examples
        --------
        >>> est = estimator.until(rtol=1e-3, of="all", max_seconds=60)
        >>> est.stopping.reached, est.n
        """
        rule = StoppingRule(
            rtol=rtol,
            atol=atol,
            of=of,
            norm=norm,
            confidence=confidence,
            start=start,
            max_draws=max_draws,
            max_seconds=max_seconds,
        )
        looks = self.looks(rule, seed, first=first, rows=rows)
        with self._remote(executor, require_same) as remote:
            over = self._over(looks.range_after(0), rows, changes, cotangent, remote)
            if not progress and not callable(progress):
                return until(over, looks, self._varies)
            with reporting_looks(progress, looks, remote) as watch:
                return until(over, looks, self._varies, watch)

    def run_until(
        self,
        rule: StoppingRule,
        seed: int = 0,
        *,
        rows: Any = None,
        watch: UntilWatch | None = None,
        resume: UntilState | None = None,
        executor: Any = None,
        require_same: bool = False,
    ) -> Estimate | BatchEstimate:
        """Estimate as `until` does; report the state after each chunk of draws, or continue from such a state.

        Parameters
        ----------
        rule : StoppingRule
        seed, rows, executor, require_same
            As for a call.
        watch : callable, optional
            Called with an `UntilState` when `run` calls with the state of a range of draws, and after each look.
        resume : UntilState, optional
            A state of an earlier run with this `fingerprint`, rule, seed and rows on this backend.
        """
        looks = self.looks(rule, seed, rows=rows)
        if resume is not None and not self.resumes_until(resume, looks, rows):
            raise ParameterError("resume", resume.place, "a look, or a draw at which a chunk of the next range ends")
        with self._remote(executor, require_same, resume.kinds if resume else ()) as remote:
            over = self._over(looks.range_after(0), rows, remote=remote)
            return until(over, looks, self._varies, watch, resume)

    def looks(self, rule: StoppingRule, seed: int = 0, *, first: int = 0, rows: Any = None) -> Looks:
        """Return where a run looks at its error, with all numbers of draws that its rule leaves open.

        Raises
        ------
        ParameterError
            The rule does not fit the problem.
        """
        sampler, batch = self.derived.sampler, self._runner.rows
        first = arguments.count("first", first, 0, arguments.MOST_DRAWS - 2 * self.group)
        if sampler.is_point_set and batch:
            accepted = "'philox', or calls with a number of draws: rows keep no means of replicates, to add points to"
            raise ParameterError(
                "sampler", f"{sampler.name!r} for a batch that runs until an error is reached", accepted
            )
        if sampler.is_point_set and first:
            raise ParameterError("first", f"{first:,} with sampler {sampler.name!r}", "0: a run that stops is a net")
        most = MOST_POINTS * sampler.unit(self.group) if sampler.is_point_set else arguments.MOST_DRAWS
        fitted = rule.fitted(self._first_look, (min(most, batch.most) if batch else most) - first)
        with renamed(lambda name: "start" if name == "n" else name):
            call = self._call(fitted.bounds[0], seed, first, rows)
        for part in fitted.parts:
            if part != VALUE:
                self._check_part(part)
        numbers = self.row_numbers(rows)
        size = 1 if numbers is None or self._options.common_noise else numbers.size
        return Looks(fitted, call.seed, first, size, sampler.replicates if sampler.is_point_set else 1)

    @property
    def _first_look(self) -> int:
        """Draws at the first look: at least 4096, and 1024 groups; of a point set as many points as it may have."""
        groups = max(-(-FIRST // self.group), GROUPS)
        whole = self.derived.whole(groups * self.group)
        return whole if whole >= groups * self.group else 2 * whole

    def _check_part(self, part: str) -> None:
        """Refuse a part of the gradient that there is not, or that has no errors."""
        if not self.wrt:
            raise ParameterError("of", shown(part), "'value', as there is no gradient")
        second = self.derived.components.second
        if part in SECOND and (not second or second.of_results != part):
            raise ParameterError("of", shown(part), f"an Estimator with {part}=, or other parts")
        try:
            paths = (
                [*second.names] if part in SECOND else self.wrt if part == GRAD else tree.select(self.wrt, [part], "of")
            )
        except ParameterError as error:
            raise ParameterError("of", error.given, f"'grad', 'value', 'all', or {error.accepted}") from None
        summed = [out.path for out in self.program.outputs if out.summed and out.path in paths]
        if summed and not self._options.errors:
            given = f"{part!r}, whose sums over the rows have no errors"
            raise ParameterError("of", given, "an Estimator with errors=True, or parts by row")

    def _over(
        self,
        call: Call,
        rows: Any,
        changes: Mapping[str, Any] = MappingProxyType({}),
        cotangent: Any = None,
        remote: Remote | None = None,
    ) -> Callable[[Call], Estimate | BatchEstimate]:
        """Return what estimates over the draws of calls, all with the same values of inputs."""
        over: Callable[[Call], Estimate | BatchEstimate]
        if self._runner.rows:
            over = partial(self._runner.rows.estimate, *self._runner.rows.inputs(call, rows, changes, cotangent))
        else:
            over = partial(self._runner.estimate, self.inputs.values(changes, cotangent))
        return lambda call: over(replace(call, remote=remote))

    @property
    def _varies(self) -> dict[str, bool]:
        """Whether draws change the value, whose path is "", and the gradient in each parameter."""
        value, *gradients = self.program.outputs
        return {"": value.var.by_draw} | {out.path: out.var.by_draw for out in gradients}

    def resumes_until(self, state: UntilState, looks: Looks, rows: Any = None) -> bool:
        """Return whether a run that looks at its error goes on from a state."""
        if state.looks >= looks.most or (state.found.n if state.found else 0) != looks.draws(state.looks):
            return False
        call = looks.range_after(state.looks)
        return state.state is None or self.resumes(state.state, call.n, call.first, rows)
