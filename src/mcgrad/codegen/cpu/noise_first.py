"""Make the noise of all components before the loop over them, where its rows are kept: in one call instead of many.

The loops of a filler over one row of lanes are short where these carry rows of a batch: much of a call is the start of
its loops, and a processor overlaps little of one component with the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mcgrad.codegen.loops.cells import Index, Lane, Value
from mcgrad.codegen.loops.loop_tree import Address, Loop, Node, Noise, Section, Tree

MOST_BYTES = 1 << 14  # of the rows of a call: more would leave the first cache before they are read


def noise_first(tree: Tree, lanes: int, itemsize: int) -> Tree:
    """The nests of a block, whose loops over lanes are split, with the noise of those over one axis before them.

    That noise has its rows from the start of its nest on (`allocate`).
    """
    found: list[Node] = []
    for node in tree:
        if isinstance(node, Section):
            found.append(Section(noise_first(node.body, lanes, itemsize)))
        elif isinstance(node, Loop) and node.kind == "element" and (node.extent or 0) * lanes * itemsize <= MOST_BYTES:
            found += _parted(node, lanes)
        else:
            found.append(node)
    return tuple(found)


def _parted(loop: Loop, lanes: int) -> Tree:
    addresses = {node.value: node.index for node in loop.body if isinstance(node, Address)}
    first: list[Node] = []
    rest: list[Node] = []
    for node in loop.body:
        made = _of_all(node, loop, addresses, lanes) if isinstance(node, Noise) else None
        (first if made else rest).append(made or node)
    return (*first, replace(loop, body=tuple(rest)))


def _of_all(noise: Noise, loop: Loop, addresses: Mapping[Value, Index], lanes: int) -> Noise | None:
    """The noise of all turns of a loop at once, if each makes the next component in the next row."""
    if not isinstance(noise.cell, Lane) or not isinstance(noise.cell.address, Value):
        return None
    index = addresses[noise.cell.address]
    for each in (index, noise.component):
        if (each.strides, each.axes, each.table, each.since, each.ring) != ((1,), (loop.axis,), None, "", None):
            return None
    cell, component = replace(noise.cell, address=index.offset * lanes), Index(noise.component.offset)
    return replace(noise, cell=cell, component=component, components=loop.extent or 0)
