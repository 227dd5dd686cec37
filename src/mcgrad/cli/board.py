"""The board: one line for each job on standard error, with its state, and a progress bar while it runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskProgressColumn, TextColumn
from rich.text import Text

from mcgrad.system.printable import line, printable

WAITING, COMPILING, READY, RUNNING = "waiting", "compiling", "ready", "running"
DONE, COMPLETE, FAILED, OFF = "done", "complete already", "failed", "NOT OK"
INTERRUPTED, NOT_RUN, ELSEWHERE = "interrupted", "not run", "written elsewhere"
STYLES = {WAITING: "dim", READY: "dim", DONE: "green", COMPLETE: "green", FAILED: "red", OFF: "red", ELSEWHERE: "red"}
SPARE_ROWS = 4  # of the terminal, kept free of lines


class Board:
    """The lines, while the context lasts.

    Parameters
    ----------
    jobs : sequence of (str, int)
        Names and numbers of draws.
    shown : bool
        Whether to draw the lines.
    """

    def __init__(self, jobs: Sequence[tuple[str, int]], shown: bool) -> None:
        plain: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}
        together = shown and sys.stdout.isatty()
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
            _State(),
        )
        self._lines = Progress(
            *columns, console=Console(stderr=True, **plain), redirect_stdout=together, disable=not shown
        )
        self._print = self._lines.console.print if together else Console(**plain).print
        self._sizes = [n for _, n in jobs]
        self._tasks = [self._lines.add_task(line(name), total=n, state=WAITING) for name, n in jobs]

    def __enter__(self) -> Self:
        self._lines.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._lines.stop()

    def say(self, text: str = "", style: str | None = None) -> None:
        """Print to standard output, above the lines where both are on one terminal."""
        self._print(printable(text), style=style, soft_wrap=True)  # rich's own line breaks would break JSON

    def put(self, job: int, state: str) -> None:
        """Set the state of a job."""
        self._lines.update(self._tasks[job], state=state, completed=self._sizes[job] if state == COMPLETE else None)

    def run(self, job: int, n: int, done: int) -> Callable[[int, int, str], None]:
        """Set a job running, with `done` draws done of `n`.

        Returns
        -------
        callable
            To call with later numbers of draws, of those done and of all, and with a note for the line.
        """
        self._scroll(job)
        task = self._tasks[job]
        self._lines.reset(task, total=n, completed=done, state=RUNNING, note="")
        return lambda now, total, note: self._lines.update(task, completed=now, total=total, note=note)

    def _scroll(self, job: int) -> None:
        """Show only as many lines as fit: that of the job, and those after it."""
        rows = max(self._lines.console.height - SPARE_ROWS, 1)
        top = max(min(job - 1, len(self._tasks) - rows), 0)
        for i, task in enumerate(self._tasks):
            self._lines.update(task, visible=top <= i < top + rows)


class _State(ProgressColumn):
    """The state of a job; of one that runs, its speed and the time left."""

    def render(self, task: Task) -> Text:
        """Return the text of one line."""
        state = task.fields["state"]
        if state == RUNNING and task.speed and task.time_remaining is not None:
            note = f"{task.fields['note']}, " if task.fields["note"] else ""
            return Text(f"{note}{task.speed:.3g} draws/s, {timedelta(seconds=task.time_remaining)} left")
        return Text(state, STYLES.get(state, ""))
