"""Give every stored Var rows in the workspace of a block of threads.

As `layout` does for a thread of the CPU, but to the step inside a tile, and what is computed from an element that
nobody reads any more takes that element's row: with fewer rows, a block has more draws in its shared memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from mcgrad.codegen.cuda.thread_split import Shape, full, order, scan_depth
from mcgrad.codegen.cuda.tiling import Kind, Tiling, tiling
from mcgrad.codegen.loops.access import c_strides, resolve
from mcgrad.codegen.loops.layout import TILE_ROWS, Layout, Pool, Rows, part_rows
from mcgrad.codegen.loops.schedule import (
    Nest,
    OuterMoments,
    Product,
    Schedule,
    Step,
    Tile,
    computed,
    nest_shape,
    reads,
    squeeze,
)
from mcgrad.ir.ops import ASSEMBLY, OPS
from mcgrad.ir.program import Var

SIDE = 4  # factors of x, and of y, of an outer product that a thread multiplies with each other
SLOTS = 4  # sums that threads put together at once


@dataclass
class Placement(Layout):
    """A layout for a block of threads.

    `scratch` is where threads put together their shares of a sum, `partial` where they put those of a product.
    """

    partial: dict[Var, int] = field(default_factory=dict)
    tilings: dict[Var, Tiling] = field(default_factory=dict)


@dataclass
class _Span:
    """Rows that are needed from one step to another."""

    rows: int
    since: int
    until: int


def place(plan: Schedule, shape: Shape, checked: bool) -> Placement:
    """Assign rows."""
    layout, pool = Placement(lanes=shape.lanes), Pool()
    if shape.rows > 1:
        layout.scratch = pool.permanent(shape.rows * _slots(plan, checked))
    layout.finite = pool.permanent(int(checked))
    layout.mask = pool.permanent(int(any(isinstance(step, OuterMoments) for step in plan.steps)))
    for var in plan.stored:
        if var.op in ASSEMBLY:
            layout.rows.update(part_rows(var, pool.permanent(var.size)))
    spans, home = _spans(plan, layout)
    carries, partials = _work_spans(plan, shape, layout)
    for time in range(len(_members(plan))):
        pool.release(time)
        for var, span in spans.items():
            if span.since == time:
                layout.rows[var] = Rows(pool.take(span.rows, time, span.until), c_strides(squeeze(var.shape)))
        for spanned, where in ((carries, layout.carry), (partials, layout.partial)):
            for var, span in spanned.items():
                if span.since == time:
                    where[var] = pool.take(span.rows, time, span.until)
    for var, root in home.items():
        layout.rows[var] = Rows(layout.rows[root].offset, c_strides(squeeze(var.shape)))
    if any(isinstance(step, OuterMoments) for step in plan.steps):
        pool.permanent(SIDE - 1)  # factors are read in whole pieces
    layout.total = pool.total
    return layout


def _members(plan: Schedule) -> list[tuple[Step, range]]:
    """All steps in order, those of tiles one by one and then their end, with the times of their tile (or their own)."""
    found: list[tuple[Step, range]] = []
    for step in plan.steps:
        inside: list[Step] = [*step.steps, Nest(())] if isinstance(step, Tile) else [step]
        times = range(len(found), len(found) + len(inside))
        found += [(inner, times) for inner in inside]
    return found


def _slots(plan: Schedule, checked: bool) -> int:
    most = max((len(full(step)) for step, _ in _members(plan) if isinstance(step, Nest)), default=0)
    return min(max(most, int(checked)), SLOTS)


def _spans(plan: Schedule, layout: Layout) -> tuple[dict[Var, _Span], dict[Var, Var]]:
    """When the rows of each Var are needed; and which Vars take over the rows of which others."""
    steps, last = _members(plan), _last_reads(plan)
    spans: dict[Var, _Span] = {}
    home: dict[Var, Var] = {}
    end: dict[Var, int] = {}
    for time, var, times in _stored(plan, layout):
        local = var in plan.local
        until = max(last.get(var, time), time if local else times[-1])
        since = time if local else times[0]
        rows = min(var.size, TILE_ROWS) if local else var.size
        step, end[var] = steps[time][0], until
        given = (
            _given_up(var, step, [u for u in end if u not in home.values() and end[u] == time])
            if since == time
            else None
        )
        if given is not None and (given in plan.local) == local and given.size == var.size:
            home[var] = given
            root = given
            while root in home:
                root = home[root]
            spans[root].until = until
        else:
            spans[var] = _Span(rows, since, until)
    return spans, {var: _root(var, home) for var in home}


def _root(var: Var, home: dict[Var, Var]) -> Var:
    while var in home:
        var = home[var]
    return var


def _stored(plan: Schedule, layout: Layout) -> Iterator[tuple[int, Var, range]]:
    """Vars with rows of their own (parts of an assembly have its rows), and when they are computed."""
    for time, (step, times) in enumerate(_members(plan)):
        for var in computed(step):
            if var in plan.stored and var not in layout.rows:
                yield time, var, times


def _last_reads(plan: Schedule) -> dict[Var, int]:
    """The last time that a Var is read; what a tile reads of others, it reads until its end."""
    last: dict[Var, int] = {}
    for time, (step, times) in enumerate(_members(plan)):
        for access in reads(step, plan.program):
            last[access.base] = max(last.get(access.base, 0), time if access.base in plan.local else times[-1])
    return last


def _given_up(var: Var, step: Step, ending: list[Var]) -> Var | None:
    """A Var whose rows this one can take over, element by element, as the step that computes it reads them last."""
    if not isinstance(step, Nest) or OPS[var.op].group not in ("elementwise", "scan") or order(step).serial:
        return None
    at = step.body.index(var)
    for old in ending:
        readers = [i for i, other in enumerate(step.body) if any(resolve(arg).base is old for arg in other.args)]
        whole = all(
            access.is_whole and squeeze(access.shape) == step.shape for access in reads(step) if access.base is old
        )
        if readers and readers[0] <= at and whole and old not in step.body and nest_shape(old) == step.shape:
            return old
    return None


def _work_spans(plan: Schedule, shape: Shape, layout: Placement) -> tuple[dict[Var, _Span], dict[Var, _Span]]:
    """When the rows are needed of scans' running values, and of products' parts of sums."""
    carries: dict[Var, _Span] = {}
    partials: dict[Var, _Span] = {}
    inside = {var for step in plan.steps if isinstance(step, Tile) for var in computed(step)}
    for time, (step, times) in enumerate(_members(plan)):
        if isinstance(step, Nest):
            for var in step.body:
                if OPS[var.op].group == "scan" and scan_depth(var, step) is None:
                    carries[var] = _Span(var.size // var.shape[var.attrs.axis], time, times[-1])
        elif isinstance(step, Product):
            layout.tilings[step.var] = chosen = tiling(step.var, shape, _kind(step.var, inside))
            if chosen.partial:
                kept = chosen.kind == "whole" or chosen.items <= shape.rows  # until the end in registers
                partials[step.var] = _Span(chosen.partial, times[-1] if kept else times[0], times[-1])
    return carries, partials


def _kind(var: Var, inside: set[Var]) -> Kind:
    if var not in inside:
        return "whole"
    operand = next(arg for arg in var.args if arg.by_draw)
    return "inner" if resolve(operand).base in inside else "rows"
