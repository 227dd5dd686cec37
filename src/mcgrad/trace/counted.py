"""Elements of an array that each step of a loop finds by a counter: they become an argument by step.

`z[t]` in a step, with t of xs, is then what z is as xs itself.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from mcgrad.ir import build
from mcgrad.ir.build import rebuild
from mcgrad.ir.program import Level, Shape, Var, toposort
from mcgrad.ir.rewrite import rewrite
from mcgrad.ir.vmap import vmap
from mcgrad.trace.lines import same_lines


def by_counters(
    results: Sequence[Var],
    params: Collection[Var],
    elements: Mapping[Var, Var],
    length: int,
    leaf: Callable[[Shape, Level], Var],
) -> tuple[list[Var], dict[Var, Var]]:
    """Return results of a step with leaves for the elements that counters find, and for each leaf its array.

    Parameters
    ----------
    results : sequence of Var
    params : collection of Var
        The leaves that stand for arguments of the step.
    elements : dict from Var to Var
        Those that have an element for each step, and the arrays of these.
    length : int
        Number of steps.
    leaf : callable
        Makes a leaf.
    """
    counters = {element: array for element, array in elements.items() if array.is_const}
    varying, counted = set(params), set(counters)
    made: dict[Var, Var] = {}
    arrays: dict[Var, Var] = {}
    for var in toposort(results) if counters else ():
        moving = [arg for arg in var.args if arg in varying]
        if not moving:
            continue
        varying.add(var)
        if all(arg in counted for arg in moving):
            counted.add(var)
        if var.op == "gather" and not var.attrs.batch and moving == [var.args[1]] and var.args[1] in counted:
            found = build.gather(var.args[0], vmap([var.args[1]], counters, length)[0])
            made[var] = leaf(var.shape, found.level)
            arrays[made[var]] = found
    if not made:
        return [*results], {}
    new = rewrite(results, rebuild, made)
    same_lines(new)
    return [new[result] for result in results], arrays
