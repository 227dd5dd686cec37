"""Jobs one after the other, the next ones compiled meanwhile; one that fails stops no other."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass

from mcgrad.backends.threads import one_blas_thread
from mcgrad.cli import board
from mcgrad.cli.board import Board
from mcgrad.cli.prepare import Complete, Ready, in_turn, prepare
from mcgrad.cli.run import Settings, pass_over, run_job
from mcgrad.errors import McgradError
from mcgrad.jobfile import Entry, Refused, refuse_clashes


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Parameters
    ----------
    entry : Entry or Refused
    state : str
        The last it had on the board.
    why : str
        Of one that failed.
    """

    entry: Entry | Refused
    state: str
    why: str = ""


def run_jobs(entries: Sequence[Entry | Refused], settings: Settings) -> list[Outcome]:
    """Run all jobs, print and write what comes out, and return what became of each.

    Raises
    ------
    ParameterError
        Two jobs would write the same files; before anything runs.
    """
    if settings.out is not None:
        entries = [entry.into(settings.out) if isinstance(entry, Entry) else entry for entry in entries]
    refuse_clashes(entry for entry in entries if isinstance(entry, Entry))
    sizes = [(entry.name, entry.n if isinstance(entry, Entry) else 0) for entry in entries]
    # one BLAS thread from first to last: what is computed while compiling must not depend on what runs meanwhile
    with one_blas_thread(), Board(sizes, settings.progress) as lines:
        outcomes = _Batch(list(entries), settings, lines).run()
    if len(outcomes) > 1:
        print("\n".join(["", *summary(outcomes)]))
    return outcomes


class _Batch:
    """Jobs by number, as the board has them."""

    def __init__(self, entries: list[Entry | Refused], settings: Settings, lines: Board) -> None:
        self.entries, self.settings, self.lines = entries, settings, lines
        self.outcomes: dict[int, Outcome] = {}

    def run(self) -> list[Outcome]:
        """Run all."""
        good = []
        for i, entry in enumerate(self.entries):
            if isinstance(entry, Refused):
                self.fail(i, entry.error)
            else:
                good.append((i, entry))
        with closing(in_turn(good, self.prepare)) as turns:
            for (i, _), future in turns:
                self.attempt(i, future)
        return [self.outcomes[i] for i in range(len(self.entries))]

    def prepare(self, item: tuple[int, Entry]) -> Complete | Ready:
        """Prepare a job, in the thread for that."""
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
        """Run a job once it is prepared."""
        try:
            found = future.result()
            if any(outcome.state != board.FAILED for outcome in self.outcomes.values()):
                self.lines.say()
            if isinstance(found, Complete):
                ok, state = pass_over(found, self.settings, self.lines.say), board.COMPLETE
            else:
                report = self.lines.run(i, found.job.n, found.reached.stop if found.reached else 0)
                ok, state = run_job(found, self.settings, report, self.lines.say, _warn), board.DONE
        except BrokenPipeError:  # the reader of what is printed has gone: no fault of the job
            raise
        except Exception as error:  # the user's own functions may raise anything
            self.fail(i, error)
        else:
            self.end(i, state if ok else board.OFF)

    def fail(self, i: int, error: Exception) -> None:
        """Say why a job failed."""
        if not isinstance(error, McgradError):
            traceback.print_exception(error)
        why = str(error) if isinstance(error, McgradError) else f"{type(error).__name__}: {error}"
        entry, place = self.entries[i], str(self.entries[i].place)
        who = entry.name if place in why else f"{entry.name} ({place})"
        _warn(f"error: {who}: {why}" if len(self.entries) > 1 else f"error: {why}")
        self.end(i, board.FAILED, why.removeprefix(f"{place}, ").removeprefix(f"{place}: "))

    def end(self, i: int, state: str, why: str = "") -> None:
        """Take note of what became of a job."""
        self.outcomes[i] = Outcome(self.entries[i], state, why)
        self.lines.put(i, state)


def summary(outcomes: Sequence[Outcome]) -> list[str]:
    """Return a table of what became of the jobs."""
    states = [outcome.state for outcome in outcomes]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    rows = [(outcome.entry.name, outcome.state, str(outcome.entry.place)) for outcome in outcomes]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [f"{len(outcomes)} jobs: {counts}"]
    for row, outcome in zip(rows, outcomes, strict=True):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join([*cells, " ".join(outcome.why.split())]).rstrip())
    return lines


def _warn(message: str) -> None:
    print(f"mcgrad: {message}", file=sys.stderr)
