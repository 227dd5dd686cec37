"""Rows of a batch averaged one after the other by an emitted chunk function: the lanes carry draws of one row.

The chunk function is called by its address, so that this loop is compiled once for Programs of all kinds, and theirs
stays what it is for one problem.
"""

import numpy as np
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from mcgrad.kernels.jit import LOOP


@intrinsic
def call_chunk(
    typing, address, key0, key1, start, stop, c, t, ws, shift, sums, squares, counts, omit, blas, matrices, sizes, row
):
    """Call a chunk function (`codegen/cpu/chunk.py`), with those parts of the matrices that are a row's.

    `matrices` is a tuple, and `sizes` a tuple of as many integers: how many elements each has by row, or 0 where all
    rows have the same. An exception of a user's function is raised again.
    """
    signature = types.void(
        address, key0, key1, start, stop, c, t, ws, shift, sums, squares, counts, omit, blas, matrices, sizes, row
    )

    def codegen(context, builder, signature, args):
        plain, kinds = list(args[1:14]), list(signature.args[1:14])
        for i, kind in enumerate(signature.args[14]):
            part = context.make_array(kind)(context, builder, builder.extract_value(args[14], i))
            part.data = builder.gep(part.data, [builder.mul(builder.extract_value(args[15], i), args[16])])
            plain.append(part._getvalue())
            kinds.append(kind)
        convention = context.call_conv
        function_type = convention.get_function_type(types.none, kinds)
        function = builder.inttoptr(args[0], function_type.as_pointer())
        status, _ = convention.call_function(builder, function, types.none, kinds, plain)
        with cgutils.if_unlikely(builder, status.is_error):
            convention.return_status_propagate(builder, status)
        return context.get_dummy_value()

    return signature, codegen


@njit(**LOOP)
def scatter_of(total, squares, count):
    """Sum of squared deviations from the mean, of sums about a shift: NaN where these are."""
    scatter = squares - total * (total / count)
    return 0.0 if scatter < 0.0 else scatter


@njit(**LOOP)
def centre(sums, squares, shift, count, far):
    """Turn sums about zero into those about the means, which become the shift; or say that they lost digits.

    Returns
    -------
    bool
        Whether a mean is more than `far` standard deviations from zero. Then the shift alone was changed.
    """
    lost = False
    for k in range(sums.size):
        mean = sums[k] / count
        shift[k] = mean
        if not np.isfinite(shift[k]):
            shift[k] = 0
        lost |= scatter_of(sums[k], squares[k], count) * far * far < count * mean * mean
    if not lost:
        for k in range(sums.size):
            slip = sums[k] / count - shift[k]
            squares[k] = scatter_of(sums[k], squares[k], count) + count * slip * slip
            sums[k] = count * slip
    return lost


@njit(**LOOP)
def is_plain(sums, squares, shift, count, nonfinite, omit, least, floor):
    """Whether squares of all components kept their digits, as `exponents` in `backends/rescaled.py` has it.

    Those of a component that is not finite are NaN, and stay so where there are draws that are not, and are not left
    out.
    """
    if count == 0:
        return True
    for k in range(sums.size):
        mean, scatter = shift[k] + sums[k] / count, scatter_of(sums[k], squares[k], count)
        if not np.isfinite(scatter) and (np.isfinite(mean) or omit or nonfinite == 0):
            return False
        if scatter < count * least and abs(mean) < floor and (mean != 0 or squares[k] != 0):
            return False
    return True


def average_rows(
    chunk, first_keys, second_keys, which, firsts, start, stop, omit, checked, block, c, places, by_row, t, ws, shift,
    sums, squares, tally, blas, matrices, sizes, far, least, floor, columns, counts, nonfinite, means, norms, plain,
    totals, variances,
):  # fmt: skip
    """Average over the draws start .. stop of each row, about a shift from the first of them.

    Parameters
    ----------
    chunk : int
        Address of the chunk function.
    first_keys, second_keys, which : arrays
        The arguments `key0` and `key1` of the chunk function for a row are those at `which[row]` along the first axis:
        numbers, or arrays of one dimension.
    firsts : int64 array, shape (rows,)
        The number of each row's first draw.
    start, stop : int
    omit, checked : bool
        Whether draws that are not finite are left out; whether the chunk function looks for them.
    block : int
        The shift is from the draws before the first multiple of it.
    c, places, by_row : arrays
        The argument `c` of the chunk function, where in it are values by row, and these: shape (rows, places).
    t, ws, shift, sums, squares, tally, blas : arrays and int
        Arguments of the chunk function; `tally` is its `counts`.
    matrices, sizes : tuples
        See `call_chunk`.
    far, least, floor : float
        See `centre` and `is_plain`.
    columns : int64 array, shape (components,)
        The column of each component in `means`, or -1 - i for place i of `totals`.
    counts, nonfinite : int64 arrays, shape (rows,)
        Filled.
    means, norms : float64 arrays, shape (rows, K)
        Filled.
    plain : bool array, shape (rows,)
        Filled: whether a row's sums kept their digits. Those of other rows are left out of the totals.
    totals, variances : float64 arrays, shape (S,)
        Added to, row by row: the means, and the variances of the means.
    """
    for row in range(firsts.size):
        key0, key1 = first_keys[which[row]], second_keys[which[row]]
        for k in range(places.size):
            c[places[k]] = by_row[row, k]
        first, last = firsts[row] + start, firsts[row] + stop
        head = min((first // block + 1) * block, last)
        for k in range(shift.size):
            shift[k] = 0
        clear(sums, squares, tally)
        call_chunk(
            chunk, key0, key1, first, head, c, t, ws, shift, sums, squares, tally, omit, blas, matrices, sizes, row
        )
        if centre(sums, squares, shift, tally[0] if checked else head - first, far):
            clear(sums, squares, tally)
            head = first
        if head < last:
            call_chunk(
                chunk, key0, key1, head, last, c, t, ws, shift, sums, squares, tally, omit, blas, matrices, sizes, row
            )
        n = tally[0] if checked else stop - start
        counts[row], nonfinite[row] = n, tally[1]
        plain[row] = is_plain(sums, squares, shift, n, tally[1], omit, least, floor)
        for k in range(sums.size):
            column, mean = columns[k], shift[k] + sums[k] / n
            scatter = scatter_of(sums[k], squares[k], n) if n != 1 else 0.0
            if column >= 0:
                means[row, column], norms[row, column] = mean, np.sqrt(scatter)
            elif plain[row]:
                totals[-1 - column] += mean
                variances[-1 - column] += scatter / ((n - 1) * float(n))


@njit(**LOOP)
def clear(sums, squares, tally):
    """Set all to zero."""
    tally[0] = tally[1] = 0
    for k in range(sums.size):
        sums[k] = squares[k] = 0
