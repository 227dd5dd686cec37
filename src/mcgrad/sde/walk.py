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
    chosen, where = parsed(reduce), coordinates or Coordinates()
    numbered = {path: rule for path, rule in chosen.items() if rule is not None}
    extras = {path: by_step(f"reduce{path}", rule.arrays(), grid) for path, rule in numbered.items()}
    weights = grid.trapezoid()
    xs = {**grid.by_step(), **arrays, "weight": weights[1:], "extra": extras}

    def seen(t: Any, state: Any) -> Any:
        x = where.outward(state, lambda value: value)
        return x if observe is None else observe(t, x)

    def of(before: Any, after: Any, variance: Any, y: Any, weight: Any) -> Step:
        return Step(before, after, variance, y, weight, grid.steps, where)

    start = seen(grid.times[0], first)
    at_first = of(first, first, None, start, weights[0])
    carries = {path: rule.begin(at_first) for path, rule in numbered.items()}
    keeps_path = any(rule is None for rule in chosen.values())

    def step(carry: Any, now: Now) -> tuple[Any, Any]:
        state, totals = carry
        before, after, variance = advance(now, state)
        y = seen(now["end"], after)
        this = of(before, after, variance, y, now["weight"])
        new = {path: rule.next(totals[path], this, now["extra"].get(path)) for path, rule in numbered.items()}
        return (after, new), y if keeps_path else None

    (last, totals), ys = scan(step, (first, carries), xs)
    at_last = seen(grid.times[-1], last)
    results = {path: rule.end(totals[path], at_last, where) for path, rule in numbered.items()}
    if keeps_path:
        whole = leafwise(_after, ys, start)
        results |= {path: whole for path, rule in chosen.items() if rule is None}
    return mapped(lambda path, _: results[path], reduce)


def by_step(name: str, arrays: Any, grid: Grid) -> Any:
    """Check arrays, nested, that have an element for each step."""

    def leaf(path: str, x: Any) -> Any:
        x = x if isinstance(x, Tracer) else np.asarray(real_array(f"{name}{path}", x, "numbers", "biuf"))
        if not x.shape or x.shape[0] != grid.steps:
            accepted = f"({grid.steps}, ...), an element for each of the {grid.steps} steps between the times"
            raise ParameterError(f"{name}{path}", f"shape {x.shape}", accepted)
        return x

    return mapped(leaf, without_lists(arrays))


def _after(ys: Any, start: Any) -> Any:
    first = np.reshape(start, (1, *ys.shape[1:])) if not isinstance(start, Tracer) else start.reshape(1, *ys.shape[1:])
    return np.concatenate([first, ys])
