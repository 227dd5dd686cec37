"""PyTorch's operators that move elements, or read and write where an index says, as functions of NumPy."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mcgrad.functions.places import combined_at
from mcgrad.ir import build
from mcgrad.trace.at import at
from mcgrad.trace.operands import index_remedy, operand
from mcgrad.trace.refuse import refusal
from mcgrad.trace.tracer import Tracer, unwrap

COMBINED: dict[str, tuple[Callable[[Any, Any], Any], float]] = {
    "sum": (np.add, 0.0),
    "mean": (np.add, 0.0),
    "prod": (np.multiply, 1.0),
    "amax": (np.maximum, -np.inf),
    "amin": (np.minimum, np.inf),
}
CHOICE = "use torch.where(condition, a, b), or sum with weights, to choose by value"


def _constant(*indices: Any) -> None:
    if any(isinstance(index, Tracer) for index in indices):
        raise refusal("indexing with a traced tensor", index_remedy(*unwrap(list(indices)), library="torch") or CHOICE)


def _expand(x: Any, size: Sequence[int], implicit: bool = False) -> Any:
    ahead = len(size) - x.ndim
    return np.broadcast_to(x, tuple(x.shape[i - ahead] if n == -1 else n for i, n in enumerate(size)))


def _squeeze(x: Any, dim: Any = None) -> Any:
    dims = range(x.ndim) if dim is None else dim if isinstance(dim, Sequence) else (dim,)
    return np.squeeze(x, tuple(i % x.ndim for i in dims if x.ndim and x.shape[i] == 1)) if x.ndim else x


def _transpose(x: Any, first: int, second: int) -> Any:
    return np.swapaxes(x, first, second) if x.ndim else x


def _at(x: Any, dim: int, where: Any) -> tuple[Any, ...]:
    return (*(slice(None) for _ in range(dim % x.ndim)), where)


def _slice(x: Any, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Any:
    return x[_at(x, dim, slice(start, end, step))]


def _split(x: Any, size: Any, dim: int = 0) -> list[Any]:
    extent = x.shape[dim]
    sizes = size if isinstance(size, Sequence) else [min(size, extent - i) for i in range(0, extent, size)]
    ends = np.cumsum([0, *sizes])
    return [x[_at(x, dim, slice(int(a), int(b)))] for a, b in itertools.pairwise(ends)]


def _cat(parts: Sequence[Any], dim: int = 0) -> Any:
    return np.concatenate([x for x in parts if x.shape != (0,)] or parts, dim)


def _pad(x: Any, pad: Sequence[int], value: Any = 0) -> Any:
    """Pad the last axes, the very last one first; negative widths cut elements off."""
    widths = [(0, 0)] * x.ndim
    for i in range(len(pad) // 2):
        widths[x.ndim - 1 - i] = pad[2 * i], pad[2 * i + 1]
    inside = tuple(slice(max(-a, 0), n - max(-b, 0)) for n, (a, b) in zip(x.shape, widths, strict=True))
    return np.pad(x[inside], [(max(a, 0), max(b, 0)) for a, b in widths], constant_values=value)


def _diagonal(x: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    return np.diagonal(x, offset, dim1, dim2)


def _diag_embed(x: Any, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:
    n = x.shape[-1] + abs(offset)
    padded = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(max(-offset, 0), max(offset, 0))])  # element i is of row i
    return np.moveaxis(np.where(np.eye(n, k=offset, dtype=bool), padded[..., None], 0.0), (-2, -1), (dim1, dim2))


def _repeat(x: Any, repeats: Sequence[int]) -> Any:
    return np.tile(x, tuple(repeats))


def _roll(x: Any, shifts: Any, dims: Any = ()) -> Any:
    return np.roll(x, tuple(shifts), tuple(dims)) if dims else np.roll(x, shifts[0])


# --- at an index -----------------------------------------------------------------------------------------------------
def _is_traced(index: Any) -> bool:
    """Whether these are traced numbers, not a mask."""
    return isinstance(index, Tracer) and index.dtype.kind == "f"


def _traced(x: Any) -> Any:
    return x if isinstance(x, Tracer) else Tracer(operand(x))


def _key(x: Any, indices: Sequence[Any]) -> Any:
    _constant(*indices)
    return tuple(slice(None) if index is None else index for index in indices)


def _index(x: Any, indices: Sequence[Any]) -> Any:
    if any(map(_is_traced, indices)):
        return _traced(x)[tuple(slice(None) if index is None else index for index in indices)]
    return x[_key(x, indices)]


def _select(x: Any, dim: int, index: Any) -> Any:
    return np.take(_traced(x), index, dim) if _is_traced(index) else x[_at(x, dim, _known(index))]


def _gather(x: Any, dim: int, index: Any, sparse_grad: bool = False) -> Any:
    if not _is_traced(index) or not x.ndim:
        return _taken(x, _along(x, dim, index))
    box = tuple(slice(None) if i == dim % x.ndim else slice(0, n) for i, n in enumerate(index.shape))
    return np.take_along_axis(_traced(x)[box], index, dim)


def _places(x: Any) -> Any:
    return np.arange(x.size).reshape(x.shape)


def _along(x: Any, dim: int, index: Any) -> Any:
    """Return the flat place in x of each element that torch.gather reads."""
    _constant(index)
    if not x.ndim:
        return np.zeros(index.shape, int)
    box = tuple(slice(None) if i == dim % x.ndim else slice(0, n) for i, n in enumerate(index.shape))
    return np.take_along_axis(_places(x)[box], index, dim)


def _taken(x: Any, places: Any) -> Any:
    return np.reshape(x, (x.size,))[places]


def _written(x: Any, places: Any, values: Any) -> Any:
    """Put values at flat places of x; of several for one place, the last."""
    source = np.arange(x.size)
    source[places.ravel()] = x.size + np.arange(places.size)
    values = np.broadcast_to(values, places.shape)
    both = np.concatenate([np.reshape(x, (x.size,)), np.reshape(values, (places.size,))])
    return np.reshape(both[source], x.shape)


def _added(x: Any, places: Any, values: Any) -> Any:
    if not (isinstance(x, Tracer) or isinstance(values, Tracer)):
        total = np.array(x)
        np.add.at(total.reshape(-1), places, values)
        return total
    values = build.broadcast(build.apply("float", operand(unwrap(values))), places.shape)
    return x + np.reshape(Tracer(build.scatter_add(values, places, (x.size,))), x.shape)


def _put(x: Any, places: Any, values: Any, add: bool) -> Any:
    return _added(x, places, values) if add else _written(x, places, values)


def _box(x: Any, key: tuple[Any, ...], values: Any) -> Any:
    """Put values in a slice of one axis, of step 1."""
    axis, chosen = len(key) - 1, key[-1]
    span = range(x.shape[axis])[chosen] if isinstance(chosen, slice) else range(chosen, chosen + 1)
    if span.step != 1:
        return _written(x, _places(x)[key], values)
    ahead = (slice(None),) * axis
    shape = (*x.shape[:axis], len(span), *x.shape[axis + 1 :])
    middle = np.reshape(np.broadcast_to(values, _places(x)[key].shape), shape)
    parts = [x[(*ahead, slice(0, span.start))], middle, x[(*ahead, slice(span.stop, None))]]
    return np.concatenate(parts, axis)


def _select_scatter(x: Any, values: Any, dim: int, index: int) -> Any:
    return _box(x, _at(x, dim, index % x.shape[dim]), values)


def _slice_scatter(
    x: Any, values: Any, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Any:
    return _box(x, _at(x, dim, slice(start, end, step)), values)


def _index_put(x: Any, indices: Sequence[Any], values: Any, accumulate: bool = False) -> Any:
    if any(isinstance(index, Tracer) for index in indices):
        return _put_at_traced(x, indices, values, accumulate)
    return _put(x, _places(x)[_key(x, indices)], values, accumulate)


def _put_at_traced(x: Any, indices: Sequence[Any], values: Any, add: bool) -> Any:
    mask, *others = indices
    if not others and mask.dtype == bool and np.size(values) == 1:
        new = np.reshape(values, (1,) * (x.ndim - mask.ndim)) if mask.ndim < x.ndim else np.reshape(values, ())
        here = np.reshape(mask, (*mask.shape, *(1 for _ in x.shape[mask.ndim :])))
        return np.where(here, x + new if add else new, x)
    if not all(index is None or not isinstance(index, Tracer) or _is_traced(index) for index in indices):
        _constant(*indices)
    place = at(_traced(x), tuple(slice(None) if index is None else _number(index) for index in indices))
    return place.add(values) if add else place.set(values)


def _number(index: Any) -> Any:
    return int(index) if not isinstance(index, Tracer) and index.ndim == 0 else index


def _index_copy(x: Any, dim: int, index: Any, values: Any) -> Any:
    return _index_put(x, [None] * (dim % x.ndim) + [index], values)


def _scatter_reduce(x: Any, dim: int, index: Any, values: Any, reduce: str, *, include_self: bool = True) -> Any:
    """Sums, products, extremes and means of what an index takes to one place, with or without what is there."""
    places, values = _along(x, dim, index), _corner(values, index)
    hit = np.zeros(x.size, int)
    np.add.at(hit, places.ravel(), 1)
    hit = hit.reshape(x.shape)
    function, neutral = COMBINED[reduce]
    start = x if include_self else np.where(hit > 0, neutral, x)
    total = combined_at(start, places, values, function)
    return total / np.maximum(hit + include_self, 1) if reduce == "mean" else total


def _scatter(x: Any, dim: int, index: Any, values: Any) -> Any:
    places = _along(x, dim, index)
    return _written(x, places, _corner(values, index))


def _scatter_add(x: Any, dim: int, index: Any, values: Any) -> Any:
    return _added(x, _along(x, dim, index), _corner(values, index))


def _corner(values: Any, index: Any) -> Any:
    return values[tuple(slice(0, n) for n in index.shape)] if np.ndim(values) else values


MOVING: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("view", "reshape", "_unsafe_view", "_reshape_alias"), lambda x, size, *_: np.reshape(x, size)),
    "unsqueeze": lambda x, dim: np.expand_dims(x, dim),
    "squeeze": _squeeze,
    "permute": lambda x, dims: np.transpose(x, tuple(dims)) if x.ndim else x,
    "transpose": _transpose,
    "t": lambda x: np.transpose(x),
    "expand": _expand,
    "select": lambda x, dim, index: x[_at(x, dim, index)],
    "slice": _slice,
    "split": _split,
    **dict.fromkeys(("split_with_sizes", "unsafe_split", "unsafe_split_with_sizes"), _split),
    "unbind": lambda x, dim=0: [x[_at(x, dim, i)] for i in range(x.shape[dim])],
    "unfold": lambda x, dim, size, step: np.moveaxis(
        np.stack([_slice(x, dim, i, i + size) for i in range(0, x.shape[dim] - size + 1, step)], dim),
        dim % x.ndim + 1,
        -1,
    ),
    "cat": _cat,
    "stack": lambda parts, dim=0: np.stack(parts, dim),
    "flip": lambda x, dims: np.flip(x, tuple(dims)),
    "roll": _roll,
    "repeat": _repeat,
    "constant_pad_nd": _pad,
    "diagonal": _diagonal,
    "diag_embed": _diag_embed,
    "tril": lambda x, diagonal=0: np.tril(x, diagonal),
    "triu": lambda x, diagonal=0: np.triu(x, diagonal),
    "copy": lambda x, source, *_: np.broadcast_to(source, x.shape),
    "fill": lambda x, value: np.broadcast_to(value, x.shape),
    "zero": lambda x: np.zeros(x.shape),
    **dict.fromkeys(("zeros_like", "empty_like"), lambda x, **_: np.zeros(x.shape)),
    **dict.fromkeys(("new_zeros", "new_empty"), lambda x, size, **_: np.zeros(tuple(size))),
    "ones_like": lambda x, **_: np.ones(x.shape),
    "full_like": lambda x, value, **_: np.broadcast_to(value, x.shape),
    "new_ones": lambda x, size, **_: np.ones(tuple(size)),
    "new_full": lambda x, size, value, **_: np.broadcast_to(value, tuple(size)),
    # at an index
    "index": _index,
    "index_select": _select,
    "gather": _gather,
    "embedding": lambda weight, index, *_: _select(weight, 0, index),
    "select_scatter": _select_scatter,
    "slice_scatter": _slice_scatter,
    "index_put": _index_put,
    "index_copy": _index_copy,
    "diagonal_scatter": lambda x, values, *axes: _written(x, np.diagonal(_places(x), *(axes or (0, 0, 1))), values),
    "scatter_reduce": _scatter_reduce,
    "scatter": _scatter,
    "scatter_add": _scatter_add,
}


def _known(index: Any) -> Any:
    _constant(index)
    return index
