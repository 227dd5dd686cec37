"""Draws in which a bounded loop has not ended: conditions that are collected while a function is traced.

What is computed of such a draw is NaN, whatever the function makes of the loop's result, so that it is counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import reduce

import numpy as np

from mcgrad.ir import build
from mcgrad.ir.program import Var
from mcgrad.trace.frames import Line, user_line


@dataclass(frozen=True)
class Overrun:
    """Where draws may overrun: `flag` is whether one does, `line` where the user's code calls the loop."""

    flag: Var
    steps: int
    line: Line | None


_found: ContextVar[list[Overrun] | None] = ContextVar("overruns", default=None)


@contextmanager
def collected(into: list[Overrun] | None = None) -> Iterator[list[Overrun]]:
    """Collect what loops that are traced inside note, and no one outside of this."""
    found: list[Overrun] = [] if into is None else into
    token = _found.set(found)
    try:
        yield found
    finally:
        _found.reset(token)


def note(flag: Var, steps: int) -> None:
    """Note that draws overrun where `flag` holds, by a loop that the user's code calls now."""
    noted([Overrun(flag, steps, user_line())])


def noted(overruns: Sequence[Overrun]) -> None:
    """Note what was collected elsewhere; a flag that is literally false says nothing."""
    found = _found.get()
    if found is not None:
        found += [each for each in overruns if not (each.flag.is_const and not np.any(each.flag.attrs.array))]


def spoiled(x: Var, overruns: Sequence[Overrun]) -> Var:
    """Return a value, NaN in draws that overrun; so are its derivatives."""
    if not overruns:
        return x
    flag = reduce(lambda a, b: build.apply("logical_or", a, b), [each.flag for each in overruns])
    held = build.apply("not_equal", build.apply("stop", build.apply("float", flag)), 0.0)  # no jump of what is computed
    return build.apply("multiply", build.apply("float", x), build.apply("where", held, np.nan, 1.0))
