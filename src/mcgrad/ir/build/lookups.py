"""Equations that look up elements by numbers of a draw, and tables of functions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mcgrad.ir import attributes
from mcgrad.ir.build.elementwise import apply
from mcgrad.ir.build.equations import make
from mcgrad.ir.build.structural import reshape, slice_, take
from mcgrad.ir.lookup import Table
from mcgrad.ir.program import Var


def gather(x: Var, index: Var, batch: int = 0) -> Var:
    """Take elements along an axis by their index, which is a number of each draw: `attributes.Gather` says which.

    What is no index gives NaN: negative numbers, those from the extent of the axis on, NaN. Fractions are cut off.
    """
    x, index = apply("float", x), apply("float", index)
    if index.is_const and not batch and not x.is_const:
        places, extent = np.floor(index.attrs.array), x.shape[0]
        if np.all((places >= 0) & (places < extent)):
            return _rows(x, places.astype(np.int64))
    return make("gather", (x, index), attributes.Gather(int(batch)))


def scatter(x: Var, places: Var, size: int) -> Var:
    """Add up elements at places, which are numbers of each draw: `attributes.Scatter` says how."""
    return make("scatter", (apply("float", x), apply("float", places)), attributes.Scatter(int(size)))


def _rows(x: Var, index: npt.NDArray[np.int64]) -> Var:
    """x[index]: neighbours along the first axis as a slice, others by their places."""
    rest = x.shape[1:]
    if index.size and index.ndim < 2:
        first = int(index.flat[0])
        if np.array_equal(index.ravel(), np.arange(first, first + index.size)):
            part = slice_(x, [(first, first + index.size, 1), *((0, n, 1) for n in rest)])
            return reshape(part, (*index.shape, *rest))
    places = np.arange(x.size).reshape(x.shape)[index]
    return take(x, places)


def table(x: Var, what: Table) -> Var:
    """Look up an array for each element; `x` must not depend on the draw."""
    return make("table", (x,), attributes.Lookup(what))
