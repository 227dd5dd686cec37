"""Run the jobs of a batch one after the other, while a thread prepares the next ones; a failure ends that job alone."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass

from mcgrad.backends.blas_threads import one_blas_thread
from mcgrad.cache.settings import cache_folder
from mcgrad.cli import board
from mcgrad.cli.board import Board
from mcgrad.cli.outputs import refuse_targets, remove_leftovers
from mcgrad.cli.prepare import Complete, Ready, in_turn, prepare
from mcgrad.cli.run import Settings, pass_over, run_job
from mcgrad.cli.standard_streams import complain
from mcgrad.engine.shard import Shard
from mcgrad.errors import ParameterError
from mcgrad.jobs import failure, signals
from mcgrad.jobs.jobfile import Entry, Refused, refuse_clashes
from mcgrad.results.columns import aligned
from mcgrad.system.printable import printable


@dataclass(frozen=True)
class Outcome:
    """The outcome of a job.

    Parameters
    ----------
    entry : Entry or Refused
    state : str
        Its last state on the board.
    why : str
        The reason, for a job that is not done.
    """

    entry: Entry | Refused
    state: str
    why: str = ""


def run_jobs(entries: Sequence[Entry | Refused], settings: Settings) -> list[Outcome]:
    """Run all jobs, print and write their results, and return the outcome of each.

    Raises
    ------
    ParameterError
        Two jobs would write the same files. Raised before anything runs.
    Stopped
        A signal was received. Raised after the table of outcomes is printed.
    """
    if settings.out is not None:
        entries = [entry.into(settings.out) if isinstance(entry, Entry) else entry for entry in entries]
    if settings.shard:
        entries = [_of_shard(entry, settings.shard) for entry in entries]
    refuse_clashes(entry for entry in entries if isinstance(entry, Entry))
    entries = refuse_targets(entries, settings.force, settings.resume)
    remove_leftovers(entries)
    sizes = [(entry.name, entry.n or 1 if isinstance(entry, Entry) else 0) for entry in entries]
    cache_folder()  # resolves a relative path now, as users' code may change the working folder
    batch = _Batch(list(entries))
    try:
        # one BLAS thread throughout: constants computed while compiling must not depend on the job that runs
        with one_blas_thread(), Board(sizes, settings.progress) as lines:
            batch.run(settings, lines)
    finally:
        outcomes = batch.outcomes()
        if len(outcomes) > 1:
            print(printable("\n".join(["", *summary(outcomes)])))
    return outcomes


def _of_shard(entry: Entry | Refused, shard: Shard) -> Entry | Refused:
    """Return one shard of a job, or why it has none."""
    if isinstance(entry, Refused):
        return entry
    try:
        return entry.of_shard(shard)
    except ParameterError as error:
        return Refused(entry.name, entry.location, error)


class _Batch:
    """Jobs by their number on the board."""

    settings: Settings
    lines: Board

    def __init__(self, entries: list[Entry | Refused]) -> None:
        self.entries = entries
        self._ended: dict[int, Outcome] = {}

    def outcomes(self) -> list[Outcome]:
        """Return the outcomes so far."""
        return [self._ended.get(i, Outcome(entry, board.NOT_RUN)) for i, entry in enumerate(self.entries)]

    def run(self, settings: Settings, lines: Board) -> None:
        """Run all jobs."""
        self.settings, self.lines = settings, lines
        good = []
        for i, entry in enumerate(self.entries):
            if isinstance(entry, Refused):
                self.fail(i, entry.error)
            else:
                good.append((i, entry))
        with closing(in_turn(good, self.prepare)) as turns:
            for (i, _), future in turns:
                self.attempt(i, future)

    def prepare(self, item: tuple[int, Entry]) -> Complete | Ready:
        """Prepare a job; called in the thread that prepares."""
        i, entry = item
        self.lines.put(i, board.COMPILING)
        state = board.FAILED
        try:
            found = prepare(entry, self.settings.resume)
            state = board.READY
        finally:
            self.lines.put(i, state)
        return found

    def attempt(self, i: int, future: Future[Complete | Ready]) -> None:
        """Run a job once it is prepared.

        Users' functions run here and in the thread that prepares. Any exception of theirs, SystemExit included, ends
        their own job. A signal ends the batch, also where users' code has caught its exception.
        """
        running = False
        try:
            found = future.result()
            running = True
            ended = self.result(i, found)
            self.refuse_signals()
        except BaseException as error:
            if signals.ends_the_process(error) or signals.received():
                if running:
                    self.end(i, board.INTERRUPTED)
                self.refuse_signals()
                raise
            self.fail(i, error)
        else:
            self.end(i, *ended)

    def result(self, i: int, found: Complete | Ready) -> tuple[str, str]:
        """Run or skip a job; return its state, and the reason."""
        if any(outcome.state != board.FAILED for outcome in self._ended.values()):
            self.lines.say()
        if isinstance(found, Complete):
            return pass_over(found, self.settings, self.lines.say, complain)
        show = self.lines.run(i, found.expected, found.done)

        def report(done: int, expected: int, note: str) -> None:
            self.refuse_signals()
            show(done, expected, note)

        return run_job(found, self.settings, report, self.lines.say, complain)

    def refuse_signals(self) -> None:
        """Raise `Stopped` if a signal was received."""
        stopped = signals.received()
        if stopped:
            raise stopped

    def fail(self, i: int, error: BaseException) -> None:
        """Print why a job failed."""
        print(printable(failure.stack(error)), end="", file=sys.stderr)
        why, entry, location = failure.reason(error), self.entries[i], str(self.entries[i].location)
        who = entry.name if location in why else f"{entry.name} ({location})"
        complain(f"error: {who}: {why}" if len(self.entries) > 1 else f"error: {why}")
        self.end(i, board.FAILED, why.removeprefix(f"{location}, ").removeprefix(f"{location}: "))

    def end(self, i: int, state: str, why: str = "") -> None:
        """Record the outcome of a job."""
        self._ended[i] = Outcome(self.entries[i], state, why)
        self.lines.put(i, state)


def summary(outcomes: Sequence[Outcome]) -> list[str]:
    """Return a table of the outcomes of the jobs."""
    states = [outcome.state for outcome in outcomes]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    table = [(x.entry.name, x.state, str(x.entry.location), " ".join(x.why.split())) for x in outcomes]
    return [f"{len(outcomes)} jobs: {counts}", *aligned(table, left=range(4))]
