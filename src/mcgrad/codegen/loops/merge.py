"""Merge loops over neighbouring axes into one, where all that the body reads and writes lies evenly along both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

from mcgrad.codegen.loops.cells import Buffer, Element, Index, Row
from mcgrad.codegen.loops.loop_tree import Loop, Node, Tree, rewrite, walk


def merge_axes(tree: Tree, is_plain: Callable[[Buffer], bool]) -> Tree:
    """Return the tree with nests of as few axes as there can be, so that innermost loops are long.

    Parameters
    ----------
    tree : tuple of Node
        Without loops over lanes.
    is_plain : callable
        Whether the rows of a buffer lie in C order.
    """
    return rewrite(tree, lambda node: _merged(node, is_plain) if isinstance(node, Loop) else node)


def _merged(outer: Loop, is_plain: Callable[[Buffer], bool]) -> Loop:
    """One loop for two, if the second is all of the first's body, and neither runs backwards or within a tile."""
    inner = outer.body[0] if len(outer.body) == 1 else None
    if not isinstance(inner, Loop) or not (_is_simple(outer) and _is_simple(inner)):
        return outer
    nodes = list(walk(inner.body))
    cells = [cell for node in nodes for cell in _cells(node)]
    plain = all(is_plain(cell.buffer) for cell in cells if isinstance(cell, Row))
    indices = [*(cell.index for cell in cells), *(i for node in nodes for i in _values(node) if isinstance(i, Index))]
    if not plain or any(isinstance(node, Loop) for node in nodes):
        return outer
    if not all(_is_even(index, outer.axis, inner.axis) for index in indices):
        return outer

    def merged(node: Node) -> Node:
        held: dict[str, Any] = {f.name: getattr(node, f.name) for f in fields(node)}
        return replace(node, **{name: _moved(value, outer.axis, inner.axis) for name, value in held.items()})

    assert outer.extent is not None
    assert inner.extent is not None
    return replace(outer, extent=outer.extent * inner.extent, body=tuple(merged(node) for node in inner.body))


def _is_simple(loop: Loop) -> bool:
    return loop.kind == "element" and not loop.backwards and not loop.within and loop.step == 1


def _values(node: Node) -> list[object]:
    """What a node holds, and what is in tuples there."""
    held = [getattr(node, f.name) for f in fields(node)]
    return [x for value in held for x in (value if isinstance(value, tuple) else (value,))]


def _cells(node: Node) -> list[Row | Element]:
    return [x for x in _values(node) if isinstance(x, Row | Element)]


def _is_even(index: Index, outer: str, inner: str) -> bool:
    """Whether one step along the outer axis is as many along the inner one as that has."""
    axes = index.axes
    if outer not in axes and inner not in axes:
        return True
    if outer not in axes or inner not in axes or index.since or index.ring:
        return False
    i, j = axes.index(outer), axes.index(inner)
    return j == i + 1 and (index.table is not None or index.strides[i] == index.strides[j] * index.extents[j])


def _moved(held: Any, outer: str, inner: str) -> Any:
    """The same with one axis for two."""
    if isinstance(held, tuple):
        return tuple(_moved(x, outer, inner) for x in held)
    if isinstance(held, Row | Element):
        return replace(held, index=_moved(held.index, outer, inner))
    if not isinstance(held, Index) or outer not in held.axes:
        return held
    i = held.axes.index(outer)
    extents = (*held.extents[:i], held.extents[i] * held.extents[i + 1], *held.extents[i + 2 :])
    strides = (*held.strides[:i], *held.strides[i + 1 :])
    return replace(held, strides=strides, axes=(*held.axes[: i + 1], *held.axes[i + 2 :]), extents=extents)
