"""x[key] = value where the key has traced whole numbers: each element is compared with the place that is written to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mcgrad.ir import build
from mcgrad.ir.build import apply
from mcgrad.ir.program import Var
from mcgrad.trace.indexing import getitem, is_integer
from mcgrad.trace.lookup import place
from mcgrad.trace.operands import index_of
from mcgrad.trace.refuse import refusal
from mcgrad.trace.traced_index import expanded

MOST = 64  # places that are written to one after the other
REMEDY = f"traced numbers, with slices and integers, or one array of up to {MOST} of them index it"


def written(x: Var, key: Any, value: Var, change: Callable[[Var, Var], Var]) -> Var:
    """Return x with other elements at a key; NaN in all of them where a number is no index.

    Parameters
    ----------
    x : Var
    key : index with traced numbers
    value : Var
        Broadcasts to the shape of ``x[key]``.
    change : callable
        Makes the new elements of the old ones and of the value.
    """
    keys = expanded(key if isinstance(key, tuple) else (key,), len(x.shape))
    arrays = [k for k in keys if not _is_basic(k) and not (isinstance(k, Var) and not k.shape)]
    if not arrays:
        return _at_numbers(x, keys, value, change)
    whole = all(k is arrays[0] or (isinstance(k, slice) and k == slice(None)) for k in keys[1:])
    if keys[0] is not arrays[0] or not whole or len(arrays[0].shape) != 1 or arrays[0].size > MOST:
        raise refusal("assignment with such a traced index", REMEDY)
    (index,) = arrays
    value = build.broadcast(value, (index.size, *x.shape[1:]))
    for i in range(index.size):
        k, part = (build.reshape(getitem(a, i), a.shape[1:]) for a in (index, value))
        x = _at_numbers(x, (k, *keys[1:]), part, change)
    return x


def _is_basic(key: Any) -> bool:
    return key is None or isinstance(key, slice) or is_integer(key)


def _at_numbers(x: Var, keys: tuple[Any, ...], value: Var, change: Callable[[Var, Var], Var]) -> Var:
    """Write where one number along each of some axes says."""
    static = tuple(k if _is_basic(k) else slice(None) for k in keys)
    places = np.asarray(index_of(x)[static])
    old = getitem(x, static)
    axis, hits, valid = 0, build.const(True), build.const(True)
    shape: list[int] = []
    for k in keys:
        if isinstance(k, Var):
            extent = old.shape[axis]
            at = place(k, extent, axis)
            along = np.arange(extent, dtype=float).reshape(-1, *(1 for _ in old.shape[axis + 1 :]))
            hits = apply("logical_and", hits, apply("equal", at, along))
            valid = apply("logical_and", valid, apply("logical_not", apply("isnan", at)))
        elif not is_integer(k):
            shape.append(old.shape[axis])
        axis += not is_integer(k)
    ones = iter(build.broadcast(value, tuple(shape)).shape)
    spread = [1 if isinstance(k, Var) else next(ones) for k in keys if not is_integer(k)]
    given = build.reshape(build.broadcast(value, tuple(shape)), tuple(spread))
    new = apply("where", build.broadcast(hits, old.shape), change(old, given), old)
    new = apply("where", valid, new, np.nan)
    return build.reshape(_put(x, places, new), x.shape)


def _put(x: Var, places: Any, new: Var) -> Var:
    """Put other elements at places that each come once."""
    if places.size == x.size and np.array_equal(places.ravel(), np.arange(x.size)):
        return new
    index = np.arange(x.size)
    index[places.ravel()] = x.size + np.arange(places.size)
    joined = build.concatenate([build.reshape(x, (x.size,)), build.reshape(new, (new.size,))], 0)
    return build.take(joined, index)
