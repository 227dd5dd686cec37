"""JAX's primitives that read where an index says, for traced arrays.

JAX itself says where the elements are: the primitive runs on the places of elements. Where reads begin at indices that
are traced, these say how much further on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.extend.core import primitives

from mcgrad.errors import TraceError
from mcgrad.ir import build
from mcgrad.trace.operands import index_remedy, operand
from mcgrad.trace.refuse import refusal
from mcgrad.trace.tracer import Tracer, unwrap

CHOICE = "use jnp.where(condition, a, b), or sum with weights, to choose by value"


class ValueNeededError(TraceError):
    """Code that needs a number while it is traced: a counter has it where its loop is unrolled."""


def value_needed(call: str, remedy: str) -> ValueNeededError:
    """Return the error for `call`, with the line of the user's code."""
    error = refusal(call, remedy)
    return ValueNeededError(error.message, error.filename, error.lineno)


def constant(*indices: Any) -> None:
    """Refuse indices that are traced."""
    if any(isinstance(index, Tracer) for index in indices):
        remedy = index_remedy(*unwrap(list(indices)), library="jnp") or CHOICE
        raise value_needed("indexing with a traced array", remedy)


def places_of(shape: tuple[int, ...], first: int = 0) -> Any:
    """Return numbers for the elements of an array, in C order."""
    return np.arange(first, first + int(np.prod(shape))).reshape(shape)


def bind(primitive: Any, *args: Any, **params: Any) -> Any:
    """Run a primitive of JAX on plain arrays."""
    with jax.ensure_compile_time_eval():
        return np.asarray(primitive.bind(*map(jax.numpy.asarray, args), **params))


def _at(x: Any, places: Any) -> Any:
    """Return the elements at flat places: as a slice along an axis where they are one, with the axis in front."""
    for axis in range(x.ndim if places.size else 0):
        rows = np.moveaxis(places_of(x.shape), axis, 0)
        width = rows[0].size
        first, number = int(np.argmax(rows.reshape(-1, width)[:, 0] == places.flat[0])), places.size // width
        if np.array_equal(rows[first : first + number].ravel(), places.ravel()):
            return np.reshape(np.moveaxis(x, axis, 0)[first : first + number], places.shape)
    return x[np.unravel_index(places, x.shape)]


def _gather(x: Any, indices: Any, *, fill_value: Any, **params: Any) -> Any:
    if isinstance(indices, Tracer):
        return _gather_at(x, indices, fill_value, params)
    places = bind(primitives.gather_p, places_of(x.shape), indices, fill_value=-1, **params)
    if (places >= 0).all():
        return _at(x, places)
    filled = np.nan if fill_value is None else fill_value
    return np.where(places >= 0, _at(x, np.maximum(places, 0)), filled)


def _gather_at(x: Any, indices: Any, fill_value: Any, params: dict[str, Any]) -> Any:
    """Gather from traced starts: where the elements of a gather from zero are, and so much further on."""
    numbers, sizes = params["dimension_numbers"], params["slice_sizes"]
    places = bind(primitives.gather_p, places_of(x.shape), np.zeros(indices.shape, int), fill_value=-1, **params)
    offsets = [axis for axis in range(places.ndim) if axis in numbers.offset_dims]
    starts = []
    for k, axis in enumerate(numbers.start_index_map):
        starts.append((axis, np.expand_dims(indices[..., k], tuple(offsets))))
    fills = params["mode"] == jax.lax.GatherScatterMode.FILL_OR_DROP
    filled = np.nan if fill_value is None or np.isnan(fill_value) else fill_value
    return _further(x, places, starts, sizes, filled if fills else None)


def _further(x: Any, places: Any, starts: list[tuple[int, Any]], sizes: tuple[int, ...], filled: Any) -> Any:
    """Read boxes at places, moved along some axes by traced numbers: into the array, or filled where one is outside."""
    place = build.const(places)
    inside = build.const(True)
    for axis, start in starts:
        last = float(x.shape[axis] - sizes[axis])
        k = build.apply("float", operand(unwrap(start)))
        clipped = build.apply("minimum", build.apply("maximum", k, 0.0), last)
        inside = build.apply("logical_and", inside, build.apply("equal", k, clipped))
        place = build.apply("add", place, build.apply("multiply", clipped, float(np.prod(x.shape[axis + 1 :]))))
    flat = build.apply("float", operand(unwrap(np.reshape(x, (x.size,)))))
    found = build.gather(flat, build.broadcast(place, places.shape))
    return Tracer(found if filled is None else build.apply("where", inside, found, filled))


def corner_of(starts: tuple[Any, ...], sizes: tuple[int, ...], shape: tuple[int, ...]) -> list[int]:
    """Return where a box begins, moved so that it lies inside."""
    constant(*starts)
    return [min(max(int(start), 0), n - size) for start, size, n in zip(starts, sizes, shape, strict=True)]


def _dynamic_slice(x: Any, *starts: Any, slice_sizes: tuple[int, ...]) -> Any:
    if any(isinstance(start, Tracer) for start in starts):
        box = places_of(x.shape)[tuple(map(slice, slice_sizes))]
        return _further(x, box, list(enumerate(starts)), slice_sizes, None)
    corner = corner_of(starts, slice_sizes, x.shape)
    return x[tuple(slice(start, start + size) for start, size in zip(corner, slice_sizes, strict=True))]


INDEXED: dict[str, Callable[..., Any]] = {
    "gather": _gather,
    "dynamic_slice": _dynamic_slice,
}
