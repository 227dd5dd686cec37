"""x[key]: basic indexing by slices and reshapes, anything else NumPy can do with a static key by one `take`."""

from __future__ import annotations

from typing import Any

import numpy as np

from mcgrad.ir import build
from mcgrad.ir.program import Var
from mcgrad.trace.operands import holds_var, index_of, index_remedy
from mcgrad.trace.refuse import refusal

CHOICE = "use np.where(mask, z, 0.0), as how many elements a mask finds depends on the draw, or a sum with weights"


def getitem(x: Var, key: Any) -> Var:
    """Return x[key].

    Raises
    ------
    TraceError
        A key that depends on the draw.
    IndexError
        As NumPy raises it.
    """
    keys = key if isinstance(key, tuple) else (key,)
    if any(holds_var(k) for k in keys):
        raise refusal(
            "indexing with a traced array",
            index_remedy(*keys) or CHOICE,
        )
    if all(k is None or k is Ellipsis or isinstance(k, slice) or is_integer(k) for k in keys):
        return _basic(x, keys)
    return build.take(x, index_of(x)[key])


def is_integer(key: Any) -> bool:
    """Whether a key is one whole number; True and False are masks."""
    return isinstance(key, int | np.integer) and not isinstance(key, bool)


def _basic(x: Var, keys: tuple[Any, ...]) -> Var:
    consumed = sum(k is not None and k is not Ellipsis for k in keys)
    ndim = len(x.shape)
    if consumed > ndim:
        raise IndexError(f"too many indices for array: array is {ndim}-dimensional, but {consumed} were indexed")
    if sum(k is Ellipsis for k in keys) > 1:
        raise IndexError("an index can only have a single ellipsis ('...')")
    if not any(k is Ellipsis for k in keys):
        keys = (*keys, Ellipsis)
    bounds: list[tuple[int, int, int]] = []
    flipped: list[int] = []
    shape: list[int] = []
    for k in keys:
        axis = len(bounds)
        if k is None:
            shape.append(1)
        elif k is Ellipsis:
            rest = x.shape[axis : axis + ndim - consumed]
            bounds += [(0, extent, 1) for extent in rest]
            shape += rest
        elif isinstance(k, slice):
            positions = range(x.shape[axis])[k]
            if positions.step < 0 and len(positions) > 0:
                flipped.append(axis)
                positions = positions[::-1]
            bounds.append((positions.start, positions.stop, positions.step) if positions else (0, 0, 1))
            shape.append(len(positions))
        else:
            extent = x.shape[axis]
            if not -extent <= k < extent:
                raise IndexError(f"index {k} is out of bounds for axis {axis} with size {extent}")
            bounds.append((int(k) % extent, int(k) % extent + 1, 1))
    return build.reshape(build.flip(build.slice_(x, bounds), flipped), tuple(shape))
