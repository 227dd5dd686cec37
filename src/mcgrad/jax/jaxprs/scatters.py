"""JAX's primitives that write where an index says, `x.at[i].set(y)` and its like, for traced arrays.

Of constant indices JAX itself says where each element of the update goes. Where indices are traced they say how much
further on that is, and each place of the array is compared with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.extend.core import primitives

from mcgrad.functions.places import combined_at
from mcgrad.ir import build
from mcgrad.jax.jaxprs.indexed import CHOICE, bind, corner_of, places_of, value_needed
from mcgrad.trace.operands import index_remedy, operand
from mcgrad.trace.refuse import refusal
from mcgrad.trace.tracer import Tracer, unwrap

MOST = 4096  # comparisons of a place with one that is written to, times the numbers that each writes
NEUTRAL: dict[str, tuple[Callable[..., Any], float]] = {
    "add": (np.sum, 0.0),
    "mul": (np.prod, 1.0),
    "max": (np.max, -np.inf),
    "min": (np.min, np.inf),
}
COMBINED = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


# --- constant indices ------------------------------------------------------------------------------------------------
def _destinations(shape: tuple[int, ...], indices: Any, update: tuple[int, ...], params: dict[str, Any]) -> Any:
    """Return to which element each of the update goes, counted from 1; 0 where an index is out of bounds.

    The adjoint of the primitive says it.
    """
    numbers, mode = params["dimension_numbers"], params["mode"]

    def added(changes: Any) -> Any:
        return jax.lax.scatter_add(np.zeros(shape), indices, changes, numbers, mode=mode)

    with jax.ensure_compile_time_eval():
        (places,) = jax.vjp(added, np.zeros(update))[1](places_of(shape, 1).astype(float))
    return np.asarray(places).astype(int)


def _scatter(x: Any, indices: Any, update: Any, **params: Any) -> Any:
    combine = params["update_jaxpr"]
    if combine is not None and combine.outvars[0] is not combine.invars[-1]:
        raise refusal("x.at[i].apply(f)", "write x.at[i].set(f(x[i]))")
    if isinstance(indices, Tracer):
        return _at_traced(x, indices, update, params, "set")
    places = bind(primitives.scatter_p, places_of(x.shape), indices, places_of(update.shape, x.size), **params)
    return _chosen(x, update, places)


def _scatter_add(x: Any, indices: Any, update: Any, **params: Any) -> Any:
    if isinstance(indices, Tracer):
        return _at_traced(x, indices, update, params, "add")
    places = _destinations(x.shape, indices, update.shape, params)
    summed = build.scatter_add(build.apply("float", operand(unwrap(update))), places, (x.size + 1,))
    return x + np.reshape(Tracer(summed)[1:], x.shape)


def _scatter_sub(x: Any, indices: Any, update: Any, **params: Any) -> Any:
    return _scatter_add(x, indices, -update, **params)


def _scatter_by(how: str) -> Callable[..., Any]:
    """x.at[indices].multiply(update), and extremes."""

    def scatter(x: Any, indices: Any, update: Any, **params: Any) -> Any:
        if isinstance(indices, Tracer):
            return _at_traced(x, indices, update, params, how)
        return combined_at(x, _destinations(x.shape, indices, update.shape, params) - 1, update, COMBINED[how])

    return scatter


def _chosen(x: Any, update: Any, places: Any) -> Any:
    """Return the elements at places in x, and after them in the update; as slices where one axis differs."""
    replaced = places >= x.size
    axes = [i for i, n in enumerate(x.shape) if n > 1 and not (replaced == replaced.take([0], i)).all()]
    if len(axes) == 1 and np.array_equal(places[replaced], places_of(update.shape, x.size).ravel()):
        (axis,) = axes
        here = np.flatnonzero(np.moveaxis(replaced, axis, 0).reshape(x.shape[axis], -1)[:, 0])
        first, last = int(here[0]), int(here[-1]) + 1
        shape = (*x.shape[:axis], last - first, *x.shape[axis + 1 :])
        if len(here) == last - first and update.size == int(np.prod(shape)):
            ahead = (slice(None),) * axis
            parts = [x[(*ahead, slice(0, first))], np.reshape(update, shape), x[(*ahead, slice(last, None))]]
            return np.concatenate(parts, axis)
    return np.concatenate([np.reshape(x, (x.size,)), np.reshape(update, (update.size,))])[places]


# --- traced indices --------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Windows:
    """Where an update goes.

    Parameters
    ----------
    places : array of integers of the update's shape
        The places in the array of what would be written if all indices were 0.
    starts : sequence of (axis of the array, index that broadcasts to the update's shape)
    sizes : sequence of int
        How far what is written together extends along each axis of the array.
    whole : sequence of (axis of the array, axis of the update)
        Axes that are written to from one end to the other.
    drops : bool
        Whether what does not fit is left out; else it is moved until it fits.
    """

    places: Any
    starts: Sequence[tuple[int, Any]]
    sizes: Sequence[int]
    whole: Sequence[tuple[int, int]]
    drops: bool


def _at_traced(x: Any, indices: Any, update: Any, params: dict[str, Any], how: str) -> Any:
    numbers = params["dimension_numbers"]
    window, scattered = numbers.update_window_dims, numbers.scatter_dims_to_operand_dims
    skipped = {*numbers.inserted_window_dims, *numbers.operand_batching_dims}
    of_update = dict(zip([axis for axis in range(x.ndim) if axis not in skipped], window, strict=True))
    sizes = [update.shape[of_update[axis]] if axis in of_update else 1 for axis in range(x.ndim)]
    whole = [(axis, own) for axis, own in of_update.items() if axis not in scattered and sizes[axis] == x.shape[axis]]
    starts = [(axis, np.expand_dims(indices[..., k], tuple(window))) for k, axis in enumerate(scattered)]
    zeros = np.zeros(indices.shape, int)
    places = _destinations(x.shape, zeros, update.shape, params) - 1
    drops = params["mode"] == jax.lax.GatherScatterMode.FILL_OR_DROP
    return _written(x, update, Windows(places, starts, sizes, whole, drops), how)


def _dynamic_update_slice(x: Any, update: Any, *starts: Any) -> Any:
    if any(isinstance(start, Tracer) for start in starts):
        box = places_of(x.shape)[tuple(map(slice, update.shape))]
        whole = [(axis, axis) for axis, n in enumerate(update.shape) if n == x.shape[axis]]
        moved = [(axis, start) for axis, start in enumerate(starts) if (axis, axis) not in whole]
        return _written(x, update, Windows(box, moved, update.shape, whole, False), "set")
    corner = corner_of(starts, update.shape, x.shape)
    places = places_of(x.shape)
    box = tuple(slice(start, start + size) for start, size in zip(corner, update.shape, strict=True))
    places[box] = places_of(update.shape, x.size)
    return _chosen(x, update, places)


def _written(x: Any, update: Any, windows: Windows, how: str) -> Any:
    """Compare each place of x, but for the axes that are whole, with those that the update goes to."""
    whole, own = [axis for axis, _ in windows.whole], [axis for _, axis in windows.whole]
    kept = [axis for axis in range(x.ndim) if axis not in whole]
    left = [axis for axis in range(update.ndim) if axis not in own]
    extents = [x.shape[axis] for axis in kept]
    n, m = math.prod(extents), math.prod(x.shape[axis] for axis in whole)
    if n * update.size > MOST:
        raise value_needed("writing at a traced index", index_remedy(*_vars(windows), library="jnp") or CHOICE)
    strides = {axis: float(math.prod(extents[i + 1 :])) for i, axis in enumerate(kept)}
    first = tuple(0 if axis in own else slice(None) for axis in range(update.ndim))
    coordinates = np.unravel_index(windows.places[first], x.shape)
    place: Any = sum((coordinates[axis] * strides[axis] for axis in kept), np.zeros(windows.places[first].shape))
    fits: Any = np.True_
    for axis, start in windows.starts:
        start = np.reshape(start, [k for i, k in enumerate(start.shape) if i not in own]) if np.ndim(start) else start
        clipped = np.clip(start, 0.0, float(x.shape[axis] - windows.sizes[axis]))
        fits = fits & (start == clipped)
        place = place + strides[axis] * clipped
    if windows.drops:
        place = np.where(fits, place, -1.0)
    place = np.reshape(np.broadcast_to(place, [update.shape[axis] for axis in left]), (update.size // max(m, 1),))
    values = np.reshape(np.transpose(update, [*left, *own]), (place.shape[0], m))
    before = np.reshape(np.transpose(x, [*kept, *whole]), (n, m))
    after = _combined(before, place == np.arange(float(n))[:, None], values, how)
    order = [*kept, *whole]
    return np.transpose(np.reshape(after, [x.shape[axis] for axis in order]), np.argsort(order))


def _combined(before: Any, hits: Any, values: Any, how: str) -> Any:
    """Combine rows of an array with those rows of values that hit them; of several that are set, the last one."""
    if how == "set":
        numbers = np.arange(1.0, hits.shape[1] + 1)
        last = np.max(np.where(hits, numbers, 0.0), 1, keepdims=True)
        hits = hits & (numbers == last)
        return np.where(last > 0.0, np.sum(np.where(hits[..., None], values, 0.0), 1), before)
    reduce, neutral = NEUTRAL[how]
    return COMBINED[how](before, reduce(np.where(hits[..., None], values, neutral), 1))


def _vars(windows: Windows) -> list[Any]:
    return [unwrap(start) for _, start in windows.starts if isinstance(start, Tracer)]


SCATTERS: dict[str, Callable[..., Any]] = {
    "dynamic_update_slice": _dynamic_update_slice,
    "scatter": _scatter,
    **dict.fromkeys(("scatter-add", "scatter_add"), _scatter_add),
    **dict.fromkeys(("scatter-sub", "scatter_sub"), _scatter_sub),
    **{f"scatter{mark}{how}": _scatter_by(how) for how in ("mul", "min", "max") for mark in "-_"},
}
