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
def centre(sums, squares, shift, count, shifted, far):
    """Turn sums about zero into those about the means, which become the shift; or say that they lost digits.

    Returns
    -------
    bool
        Whether a mean of those that are shifted is more than `far` standard deviations from zero. Then the shift alone
        was changed.
    """
    lost = False
    for k in range(sums.size):
        if not shifted[k]:
            shift[k] = 0
            continue
        mean = sums[k] / count
        shift[k] = mean
        if not np.isfinite(shift[k]):
            shift[k] = 0
        lost |= max(squares[k] - sums[k] * mean, 0.0) * far * far < count * mean * mean
    if not lost:
        for k in range(sums.size):
            mean = sums[k] / count
            slip = mean - shift[k]
            squares[k] = max(squares[k] - sums[k] * mean, 0.0) + count * slip * slip
            sums[k] = count * slip
    return lost


@njit(**LOOP)
def is_plain(sums, squares, shift, count, least, floor):
    """Whether all sums are finite, and no square of a component that is not zero vanished (`backends/rescaled.py`)."""
    total, vanished = 0.0, False
    for k in range(sums.size):
        slip = sums[k] / count
        mean, scatter = shift[k] + slip, max(squares[k] - sums[k] * slip, 0.0)
        total += sums[k] + squares[k]
        vanished |= (scatter < count * least) & (abs(mean) < floor) & ((mean != 0) | (squares[k] != 0))
    return np.isfinite(total) and not vanished


def average_rows(
    chunk, key0, key1, firsts, start, stop, block, c, places, by_row, t, ws, shift, sums, squares, counts, blas,
    matrices, sizes, shifted, far, least, floor, columns, means, norms, plain, totals, variances,
):  # fmt: skip
    """Average over the draws start .. stop of each row, about a shift from the first of them.

    Parameters
    ----------
    chunk : int
        Address of the chunk function.
    key0, key1 : uint32
    firsts : int64 array, shape (rows,)
        The number of each row's first draw.
    start, stop, block : int
        The shift is from the draws before the first multiple of `block`.
    c, places, by_row : arrays
        The argument `c` of the chunk function, where in it are values by row, and these: shape (rows, places).
    t, ws, shift, sums, squares, counts, blas : arrays and int
        Arguments of the chunk function.
    matrices, sizes : tuples
        See `call_chunk`.
    shifted : bool array, shape (components,)
        Which components the shift is taken from.
    far, least, floor : float
        See `centre` and `is_plain`.
    columns : int64 array, shape (components,)
        The column of each component in `means`, or -1 - i for place i of `totals`.
    means, norms : float64 arrays, shape (rows, K)
        Filled.
    plain : bool array, shape (rows,)
        Filled: whether a row's sums kept their digits. Those of other rows are left out of the totals.
    totals, variances : float64 arrays, shape (S,)
        Added to, row by row: the means, and the variances of the means.
    """
    n = stop - start
    for row in range(firsts.size):
        for k in range(places.size):
            c[places[k]] = by_row[row, k]
        first, last = firsts[row] + start, firsts[row] + stop
        head = min((first // block + 1) * block, last)
        for k in range(sums.size):
            shift[k] = sums[k] = squares[k] = 0
        call_chunk(
            chunk, key0, key1, first, head, c, t, ws, shift, sums, squares, counts, False, blas, matrices, sizes, row
        )
        if centre(sums, squares, shift, head - first, shifted, far):
            for k in range(sums.size):
                sums[k] = squares[k] = 0
            head = first
        if head < last:
            call_chunk(
                chunk, key0, key1, head, last, c, t, ws, shift, sums, squares, counts, False, blas, matrices, sizes, row
            )
        plain[row] = is_plain(sums, squares, shift, n, least, floor)
        for k in range(sums.size):
            slip, column = sums[k] / n, columns[k]
            mean, scatter = shift[k] + slip, max(squares[k] - sums[k] * slip, 0.0) if n > 1 else 0.0
            if column >= 0:
                means[row, column], norms[row, column] = mean, np.sqrt(scatter)
            elif plain[row]:
                totals[-1 - column] += mean
                variances[-1 - column] += scatter / ((n - 1) * float(n))
