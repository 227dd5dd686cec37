"""Jumps of a path: at the beginning of each step, the sum of those in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mcgrad.errors import ParameterError
from mcgrad.sde.grid import Grid
from mcgrad.sde.state import called, check_shapes, fits, leafwise, shapes
from mcgrad.sde.walk import by_step
from mcgrad.trace.nested import leaves


def checked(jumps: Any, x: Any, grid: Grid) -> Any:
    """Check jumps: nested as the state is, an element for each step, of a shape that broadcasts to the state's."""
    if jumps is None:
        return None
    found = by_step("jumps", jumps, grid)
    given, own = shapes(found), shapes(x)
    if list(given) != list(own):
        raise ParameterError("jumps", ", ".join(given) or "nothing", "arrays nested as x0 is")
    for path, shape in given.items():
        if not fits(shape[1:], own[path]):
            raise ParameterError(f"jumps{path}", f"shape {shape}", f"{(grid.steps, *own[path])}, as x0 has {own[path]}")
    return found


def after(jumps: Any, x: Any, coefficient: Callable[..., Any] | None, arguments: tuple[Any, ...]) -> Any:
    """Return the state after the jumps of a step."""
    if not leaves(jumps):
        return x
    if coefficient is None:
        return leafwise(lambda leaf, jump: leaf + jump, x, jumps)
    values = called(coefficient, x, arguments, "jump")
    check_shapes(coefficient, x, values, "jump")
    return leafwise(lambda leaf, c, jump: leaf + c * jump, x, values, jumps)
