"""``mcgrad run``: jobs one after the other, the next ones compiled meanwhile; a job that fails stops no other."""

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
from mcgrad.job import Job
from mcgrad.jobfile import Refused, refuse_clashes


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Parameters
    ----------
    state : str
        Its last state on the board.
    why : str
        For one that failed.
    """

    state: str
    why: str = ""


class Batch:
    """Jobs to run.

    Parameters
    ----------
    entries : sequence of Job or Refused
    settings : Settings

    Raises
    ------
    ParameterError
        Two jobs would write the same files.
    """

    def __init__(self, entries: Sequence[Job | Refused], settings: Settings) -> None:
        self.settings = settings
        out = settings.out
        self.entries = [e.into(out) if out is not None and isinstance(e, Job) else e for e in entries]
        refuse_clashes(entry for entry in self.entries if isinstance(entry, Job))
        self.several = len(entries) > 1

    def run(self) -> list[Outcome]:
        """Run all, and return what became of each."""
        outcomes: dict[int, Outcome] = {}
        sizes = [(entry.name, entry.n if isinstance(entry, Job) else 0) for entry in self.entries]
        # one BLAS thread from first to last: what is folded while tracing must not depend on what runs meanwhile
        with one_blas_thread(), Board(sizes, self.settings.progress) as self.board:
            for i, entry in enumerate(self.entries):
                if isinstance(entry, Refused):
                    outcomes[i] = self._failed(i, entry.error)
            places = [i for i in range(len(self.entries)) if i not in outcomes]
            with closing(in_turn(places, self._prepare)) as prepared:
                for i, future in prepared:
                    outcomes[i] = self._attempt(i, future)
        ...
