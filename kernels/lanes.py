"""The workspace of a chunk function: element access without bounds or sign checks, and helpers on whole rows.

The workspace is one-dimensional; a row is `lanes` neighbours. `at` and `put` index with non-negative integers only:
Numba's own indexing would first look for a negative index, which hides from LLVM which rows are distinct.
"""

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

from mcgrad.kernels.intrinsics import select
from mcgrad.kernels.jit import LOOP


def _pointer(context, builder, array_type, array, index_type, index):
    base = context.make_array(array_type)(context, builder, array).data
    index = context.cast(builder, index, index_type, types.intp)
    return builder.gep(base, [index], inbounds=True)


@intrinsic
def at(typingctx, array, index):
    """array[index] for a C-contiguous 1-D array and 0 <= index < size."""
    if not (
        isinstance(array, types.Array) and array.ndim == 1 and array.layout == "C" and isinstance(index, types.Integer)
    ):
        return None

    def codegen(context, builder, signature, args):
        pointer = _pointer(context, builder, array, args[0], index, args[1])
        return context.unpack_value(builder, array.dtype, pointer)

    return array.dtype(array, index), codegen


@intrinsic
def put(typingctx, array, index, value):
    """array[index] = value for a C-contiguous 1-D array and 0 <= index < size."""
    if not (
        isinstance(array, types.Array) and array.ndim == 1 and array.layout == "C" and isinstance(index, types.Integer)
    ):
        return None

    def codegen(context, builder, signature, args):
        pointer = _pointer(context, builder, array, args[0], index, args[1])
        context.pack_value(builder, array.dtype, context.cast(builder, args[2], value, array.dtype), pointer)
        return context.get_dummy_value()

    return types.void(array, index, value), codegen


@njit(**LOOP)
def fill(ws, first, count, value):
    """Set `count` elements from `first` on."""
    for w in range(first, first + count):
        put(ws, w, value)


@njit(**LOOP)
def mask_lanes(ws, first, lanes, groups, base, start, stop):
    """Set the mask row to 1 in the lanes whose draw lies in start .. stop, to 0 in the others.

    `groups` is the number of draws that share a call of Philox: lane k * (lanes // groups) + q holds draw
    base + groups * q + k.
    """
    width = lanes // groups
    for k in range(groups):
        for q in range(width):
            draw = base + groups * q + k
            inside = (draw >= start) & (draw < stop)
            put(ws, first + k * width + q, np.float64(1.0 if inside else 0.0))


@njit(**LOOP)
def mask_rows(ws, first, rows, lanes, mask):
    """Set to 0 every masked lane of the rows."""
    zero = ws.dtype.type(0)
    for row in range(rows):
        start = first + row * lanes
        for w in range(lanes):
            put(ws, start + w, select(at(ws, mask + w) != zero, at(ws, start + w), zero))


@njit(**LOOP)
def mask_finite(ws, first, lanes, mask, omit, counts):
    """Count the lanes whose row at `first` is not zero (so NaN); with `omit`, mask them as well."""
    for w in range(lanes):
        if at(ws, mask + w) != 0:
            bad = at(ws, first + w) != 0
            counts[1] += bad
            if bad and omit:
                put(ws, mask + w, ws.dtype.type(0))
            else:
                counts[0] += 1


@njit(**LOOP)
def square_rows(ws, target, first, count):
    """Write the squares of `count` elements."""
    for w in range(count):
        x = at(ws, first + w)
        put(ws, target + w, x * x)


@njit(**LOOP)
def add_rows(sums, first, ws, source, count):
    """Add `count` elements of the workspace to the sums."""
    for i in range(count):
        put(sums, first + i, at(sums, first + i) + at(ws, source + i))
