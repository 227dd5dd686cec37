"""Loops written as functions of one step, and the few operations on stacks of matrices that their steps take.

Matrices are in the last two axes, whatever axes come before. A step works at the first row and column of what is left,
which then moves there (`moved_up`), so that all steps are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from mcgrad.ir.build import apply, argument, broadcast, concatenate, const, loop, pad, reshape, slice_, take, transpose
from mcgrad.ir.fuse_loops import in_order
from mcgrad.ir.program import Shape, Var

add, sub, mul, div, neg = (partial(apply, op) for op in ("add", "subtract", "multiply", "divide", "negative"))
absolute, sqrt, hypot = (partial(apply, op) for op in ("absolute", "sqrt", "hypot"))
where, less, equal = (partial(apply, op) for op in ("where", "less", "equal"))

Step = Callable[[Sequence[Var], Sequence[Var], Sequence[Var]], tuple[Sequence[Var], Sequence[Var]]]


def run(
    step: Step,
    init: Sequence[Var],
    by_step: Sequence[Var] = (),
    same: Sequence[Var] = (),
    length: int = 0,
    reverse: bool = False,
) -> tuple[list[Var], list[Var]]:
    """Run a step in turn.

    Parameters
    ----------
    step : callable
        ``step(carries, elements, same)`` returns the next carries and what is stacked.
    init, by_step, same : sequences of Var
        What the first step begins with, arrays with an axis for the steps in front, what is the same in all steps.
    length : int
        The number of steps, where there is nothing by step.
    reverse : bool
        From the last step to the first.

    Returns
    -------
    carries, stacked : lists of Var
    """
    length = by_step[0].shape[0] if by_step else length
    shapes = [*(x.shape for x in init), *(x.shape[1:] for x in by_step), *(x.shape for x in same)]
    leaves = [argument(i, shape) for i, shape in enumerate(shapes)]
    own, last = len(init), len(init) + len(by_step)
    carried, stacked = step(leaves[:own], leaves[own:last], leaves[last:])
    results = [*carried, *stacked]
    var = loop(leaves, results, [*init, *by_step, *same], (own, len(by_step), length, reverse))
    found = in_order(var, [*(x.shape for x in carried), *((length, *x.shape) for x in stacked)])
    return found[:own], found[own:]


def at(x: Var, *index: int | slice) -> Var:
    """Take a part of the last axes."""
    batch = len(x.shape) - len(index)
    bounds, shape = [(0, n, 1) for n in x.shape[:batch]], list(x.shape[:batch])
    for k, n in zip(index, x.shape[batch:], strict=True):
        start, stop, step = k.indices(n) if isinstance(k, slice) else (k, k + 1, 1)
        bounds.append((start, max(start, stop), step))
        if isinstance(k, slice):
            shape.append(len(range(start, stop, step)))
    return reshape(slice_(x, bounds), tuple(shape))


def unit(x: Var, axis: int = -1) -> Var:
    """Return the array with an axis of extent 1."""
    place = len(x.shape) + 1 + axis if axis < 0 else axis
    return reshape(x, (*x.shape[:place], 1, *x.shape[place:]))


def outer(x: Var, y: Var) -> Var:
    """Multiply each element along the last axis of x with each of y."""
    return mul(unit(x), unit(y, -2))


def moved_up(x: Var, *axes: int) -> Var:
    """Return what is left after a step, with a zero at the end of some axes in place of its first element."""
    ends = {axis % len(x.shape) for axis in axes}
    return pad(x, [(0, int(i in ends), 0) for i in range(len(x.shape))])


def moved_down(first: Var, x: Var, axis: int) -> Var:
    """Return an array that begins with an element along an axis, and lacks its last one."""
    axis %= len(x.shape)
    bounds = [(0, n - (i == axis), 1) for i, n in enumerate(x.shape)]
    return concatenate([unit(first, axis), slice_(x, bounds)], axis)


def zeros(shape: Shape) -> Var:
    """Return zeros."""
    return broadcast(const(0.0), shape)


def steps_first(x: Var, axis: int) -> Var:
    """Move an axis to the front, where the steps are."""
    axis %= len(x.shape)
    return transpose(x, [axis, *(i for i in range(len(x.shape)) if i != axis)])


def steps_to(x: Var, axis: int) -> Var:
    """Move the axis of the steps."""
    axis %= len(x.shape)
    order = list(range(1, len(x.shape)))
    order.insert(axis, 0)
    return transpose(x, order)


def picked(x: Var, choose: Callable[[np.ndarray], np.ndarray]) -> Var:
    """Take the elements that a function takes of the array of their places."""
    return take(x, choose(np.arange(x.size).reshape(x.shape)))
