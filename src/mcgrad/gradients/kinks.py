"""Find where a gradient jumps as a parameter moves: at kinks of what it is the gradient of, and at its jumps.

There the derivative of the gradient, draw by draw, is zero, or lacks what the jump contributes to the mean.
"""

from __future__ import annotations

import linecache
from collections.abc import Collection, Mapping

from mcgrad.gradients.continuity import Continuity
from mcgrad.gradients.jumps import flat_between
from mcgrad.ir.ops import of_derivative
from mcgrad.ir.program import Var, toposort, with_bodies
from mcgrad.ir.spaces import Values
from mcgrad.trace.lines import Line

BENT = of_derivative("jumps")
BENDING = ("implicit", "vibrato_step")  # hold what has another derivative; what `stop` holds may have a kink


def kink(
    root: Var,
    source: Var,
    library: Collection[Var],
    lines: Mapping[Var, Line],
    values: Values,
    holding: Collection[str],
) -> str | None:
    """Say where a gradient jumps as a parameter moves; None where it does not.

    Parameters
    ----------
    root : Var
        The gradient.
    source : Var
        The parameter.
    library : collection of Var
        Equations that are not looked at: those of distributions.
    lines : dict of Var to (str, int)
        Where in the user's code equations were made.
    values : dict of Input to array
        Of the inputs.
    holding : collection of str
        Ops whose first argument does not count: of a gradient that differentiates f `BENDING`, of others all that hold
        it, as continuous values do.
    """
    continuity = Continuity(root, values)
    for var in flat_between(source, [root], holding=holding):
        if var not in library and not continuity.is_continuous(var):
            return _place(var, root, lines)
    return None


def _place(var: Var, root: Var, lines: Mapping[Var, Line]) -> str:
    """Name the line where an equation was made, or the maximum or the like of whose derivative it is."""
    line = lines.get(var)
    if line is None:
        bending = [x for x in with_bodies(toposort([root])) if x.op in BENT]
        same = (x for x in [*bending, *lines] if x in lines and not set(var.args).isdisjoint(x.args))
        line = next((lines[x] for x in same), None)
    if line is None:
        return "at a comparison, floor or sign"
    return said(line)


def said(line: Line) -> str:
    """Name a line of the user's code."""
    file, number = line
    return f'at File "{file}", line {number}: {linecache.getline(file, number).strip()}'
