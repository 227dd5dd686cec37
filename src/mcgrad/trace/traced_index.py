"""x[key] where the key has whole numbers that are traced, mixed with slices, integers and arrays as NumPy allows."""

from __future__ import annotations

from typing import Any

import numpy as np

from mcgrad.ir import build
from mcgrad.ir.program import Var
from mcgrad.trace import lookup, shaping
from mcgrad.trace.indexing import getitem, is_integer
from mcgrad.trace.operands import holds_var, operand
from mcgrad.trace.refuse import refusal


def stacked(key: Any) -> Any:
    """Return a key whose lists with traced numbers, x[[i, j]], are arrays."""
    if isinstance(key, tuple):
        return tuple(map(stacked, key))
    return operand(key) if isinstance(key, list) and holds_var(key) else key


def chooses(key: Any) -> bool:
    """Whether a key has traced numbers, and no traced mask."""
    traced = [k for k in (key if isinstance(key, tuple) else (key,)) if isinstance(k, Var)]
    return bool(traced) and all(k.kind == "float" for k in traced)


def chosen(x: Var, key: Any) -> Var:
    """Return x[key]. What is no index gives NaN.

    Raises
    ------
    TraceError
        Numbers that may have fractions, masks beside traced numbers.
    IndexError
        As NumPy raises it.
    """
    for k in key if isinstance(key, tuple) else (key,):
        if isinstance(k, Var):
            lookup.check_whole(k)
    keys = expanded(key if isinstance(key, tuple) else (key,), len(x.shape))
    basic = tuple(slice(None) if _is_array(k) else k for k in keys)
    rest = getitem(x, basic)
    axes, indices, axis = [], [], 0
    for k in keys:
        if _is_array(k):
            axes.append(axis)
            indices.append(_indices(k))
        axis += not is_integer(k)
    shape = np.broadcast_shapes(*(k.shape for k in indices))
    found = lookup.gather_joint(rest, axes, [build.broadcast(k, shape) for k in indices])
    together = [i for i, k in enumerate(keys) if _is_array(k) or is_integer(k)]
    if together[-1] - together[0] + 1 > len(together):  # apart: NumPy then puts their axes first
        return found
    return shaping.moveaxis(found, range(len(shape)), range(axes[0], axes[0] + len(shape)))


def _is_array(key: Any) -> bool:
    return not (key is None or isinstance(key, slice) or is_integer(key))


def _indices(key: Any) -> Var:
    if isinstance(key, Var):
        return key
    array = np.asarray(key)
    if array.dtype == bool:
        raise refusal("indexing by a mask beside traced numbers", "index twice, z[mask][k]")
    if array.dtype.kind not in "iu":
        raise IndexError("arrays used as indices must be of integer (or boolean) type")
    return operand(array)


def expanded(keys: tuple[Any, ...], ndim: int) -> tuple[Any, ...]:
    """Write out an ellipsis, and the axes after the last key."""
    used = sum(k is not None and k is not Ellipsis for k in keys)
    if used > ndim:
        raise IndexError(f"too many indices for array: array is {ndim}-dimensional, but {used} were indexed")
    dots = [i for i, k in enumerate(keys) if k is Ellipsis]
    if len(dots) > 1:
        raise IndexError("an index can only have a single ellipsis ('...')")
    at = dots[0] if dots else len(keys)
    return (*keys[:at], *(slice(None) for _ in range(ndim - used)), *keys[at + 1 :])
