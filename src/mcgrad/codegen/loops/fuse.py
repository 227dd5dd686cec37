"""Fuse consecutive nests over one axis into one loop, each some turns behind those whose elements it reads.

In a chain, one nest makes the elements of z, the next reads z[i] and z[i + 1], a third reads what that has made of i
and i - 1. With each a fixed delay behind the one before, they run in one loop; of z, a ring of a few rows is then
enough, in place of a row for each element. So the rows of long chains stay in cache.

Let a nest with delay m write element a + i of a buffer in its turn i, and one with delay d read element o + i. The
element is there if d >= m + o - a. Delays are `APART` more than the least for which this holds: then nothing in a turn
waits for anything else in it, and the processor overlaps all of it. An element is live from turn e - a + m of the loop,
in which it is written, to turn e - o + d of its last reader, which gives the rows of the ring.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from mcgrad.codegen.loops.access import resolve
from mcgrad.codegen.loops.build import Kernel
from mcgrad.codegen.loops.cells import Buffer, Number, Row
from mcgrad.codegen.loops.loop_tree import (
    Accumulate,
    Fill,
    Gather,
    Load,
    Loop,
    Node,
    Noise,
    Stage,
    Store,
    rewrite,
    touched,
    walk,
)
from mcgrad.ir.program import Var

APART = 1  # turns; without, the nests of a turn wait for one another: 15% more time (float32, 100 elements)
MOST_DELAY = 16  # turns
AXIS = "k"  # of the loop around nests


def fuse(kernel: Kernel) -> Kernel:
    """The kernel with nests fused where that leaves some Vars a ring of rows; itself where it does not."""
    fusion = _Fusion(kernel)
    for time, node in enumerate(kernel.block):
        fusion.add(time, node)
    fusion.close()
    return fusion.kernel()


@dataclass
class _Group:
    """Nests that can run in one loop."""

    nodes: list[Node] = field(default_factory=list)  # as they were, with what is set to its start before them
    times: list[int] = field(default_factory=list)  # of the nests in the block
    loops: list[Loop] = field(default_factory=list)
    delays: list[int] = field(default_factory=list)
    written: dict[Buffer, tuple[int, int]] = field(default_factory=dict)  # -> nest, and the element of its turn 0
    reads: dict[Buffer, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))  # likewise
    added: set[Buffer] = field(default_factory=set)  # complete only after the last turn
    assembled: set[Var] = field(default_factory=set)  # assemblies of which parts are written


class _Fusion:
    def __init__(self, before: Kernel) -> None:
        self.before = before
        self.block: list[Node] = []
        self.group = _Group()
        self.fills: list[Node] = []  # before the next nest
        self.whole = {resolve(arg).base: assembly for assembly in before.assemblies for arg in assembly.args}
        self.rings: dict[Var, int] = {}
        self.users: dict[Buffer, set[int]] = defaultdict(set)  # times of all nodes that read or write it
        for time, node in enumerate(before.block):
            for buffer in (buffer for inner in walk((node,)) for buffer in touched(inner)):
                self.users[buffer].add(time)

    def kernel(self) -> Kernel:
        """The kernel as it is now."""
        if not self.rings:
            return self.before
        assemblies = tuple(var for var in self.before.assemblies if var not in self.rings)
        return replace(self.before, assemblies=assemblies, block=tuple(self.block))

    def add(self, time: int, node: Node) -> None:
        """Take the next node of the block."""
        if isinstance(node, Fill):
            self.fills.append(node)
            return
        if isinstance(node, Loop) and _is_nest(node):
            delay = self._delay(node)
            if delay is None:
                self.close()
            self.group.nodes += [*self.fills, node]
            self._join(time, node, delay or 0)
        else:
            self.close()
            self.block += [*self.fills, node]
        self.fills = []

    def _delay(self, loop: Loop) -> int | None:
        """How far behind the first nest of the group this one can run; None if it cannot run in the same loop."""
        delay, group = 0, self.group
        for row in _reads(loop):
            if row.buffer in group.written:
                if row.index.table is not None or row.index.strides != (1,):
                    return None
                nest, first = group.written[row.buffer]
                delay = max(delay, group.delays[nest] + row.index.offset - first + APART)
            elif row.buffer in group.added or row.buffer.var in group.assembled:
                return None
        return delay if delay <= MOST_DELAY else None

    def _join(self, time: int, loop: Loop, delay: int) -> None:
        group, nest = self.group, len(self.group.loops)
        for row in _reads(loop):
            group.reads[row.buffer].append((nest, row.index.offset))
        for row in _writes(loop):
            group.written[row.buffer] = (nest, row.index.offset)
            whole, low = self.whole.get(_var(row)), self._low(_var(row))
            if whole is not None and low is not None:
                group.written[Buffer("value", whole)] = (nest, low)
            elif whole is not None:
                group.assembled.add(whole)
        group.added |= {
            node.cell.buffer for node in walk((loop,)) if isinstance(node, Accumulate) and isinstance(node.cell, Row)
        }
        group.times.append(time)
        group.loops.append(loop)
        group.delays.append(delay)

    def _low(self, part: Var) -> int | None:
        """Where a part begins in an assembly that is nothing but this part with zeros at its ends."""
        assembly = self.whole.get(part)
        if assembly is None or assembly.op != "pad" or len(assembly.shape) != 1 or assembly.attrs.widths[0][2]:
            return None
        low, high = _ends(assembly)
        return low if low >= 0 and high >= 0 else None

    def close(self) -> None:
        """End the group, and fuse its nests if some rows need not be kept then."""
        group, self.group = self.group, _Group()
        rings = dict(self._rings(group)) if len(group.loops) > 1 else {}
        if not rings:
            self.block += group.nodes
            return
        self.rings |= rings
        self.block += [node for node in group.nodes if isinstance(node, Fill)]
        self.block += [
            Fill(Buffer("value", var, ring=rows), rows, var.op, f"{self.before.names[var]}, {var.op}")
            for var, rows in rings.items()
            if var in self.before.assemblies and _ends(var)[0]
        ]
        stages = [self._stage(loop, delay, rings) for loop, delay in zip(group.loops, group.delays, strict=True)]
        self.block.append(Loop(AXIS, max(stage.extent + stage.delay for stage in stages), "serial", tuple(stages)))

    def _rings(self, group: _Group) -> Iterator[tuple[Var, int]]:
        """The Vars of which a ring of rows is enough, and how many rows: none that other nodes read or write."""
        for buffer, (nest, first) in group.written.items():
            var, readers = buffer.var, group.reads.get(buffer, [])
            if var is None or var in self.whole or not readers:
                continue
            users = set(self.users[buffer])
            if var in self.before.assemblies:
                (part,) = (Buffer("value", resolve(arg).base) for arg in var.args)
                users |= self.users[part]
                if part in group.reads:
                    continue
            last = max(group.delays[reader] - offset for reader, offset in readers)
            rows = 1 << (last - group.delays[nest] + first).bit_length()
            if users <= {*group.times} and rows < var.size:
                yield var, rows

    def _stage(self, loop: Loop, delay: int, rings: dict[Var, int]) -> Stage:
        def in_rings(node: Node) -> Node:
            if isinstance(node, Load | Store | Noise) and isinstance(node.cell, Row):
                return replace(node, cell=self._in_ring(node.cell, rings))
            return node

        assert loop.extent is not None
        wholes = [(row, self.whole.get(_var(row))) for row in _writes(loop)]
        padded = [row for row, whole in wholes if whole is not None and whole in rings and _ends(whole)[1]]
        zeros = tuple(Loop("w", None, "lane", (Store(self._in_ring(row, rings), Number(0.0)),)) for row in padded)
        return Stage(loop.axis, loop.extent, AXIS, delay, rewrite(loop.body, in_rings), zeros)

    def _in_ring(self, row: Row, rings: dict[Var, int]) -> Row:
        """The row, in a ring if its Var or the pad of which it is a part has one."""
        if row.buffer.role != "value":
            return row
        var = _var(row)
        if var in rings:
            return Row(replace(row.buffer, ring=rings[var]), row.index)
        whole = self.whole.get(var)
        if whole is None or whole not in rings:
            return row
        return Row(Buffer("value", whole, ring=rings[whole]), row.index.plus(self._low(var) or 0))


def _ends(pad: Var) -> tuple[int, int]:
    """How many zeros a pad of one axis has before and after its part.

    Those before it are the rows of the ring as they are at the start; those after it take the place of older elements.
    """
    low, high, _ = pad.attrs.widths[0]
    return low, high


def _is_nest(loop: Loop) -> bool:
    """Whether this is a loop forwards over all elements along one axis, and over the lanes inside, without gathers."""
    inner = loop.body[0]
    lanes = len(loop.body) == 1 and isinstance(inner, Loop) and inner.kind == "lane"
    gathers = any(isinstance(node, Gather) and isinstance(node.cell, Row) for node in walk((loop,)))
    return lanes and not gathers and loop.kind == "element" and not loop.backwards and not loop.within


def _reads(tree: Loop) -> list[Row]:
    """The rows of Vars that a nest loads."""
    return [node.cell for node in walk((tree,)) if isinstance(node, Load) and isinstance(node.cell, Row)]


def _writes(tree: Loop) -> list[Row]:
    """The rows of Vars that a nest stores, or fills with noise."""
    cells = [node.cell for node in walk((tree,)) if isinstance(node, Store | Noise)]
    return [cell for cell in cells if isinstance(cell, Row) and cell.buffer.role == "value"]


def _var(row: Row) -> Var:
    assert row.buffer.var is not None
    return row.buffer.var
