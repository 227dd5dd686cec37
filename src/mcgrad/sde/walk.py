"""The loop over the steps of a path, and what is reduced on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mcgrad.errors import ParameterError
from mcgrad.reals import real_array
from mcgrad.sde.grid import Grid
from mcgrad.sde.reductions import Coordinates, Step, parsed
from mcgrad.sde.state import leafwise, without_lists
from mcgrad.trace.loops import scan
from mcgrad.trace.nested import mapped
from mcgrad.trace.tracer import Tracer

Now = dict[str, Any]
Advance = Callable[[Now, Any], tuple[Any, Any, Any]]


def walk(
    advance: Advance,
    first: Any,
    grid: Grid,
    arrays: dict[str, Any],
    reduce: Any,
    observe: Callable[..., Any] | None,
    coordinates: Coordinates | None = None,
) -> Any:
    """Run steps from the first state on and return what is kept of the path.

    Parameters
    ----------
    advance : callable
        ``before, after, variance = advance(now, state)``: of one step, the state before, after a jump perhaps, and
        after; and the variance of the increment, each number's.
    first : nested arrays
        What is stepped, in `coordinates`.
    grid : Grid
    arrays : dict
        Further arrays whose elements a step reads, nested; `now` has these, and those of the grid.
    reduce : names and reductions, nested
    observe : callable or None
        ``observe(t, x)``, what names reduce; the state itself for None.
    coordinates : Coordinates, optional
    """
    chosen, where, marks = parsed(reduce), coordinates or Coordinates(), grid.steps // grid.substeps
    rules = {path: rule for path, rule in chosen.items() if rule is not None}
    each_step = {path: rule for path, rule in rules.items() if rule.each_step}
    at_marks = {path: rule for path, rule in rules.items() if not rule.each_step}
    extras = {path: by_step(f"reduce{path}", rule.arrays(), grid) for path, rule in each_step.items()}
    weights = grid.trapezoid()

    def seen(t: Any, state: Any) -> Any:
        x = where.outward(state, lambda value: value)
        return x if observe is None else observe(t, x)

    def at(t: Any, state: Any, y: Any, weight: Any = None) -> Step:
        return Step(t, t, state, state, None, y, weight, marks, where)

    def step(carry: Any, now: Now) -> tuple[Any, Any]:
        state, totals = carry
        before, after, variance = advance(now, state)
        y = seen(now["end"], after)
        this = Step(now["t"], now["end"], before, after, variance, y, now["weight"], marks, where)
        return (after, {path: rule.next(totals[path], this, now["extra"][path]) for path, rule in each_step.items()}), y

    def between_marks(carry: Any, now: Now) -> tuple[Any, Any]:
        inner, totals = carry
        if grid.substeps == 1:
            inner, y = step(inner, now["steps"])
        else:
            inner, _ = scan(lambda carry, now: (step(carry, now)[0], None), inner, now["steps"])
            y = seen(now["mark"], inner[0])
        this = at(now["mark"], inner[0], y)
        new = {path: rule.next(totals[path], this, None) for path, rule in at_marks.items()}
        return (inner, new), y if None in chosen.values() else None

    start = seen(grid.times[0], first)
    begun = {path: rule.begin(at(grid.times[0], first, start, weights[0])) for path, rule in rules.items()}
    init = (first, {path: begun[path] for path in each_step}), {path: begun[path] for path in at_marks}
    steps = {**grid.by_step(), **arrays, "weight": weights[1:], "extra": extras}
    xs = {"mark": grid.marks[1:], "steps": steps if grid.substeps == 1 else _in_groups(steps, grid)}
    ((last, totals), others), ys = scan(between_marks, init, xs)
    at_last = at(grid.times[-1], last, seen(grid.times[-1], last))
    results = {path: rule.end({**totals, **others}[path], at_last) for path, rule in rules.items()}
    if None in chosen.values():
        whole = leafwise(_after, ys, start)
        results |= {path: whole for path, rule in chosen.items() if rule is None}
    return mapped(lambda path, _: results[path], reduce)


def _in_groups(arrays: Any, grid: Grid) -> Any:
    """Return arrays of all steps with an axis of marks in front of that of the steps between two of them."""
    return mapped(lambda path, x: x.reshape(-1, grid.substeps, *x.shape[1:]), arrays)


def by_step(name: str, arrays: Any, grid: Grid) -> Any:
    """Check arrays, nested, that have an element for each step."""

    def leaf(path: str, x: Any) -> Any:
        x = x if isinstance(x, Tracer) else np.asarray(real_array(f"{name}{path}", x, "numbers", "biuf"))
        if not x.shape or x.shape[0] != grid.steps:
            accepted = f"({grid.steps}, ...), an element for each of the {grid.steps} steps"
            raise ParameterError(f"{name}{path}", f"shape {x.shape}", accepted)
        return x

    return mapped(leaf, without_lists(arrays))


def _after(ys: Any, start: Any) -> Any:
    first = np.reshape(start, (1, *ys.shape[1:])) if not isinstance(start, Tracer) else start.reshape(1, *ys.shape[1:])
    return np.concatenate([first, ys])
