"""Gathers in loop nests: of a few elements, comparisons with all places; of more, loads from where they lie."""

from __future__ import annotations

import numpy as np

from mcgrad.codegen.loops.access import Access, resolve, whole
from mcgrad.ir.build import apply, broadcast, reshape, slice_
from mcgrad.ir.program import Var

FEW = 16  # elements along the axis up to which comparisons take fewer instructions than a vector of loads


def compared(var: Var, args: tuple[Var, ...]) -> Var:
    """Return a gather as a chain of choices, one for each place along the axis."""
    x, index = args
    ahead, extent, rest = var.attrs.split(x.shape)
    axis = var.attrs.batch
    ones = len(var.shape) - len(ahead) - len(rest)
    k = broadcast(reshape(index, (*index.shape, *(1 for _ in rest))), var.shape)
    found = broadcast(apply("float", np.nan), var.shape)
    for place in reversed(range(extent)):
        bounds = [(0, n, 1) for n in x.shape]
        bounds[axis] = (place, place + 1, 1)
        element = reshape(slice_(x, bounds), (*ahead, *(1,) * ones, *rest))
        found = apply("where", apply("less", k, place + 1.0), broadcast(element, var.shape), found)
    return apply("where", apply("less_equal", 0.0, k), found, np.nan)


def table(var: Var) -> tuple[Access, int]:
    """Return where the elements that a gather chooses from begin, for each of its own, and how far apart they are.

    The base is the array itself where no draw changes it and no strides say where its elements are.
    """
    x, batch = var.args[0], var.attrs.batch
    access = resolve(x)
    if access.table is not None:
        assert not x.by_draw, "a table of rows of an array that is gathered from, which lowering copies"
        access = whole(x)
    own, chosen = access.strides, len(var.args[1].shape) - batch
    strides = (*own[:batch], *(0 for _ in range(chosen)), *own[batch + 1 :])
    return Access(access.base, var.shape, access.offset, strides).squeezed(), own[batch]


def is_small(var: Var) -> bool:
    """Whether a gather chooses from a few elements."""
    extent: int = var.args[0].shape[var.attrs.batch]
    return extent <= FEW
