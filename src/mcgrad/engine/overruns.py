"""Say how many draws are not finite because a bounded loop has not ended: by draws that the reference looks at."""

from __future__ import annotations

import linecache
import warnings
from collections.abc import Sequence

from mcgrad.arrays import all_to_host
from mcgrad.engine.call import Call
from mcgrad.engine.per_draw import PerDraw
from mcgrad.errors import OverrunWarning, user_level
from mcgrad.gradients.problem import Problem
from mcgrad.ir.build import apply
from mcgrad.ir.program import Output, Program
from mcgrad.ir.spaces import Values
from mcgrad.simplify.fixed_point import simplify
from mcgrad.trace.frames import Line

DRAWS = 1_024  # that are looked at
REMEDY = "a larger max_steps ends them, or a condition that does not hold for draws that do not need the loop"
LEFT_OUT = "without them the estimate is of draws that end in time"

Place = tuple[int, Line | None]  # the number of steps, and the user's line


class Overruns:
    """The bounded loops of a problem.

    Parameters
    ----------
    program : Program
        Of each loop, whether it has not ended.
    places : sequence of (int, Line or None)
        Its largest number of steps, and where it is called.
    """

    def __init__(self, program: Program, places: Sequence[Place]) -> None:
        self._program, self._places = program, tuple(places)
        self._warned = False

    @classmethod
    def of(cls, problem: Problem, dtype: str) -> Overruns | None:
        """Return those of a problem, each line of the user's code once; None if there are none."""
        found = {(each.steps, each.line): each.flag for each in reversed(problem.overruns)}
        flags = [Output(f"overrun{i}", apply("float", flag)) for i, flag in enumerate(found.values())]
        return cls(simplify(Program(tuple(flags), dtype)), [*found]) if flags else None

    def said(self, values: Values | None = None, call: Call | None = None) -> str:
        """Return which loops may be why draws are not finite: with values of the inputs, in how many of some draws."""
        if values is None or call is None:
            return f"those are not finite, too, in which {', '.join(map(_described, self._places))}; {REMEDY}"
        n = min(DRAWS, call.stop - call.first)
        seen = PerDraw(self._program)(all_to_host(values), call.seed, n, call.first)
        loops = [f"{int(k):,} {_described(place)}" for k, place in zip(seen.sum(1), self._places, strict=True)]
        return f"of {n:,} draws that were looked at, in {', in '.join(loops)}; {REMEDY}"

    def warn(self, nonfinite: int, omitted: bool, values: Values | None = None, call: Call | None = None) -> None:
        """Warn of draws that are not finite, once.

        Warns
        -----
        OverrunWarning
        """
        if self._warned:
            return
        self._warned = True
        text = f"{nonfinite:,} draws are not finite{' and left out' * omitted}: {self.said(values, call)}"
        warnings.warn(text + f"; {LEFT_OUT}" * omitted, OverrunWarning, stacklevel=user_level())


def _described(place: Place) -> str:
    steps, line = place
    what = f"mg.while_loop has not ended after max_steps = {steps:,} steps"
    return what + (f' (File "{line[0]}", line {line[1]}: {linecache.getline(*line).strip()})' if line else "")
