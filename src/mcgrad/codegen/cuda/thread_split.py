"""Split nests for threads: reductions that keep threads from sharing a loop nest get nests of their own.

Threads that have the same draws split the elements of one axis among them. Along that axis no scan may run, and no
reduction, unless it runs along all axes: then each thread reduces its share in registers, and the shares are put
together afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mcgrad.codegen.loops.access import resolve
from mcgrad.codegen.loops.schedule import Nest, Repeat, Schedule, Step, Tile, squeeze
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


def reduced_axes(var: Var) -> frozenset[int] | None:
    """Return the axes of its nest that a reduction runs along; None where a table says what is added to what."""
    if var.op == "scatter_add":
        return None
    shape = var.args[0].shape
    place = {axis: len(squeeze(shape[:axis])) for axis in range(len(shape)) if shape[axis] != 1}
    return frozenset(place[axis] for axis in var.attrs.axes if axis in place)


def conflicts(var: Var, axis: int, axes: int) -> bool:
    """Whether a reduction keeps threads from sharing one of the axes of its nest."""
    reduced = reduced_axes(var)
    return reduced is None or (axis in reduced and len(reduced) < axes)


def split(plan: Schedule) -> Schedule:
    """Return the schedule with nests of their own for reductions that would keep threads from sharing a nest."""
    stored, local = dict(plan.stored), set(plan.local)
    steps = _split(plan.steps, stored, local)
    return replace(plan, steps=steps, stored=stored, local=frozenset(local))


def _split(steps: Sequence[Step], stored: dict[Var, None], local: set[Var], within: Tile | None = None) -> list[Step]:
    """The steps, those of tiles and loops among them; what is stored besides is added to `stored`."""
    new: list[Step] = []
    for step in steps:
        if isinstance(step, Tile):
            new.append(Tile(step.extent, _split(step.steps, stored, local, step)))  # type: ignore[arg-type]
        elif isinstance(step, Repeat):
            new.append(replace(step, steps=_split(step.steps, stored, local)))
        else:
            new += _parts(step, stored, local, within)
    return new


def _parts(step: Step, stored: dict[Var, None], local: set[Var], within: Tile | None) -> list[Step]:
    """A nest without the reductions that are in the way, and a nest for each of these.

    That nest comes after it, if it computes what they reduce, and before it otherwise: it may write the next value of a
    carry.
    """
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
    after = [var for var in moved if var.args[0].by_draw and resolve(var.args[0]).base in body]
    before = [var for var in moved if var not in after]
    return [*(Nest(step.shape, [var]) for var in before), *rest, *(Nest(step.shape, [var]) for var in after)]


def _moved(nest: Nest) -> list[Var]:
    """The fewest reductions without which threads can split an axis."""
    reductions = [var for var in nest.body if var.op in REDUCTIONS]
    choices = [
        [var for var in reductions if conflicts(var, axis, len(nest.shape))]
        for axis in range(len(nest.shape))
        if axis not in nest.backwards
    ]
    return min(choices, key=len, default=[])
