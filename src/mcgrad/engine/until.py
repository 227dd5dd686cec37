"""Run until the error is small enough: look at it after n, 2 n, 4 n ... draws, each run continuing the draws before.

The estimate at a look is the merge, in order, of those over the ranges between the looks: 0 to n, n to 2 n, 2 n to 4 n
and so on. So its bits depend on the number of looks alone, as those of the ranges depend on no threads and no time.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from mcgrad.engine.accuracy import Accuracy, accuracy
from mcgrad.engine.call import Call, RowState, State
from mcgrad.errors import ToleranceWarning, user_level
from mcgrad.results.batch_estimate import BatchEstimate
from mcgrad.results.estimate import Estimate
from mcgrad.results.stopping import DRAWS, NONFINITE, REACHED, SECONDS, Stopping, StoppingRule
from mcgrad.system.kind import Kinds

Found: TypeAlias = Estimate | BatchEstimate


@dataclass(frozen=True, slots=True)
class UntilState:
    """The state of a run that looks at its error: another run, in any process, continues from it.

    Parameters
    ----------
    found : Estimate, BatchEstimate or None
        Over the ranges that are done; None before the first look.
    looks : int
        How many looks there were.
    state : RunState, RowState or None
        Of the range after these, where some of it is done.
    accuracy : Accuracy or None
        Of what was found, at the last look; a run that continues works it out again.
    """

    found: Found | None
    looks: int
    state: State | None
    accuracy: Accuracy | None = None

    @property
    def seconds(self) -> float:
        """Wall-clock time of the draws so far."""
        return (self.found.seconds if self.found else 0.0) + (self.state.seconds if self.state else 0.0)

    @property
    def kinds(self) -> Kinds:
        """Of the processes that averaged so far."""
        found, state = self.found, self.state
        return tuple(sorted({*(found.kinds if found else ()), *(state.kinds if state else ())}))

    @property
    def backend(self) -> str:
        """Name of the backend."""
        return self.state.backend if self.state else self.found.backend if self.found else ""

    @property
    def place(self) -> str:
        """Where the run is, as text."""
        places = ([self.state.place] if self.state else []) + ([f"look {self.looks}"] if self.looks else [])
        return " after ".join(places)


UntilWatch: TypeAlias = Callable[[UntilState], None]


@dataclass(frozen=True, slots=True)
class Looks:
    """The looks of a run: where they are, and what it may still take.

    Parameters
    ----------
    rule : StoppingRule
        With numbers of draws.
    seed, first : int
        Of the draws.
    rows : int
        Of a batch whose rows have draws of their own.
    replicates : int
        Of a point set, whose error is expected to fall as 1 / n; 1 of independent draws, whose error falls as the root.
    """

    rule: StoppingRule
    seed: int
    first: int = 0
    rows: int = 1
    replicates: int = 1

    def range_after(self, looks: int) -> Call:
        """Return the draws between a look and the next: as many as before it."""
        done, n = self.draws(looks), self.draws(looks + 1) - self.draws(looks)
        return Call(self.seed, self.first + done, n)

    def draws(self, looks: int) -> int:
        """Return how many draws there are at a look; none before the first."""
        return self.rule.bounds[0] << (looks - 1) if looks else 0

    @property
    def most(self) -> int:
        """The last look that there may be."""
        start, limit = self.rule.bounds
        return (limit // start).bit_length()

    def drawn(self, state: UntilState) -> int:
        """Return how many draws are done, of all rows together."""
        done = self.rows * self.draws(state.looks)
        if state.state is None:
            return done
        call = self.range_after(state.looks)
        if isinstance(state.state, RowState) and state.state.replicates:
            return done + call.drawn(state.state)
        return done + replace(call, first=call.first // self.replicates, n=call.n // self.replicates).drawn(state.state)

    @property
    def order(self) -> float:
        """The power of 1 / n as which the error is expected to fall."""
        return 0.5 if self.replicates == 1 else 1.0

    def expected(self, looks: int, last: Accuracy | None) -> int:
        """Return with how many draws, of all rows, the run is expected to end."""
        if last is None:
            return self.rows * self.draws(1)
        more = math.ceil(math.log2(last.ratio) / self.order) if 1 < last.ratio < math.inf else int(last.ratio > 1)
        return self.rows * self.draws(min(looks + more, self.most))


def until(
    over: Callable[[Call], Found],
    looks: Looks,
    varies: Mapping[str, bool],
    watch: UntilWatch | None = None,
    resume: UntilState | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Found:
    """Estimate until the error is within the tolerance, or until a limit.

    Parameters
    ----------
    over : callable
        Estimates over the draws of a call.
    looks : Looks
    varies : mapping from str to bool
        As for `accuracy`.
    watch : callable, optional
        Called with the state after each chunk of draws, or range of rows, and after each look but the last.
    resume : UntilState, optional
        Continue from this state.
    clock : callable
        Seconds.

    Returns
    -------
    Estimate or BatchEstimate
        With `stopping`.

    Warns
    -----
    ToleranceWarning
        The run has ended before its error is within the tolerance.
    """
    now = resume or UntilState(None, 0, None)
    if now.found:
        now = replace(now, accuracy=accuracy(now.found, looks.rule, varies))
    start = clock() - now.seconds
    while True:
        call = replace(looks.range_after(now.looks), resume=now.state)
        if watch:
            call = replace(call, watch=_reporting(watch, now))
        part = over(call)
        found = now.found.merge(part) if now.found else part  # type: ignore[arg-type]  # both of one kind
        last, count = accuracy(found, looks.rule, varies), now.looks + 1
        reason = _ended(last, found, count == looks.most, looks.rule.max_seconds, clock() - start)
        if reason:
            stopping = Stopping(reason, count, last.part, last.error, last.tolerance, looks.rule)
            return _stopped(found, last, stopping, looks.order)
        now = UntilState(found, count, None, last)
        if watch:
            watch(now)


def _reporting(watch: UntilWatch, at: UntilState) -> Callable[[State], None]:
    return lambda state: watch(replace(at, state=state))


def _ended(last: Accuracy, found: Found, is_last: bool, limit: float | None, seconds: float) -> str:
    """Return why a run ends at a look; nothing where it goes on."""
    if not last.finite:
        return NONFINITE
    if last.ratio <= 1:
        return REACHED
    if is_last:
        return DRAWS
    return SECONDS if limit is not None and seconds + found.seconds > limit else ""  # the next range has as many draws


def _stopped(found: Found, last: Accuracy, stopping: Stopping, order: float) -> Found:
    """Return the estimate at the last look with its record; warn where the tolerance is not reached."""
    if not stopping.reached:
        warnings.warn(_message(stopping, last, found.n, order), ToleranceWarning, stacklevel=user_level())
    return replace(found, stopping=stopping)


def _message(stopping: Stopping, last: Accuracy, n: int, order: float) -> str:
    """Say how a run ended before its error is within the tolerance, and the remedy."""
    rule, start = stopping.rule, f"after {n:,} draws"
    if stopping.reason == NONFINITE:
        return f'{start} the value or gradient is not finite, which more draws do not change; see nonfinite="omit"'
    limit = f"max_draws={rule.max_draws:,}" if stopping.reason == DRAWS else f"max_seconds={rule.max_seconds:g}"
    if last.size == last.error == 0:
        text = f"at the limit {limit} {last.part} is zero in all {n:,} draws, by chance or exactly"
        return f"{text}: give atol=, the error that may remain"
    sizes = f"{last.error:.3g}, more than the tolerance {last.tolerance:.3g}"
    text = f"{start} the error of {last.part} is {sizes}, at the limit {limit}"
    if rule.rtol > 0 and last.is_zero:
        known = f"{last.part} cannot be told from zero, so it may be that no number of draws reaches rtol={rule.rtol:g}"
        return f"{text}; {known}: give atol=, the error that may remain"
    return f"{text}; it would take about {n * last.ratio ** (1 / order):.2g} draws" if last.ratio < math.inf else text
