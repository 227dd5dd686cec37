"""JAX's primitives that move elements, as functions of NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mcgrad.trace.tracer import Tracer


def _broadcast_in_dim(x: Any, shape: Sequence[int], broadcast_dimensions: Sequence[int], **_: Any) -> Any:
    kept = dict(zip(broadcast_dimensions, x.shape, strict=True))
    return np.broadcast_to(np.reshape(x, tuple(kept.get(i, 1) for i in range(len(shape)))), tuple(shape))


def _reshape(x: Any, new_sizes: Sequence[int], dimensions: Any = None, **_: Any) -> Any:
    return np.reshape(x if dimensions is None else np.transpose(x, dimensions), tuple(new_sizes))


def _slice(x: Any, start_indices: Any, limit_indices: Any, strides: Any = None) -> Any:
    steps = strides or (1,) * len(start_indices)
    return x[tuple(slice(*bounds) for bounds in zip(start_indices, limit_indices, steps, strict=True))]


def _expand_dims(x: Any, dimensions: Sequence[int]) -> Any:
    return np.expand_dims(x, tuple(dimensions))


def _iota(dtype: Any, shape: Sequence[int], dimension: int, **_: Any) -> Any:
    along = np.arange(shape[dimension], dtype=dtype)
    return np.broadcast_to(along.reshape([-1 if i == dimension else 1 for i in range(len(shape))]), shape)


def _split(x: Any, sizes: Sequence[int], axis: int) -> list[Any]:
    return np.split(x, [int(end) for end in np.cumsum(sizes)[:-1]], axis)


def pad(x: Any, value: Any, padding_config: Sequence[tuple[int, int, int]]) -> Any:
    """Pad each axis before, after and between its elements; negative widths cut elements off."""
    for axis, (_, _, between) in enumerate(padding_config):
        if between and x.shape[axis]:
            before, extent, after = x.shape[:axis], x.shape[axis], x.shape[axis + 1 :]
            gaps = np.broadcast_to(np.reshape(value, (1,) * (x.ndim + 1)), (*before, extent, between, *after))
            spread = np.concatenate([np.expand_dims(x, axis + 1), gaps], axis + 1)
            spread = np.reshape(spread, (*before, extent * (between + 1), *after))
            x = spread[(slice(None),) * axis + (slice(0, extent * (between + 1) - between),)]
    widths = [(max(before, 0), max(after, 0)) for before, after, _ in padding_config]
    inside = tuple(slice(max(-before, 0), n - max(-after, 0))
                   for n, (before, after, _) in zip(x.shape, padding_config, strict=True))  # fmt: skip
    x = x[inside]
    if not any(map(any, widths)):
        return x
    if not isinstance(value, Tracer):
        return np.pad(x, widths, constant_values=value.item())
    return np.where(np.pad(np.ones(x.shape, bool), widths), np.pad(x, widths), value)


MOVING: dict[str, Callable[..., Any]] = {
    "broadcast_in_dim": _broadcast_in_dim,
    "reshape": _reshape,
    "expand_dims": _expand_dims,
    "squeeze": lambda x, dimensions: np.squeeze(x, tuple(dimensions)),
    "transpose": lambda x, permutation: np.transpose(x, permutation),
    "rev": lambda x, dimensions: np.flip(x, tuple(dimensions)),
    "slice": _slice,
    "split": _split,
    "concatenate": lambda *parts, dimension: np.concatenate(parts, dimension),
    "stack": lambda *parts, axis: np.stack(parts, axis),
    "unstack": lambda x, axis, **_: [x[(slice(None),) * axis + (i,)] for i in range(x.shape[axis])],
    "tile": lambda x, reps: np.tile(x, reps),
    "pad": pad,
    "iota": _iota,
}
