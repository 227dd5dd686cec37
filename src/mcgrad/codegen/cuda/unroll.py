"""Unroll short nests, so that each element of what they read and write has a place that no loop around them changes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from mcgrad.codegen.cuda.nest import NestLoops
from mcgrad.codegen.loops.cells import Cell, Element, Index, Operand, Row, Value
from mcgrad.codegen.loops.loop_tree import Accumulate, Gather, Let, Load, Loop, Moments, Node, Noise, Store, Tree


def unroll(tree: Tree, longest: int) -> Tree:
    """The tree with each nest of so many elements, or fewer, as the nodes of one element after the other."""
    new: list[Node] = []
    for node in tree:
        if isinstance(node, Loop) and node.kind == "serial":
            new.append(replace(node, body=unroll(node.body, longest)))
        elif isinstance(node, Loop) and node.kind == "element" and not node.within:
            new += _unrolled(node) if math.prod(NestLoops(node).shape) <= longest else (node,)
        else:
            new.append(node)
    return tuple(new)


def _unrolled(tree: Loop) -> Tree:
    nest = NestLoops(tree)
    nodes = tuple(
        _at(node, dict(zip((loop.axis for loop in nest.loops), numbers, strict=True)), f"e{i}")
        for i, numbers in enumerate(_numbers(nest.loops))
        for node in nest.body
    )
    return (Loop("w", None, "lane", nodes),) if nodes else ()


def _numbers(loops: list[Loop]) -> Iterator[tuple[int, ...]]:
    """The numbers of the axes, turn by turn."""
    ranges = [range(loop.extent or 0)[:: -1 if loop.backwards else 1] for loop in loops]
    for index in np.ndindex(*map(len, ranges)):
        yield tuple(numbers[i] for numbers, i in zip(ranges, index, strict=True))


def _at(node: Node, axes: Mapping[str, int], suffix: str) -> Node:
    """The node for one element; values have names with the suffix."""

    def operand(old: Operand) -> Operand:
        if isinstance(old, Value):
            return replace(old, name=f"{old.name}{suffix}")
        return replace(old, index=fixed(old.index, axes)) if isinstance(old, Row) else old

    def cell(old: Cell) -> Cell:
        return replace(old, index=fixed(old.index, axes)) if isinstance(old, Row | Element) else old

    match node:
        case Let(value, op, args):
            return Let(replace(value, name=f"{value.name}{suffix}"), op, tuple(map(operand, args)))
        case Load(value, place, boolean):
            return Load(replace(value, name=f"{value.name}{suffix}"), cell(place), boolean)
        case Gather(value, place, _, _, index):
            return replace(
                node, value=replace(value, name=f"{value.name}{suffix}"), cell=cell(place), index=operand(index)
            )
        case Store(place, given, boolean):
            return Store(cell(place), operand(given), boolean)
        case Accumulate(place, op, given, of, square):
            return Accumulate(cell(place), op, operand(given), of, square)
        case Noise(value, Row() as row, source, component):
            place = replace(row, index=fixed(row.index, axes))
            return Noise(replace(value, name=f"{value.name}{suffix}"), place, source, fixed(component, axes))
        case Moments(output, index, given, masked):
            return Moments(output, fixed(index, axes), operand(given), masked)
    raise TypeError(f"{node} in a nest")


def fixed(index: Index, axes: Mapping[str, int]) -> Index:
    """The index where some axes have a number."""
    kept = [i for i, axis in enumerate(index.axes) if axis not in axes]
    within = sum(axes[axis] * stride for axis, stride in zip(index.axes, index.strides, strict=True) if axis in axes)
    if index.table is not None:
        if kept:
            raise TypeError(f"a table of {index.axes}, of which only {[*axes]} are known")
        return Index(index.offset + int(index.table.array.ravel()[within]))
    return replace(
        index,
        offset=index.offset + within,
        strides=tuple(index.strides[i] for i in kept),
        axes=tuple(index.axes[i] for i in kept),
        extents=tuple(index.extents[i] for i in kept),
    )
