"""Find the steps that can run over one long axis of the data together, some rows at a time.

The pattern is that of a likelihood: a matrix product gives a value for each row of the data, a loop nest turns
these into terms and residuals, sums reduce them, and a product with the transposed matrix takes the residuals back. No
row needs another row, so the values need not be kept for all rows at once: memory stays bounded in the data, and
the rows of a tile stay in cache.
"""

from __future__ import annotations

from mcgrad.codegen.loops.access import resolve
from mcgrad.codegen.loops.lower import contraction_labels
from mcgrad.codegen.loops.schedule import (
    Finite,
    Nest,
    OuterMoments,
    Product,
    ScatterMoments,
    Schedule,
    Step,
    Tile,
    computed,
    reads,
)
from mcgrad.ir.ops import ASSEMBLY, OPS
from mcgrad.ir.program import Var

SHORTEST = 256  # rows below which tiles gain nothing


def tile(plan: Schedule) -> Schedule:
    """Return the schedule with the steps over its longest data axis gathered in a Tile, if there is one."""
    extents = {n for step in plan.steps if isinstance(step, Product) for n in [_rows(step.var)] if n >= SHORTEST}
    for extent in sorted(extents, reverse=True):
        members, made = _members(plan, extent)
        if len(members) > 1:
            return _gathered(plan, extent, members, made)
    return plan


def _rows(product: Var) -> int:
    """The extent of a product's rows, if these are its only result axis."""
    return product.shape[0] if len(product.shape) == 1 else 0


def _inner(product: Var) -> int:
    """The contracted extent of a product of matrix and vector."""
    parts = contraction_labels(product)
    operand = product.args[1 - parts.fixed]
    return operand.shape[0] if len(operand.shape) == 1 and len(product.shape) == 1 else 0


def _members(plan: Schedule, extent: int) -> tuple[list[int], set[Var]]:
    """The steps that can go into the tile, in order, and what they compute row by row."""
    inside: list[int] = []
    made: set[Var] = set()  # what the tile computes row by row
    done: set[Var] = set()  # what is complete only after the tile, or comes after it
    for i, step in enumerate(plan.steps):
        if isinstance(step, Finite):
            break  # the moments after it must stay after it
        read, made_here = reads(step), computed(step)
        rowwise = isinstance(step, Product) and _rows(step.var) == extent
        inner = isinstance(step, Product) and _inner(step.var) == extent
        nest = isinstance(step, Nest) and step.shape == (extent,) and not step.backwards.get(0, False)
        bases = {access.base for access in read}
        bases |= {part for base in bases for part in _parts(base)}
        done.update(base for base in bases if _parts(base) & (made | done))
        fits = not bases & done
        contracts = inner and bases <= made  # with a square matrix it may be the one or the other
        if fits and nest:
            fits = all(access.is_whole for access in read if access.base in made)
        elif fits and contracts:
            fits = all(access.is_whole for access in read)
        elif fits and rowwise:
            fits = not bases & made
        else:
            fits = False
        if fits and (inside or rowwise):
            inside.append(i)
            for var in made_here:
                by_rows = OPS[var.op].category in ("elementwise", "scan", "leaf") if nest else not contracts
                (made if by_rows else done).add(var)
        elif bases & (made | done):
            done.update(made_here)
    return inside, made


def _gathered(plan: Schedule, extent: int, members: list[int], row_by_row: set[Var]) -> Schedule:
    """Put what the tile needs before it, the tile, and the rest after it."""
    gathered = [plan.steps[i] for i in members]
    made = {var for step in gathered for var in computed(step)}
    before: list[Step] = []
    after: list[Step] = []
    late = set(made)
    for i, step in enumerate(plan.steps):
        if i in members:
            continue
        bases = {access.base for access in reads(step)}
        depends = any(base in late or _parts(base) & late for base in bases)
        depends |= isinstance(step, Finite | OuterMoments | ScatterMoments)
        if depends:
            late.update(computed(step))
        (after if depends or i > members[-1] else before).append(step)
    steps: list[Step] = [*before, Tile(extent, gathered), *after]  # type: ignore[arg-type]
    place = {var: i for i, step in enumerate(steps) for var in computed(step)}
    place.update({var: place.get(var, at) for var, at in plan.place.items()})
    read_outside = {access.base for step in [*before, *after] for access in reads(step)}
    read_outside |= {resolve(arg).base for var in plan.stored if var.op in ASSEMBLY for arg in var.args}
    read_outside |= {access.base for out in plan.program.outputs for access in [resolve(out.var)] if _kept(steps)}
    rowwise = {var for var in row_by_row if var in plan.stored and var.shape == (extent,)}
    return Schedule(plan.program, steps, place, plan.stored, frozenset(rowwise - read_outside))


def _parts(base: Var) -> set[Var]:
    """What an assembly is made of."""
    return {resolve(arg).base for arg in base.args} if base.op in ASSEMBLY else set()


def _kept(steps: list[Step]) -> bool:
    return any(isinstance(step, Finite) for step in steps)
