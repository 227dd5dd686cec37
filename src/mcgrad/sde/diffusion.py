"""What a diffusion adds to the state: the product of its values with the increments of the motions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mcgrad.sde.motion import Motion
from mcgrad.sde.state import Shape, called, fits, shape_of, shapes
from mcgrad.trace.nested import leaves, mapped
from mcgrad.trace.refuse import refusal_of
from mcgrad.trace.tracer import holds_tracer

Diffusion = Callable[..., Any]


def driven(g: Any, x: Any, dw: Any, motion: Motion, function: Diffusion) -> Any:
    """Return the product of the diffusion's values and increments, nested as the state is.

    Parameters
    ----------
    g : nested arrays
        Values of the diffusion. Of each leaf x of the state: of a shape that broadcasts to that of x, where each number
        has its own motion (*diagonal* noise) or where there is one motion for all (*scalar* noise); or of shape
        ``(*x.shape, motions)`` (*general* noise).
    x : nested arrays
        The state.
    dw : array, or nested arrays
        Increments, before they are correlated.
    motion : Motion
    function : callable
        The diffusion, whose line is named in errors.
    """
    has_own, of_state = motion.has_own(x), shapes(x)
    own = leaves(motion.own(dw, x)) if has_own else {}

    def leaf(path: str, value: Any) -> Any:
        kind = noise_kind(value, of_state[path], motion.shape, has_own)
        if kind == "none":
            return 0.0
        if kind == "scalar":
            return value * dw
        if kind == "diagonal":
            return value * own[path]
        if kind == "general":
            return value @ motion.correlated(dw)
        raise _refused(function, path, shape_of(value), of_state[path], motion.shape)

    return mapped(leaf, g)


def noise_kind(value: Any, shape: Shape, motions: Shape | None, has_own: bool) -> str | None:
    """Return how a leaf of the state is driven: "scalar", "diagonal", "general" or "none"; None where nothing fits."""
    given = shape_of(value)
    if motions == () and fits(given, shape):
        return "scalar"
    if has_own and fits(given, shape):
        return "diagonal"
    if motions is not None and len(motions) == 1 and given == (*shape, *motions):
        return "general"
    return "none" if not holds_tracer(value) and not np.any(value) and fits(given, shape) else None


def variance(g: Any, x: Any, motion: Motion) -> Any:
    """Return the variance of each number of the state, for each unit of time, nested as the state is."""
    has_own, of_state = motion.has_own(x), shapes(x)
    scales = leaves(motion.in_turn(motion.variances(), x)) if has_own and motion.factor is not None else {}

    def leaf(path: str, value: Any) -> Any:
        if noise_kind(value, of_state[path], motion.shape, has_own) != "general":
            return value * value * scales.get(path, 1.0)
        rows = value if motion.factor is None else value @ motion.factor
        return np.sum(rows * rows, axis=-1)

    return mapped(leaf, g)


def values(function: Diffusion, x: Any, arguments: tuple[Any, ...]) -> Any:
    """Call the diffusion and return what it says, nested as the state is."""
    return called(function, x, arguments, "diffusion")


def _refused(function: Diffusion, path: str, given: Shape, own: Shape, motions: Shape | None) -> Exception:
    if motions is None:
        accepted = f"{own}, as z has a motion for each number of the state"
    elif motions == ():
        accepted = f"{own}, as z has one motion, of shape (steps,)"
    else:
        size = int(np.prod(motions, dtype=int))
        accepted = f"{(*own, size)}, a row over the {size} motions of z, or {own} with a motion for each number of x0"
    return refusal_of(function, f"diffusion{path} has shape {given} for a state of shape {own}; accepted is {accepted}")
