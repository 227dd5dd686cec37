"""Where the elements of Vars begin that a loop over steps is given or gives: among rows, or in constants, by step."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mcgrad.codegen.loops.cells import Buffer, Index
from mcgrad.ir.program import Var


@dataclass(frozen=True)
class Place:
    """Where elements begin: in rows, or in an array that no draw changes; and how far on with each step of loops.

    Parameters
    ----------
    of : Buffer or Var
    offset : int
    steps : tuple of (axis, extent, stride)
    """

    of: Buffer | Var
    offset: int
    steps: tuple[tuple[str, int, int], ...] = ()


def further(index: Index, place: Place) -> Index:
    """An index into what begins at a place."""
    if not place.steps:
        return index.plus(place.offset) if place.offset else index
    assert index.table is None, "a table of elements of an argument, which lowering copies"
    axes, extents, strides = zip(*place.steps, strict=True)
    return replace(
        index,
        offset=index.offset + place.offset,
        strides=(*index.strides, *strides),
        axes=(*index.axes, *axes),
        extents=(*index.extents, *extents),
    )
