"""NumPy's functions that move elements and compute nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from mcgrad.ir import build
from mcgrad.ir.program import Var
from mcgrad.trace.indexing import is_integer
from mcgrad.trace.operands import axes_of, axis_of, index_of, operand
from mcgrad.trace.refuse import refusal


def rearranged(x: Var, function: Callable[[Any], Any]) -> Var:
    """Apply to `x` what a NumPy function does to the places of elements."""
    return build.take(x, function(index_of(x)))


def section(x: Var, axis: int, start: int, stop: int, step: int = 1) -> Var:
    """Slice one axis."""
    bounds = [(0, n, 1) for n in x.shape]
    bounds[axis] = (start, stop, step)
    return build.slice_(x, bounds)


# --- shape -----------------------------------------------------------------------------------------------------------
def reshape(a: Any, shape: Any) -> Var:
    """np.reshape, with one extent of -1."""
    x = operand(a)
    extents = [int(n) for n in (shape if isinstance(shape, Sequence | np.ndarray) else (shape,))]
    known = int(np.prod([n for n in extents if n != -1]))
    if extents.count(-1) == 1 and known and x.size % known == 0:
        extents[extents.index(-1)] = x.size // known
    if -1 in extents or int(np.prod(extents)) != x.size:
        raise ValueError(f"cannot reshape array of size {x.size} into shape {shape}")
    return build.reshape(x, tuple(extents))


def ravel(a: Any) -> Var:
    """np.ravel, in C order."""
    x = operand(a)
    return build.reshape(x, (x.size,))


def squeeze(a: Any, axis: Any = None) -> Var:
    """np.squeeze."""
    x = operand(a)
    axes = [i for i, n in enumerate(x.shape) if n == 1] if axis is None else axes_of(axis, len(x.shape))
    if any(x.shape[i] != 1 for i in axes):
        raise ValueError("cannot select an axis to squeeze out which has size not equal to one")
    return build.reshape(x, tuple(n for i, n in enumerate(x.shape) if i not in axes))


def expand_dims(a: Any, axis: Any) -> Var:
    """np.expand_dims."""
    x = operand(a)
    count = len(axis) if isinstance(axis, Sequence) else 1
    axes = axes_of(axis, len(x.shape) + count)
    rest = iter(x.shape)
    return build.reshape(x, tuple(1 if i in axes else next(rest) for i in range(len(x.shape) + count)))


def broadcast_to(array: Any, shape: Any) -> Var:
    """np.broadcast_to."""
    x = operand(array)
    target = (int(shape),) if is_integer(shape) else tuple(int(n) for n in shape)
    if np.broadcast_shapes(x.shape, target) != target:
        raise ValueError(f"operands of shape {x.shape} cannot be broadcast to {target}")
    return build.broadcast(x, target)


def broadcast_arrays(*args: Any) -> tuple[Var, ...]:
    """np.broadcast_arrays."""
    parts = [operand(x) for x in args]
    shape = np.broadcast_shapes(*(x.shape for x in parts))
    return tuple(build.broadcast(x, shape) for x in parts)


def transpose(a: Any, axes: Any = None) -> Var:
    """np.transpose."""
    x = operand(a)
    order = tuple(range(len(x.shape)))[::-1] if axes is None else normalize_axis_tuple(axes, len(x.shape))
    if len(order) != len(x.shape):
        raise ValueError("axes don't match array")
    return build.transpose(x, order)


def matrix_transpose(x: Any) -> Var:
    """np.matrix_transpose."""
    return swapaxes(x, -1, -2)


def swapaxes(a: Any, axis1: int, axis2: int) -> Var:
    """np.swapaxes."""
    x = operand(a)
    order = list(range(len(x.shape)))
    i, j = axis_of(axis1, len(order)), axis_of(axis2, len(order))
    order[i], order[j] = order[j], order[i]
    return build.transpose(x, order)


def moveaxis(a: Any, source: Any, destination: Any) -> Var:
    """np.moveaxis."""
    x = operand(a)
    from_ = normalize_axis_tuple(source, len(x.shape), "source")
    to = normalize_axis_tuple(destination, len(x.shape), "destination")
    if len(from_) != len(to):
        raise ValueError("`source` and `destination` arguments must have the same number of elements")
    order = [i for i in range(len(x.shape)) if i not in from_]
    for index, axis in sorted(zip(to, from_, strict=True)):
        order.insert(index, axis)
    return build.transpose(x, order)


def at_least(ndim: int) -> Callable[..., Any]:
    """np.atleast_1d and np.atleast_2d."""

    def widen(*arys: Any) -> Any:
        parts = [operand(x) for x in arys]
        wide = tuple(build.reshape(x, (1,) * (ndim - len(x.shape)) + x.shape) for x in parts)
        return wide[0] if len(wide) == 1 else wide

    return widen


def meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> tuple[Var, ...]:
    """np.meshgrid."""
    if indexing not in ("xy", "ij"):
        raise ValueError("Valid values for `indexing` are 'xy' and 'ij'.")
    parts = [ravel(x) for x in xi]
    order = list(range(len(parts)))
    if indexing == "xy" and len(parts) > 1:
        order[:2] = 1, 0
    shapes = [
        tuple(x.size if k == axis else 1 for k in range(len(parts))) for axis, x in zip(order, parts, strict=True)
    ]
    grids = [build.reshape(x, shape) for x, shape in zip(parts, shapes, strict=True)]
    return tuple(grids) if sparse else broadcast_arrays(*grids)


# --- joining and splitting -------------------------------------------------------------------------------------------
def concatenate(arrays: Any, axis: Any = 0) -> Var:
    """np.concatenate."""
    parts = [operand(x) for x in _arrays(arrays)]
    if not parts:
        raise ValueError("need at least one array to concatenate")
    if axis is None:
        parts, axis = [build.reshape(x, (x.size,)) for x in parts], 0
    if any(not x.shape for x in parts):
        raise ValueError("zero-dimensional arrays cannot be concatenated; np.stack joins scalars")
    axis = axis_of(axis, len(parts[0].shape))
    if len({(*x.shape[:axis], None, *x.shape[axis + 1 :]) for x in parts}) != 1:
        shapes = ", ".join(str(x.shape) for x in parts)
        raise ValueError(f"arrays of shapes {shapes} cannot be concatenated along axis {axis}")
    return build.concatenate(parts, axis)


def stack(arrays: Any, axis: int = 0) -> Var:
    """np.stack."""
    parts = [operand(x) for x in _arrays(arrays)]
    if len({x.shape for x in parts}) != 1:
        raise ValueError("all input arrays must have the same shape" if parts else "need at least one array to stack")
    axis = axis_of(axis, len(parts[0].shape) + 1)
    shape = (*parts[0].shape[:axis], 1, *parts[0].shape[axis:])
    return build.concatenate([build.reshape(x, shape) for x in parts], axis)


def hstack(tup: Any) -> Var:
    """np.hstack."""
    parts = [at_least(1)(x) for x in _arrays(tup)]
    return concatenate(parts, 0 if parts and len(parts[0].shape) == 1 else 1)


def vstack(tup: Any) -> Var:
    """np.vstack."""
    return concatenate([at_least(2)(x) for x in _arrays(tup)], 0)


def column_stack(tup: Any) -> Var:
    """np.column_stack."""
    parts = [operand(x) for x in _arrays(tup)]
    return concatenate([build.reshape(x, (x.size, 1)) if len(x.shape) < 2 else x for x in parts], 1)


def _arrays(given: Any) -> Sequence[Any]:
    """Return several arrays; one array is those along its first axis."""
    if not isinstance(given, Var):
        return list(given)
    return [build.reshape(section(given, 0, k, k + 1), given.shape[1:]) for k in range(given.shape[0])]


def append(arr: Any, values: Any, axis: Any = None) -> Var:
    """np.append."""
    return concatenate((arr, values), axis)


def array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Var]:
    """np.array_split."""
    x = operand(ary)
    axis = axis_of(axis, len(x.shape))
    pieces = np.array_split(np.arange(x.shape[axis]), indices_or_sections)
    return [section(x, axis, *((int(p[0]), int(p[-1]) + 1) if p.size else (0, 0))) for p in pieces]


def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Var]:
    """np.split."""
    x = operand(ary)
    if is_integer(indices_or_sections) and x.shape[axis_of(axis, len(x.shape))] % indices_or_sections:
        raise ValueError("array split does not result in an equal division")
    return array_split(x, indices_or_sections, axis)


def hsplit(ary: Any, indices_or_sections: Any) -> list[Var]:
    """np.hsplit."""
    x = operand(ary)
    return split(x, indices_or_sections, 1 if len(x.shape) > 1 else 0)


def vsplit(ary: Any, indices_or_sections: Any) -> list[Var]:
    """np.vsplit."""
    return split(ary, indices_or_sections, 0)


# --- rearranging -----------------------------------------------------------------------------------------------------
def flip(m: Any, axis: Any = None) -> Var:
    """np.flip."""
    x = operand(m)
    return build.flip(x, axes_of(axis, len(x.shape)))


def roll(a: Any, shift: Any, axis: Any = None) -> Var:
    """np.roll."""
    x = operand(a)
    if axis is None:
        return build.reshape(roll(ravel(x), shift, 0), x.shape)
    for by, along in zip(*np.broadcast_arrays(shift, normalize_axis_tuple(axis, len(x.shape), allow_duplicate=True)),
                         strict=True):  # fmt: skip
        extent = x.shape[along]
        cut = -int(by) % extent if extent else 0
        if cut:
            x = build.concatenate([section(x, along, cut, extent), section(x, along, 0, cut)], int(along))
    return x


def repeat(a: Any, repeats: Any, axis: Any = None) -> Var:
    """np.repeat."""
    x = operand(a)
    if axis is None:
        x, axis = ravel(x), 0
    axis = axis_of(axis, len(x.shape))
    if np.size(repeats) != 1:
        return rearranged(x, lambda places: np.repeat(places, repeats, axis))
    count = int(np.asarray(repeats).item())
    before, extent, after = x.shape[:axis], x.shape[axis], x.shape[axis + 1 :]
    spread = build.broadcast(build.reshape(x, (*before, extent, 1, *after)), (*before, extent, count, *after))
    return build.reshape(spread, (*before, extent * count, *after))


def tile(A: Any, reps: Any) -> Var:
    """np.tile."""
    x = operand(A)
    counts = (int(reps),) if is_integer(reps) else tuple(int(n) for n in reps)
    ndim = max(len(counts), len(x.shape))
    counts = (1,) * (ndim - len(counts)) + counts
    shape = (1,) * (ndim - len(x.shape)) + x.shape
    once = build.reshape(x, tuple(n for extent in shape for n in (1, extent)))
    spread = build.broadcast(once, tuple(n for pair in zip(counts, shape, strict=True) for n in pair))
    return build.reshape(spread, tuple(m * n for m, n in zip(counts, shape, strict=True)))


def take(a: Any, indices: Any, axis: Any = None, *, mode: Any = "raise") -> Var:
    """np.take with static indices."""
    return rearranged(operand(a), lambda places: np.take(places, indices, axis, mode=mode))


def pad(array: Any, pad_width: Any, mode: Any = "constant", *, constant_values: Any = 0) -> Var:
    """np.pad: the constant mode, and all that copy elements (edge, reflect, symmetric, wrap)."""
    x = operand(array)
    if mode in ("edge", "reflect", "symmetric", "wrap"):
        return rearranged(x, lambda places: np.pad(places, pad_width, mode))
    if mode != "constant":
        raise refusal(f"np.pad with mode={mode!r}", "modes are 'constant', 'edge', 'reflect', 'symmetric' and 'wrap'")
    ndim = len(x.shape)
    widths = np.broadcast_to(np.asarray(pad_width), (ndim, 2))
    if (widths < 0).any():
        raise ValueError("index can't contain negative values")
    padded = build.pad(build.apply("float", x), [(int(before), int(after), 0) for before, after in widths])
    around = np.pad(np.zeros(x.shape), widths, constant_values=constant_values)
    return build.apply("add", padded, around) if around.any() else padded
