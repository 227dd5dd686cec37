"""Moments of rows of a batch from the sums of their draws, at the end of a block whose lanes carry rows (`row_lanes`).

A row has a shift, the sum of its draws' deviations from it, and the sum of their squares, `apart` elements from one
another. What a row's result is depends on no other row: all rows go through the same operations.
"""

import numpy as np
from numba import njit

from mcgrad.kernels.intrinsics import accumulate, prefer_vector_width, select, square_root
from mcgrad.kernels.jit import CALLED, INLINED
from mcgrad.kernels.workspace import at_any, at_sum, put_any, put_moment, transposer


@njit(**INLINED)
def scatter_of_row(ws, total, square, share):
    """The sum of squared deviations from the mean, of the sums of deviations and squares at two places."""
    sum_ = at_sum(ws, total)
    scatter = at_sum(ws, square) - sum_ * (sum_ * share)
    return select(scatter < ws.dtype.type(0), ws.dtype.type(0), scatter)


def moments_of_rows(each, apart, finish):
    """Make the function that works out the moments of one component in the rows of a block.

    Parameters
    ----------
    each : int
        Rows of the batch in a block: a constant of the machine code, so that its loops are of whole vectors.
    apart : int
        How far a row's sum is from its shift, and the sum of squares from the sum.
    finish : function
        What is to be written of the scatter, the sum of squared deviations from the mean.

    Returns
    -------
    function of ws, row, n, least, scratch, place, second, odd, position
        Shifts are from `row` on. It writes means and what `finish` gives to `each` elements of scratch, from `place`
        and `second` on, and adds to odd[position + q] a NaN where they are not finite, or 1 where squares have
        vanished: where the mean square is below `least`, and deviations are not 0.

    Notes
    -----
    Deviations from the first draw that counts are as exact in the dtype of the workspace as their sums, so all is
    worked out in this, but for the mean itself.
    """

    @njit(**CALLED)
    def mark_rows(ws, row, n, limit, odd, position):
        """Mark rows that are not finite, or whose squares have vanished."""
        total, square = row + apart, row + 2 * apart
        zero, share = ws.dtype.type(0), ws.dtype.type(1.0 / n)
        for q in range(each):
            scatter = scatter_of_row(ws, total + q, square + q, share)
            differs = (at_any(ws, total + q) != zero) | (at_any(ws, square + q) != zero)
            marked = np.float64(scatter - scatter) + (1.0 if differs and n > 1 and scatter < limit else 0.0)
            put_any(odd, position + q, at_any(odd, position + q) + marked)

    @njit(**INLINED)
    def moments(ws, row, n, least, scratch, place, second, odd, position):
        prefer_vector_width()
        total, square = row + apart, row + 2 * apart
        real = ws.dtype.type
        share, limit, marked = real(1.0 / n), real(n * least), real(0)
        for q in range(each):
            scatter = scatter_of_row(ws, total + q, square + q, share)
            marked = accumulate(marked, scatter - scatter + select(scatter < limit, real(1), real(0)))
            mean = np.float64(at_sum(ws, row + q)) + np.float64(at_sum(ws, total + q)) / n
            put_moment(scratch, place + q, mean)
            put_moment(scratch, second + q, np.float64(finish(scatter)))
        if marked != real(0):
            mark_rows(ws, row, n, limit, odd, position)

    return moments


@njit(**INLINED)
def itself(x):
    """The number itself."""
    return x


def rows_writer(each, apart, tile):
    """Make the function that writes means and norms of rows, with so many rows of the batch in a block.

    So many components as `tile` says, neighbours in each row's results, are written together; `scratch` has room for
    2 tile each numbers.
    """
    moments, put_tile = moments_of_rows(each, apart, square_root), transposer(tile)

    @njit(**CALLED)
    def write_rows(
        ws, row, components, n, least, scratch, odd, position, count, means, norms, width, column
    ):  # fmt: skip
        """Write means and norms of some components, from `column` on, of the first `count` rows of a block."""
        second = tile * each  # norms in `scratch`
        for first in range(0, components, tile):
            size = min(tile, components - first)
            for i in range(size):
                place = i * each
                moments(ws, row + (first + i) * each, n, least, scratch, place, second + place, odd, position)
            for q in range(0, count, tile):
                place = (position + q) * width + column + first
                if size == tile and q + tile <= count:
                    put_tile(means, place, width, scratch, q, each)
                    put_tile(norms, place, width, scratch, second + q, each)
                    continue
                for j in range(min(tile, count - q)):
                    for i in range(size):
                        put_any(means, place + j * width + i, at_any(scratch, i * each + q + j))
                        put_any(norms, place + j * width + i, at_any(scratch, second + i * each + q + j))

    return write_rows


def rows_adder(each, apart):
    """Make the function that adds up rows, with so many rows of the batch in a block.

    Its `scratch` has 2 each elements or more.
    """
    moments = moments_of_rows(each, apart, itself)

    @njit(**CALLED)
    def add_rows(
        ws, row, components, n, least, scratch, odd, position, count, totals, variances, first
    ):  # fmt: skip
        """Add means of some components, and variances of these, over the first `count` rows of a block."""
        prefer_vector_width()
        for i in range(components):
            moments(ws, row + i * each, n, least, scratch, 0, each, odd, position)
            total, variance = 0.0, 0.0
            for q in range(count):
                total = accumulate(total, at_any(scratch, q))
                variance = accumulate(variance, at_any(scratch, each + q))
            put_any(totals, first + i, at_any(totals, first + i) + total)
            put_any(variances, first + i, at_any(variances, first + i) + variance / (np.float64(n) * (n - 1.0)))

    return add_rows
