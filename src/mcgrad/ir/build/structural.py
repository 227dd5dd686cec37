"""Equations that move elements: their order, shapes and places, all known in advance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.ir import attributes
from mcgrad.ir.attributes import Literal
from mcgrad.ir.build.elementwise import same_kind
from mcgrad.ir.build.equations import make
from mcgrad.ir.program import Shape, Var


def reshape(x: Var, shape: Shape) -> Var:
    """Reinterpret the elements, in C order, in another shape of the same size."""
    shape = tuple(int(n) for n in shape)
    if x.op == "reshape" and x.shape != shape:
        x = x.args[0]
    return x if x.shape == shape else make("reshape", (x,), attributes.Reshape(shape))


def transpose(x: Var, axes: Sequence[int]) -> Var:
    """Permute the axes."""
    axes = tuple(int(a) % len(x.shape) for a in axes)
    if axes == tuple(range(len(x.shape))):
        return x
    return make("transpose", (x,), attributes.Transpose(axes))


def slice_(x: Var, bounds: Sequence[tuple[int, int, int]]) -> Var:
    """Take start:stop:step of each axis, with start, stop >= 0 and step > 0."""
    bounds = tuple((int(a), int(b), int(c)) for a, b, c in bounds)
    shape = tuple(len(range(*b)) for b in bounds)
    if shape == x.shape and all(step == 1 or n == 1 for (_, _, step), n in zip(bounds, shape, strict=True)):
        return x
    return make("slice", (x,), attributes.Slice(bounds))


def flip(x: Var, axes: Sequence[int]) -> Var:
    """Reverse the order along axes."""
    axes = tuple(int(a) % len(x.shape) for a in axes if x.shape[a] > 1)
    return make("flip", (x,), attributes.Flip(axes)) if axes else x


def pad(x: Var, widths: Sequence[tuple[int, int, int]]) -> Var:
    """Surround with zeros: (before, after, between neighbours) for each axis."""
    widths = tuple((int(a), int(b), int(c)) for a, b, c in widths)
    return make("pad", (x,), attributes.Pad(widths)) if any(any(width) for width in widths) else x


def take(x: Var, index: npt.NDArray[np.integer[Any]]) -> Var:
    """Take elements by their flat (C order) index; the result has the shape of `index`."""
    return make("take", (x,), attributes.Take(Literal(np.asarray(index, np.int64))))


def scatter_add(x: Var, index: npt.NDArray[np.integer[Any]], shape: Shape) -> Var:
    """Add every element of x to the element of a zero array at its flat index: the transpose of `take`."""
    shape = tuple(int(n) for n in shape)
    return make("scatter_add", (x,), attributes.ScatterAdd(Literal(np.asarray(index, np.int64)), shape))


def concatenate(parts: Sequence[Var], axis: int) -> Var:
    """Join along an existing axis."""
    parts = [p for p in parts if p.shape[axis] > 0] or list(parts[:1])
    if len(parts) == 1:
        return parts[0]
    return make("concatenate", tuple(same_kind(list(parts))), attributes.Concatenate(int(axis) % len(parts[0].shape)))
