"""Give every buffer of a loop tree rows in the workspace of a block of threads.

As for a thread of the CPU, but to the member of a tile, and what is computed from an element that is read for the last
time takes that element's row: with fewer rows, a block has more draws in its shared memory.
"""

from __future__ import annotations

from collections.abc import Mapping

from mcgrad.codegen.cuda.nest import NestLoops, nests
from mcgrad.codegen.cuda.thread_split import Shape
from mcgrad.codegen.cuda.tiling import Tiling
from mcgrad.codegen.loops.access import c_strides
from mcgrad.codegen.loops.allocate import Span, Workspace, assembly_rows, fit, live, size, times
from mcgrad.codegen.loops.build import Kernel
from mcgrad.codegen.loops.cells import Buffer, Index, Row
from mcgrad.codegen.loops.layout import Pool, Rows
from mcgrad.codegen.loops.loop_tree import Fill, Gather, Gemm, Load, Loop, Outer, Store, Tree, touched, walk
from mcgrad.codegen.loops.schedule import nest_shape, squeeze
from mcgrad.ir.ops import OPS
from mcgrad.ir.program import Var

SIDE = 4  # factors of x, and of y, of an outer product that a thread multiplies with each other
SLOTS = 4  # sums that threads put together at once


def allocate(kernel: Kernel, shape: Shape, tilings: Mapping[Var, Tiling], checked: bool) -> Workspace:
    """Assign rows.

    Parameters
    ----------
    kernel : Kernel
    shape : Shape
        Of the block of threads.
    tilings : mapping of Var to Tiling
        How threads share each matrix product.
    checked : bool
        Whether threads mark the draws of which an output is not finite.
    """
    pool, all_nests = Pool(), list(nests(kernel.block))
    has_outer = any(isinstance(node, Outer) for node in walk(kernel.block))
    shares = shape.rows * _slots(all_nests, checked) if shape.rows > 1 else 0
    rows = {
        Buffer("shares"): Rows(pool.permanent(shares), ()),
        Buffer("finite"): Rows(pool.permanent(int(checked)), ()),
        Buffer("mask"): Rows(pool.permanent(int(has_outer)), ()),
    }
    rows.update(assembly_rows(kernel, pool))
    in_registers = {
        Buffer("running", var) for nest in all_nests for var in nest.scans if nest.scan_depth(var) is not None
    }
    made = _made(kernel)
    spans = {
        buffer: span
        for buffer, span in live(kernel.block, members=True).items()
        if buffer in made and buffer not in rows and buffer not in in_registers
    }
    taken = _take_over(kernel, spans, made)
    parts = _parts(kernel, shape, tilings)
    sizes = {buffer: tilings[buffer.var].partial for buffer in parts if buffer.var is not None}
    spans = {buffer: spans[buffer] for buffer in sorted(spans, key=made.__getitem__) if buffer not in taken} | parts
    rows.update(fit(pool, spans, sizes))
    for buffer, old in taken.items():
        assert buffer.var is not None
        rows[buffer] = Rows(rows[old].offset, c_strides(squeeze(buffer.var.shape)))
    if has_outer:
        pool.permanent(SIDE - 1)  # factors are read in whole pieces
    return Workspace(shape.lanes, rows, pool.total)


def _slots(all_nests: list[NestLoops], checked: bool) -> int:
    """How many sums threads put together at once, at most."""
    most = max((sum(map(nest.is_full, nest.reductions)) for nest in all_nests), default=0)
    return min(max(most, int(checked)), SLOTS)


Made = tuple[bool, int, int]  # whether running; at what time; and by which equation


def _made(kernel: Kernel) -> dict[Buffer, Made]:
    """When the elements, and running values, of each Var are computed: rows are given in this order."""
    number = {var: i for i, var in enumerate(kernel.names)}
    made: dict[Buffer, Made] = {}
    for time, (nodes, _) in enumerate(times(kernel.block, members=True)):
        for node in walk(nodes):
            if isinstance(node, Fill):
                continue  # sums of a tile are set to zero before it
            for buffer in touched(node):
                if buffer.var is not None and buffer.role in ("value", "running", "carried"):
                    made.setdefault(buffer, (buffer.role == "running", time, number[buffer.var]))
    return made


def _take_over(kernel: Kernel, spans: dict[Buffer, Span], made: dict[Buffer, Made]) -> dict[Buffer, Buffer]:
    """Which buffers lie in the rows of which others; these are then live as long as both."""
    taken: dict[Buffer, Buffer] = {}
    until = {buffer: span.until for buffer, span in spans.items()}
    values = sorted((buffer for buffer in spans if buffer.role == "value"), key=made.__getitem__)
    at = list(times(kernel.block, members=True))
    for i, buffer in enumerate(values):
        time = made[buffer][1]
        if spans[buffer].since != time:
            continue  # rows that are needed during all of a tile
        ending = [old for old in values[:i] if until[old] == time and old not in taken.values()]
        old = _given_up(
            buffer, at[time][0], [old for old in ending if (old.within, size(old)) == (buffer.within, size(buffer))]
        )
        if old is not None:
            taken[buffer] = old
            spans[_root(old, taken)].until = until[buffer]
    return {buffer: _root(buffer, taken) for buffer in taken}


def _root(buffer: Buffer, taken: Mapping[Buffer, Buffer]) -> Buffer:
    """Whose rows a buffer has in the end, as these may be taken over in turn."""
    while buffer in taken:
        buffer = taken[buffer]
    return buffer


def _given_up(buffer: Buffer, nodes: Tree, ending: list[Buffer]) -> Buffer | None:
    """A buffer whose rows this one can take over, element by element, as the nest that computes it reads them last."""
    top = nodes[-1]
    if buffer.var is None or OPS[buffer.var.op].category not in ("elementwise", "scan"):
        return None
    if not isinstance(top, Loop) or top.kind not in ("element", "lane") or (nest := NestLoops(top)).serial:
        return None
    own = Index(0, c_strides(nest.shape), tuple(loop.axis for loop in nest.loops), nest.shape)
    cells = [node.cell for node in nest.body if isinstance(node, Load | Store) and isinstance(node.cell, Row)]
    stored = cells.index(Row(buffer, own))
    chosen = {node.cell.buffer for node in nest.body if isinstance(node, Gather) and isinstance(node.cell, Row)}
    for old in (old for old in ending if old not in chosen):
        places = [(i, cell.index) for i, cell in enumerate(cells) if cell.buffer == old]
        is_first = bool(places) and places[0][0] < stored  # another thread may not have read its element yet
        if is_first and all(index == own for _, index in places) and old.var and nest_shape(old.var) == nest.shape:
            return old
    return None


def _parts(kernel: Kernel, shape: Shape, tilings: Mapping[Var, Tiling]) -> dict[Buffer, Span]:
    """When rows are needed for parts of the sums of products: from the end of a tile on if they are in registers."""
    spans: dict[Buffer, Span] = {}
    for nodes, whole in times(kernel.block, members=True):
        for node in walk(nodes):
            if isinstance(node, Gemm) and tilings[node.var].partial:
                since = whole[-1] if tilings[node.var].is_kept(shape) else whole[0]
                spans[Buffer("parts", node.var)] = Span(since, whole[-1])
    return spans
