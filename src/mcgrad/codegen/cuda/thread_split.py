"""How the threads of a block share a loop nest: which loop they split, and in which order the loops are nested.

Threads that have the same draws split the elements of one axis among them. Along that axis no scan may run, and no
reduction, unless it runs along all axes: then each thread reduces its share in registers, and the shares are put
together afterwards. A reduction that is in the way of all others gets a nest of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from mcgrad.codegen.loops.access import resolve
from mcgrad.codegen.loops.schedule import Nest, Schedule, Step, Tile, squeeze
from mcgrad.ir.ops import REDUCTIONS
from mcgrad.ir.program import Var


@dataclass(frozen=True)
class Shape:
    """A block of threads: `groups` of them take different draws, `rows` of them different elements of the same draws.

    Parameters
    ----------
    rows, groups : int
        Their product is the number of threads; `groups` is a power of two.
    group : int
        Draws of one thread.
    """

    rows: int
    groups: int
    group: int

    @property
    def threads(self) -> int:
        """Threads of the block."""
        return self.rows * self.groups

    @property
    def lanes(self) -> int:
        """Draws of the block."""
        return self.groups * self.group


@dataclass(frozen=True)
class Order:
    """Axes of a nest, the outermost loop first; it is the one that threads split, unless one thread takes all."""

    axes: tuple[int, ...]
    serial: bool


def order(nest: Nest) -> Order:
    """Choose the loop that threads split; the other loops are ordered so that sums and scans stay in registers."""
    scans = set(nest.backwards)
    reduced = [reduced_axes(var) for var in nest.body if var.op in REDUCTIONS]
    every = range(len(nest.shape))
    free = [axis for axis in every if axis not in scans and not any(_conflicts(axes, axis, nest) for axes in reduced)]
    inner = {axis: sum(axis in (axes or ()) for axes in reduced) + 2 * (axis in scans) for axis in every}
    chosen = max(free, key=lambda axis: (nest.shape[axis], axis)) if free else None
    rest = sorted((axis for axis in every if axis != chosen), key=lambda axis: (inner[axis], axis))
    return Order((*([] if chosen is None else [chosen]), *rest), serial=chosen is None)


def reduced_axes(var: Var) -> frozenset[int] | None:
    """Return the axes of its nest that a reduction runs along; None where a table says what is added to what."""
    if var.op == "scatter_add":
        return None
    shape = var.args[0].shape
    place = {axis: len(squeeze(shape[:axis])) for axis in range(len(shape)) if shape[axis] != 1}
    return frozenset(place[axis] for axis in var.attrs.axes if axis in place)


def _conflicts(axes: frozenset[int] | None, axis: int, nest: Nest) -> bool:
    return axes is None or (axis in axes and len(axes) < len(nest.shape))


def split(plan: Schedule) -> Schedule:
    """Return the schedule with nests of their own for reductions that would keep threads from sharing a nest."""
    stored, local = dict(plan.stored), set(plan.local)
    steps: list[Step] = []
    for step in plan.steps:
        if isinstance(step, Tile):
            inside = [part for inner in step.steps for part in _parts(inner, stored, local, step)]
            steps.append(Tile(step.extent, inside))  # type: ignore[arg-type]
        else:
            steps += _parts(step, stored, local, None)
    return replace(plan, steps=steps, stored=stored, local=frozenset(local))


def _parts(step: Step, stored: dict[Var, None], local: set[Var], within: Tile | None) -> list[Step]:
    """A nest without the reductions that are in the way, then a nest for each of these."""
    if not isinstance(step, Nest) or not step.shape:
        return [step]
    moved = _moved(step)
    if not moved or len(step.body) == 1:
        return [step]
    body = [var for var in step.body if var not in moved]
    for var in moved:
        base = resolve(var.args[0]).base if var.args[0].by_draw else None
        if base is not None and base in body and base not in stored:
            stored[base] = None
            if within is not None and base.shape == (within.extent,):
                local.add(base)
    rest = [Nest(step.shape, body, step.moments, step.backwards)] if body or step.moments else []
    return [*rest, *(Nest(step.shape, [var]) for var in moved)]


def _moved(nest: Nest) -> list[Var]:
    """The fewest reductions without which threads can split an axis."""
    reductions = [var for var in nest.body if var.op in REDUCTIONS]
    choices = [
        [var for var in reductions if _conflicts(reduced_axes(var), axis, nest)]
        for axis in range(len(nest.shape))
        if axis not in nest.backwards
    ]
    return min(choices, key=len, default=[])


def _is_full(var: Var, nest: Nest) -> bool:
    return bool(nest.shape) and var.op in REDUCTIONS and reduced_axes(var) == frozenset(range(len(nest.shape)))


def full(nest: Nest) -> list[Var]:
    """The reductions of a nest that run along all of its axes."""
    return [var for var in nest.body if _is_full(var, nest)]


def scan_depth(var: Var, nest: Nest) -> int | None:
    """How many loops are outside the one in which a scan's running value is in a register; None where it cannot be."""
    axes, wanted = order(nest).axes, scan_axis(var)
    if not wanted:
        return len(axes)
    return len(axes) - 1 if wanted == axes[-1:] else None


def scan_axis(var: Var) -> tuple[int, ...]:
    """The axis of its nest that a scan runs along; none where its extent is 1."""
    axis: int = var.attrs.axis
    return (len(squeeze(var.shape[:axis])),) if var.shape[axis] != 1 else ()


def depth(var: Var, nest: Nest) -> int | None:
    """How many loops are outside the one along which a reduction stays in registers; None where it cannot."""
    axes, wanted = order(nest).axes, reduced_axes(var)
    if wanted is None:
        return None
    outside = len(axes) - len(wanted)
    return outside if set(axes[outside:]) == wanted else None
