"""Arrays along a first axis: of what each iteration reads, and lists of their elements put together again."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from mcgrad.ir import build
from mcgrad.ir.program import Shape, Var

MOST_PIECES = 16  # of an array of what iterations read


def stacked(values: Sequence[Var]) -> Var | None:
    """Stack Vars of one shape; None if that were an array of very many pieces."""
    first = values[0]
    if all(value.is_const for value in values):
        return build.const(np.stack([value.attrs.array for value in values]))
    if all(value is first for value in values):
        return build.broadcast(first, (len(values), *first.shape))
    parts = merged([build.reshape(value, (1, *value.shape)) for value in values], 0)
    return build.concatenate(parts, 0) if len(parts) <= MOST_PIECES else None


def stacked_places(base: Var, op: str, places: Sequence[Any]) -> Var:
    """Stack slices, or takes, of one array: as a slice where they are evenly spaced along one axis."""
    if op == "slice":
        bounds = [attrs.bounds for attrs in places]
        found = _spaced(base, bounds)
        if found is not None:
            return found
        index = np.stack([_flat_index(base.shape, each) for each in bounds])
    else:
        index = np.stack([attrs.index.array for attrs in places])
    return build.take(base, index)


def _spaced(base: Var, bounds: Sequence[tuple[tuple[int, int, int], ...]]) -> Var | None:
    moving = [axis for axis in range(len(base.shape)) if any(each[axis] != bounds[0][axis] for each in bounds)]
    if len(moving) != 1:
        return None
    (axis,) = moving
    starts = [each[axis][0] for each in bounds]
    if any(len(range(*each[axis])) != 1 for each in bounds):
        return None
    gaps = {b - a for a, b in itertools.pairwise(starts)}
    if len(gaps) != 1 or (gap := gaps.pop()) == 0:
        return None
    low, high = min(starts), max(starts)
    taken = [*bounds[0]]
    taken[axis] = (low, high + 1, abs(gap))
    rows = build.slice_(base, taken)
    if gap < 0:
        rows = build.flip(rows, [axis])
    order = [axis, *(a for a in range(len(rows.shape)) if a != axis)]
    shape = (len(range(*each)) for each in bounds[0])
    return build.reshape(build.transpose(rows, order), (len(starts), *shape))


def _flat_index(shape: Shape, bounds: tuple[tuple[int, int, int], ...]) -> Any:
    return np.ravel_multi_index(np.ix_(*(np.arange(*each) for each in bounds)), shape) if shape else np.zeros((), int)


def element(stack: Var, i: int) -> Var:
    """Return element i along the first axis."""
    bounds = [(i, i + 1, 1), *((0, n, 1) for n in stack.shape[1:])]
    return build.reshape(build.slice_(stack, bounds), stack.shape[1:])


# --- lists of elements -----------------------------------------------------------------------------------------------
def merged(parts: Sequence[Var], axis: int) -> list[Var]:
    """Return fewer parts of a concatenation: neighbouring elements of one array as one slice of that."""
    if axis or len(parts) < 2:
        return list(parts)
    found: list[Var] = []
    group: list[Var] = []
    where: list[tuple[Var, int, int]] = []

    def close() -> None:
        found.extend(group if len(group) == 1 else [_together(group, where)])
        group.clear()
        where.clear()

    for part in parts:
        here = _rows(part)
        if group and (here is None or not _follows(where, here)):
            close()
        if here is None:
            found.append(part)
        else:
            group.append(part)
            where.append(here)
    if group:
        close()
    return found


def _rows(part: Var) -> tuple[Var, int, int] | None:
    """The array of which a part is a row, or several, the first of them, and how many there are."""
    x = part
    while x.op == "reshape":
        x = x.args[0]
    if x.op != "slice" or x.size != part.size:
        return None
    (base,), ((start, stop, step), *rest) = x.args, x.attrs.bounds
    whole = all(bound == (0, n, 1) for bound, n in zip(rest, base.shape[1:], strict=True))
    return (base, start, stop - start) if whole and (step == 1 or stop - start == 1) else None


def _follows(where: Sequence[tuple[Var, int, int]], here: tuple[Var, int, int]) -> bool:
    """Whether rows go on where others end, or as far away as those were from each other."""
    (base, start, rows), (before, first, many) = here, where[-1]
    if base is not before:
        return False
    if len(where) == 1:
        return start == first + many or (rows == many == 1 and start != first)
    gap = first - where[-2][1]
    if gap == where[-2][2]:
        return start == first + many
    return rows == 1 and start - first == gap


def _together(group: Sequence[Var], where: Sequence[tuple[Var, int, int]]) -> Var:
    (base, first, many), (_, last, rows) = where[0], where[-1]
    gap = where[1][1] - first
    low, high = min(first, last), max(first + many, last + rows)
    taken = build.slice_(base, [(low, high, 1 if gap == many else abs(gap)), *((0, n, 1) for n in base.shape[1:])])
    if gap < 0:
        taken = build.flip(taken, [0])
    rest = group[0].shape[1:]
    return build.reshape(taken, (taken.size // max(prod(rest), 1), *rest))
