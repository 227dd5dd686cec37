"""Supports of mapped distributions: the image of the support under the map, and the parameters that move its ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mcgrad import tree
from mcgrad.arrays import to_host
from mcgrad.distributions import supports
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.constraints import Constraint, FloatArray, real
from mcgrad.distributions.supports import Support
from mcgrad.ir.build import input_, noise
from mcgrad.ir.ops import OPS
from mcgrad.ir.program import Var, toposort
from mcgrad.trace.trace import trace

STEP = 2.0**-12  # of a parameter, relative, to see whether an end moves with it
LEAST = 1e-6  # of the step, that an end has to move to count
ROUNDING = 1e-9  # of the end

Params = Mapping[str, Any]


def image(
    base: Distribution,
    forward: Callable[..., Any],
    inverse: Callable[..., Any] | None,
    onto: Support,
    own: Mapping[str, FloatArray],
    constraints: Mapping[str, Constraint],
) -> Support:
    """Return the support of forward(x), x ~ base.

    Parameters
    ----------
    base : Distribution
    forward, inverse : callable
    onto : Support
        What forward maps all numbers to.
    own : dict of str to array
        The map's parameters by dotted path.
    constraints : dict of str to Constraint
        Of these.

    Notes
    -----
    Ends are known where a map acts on each component by itself: they are what it makes of the base's ends, infinite
    ones among them, and a parameter moves one if it moves that: a in a + x and a * x for x in (0, 1) and in a * tanh(x)
    for any x, but not in a * x for x > 0, nor in a + x for any x. For other maps the ends are unknown. A map of
    isolated values moves all of them.
    """
    names = {path.partition(".")[0] for path in own}

    def split(params: Params) -> tuple[Params, Params]:
        mine = {name: value for name, value in params.items() if name in names}
        return {name: value for name, value in params.items() if name not in names}, mine

    def ends(**params: Any) -> tuple[Any, Any]:
        theirs, mine = split(params)
        with np.errstate(all="ignore"):
            low, high = (np.asarray(forward(end, **mine)) for end in _ends(base, theirs))
        swapped = low > high
        return np.where(swapped, high, low), np.where(swapped, low, high)

    def inside(y: Any, **params: Any) -> Any:
        theirs, mine = split(params)
        mask = np.all(onto.inside(y))
        if inverse is None:
            return mask
        with np.errstate(all="ignore"):
            return mask & np.all(base.support.inside(inverse(y, **mine), **theirs))

    known = base.support.ends is not None and _is_elementwise(forward, base.event_shape, own)
    moving = set(base.support.moving)
    if base.support.discrete:
        moving |= set(own)
    elif known:
        moving |= {path for path in own if _moves(ends, base.params, own, path, constraints.get(path, real))}
    words = f"fn(x), {base.support.describe.replace('z', 'x')}" if onto is supports.real else onto.describe
    return Support(words, inside, ends if known else None, tuple(sorted(moving)), base.support.discrete)


def _ends(base: Distribution, params: Params) -> tuple[FloatArray, FloatArray]:
    """Return the ends of the base's support, each of the shape of a draw."""
    assert base.support.ends is not None
    low, high = base.support.ends(**params)
    shape = base.event_shape
    return np.broadcast_to(np.float64(low), shape), np.broadcast_to(np.float64(high), shape)


def _is_elementwise(forward: Callable[..., Any], shape: Any, own: Mapping[str, FloatArray]) -> bool:
    """Whether each component of forward(x) is made of the same component of x alone."""
    if not isinstance(shape, tuple):
        return False
    x = noise(0, "normal", shape)
    params = tree.unflatten({path: input_(path, array.shape) for path, array in own.items()}) if own else {}
    y = trace(forward, (x,), params)
    if not isinstance(y, Var):
        return False
    if x.size == y.size == 1:
        return True
    made = [var for var in toposort([y]) if var.by_draw and var is not x]
    return all(OPS[var.op].category == "elementwise" and var.shape == shape for var in made)


def _moves(
    ends: Callable[..., Any], base: Params, own: Mapping[str, FloatArray], path: str, constraint: Constraint
) -> bool:
    """Whether an end is elsewhere after a small step of one parameter, of another size in each of its entries."""
    here = to_host(own[path]).astype(np.float64)
    step = STEP * np.linspace(1.0, 2.0, here.size).reshape(here.shape) * np.where(here == 0, 1.0, np.abs(here))
    free = constraint.free(here.shape)
    step = step if free is None else step * free
    there = next((moved for moved in (here + step, here - step) if constraint.check(moved)), here)
    flat = {name: to_host(array).astype(np.float64) for name, array in own.items()}
    before, after = (ends(**base, **tree.unflatten({**flat, path: value})) for value in (here, there))
    with np.errstate(all="ignore"):
        gaps = [np.where(np.isfinite(y), np.abs(y - x), 0.0) for x, y in zip(before, after, strict=True)]
        least = [LEAST * np.max(step) + ROUNDING * np.abs(x) for x in before]
        return any(bool(np.any(gap > most)) for gap, most in zip(gaps, least, strict=True))
