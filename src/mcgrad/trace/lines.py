"""The lines of the user's code on which comparisons, floors and signs were traced, and maxima and the like.

Warnings of jumps name the former, refusals of second derivatives both.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType
from typing import Any

import mcgrad.errors
from mcgrad.ir.ops import of_derivative
from mcgrad.ir.program import Var
from mcgrad.trace.frames import Line as Line, owner, replayed

ROOT = os.path.dirname(mcgrad.errors.__file__)
RUN_THROUGH = ("trace", "ir", "inputs", "torch", "paths", "sde")  # by f
FOLDERS = tuple(os.path.join(ROOT, name) + os.sep for name in RUN_THROUGH)
CALLER = os.path.join(ROOT, "inputs", "integrand.py")  # of f, which need not have lines: np.sign
JUMPING = of_derivative("zero")  # ops whose lines are kept,
KINKED = of_derivative("jumps", "ends")  # and those whose derivatives jump, or may
NOTED = JUMPING | KINKED
_every: ContextVar[bool] = ContextVar("lines of every op", default=False)
_table: ContextVar[dict[Var, Line] | None] = ContextVar("lines", default=None)


@contextmanager
def noted_in(table: dict[Var, Line]) -> Iterator[None]:
    """Put the lines of what is traced inside into a table."""
    token = _table.set(table)
    try:
        yield
    finally:
        _table.reset(token)


@contextmanager
def every_line() -> Iterator[None]:
    """Note the lines of all ops, for an error that names some."""
    token = _every.set(True)
    try:
        yield
    finally:
        _every.reset(token)


def noted(result: Var, arguments: Sequence[Var]) -> Var:
    """Note the line that runs now for equations between arguments and result that jump or bend; return the result."""
    if _table.get() is not None:
        _note([result], arguments, NOTED)
    return result


def noted_function(results: Any, arguments: Any, jumps: bool) -> None:
    """Note the line that runs now for equations between Vars in nested arguments and results of a function.

    Those that bend; and where the function `jumps` those that do, which others, such as np.interp, put together.
    """
    if _table.get() is not None:
        _note(_vars(results), _vars(arguments), NOTED if jumps else KINKED)


def _note(results: Iterable[Var], arguments: Iterable[Var], ops: Collection[str]) -> None:
    table = _table.get()
    assert table is not None
    known, stack = set(arguments), list(results)
    while stack:
        var = stack.pop()
        if var in known:
            continue
        known.add(var)
        stack += var.args
        if (var.op in ops or _every.get()) and var not in table and (line := _user_line()) is not None:
            table[var] = line


def _vars(given: Any) -> Iterator[Var]:
    """Yield the Vars in nested tuples, lists and dicts."""
    if isinstance(given, Var):
        yield given
    elif isinstance(given, tuple | list | dict):
        for part in given.values() if isinstance(given, dict) else given:
            yield from _vars(part)


def same_lines(made: Mapping[Var, Var]) -> None:
    """Note for Vars the lines of those that they were made of."""
    table = _table.get()
    if table is not None:
        table.update(
            {now: table[old] for old, now in made.items() if old in table and (now.op in NOTED or _every.get())}
        )


def _user_line() -> Line | None:
    """Return the line of the user's code that runs now, or None where it is code of mcgrad's, such as a family's.

    Of an f without lines, such as np.sign or a functools.partial, that of the call that it was given to.
    """
    line = replayed()
    if line is not None:
        return line()
    frame: FrameType | None = sys._getframe(1)
    of_f = False
    while frame is not None:
        file = frame.f_code.co_filename
        library = owner(file)
        if library is None:
            return file, frame.f_lineno
        of_f = of_f or file == CALLER
        if library == "mcgrad" and not of_f and not file.startswith(FOLDERS):
            return None
        frame = frame.f_back
    return None
