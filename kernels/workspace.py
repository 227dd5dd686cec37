"""The workspace of a chunk function: element access without bounds or sign checks, and helpers on whole rows.

The workspace is one-dimensional; a row is `lanes` neighbours. `at` and `put` index with non-negative integers only:
Numba's own indexing would first look for a negative index, which hides from LLVM which rows are distinct.
"""

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from mcgrad.kernels.intrinsics import select
from mcgrad.kernels.jit import INLINED, LOOP


def element_pointer(context, builder, array_type, array, index_type, index):
    """Build the address of an element of a one-dimensional array, at an index that is not negative."""
    base = context.make_array(array_type)(context, builder, array).data
    index = context.cast(builder, index, index_type, types.intp)
    return builder.gep(base, [index], inbounds=True)


REGIONS = ("rows", "sums", "constants", "moments")  # of memory, none of which overlaps another


def _scopes(builder, region, others):
    """Alias scopes of a region, and of others."""
    module = builder.module

    def node(*operands):
        return module.add_metadata([x if isinstance(x, ir.MDValue) else ir.MetaDataString(module, x) for x in operands])

    domain = node("mcgrad workspace")
    own, *rest = (node(f"mcgrad {name}", domain) for name in (region, *others))
    return node(own), node(*rest)


def _mark(builder, instruction, region, others):
    if region is None:
        return
    others = [name for name in REGIONS if name != region] if others is None else others
    for kind, scope in zip(("alias.scope", "noalias"), _scopes(builder, region, others), strict=True):
        instruction.set_metadata(kind, scope)


def _is_row_array(array, index):
    return (
        isinstance(array, types.Array) and array.ndim == 1 and array.layout == "C" and isinstance(index, types.Integer)
    )


def _loader(region, others=None):
    def load(typingctx, array, index):
        if not _is_row_array(array, index):
            return None

        def codegen(context, builder, signature, args):
            loaded = builder.load(element_pointer(context, builder, array, args[0], index, args[1]))
            _mark(builder, loaded, region, others)
            return loaded

        return array.dtype(array, index), codegen

    return load


def _storer(region, others=None):
    def store(typingctx, array, index, value):
        if not _is_row_array(array, index):
            return None

        def codegen(context, builder, signature, args):
            element = context.cast(builder, args[2], value, array.dtype)
            _mark(
                builder,
                builder.store(element, element_pointer(context, builder, array, args[0], index, args[1])),
                region,
                others,
            )
            return context.get_dummy_value()

        return types.void(array, index, value), codegen

    return store


# array[index], and array[index] = value, for a C-contiguous 1-D array of numbers and 0 <= index < size.
at, put = intrinsic(_loader("rows")), intrinsic(_storer("rows"))
# The same for rows that a lane loop adds to. A row is reached by one pair or the other, never by both: so LLVM need not
# look at run time whether a sum and the rows it is made from overlap.
at_sum, put_sum = intrinsic(_loader("sums")), intrinsic(_storer("sums"))
# For arrays that are not the workspace, where loops read or change other elements in each turn: draw-independent ones,
# which no kernel writes, and moments.
at_constant = intrinsic(_loader("constants"))
at_moment, put_moment = intrinsic(_loader("moments")), intrinsic(_storer("moments"))
# Rows that gathers read lie among the others, and change in other loops. In the loops with gathers those are read by
# `at_chosen`, and rows that no gather reads by these: without them LLVM would have to look, in each lane.
APART = ("sums", "constants", "moments")
at_chosen = intrinsic(_loader("chosen", APART))
at_others, put_others = intrinsic(_loader("rows", (*APART, "chosen"))), intrinsic(_storer("rows", (*APART, "chosen")))
# For rows that one loop fills and the next adds to sums: without them LLVM would have to look at run time whether these
# overlap those sums.
at_draw, put_draw = intrinsic(_loader("draws", REGIONS)), intrinsic(_storer("draws", REGIONS))
# For helpers that are given rows of either kind.
at_any, put_any = intrinsic(_loader(None)), intrinsic(_storer(None))


def repeater(copies, count):
    """Make an intrinsic of ws, first, array, place: `count` neighbours of an array become so many parts of `ws`.

    They are one vector, which LLVM breaks into registers: it would unroll a loop of a known number of turns, and then
    have vectors of another loop around it, whose elements lie apart.
    """

    @intrinsic
    def repeat(typingctx, ws, first, array, place):
        if not (_is_row_array(ws, first) and _is_row_array(array, place) and ws.dtype == array.dtype):
            return None

        def codegen(context, builder, signature, args):
            kind = ir.VectorType(context.get_data_type(ws.dtype), count).as_pointer()
            bytes_ = context.get_abi_sizeof(context.get_data_type(ws.dtype))

            def pointer(which, i, index_type, index):
                return element_pointer(context, builder, which, args[i], index_type, index)

            values = builder.load(builder.bitcast(pointer(array, 2, place, args[3]), kind), align=bytes_)
            for k in range(copies):
                index = builder.add(args[1], ir.Constant(args[1].type, k * count))
                builder.store(values, builder.bitcast(pointer(ws, 0, first, index), kind), align=bytes_)
            return context.get_dummy_value()

        return types.void(ws, first, array, place), codegen

    return repeat


def transposer(size):
    """Make an intrinsic of target, place, width, source, first, stride: transposes a square tile of so many numbers.

    target[place + j * width + i] becomes source[first + i * stride + j]. Rows of both are vectors, and what moves
    between them are halves of pairs of vectors, in steps: a scatter would take each number by itself.
    """

    @intrinsic
    def put_tile(typingctx, target, place, width, source, first, stride):
        arrays = _is_row_array(target, place) and _is_row_array(source, first) and target.dtype == source.dtype
        if not (arrays and isinstance(width, types.Integer) and isinstance(stride, types.Integer)):
            return None

        def codegen(context, builder, signature, args):
            kind = ir.VectorType(context.get_data_type(target.dtype), size)
            bytes_ = context.get_abi_sizeof(context.get_data_type(target.dtype))

            def pointers(array_type, array, begin, step):
                for i in range(size):
                    index = builder.add(begin, builder.mul(step, ir.Constant(step.type, i)))
                    element = element_pointer(context, builder, array_type, array, types.intp, index)
                    yield builder.bitcast(element, kind.as_pointer())

            begin, step, start, apart = (
                context.cast(builder, args[i], which, types.intp)
                for i, which in ((1, place), (2, width), (4, first), (5, stride))
            )
            rows = [builder.load(x, align=bytes_) for x in pointers(source, args[3], start, apart)]
            half = size // 2
            while half:  # the lower halves of each 2 half numbers of one row go with those of the row `half` further on
                low, high = (
                    ir.Constant(
                        ir.VectorType(ir.IntType(32), size),
                        [j + offset if j % (2 * half) < half else j + offset - half + size for j in range(size)],
                    )
                    for offset in (0, half)
                )
                pairs = {i: (rows[i], rows[i + half]) for i in range(size) if i % (2 * half) < half}
                for i, (x, y) in pairs.items():
                    rows[i] = builder.shuffle_vector(x, y, low)
                    rows[i + half] = builder.shuffle_vector(x, y, high)
                half //= 2
            for row, x in zip(rows, pointers(target, args[0], begin, step), strict=True):
                builder.store(row, x, align=bytes_)
            return context.get_dummy_value()

        return types.void(target, place, width, source, first, stride), codegen

    return put_tile


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
            put_any(ws, first + k * width + q, np.float64(1.0 if inside else 0.0))


@njit(**LOOP)
def mask_finite(ws, first, lanes, mask, omit, counts):
    """Count the lanes whose row at `first` is not zero (so NaN); with `omit`, mask them as well."""
    for w in range(lanes):
        if at_any(ws, mask + w) != 0:
            bad = at_any(ws, first + w) != 0
            counts[1] += bad
            if bad and omit:
                put_any(ws, mask + w, ws.dtype.type(0))
            else:
                counts[0] += 1


@njit(**INLINED)
def gather_constants(array, first, apart, extent, k):
    """Return element k, cut to a whole number, of `extent` that lie so far apart from `first` on; NaN if there is none.

    Of an array that no kernel writes.
    """
    inside = (k >= 0) & (k < extent)
    found = at_constant(array, first + apart * np.int32(select(inside, k, type(k)(0))))
    return select(inside, found, type(k)(np.nan))


@njit(**INLINED)
def gather_rows(ws, first, apart, extent, k):
    """Return the same of rows of the workspace, for the lane whose element in the first of them is at `first`."""
    inside = (k >= 0) & (k < extent)
    found = at_chosen(ws, first + apart * np.int32(select(inside, k, type(k)(0))))
    return select(inside, found, type(k)(np.nan))


@njit(**INLINED)
def add_draw(means, scatters, i, x, share):
    """Add a draw to the mean and to the sum of squared deviations of component i; `share` is 1 / draws with this one.

    Welford, Note on a method for calculating corrected sums of squares and products, Technometrics 4, 1962.
    """
    mean = at_moment(means, i)
    difference = np.float64(x) - mean
    moved = mean + difference * share
    put_moment(means, i, moved)
    put_moment(scatters, i, at_moment(scatters, i) + difference * (np.float64(x) - moved))
