"""x[key] = value as a new array, in which the elements at `key` are others."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from mcgrad.ir import build
from mcgrad.ir.build import apply
from mcgrad.ir.program import Shape, Var
from mcgrad.trace.indexing import getitem
from mcgrad.trace.operands import holds_var, index_of, operand
from mcgrad.trace.refuse import refusal
from mcgrad.trace.traced_assignment import written
from mcgrad.trace.traced_index import chooses

Numbers = np.ndarray[Any, np.dtype[np.int64]]


class Elements:
    """An array whose elements are assigned to one after another: the equation is made when all of it is read.

    Parameters
    ----------
    x : Var
        What it is at first.

    Attributes
    ----------
    shape : tuple of int
    kind : {"float", "bool"}
    """

    def __init__(self, x: Var) -> None:
        self.shape, self.kind = x.shape, x.kind
        self._sources, index = _sources(x)
        self._index = index.copy()  # of each element, its place in all sources, one after the other
        self._ends = [*accumulate(source.size for source in self._sources)]
        self._places = np.arange(self._index.size).reshape(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return self._index.size

    def assign(self, key: Any, value: Any) -> None:
        """Give the elements at a key that is known while tracing other values.

        Raises
        ------
        IndexError, ValueError
            As NumPy raises them.
        """
        new = _as_kind(operand(value), self.kind)
        places = np.asarray(self._places[key])
        if not places.shape and new.shape and key is not Ellipsis:
            raise ValueError("setting an array element with a sequence.")
        new = _fitted(new, places.shape)
        if places.size:
            self._index[places.ravel()] = self._ends[-1] + np.arange(places.size)
            self._sources.append(build.reshape(new, (places.size,)))
            self._ends.append(self._ends[-1] + places.size)

    def read(self, key: Any) -> Var | None:
        """Return the elements at a key, straight from what was assigned; None if there are none."""
        places = np.asarray(self._places[key])
        if not places.size:
            return None
        inside = self._index[places]
        i = bisect_right(self._ends, inside.min())
        source = self._sources[i]
        inside = inside - (self._ends[i] - source.size)
        if inside.max() < source.size:
            return _taken(source, inside)
        return build.reshape(_gathered(self._sources, self._ends, self._index[places].ravel()), places.shape)

    def whole(self) -> Var:
        """Return the array."""
        return build.reshape(_gathered(self._sources, self._ends, self._index), self.shape)


def assigned(x: Var, key: Any, value: Any) -> Var:
    """Return x with other elements at `key`; of a place that comes twice the last value stays.

    Raises
    ------
    TraceError
        A traced mask with more than one number for all that it finds, traced numbers that may have fractions.
    IndexError, ValueError
        As NumPy raises them.
    """
    if chooses(key):
        new = _as_kind(operand(value), x.kind)
        kept = written(apply("float", x), key, apply("float", new), lambda old, given: given)
        return _as_kind(kept, x.kind)
    if holds_var(key):
        return _masked(x, key, _as_kind(operand(value), x.kind))
    elements = Elements(x)
    elements.assign(key, value)
    return elements.whole()


def added(x: Var, key: Any, value: Any) -> Var:
    """Return x with a value added to the elements at `key`: to a place that comes twice, twice."""
    x, new = apply("float", x), apply("float", operand(value))
    if chooses(key):
        return written(x, key, new, lambda old, given: apply("add", old, given))
    if holds_var(key):
        return apply("add", x, _masked(build.const(np.zeros(x.shape)), key, new))
    places = np.asarray(index_of(x)[key])
    new = _fitted(new, places.shape)
    return apply("add", x, build.scatter_add(new, places, x.shape)) if places.size else x


def read(x: Var, key: Any) -> Var:
    """Return x[key] of an array that was assigned to: straight from what was assigned, where all of it was at once."""
    found = None if holds_var(key) else Elements(x).read(key)
    return getitem(x, key) if found is None else found


def _taken(source: Var, places: Numbers) -> Var:
    """Elements of a vector: all of them in the shape that they were assigned in, or any others."""
    if source.size == places.size and np.array_equal(places.ravel(), np.arange(source.size)):
        return build.reshape(source, places.shape)
    return build.take(source, places)


def _as_kind(x: Var, kind: str) -> Var:
    if kind == "float":
        return apply("float", x)
    return x if x.kind == "bool" else apply("not_equal", x, 0.0)


def _fitted(value: Var, shape: Shape) -> Var:
    """Broadcast a value to the shape that it is assigned to; as in NumPy, it may have more axes of extent 1."""
    extents = value.shape
    while len(extents) > len(shape) and extents[0] == 1:
        extents = extents[1:]
    try:
        fits = np.broadcast_shapes(extents, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"could not broadcast input array from shape {value.shape} into shape {shape}")
    return build.broadcast(build.reshape(value, extents), shape)


def _masked(x: Var, key: Any, value: Var) -> Var:
    """Assign by a traced mask of x's first axes."""
    if not isinstance(key, Var) or key.kind != "bool":
        raise refusal("assignment with a traced index", "use np.where(condition, value, z) to choose by value")
    if key.shape != x.shape[: len(key.shape)]:
        raise IndexError(f"boolean index of shape {key.shape} does not match an array of shape {x.shape}")
    rest = x.shape[len(key.shape) :]
    if value.size != 1 and (len(value.shape) > len(rest) or value.shape != rest[len(rest) - len(value.shape) :]):
        raise refusal(
            f"assignment of a value of shape {value.shape} with a traced mask",
            "how many elements it finds depends on the draw; use np.where(mask, value, z), with a value for each",
        )
    if value.size == 1:
        value = build.reshape(value, ())
    mask = build.reshape(key, (*key.shape, *(1 for _ in rest)))
    return apply("where", mask, value, x)


def _sources(x: Var) -> tuple[list[Var], Numbers]:
    """Return one-dimensional arrays, and for each element of x its place in all of them, one after the other.

    Of an array that was assigned to they are what it was before, and what was assigned.
    """
    flat = build.reshape(x, (x.size,))
    index = np.arange(x.size)
    if flat.op == "take":
        flat, index = flat.args[0], flat.attrs.index.array
    if flat.op == "concatenate" and len(flat.shape) == 1:
        return list(flat.args), index
    return ([flat] if len(flat.shape) == 1 else [build.reshape(flat, (flat.size,))]), index


def _gathered(sources: Sequence[Var], ends: Sequence[int], index: Numbers) -> Var:
    """The elements at an index of all sources in a row, without sources that are not read."""
    if not index.size:
        return build.const(np.zeros(0))
    owners = np.searchsorted(ends, index, side="right")
    starts = np.array(ends) - [source.size for source in sources]
    used, first = np.unique(owners, return_index=True)
    breaks = np.flatnonzero((np.diff(index) != 1) | (np.diff(owners) != 0)) + 1
    if len(breaks) <= len(used):  # a few stretches of neighbours
        stretches = ((owners[i], index[i], index[j - 1] + 1)
                     for i, j in zip([0, *breaks], [*breaks, index.size], strict=True))  # fmt: skip
        return build.concatenate([build.slice_(sources[k], [(a - starts[k], b - starts[k], 1)])
                                  for k, a, b in stretches], 0)  # fmt: skip
    in_order = [int(k) for k in used[np.argsort(first)]]
    sizes = [sources[k].size for k in in_order]
    moved = np.zeros(len(sources), np.int64)
    moved[in_order] = np.cumsum([0, *sizes[:-1]]) - starts[in_order]
    joined, index = build.concatenate([sources[k] for k in in_order], 0), index + moved[owners]
    return joined if np.array_equal(index, np.arange(joined.size)) else build.take(joined, index)
