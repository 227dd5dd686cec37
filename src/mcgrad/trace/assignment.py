"""x[key] = value as a new array, in which the elements at `key` are others."""

from __future__ import annotations

from typing import Any

import numpy as np

from mcgrad.ir import build
from mcgrad.ir.build import apply
from mcgrad.ir.program import Shape, Var
from mcgrad.trace.indexing import getitem
from mcgrad.trace.operands import holds_var, index_of, operand
from mcgrad.trace.refuse import refusal


def assigned(x: Var, key: Any, value: Any) -> Var:
    """Return x with other elements at `key`; of a place that comes twice the last value stays.

    Raises
    ------
    TraceError
        A key that depends on the draw, other than a mask with one number for all that it finds.
    IndexError, ValueError
        As NumPy raises them.
    """
    new = operand(value)
    new = _as_kind(new, x.kind)
    if holds_var(key):
        return _masked(x, key, new)
    places = np.asarray(index_of(x)[key])
    if not places.shape and new.shape and key is not Ellipsis:
        raise ValueError("setting an array element with a sequence.")
    new = _fitted(new, places.shape)
    if not places.size:
        return x
    sources, index = _sources(x)
    size = sum(source.size for source in sources)
    index = index.copy()
    index[places.ravel()] = size + np.arange(places.size)
    return build.reshape(_gathered([*sources, build.reshape(new, (places.size,))], index), x.shape)


def added(x: Var, key: Any, value: Any) -> Var:
    """Return x with a value added to the elements at `key`: to a place that comes twice, twice."""
    x, new = apply("float", x), apply("float", operand(value))
    if holds_var(key):
        return apply("add", x, _masked(build.const(np.zeros(x.shape)), key, new))
    places = np.asarray(index_of(x)[key])
    new = _fitted(new, places.shape)
    return apply("add", x, build.scatter_add(new, places, x.shape)) if places.size else x


def read(x: Var, key: Any) -> Var:
    """Return x[key] of an array that was assigned to: straight from what was assigned, where all of it was at once."""
    if not holds_var(key):
        places = np.asarray(index_of(x)[key])
        start = 0
        sources, index = _sources(x)
        for source in sources if places.size else ():
            inside = index[places] - start
            if inside.min() >= 0 and inside.max() < source.size:
                return source if inside.shape == source.shape and source.size == 1 else build.take(source, inside)
            start += source.size
    return getitem(x, key)


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


def _sources(x: Var) -> tuple[list[Var], np.ndarray[Any, np.dtype[np.int64]]]:
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


def _gathered(sources: list[Var], index: np.ndarray[Any, np.dtype[np.int64]]) -> Var:
    """The elements at an index of all sources in a row, without those that are not read."""
    starts = np.cumsum([0, *(source.size for source in sources)])
    kept, moved, size = [], np.zeros(starts[-1], np.int64), 0
    for source, start, stop in zip(sources, starts, starts[1:], strict=False):
        if np.any((index >= start) & (index < stop)):
            kept.append(source)
            moved[start:stop] = size + np.arange(stop - start)
            size += source.size
    index = moved[index]
    joined = build.concatenate(kept, 0)
    return joined if np.array_equal(index, np.arange(joined.size)) else build.take(joined, index)
