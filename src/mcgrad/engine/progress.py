"""Report the progress of long runs: by a bar on standard error, or by a function of the user."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TypeVar

from mcgrad.engine.call import Call, State
from mcgrad.engine.until import Looks, UntilState, UntilWatch

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
    with reporting(progress, total, title) as report:
        return estimate(replace(call, watch=lambda state: report(done(state))))


@contextmanager
def reporting(progress: bool | Report, n: int, title: str = "draws") -> Iterator[Report]:
    """Return a context with a function to call with the number of draws done.

    Parameters
    ----------
    progress : True or callable
        The function, or True, which shows a bar on standard error while the context lasts.
    n : int
        Number of draws in all.
    title : str
        Text before the bar.
    """
    if callable(progress):
        yield progress
        return
    with _bar(n, title) as update:
        yield lambda done: update(completed=done)


@contextmanager
def reporting_looks(progress: bool | Report, looks: Looks) -> Iterator[UntilWatch]:
    """Return a context with a function to call with the states of a run that looks at its error.

    Parameters
    ----------
    progress : True or callable
        A function to call with the number of draws done, or True, which shows a bar: with the error at the last look
        and the tolerance, and with the draws and the time until the look at which the run is expected to end.
    looks : Looks
    """
    if callable(progress):
        yield lambda state: progress(looks.drawn(state))
        return
    with _bar(looks.expected(0, None), "draws") as update:

        def show(state: UntilState) -> None:
            last, title = state.accuracy, "draws"
            if last:
                title = f"error {last.error:.2g} of {last.part}, tolerance {last.tolerance:.2g}"
            update(completed=looks.drawn(state), total=looks.expected(state.looks, last), description=title)

        yield show


@contextmanager
def _bar(n: int, title: str) -> Iterator[Callable[..., None]]:
    """Show a bar on standard error while the context lasts; return a function that changes its fields."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=10) as bar:
        task = bar.add_task(title, total=n)
        yield partial(bar.update, task)
