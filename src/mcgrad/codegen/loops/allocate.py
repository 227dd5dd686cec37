"""Give every buffer of a loop tree rows in the one workspace of a thread, or of a block of threads.

A buffer is live from the first node of the tree that touches it to the last; its rows are used again after that. The
parts of an assembly (a pad or a concatenate) lie inside the rows of the whole, which are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from mcgrad.codegen.loops import layout
from mcgrad.codegen.loops.access import c_strides
from mcgrad.codegen.loops.build import Kernel
from mcgrad.codegen.loops.cells import Buffer, Index, Row
from mcgrad.codegen.loops.layout import Pool, Rows, part_rows
from mcgrad.codegen.loops.loop_tree import Fill, Gather, Loop, Tree, touched, walk
from mcgrad.codegen.loops.schedule import squeeze
from mcgrad.ir.attributes import Literal


@dataclass(frozen=True)
class Workspace:
    """Where the rows of each buffer are.

    Parameters
    ----------
    lanes : int
    rows : dict of Buffer to Rows
    total : int
        Number of rows.
    chosen : frozenset of Buffer
        Those that gathers read.
    """

    lanes: int
    rows: dict[Buffer, Rows]
    total: int
    chosen: frozenset[Buffer] = frozenset()

    def address(self, buffer: Buffer) -> int:
        """Where the first row of a buffer starts."""
        return self.rows[buffer].offset * self.lanes

    def place(self, row: Row) -> Index:
        """The number of a row in the workspace."""
        rows, index = self.rows[row.buffer], row.index
        var, within = row.buffer.var, row.buffer.within
        if row.buffer.ring:
            return replace(index, ring=(rows.offset, row.buffer.ring))
        if within:
            return Index(rows.offset, index.strides, index.axes, index.extents, since=within)
        if var is None or row.buffer.role != "value" or rows.strides == c_strides(squeeze(var.shape)):
            return index.plus(rows.offset)
        shape = squeeze(var.shape)
        if index == Index(0, c_strides(shape), index.axes, shape):
            return Index(rows.offset, rows.strides, index.axes, shape)
        # an element of a part of an assembly, in another order: by a table of where the elements of the part lie
        places = Index(rows.offset, rows.strides, index.axes, shape).numbers().ravel()[index.numbers()]
        return Index(0, c_strides(index.extents), index.axes, index.extents, Literal(places))


@dataclass
class Span:
    """When rows are needed: from one time to another, both included."""

    since: int
    until: int


def allocate(
    kernel: Kernel, dtype: str, lanes: int | None = None, kept: Mapping[Buffer, int] | None = None
) -> Workspace:
    """Assign rows and lanes for a thread of the CPU.

    Rows that lane loops add to (sums and the running values of scans) lie after all others: the kernels tell LLVM that
    the two never overlap.

    Parameters
    ----------
    kernel : Kernel
    dtype : {"float32", "float64"}
    lanes : int, optional
        Default: by the number of rows.
    kept : dict of Buffer to int, optional
        Buffers whose rows, so many, are kept from one block to the next: neighbours in this order.
    """
    pool, sums = Pool(), Pool()
    rows = {Buffer(role): Rows(pool.permanent(1), ()) for role in ("mask", "finite")}
    lasting = {
        buffer: Rows((sums if buffer.is_added_to else pool).permanent(n), _strides(buffer))
        for buffer, n in (kept or {}).items()
    }
    rows.update({buffer: found for buffer, found in lasting.items() if not buffer.is_added_to})
    rows.update(assembly_rows(kernel, pool))
    spans = {buffer: span for buffer, span in live(kernel.block).items() if buffer not in rows | lasting}
    rows.update(fit(pool, {buffer: span for buffer, span in spans.items() if not buffer.is_added_to}))
    added = {buffer: found for buffer, found in lasting.items() if buffer.is_added_to}
    added |= fit(sums, {buffer: span for buffer, span in spans.items() if buffer.is_added_to})
    rows.update({buffer: Rows(pool.total + found.offset, found.strides) for buffer, found in added.items()})
    total = pool.total + sums.total
    gathers = (node.cell for node in walk(kernel.block) if isinstance(node, Gather))
    chosen = frozenset(cell.buffer for cell in gathers if isinstance(cell, Row))
    return Workspace(lanes or layout.choose_lanes(total, dtype), rows, total, chosen)


def assembly_rows(kernel: Kernel, pool: Pool) -> dict[Buffer, Rows]:
    """Rows for good, of assemblies and of their parts inside them."""
    return {
        Buffer("value", var): rows
        for assembly in kernel.assemblies
        for var, rows in part_rows(assembly, pool.permanent(assembly.size)).items()
    }


def times(tree: Tree, members: bool = False) -> Iterator[tuple[Tree, range]]:
    """What is done at each time, and the times of all that it belongs to.

    A node at the top has a time of its own, together with what sets sums to their start before it. With `members`, each
    node inside a loop over tiles has one, and the end of the loop.
    """
    time = 0
    fills: Tree = ()
    for node in tree:
        if isinstance(node, Fill):
            fills += (node,)
            continue
        inside: list[Tree] = [(node,)]
        if members and isinstance(node, Loop) and node.kind == "tile":
            inside = [*((inner,) for inner in node.body), ()]
        whole = range(time, time + len(inside))
        for nodes in inside:
            yield (*fills, *nodes), whole
            fills = ()
        time += len(inside)
    if fills:
        yield fills, range(time, time + 1)


def live(tree: Tree, members: bool = False) -> dict[Buffer, Span]:
    """When each buffer is live, in the order in which they are first touched.

    What only the rows of one tile are kept of is needed from one member of the tile to another; everything else that a
    tile touches, during all of it.
    """
    spans: dict[Buffer, Span] = {}
    for time, (nodes, whole) in enumerate(times(tree, members)):
        for buffer in (buffer for node in walk(nodes) for buffer in touched(node)):
            since, until = (time, time) if buffer.within else (whole[0], whole[-1])
            spans.setdefault(buffer, Span(since, until)).until = until
    return spans


def fit(pool: Pool, spans: Mapping[Buffer, Span], sizes: Mapping[Buffer, int] | None = None) -> dict[Buffer, Rows]:
    """Rows for each buffer while it is live; those that begin at the same time in the order given."""
    rows: dict[Buffer, Rows] = {}
    for buffer, span in sorted(spans.items(), key=lambda item: item[1].since):
        pool.release(span.since)
        first = pool.take((sizes or {}).get(buffer, size(buffer)), span.since, span.until)
        rows[buffer] = Rows(first, _strides(buffer))
    return rows


def _strides(buffer: Buffer) -> tuple[int, ...]:
    """Strides of the elements of a buffer, over the squeezed shape of a Var."""
    return c_strides(squeeze(buffer.var.shape)) if buffer.var is not None and buffer.role == "value" else ()


def size(buffer: Buffer) -> int:
    """Rows of a buffer."""
    if buffer.var is None or buffer.role in ("noise", "taken"):
        return 1
    if buffer.role == "carried":
        return int(buffer.var.attrs.carried)
    if buffer.var.op == "loop":
        return buffer.var.size - int(buffer.var.attrs.carried)
    if buffer.role == "running":
        axis: int = buffer.var.attrs.axis
        return buffer.var.size // max(buffer.var.shape[axis], 1)
    if buffer.ring:
        return buffer.ring
    return min(buffer.var.size, layout.TILE_ROWS) if buffer.within else buffer.var.size
