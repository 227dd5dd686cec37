"""Report the progress of long runs: by a bar on standard error, or by a function of the user."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

from mcgrad.engine.call import Call, State
from mcgrad.engine.until import Looks, UntilState, UntilWatch
from mcgrad.tasks.remote import Remote

Report = Callable[[int], None]
Found = TypeVar("Found")


def reported(
    estimate: Callable[[Call], Found],
    call: Call,
    progress: bool | Report,
    total: int,
    title: str,
    done: Callable[[State], int],
) -> Found:
    """Estimate a call, and report its progress where that is wanted.

    Parameters
    ----------
    estimate : callable
    call : Call
    progress, total, title
        As `reporting` takes them, or False.
    done : callable
        Returns how much of the total is done in a state of the run.
    """
    if not progress and not callable(progress):
        return estimate(call)
    with reporting(progress, total, title, call.remote) as report:
        return estimate(replace(call, watch=lambda state: report(done(state))))


@contextmanager
def reporting(progress: bool | Report, n: int, title: str = "draws", remote: Remote | None = None) -> Iterator[Report]:
    """Return a context with a function to call with the number of draws done.

    Parameters
    ----------
    progress : True or callable
        The function, or True, which shows a bar on standard error while the context lasts.
    n : int
        Number of draws in all.
    title : str
        Text before the bar.
    remote : Remote, optional
        The executor that works, if one does: the bar says how fast, and how many workers it has.
    """
    if callable(progress):
        yield progress
        return
    with _bar(n, title, remote) as update:
        yield lambda done: update(completed=done)


@contextmanager
def reporting_looks(progress: bool | Report, looks: Looks, remote: Remote | None = None) -> Iterator[UntilWatch]:
    """Return a context with a function to call with the states of a run that looks at its error.

    Parameters
    ----------
    progress : True or callable
        A function to call with the number of draws done, or True, which shows a bar: with the error at the last look
        and the tolerance, and with the draws and the time until the look at which the run is expected to end.
    looks : Looks
    remote
        As for `reporting`.
    """
    if callable(progress):
        yield lambda state: progress(looks.drawn(state))
        return
    with _bar(looks.expected(0, None), "draws", remote) as update:

        def show(state: UntilState) -> None:
            last, title = state.accuracy, "draws"
            if last:
                title = f"error {last.error:.2g} of {last.part}, tolerance {last.tolerance:.2g}"
            update(completed=looks.drawn(state), total=looks.expected(state.looks, last), description=title)

        yield show


@contextmanager
def reporting_levels(
    progress: bool | Report, remote: Remote | None = None
) -> Iterator[Callable[[int, int], None] | None]:
    """Return a context with a function to call with the number of draws done, and that expected, of all levels.

    Parameters
    ----------
    progress : bool or callable
        A function to call with the number of draws done; or whether to show a bar: None is returned where not.
    remote
        As for `reporting`.
    """
    if callable(progress):
        yield lambda done, expected: progress(done)
    elif progress:
        with _bar(1, "draws", remote) as update:
            yield lambda done, expected: update(completed=done, total=expected)
    else:
        yield None


@contextmanager
def _bar(n: int, title: str, remote: Remote | None) -> Iterator[Callable[..., None]]:
    """Show a bar on standard error while the context lasts; return a function that changes its fields."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    start = time.perf_counter()

    def update(completed: float, **fields: Any) -> None:
        if remote:
            speed = completed / max(time.perf_counter() - start, 1e-9)
            fields["speed"] = f"{speed:.2g} {title}/s, {remote.adapter.workers()} workers"
        bar.update(task, completed=completed, **fields)

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
        *([TextColumn("{task.fields[speed]}")] if remote else []),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=10) as bar:
        task = bar.add_task(title, total=n, speed="")
        yield update
