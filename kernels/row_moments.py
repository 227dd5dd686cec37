"""Moments of rows of a batch from the sums of their draws, at the end of a block whose lanes carry rows (`row_lanes`).

A row has a shift, the sum of its draws' deviations from it, and the sum of their squares. What a row's result is
depends on no other row: all rows go through the same operations.
"""

import numpy as np
from numba import njit

from mcgrad.kernels.intrinsics import accumulate, prefer_vector_width, select, square_root
from mcgrad.kernels.jit import CALLED, INLINED
from mcgrad.kernels.workspace import at_any, at_moment, at_sum, put_any, put_moment


def moments_of_rows(each, finish):
    """Make the function that works out the moments of one component in the rows of a block.

    Parameters
    ----------
    each : int
        Rows of the batch in a block: a constant of the machine code, so that its loops are of whole vectors.
    finish : function
        What is to be written of the scatter, the sum of squared deviations from the mean.

    Returns
    -------
    function of ws, shift, total, square, n, least, scratch, odd, position
        It writes means and what `finish` gives to scratch[: 2 each], and adds to odd[position + q] a NaN where they are
        not finite, or 1 where squares have vanished: where the mean square is below `least`, and deviations are not 0.

    Notes
    -----
    Deviations from the first draw that counts are as exact in the dtype of the workspace as their sums, so all is
    worked out in this, but for the mean itself.
    """

    @njit(**CALLED)
    def mark_vanished(ws, total, square, limit, scratch, odd, position):
        """Add 1 to odd[position + q] where a scatter is below the limit and deviations are not zero."""
        zero = ws.dtype.type(0)
        for q in range(each):
            differs = (at_any(ws, total + q) != zero) | (at_any(ws, square + q) != zero)
            if differs and at_any(scratch, each + q) < finish(limit):
                put_any(odd, position + q, at_any(odd, position + q) + 1.0)

    @njit(**INLINED)
    def moments(ws, shift, total, square, n, least, scratch, odd, position):
        prefer_vector_width()
        real, low = ws.dtype.type, 0.0
        zero, share, limit = real(0), 1.0 / n, real(n * least)
        for q in range(each):
            sum_ = at_sum(ws, total + q)
            mean = np.float64(sum_) * share
            scatter = at_sum(ws, square + q) - sum_ * real(mean)
            scatter = select(scatter < zero, zero, scatter)
            low = accumulate(low, select(scatter < limit, 1.0, 0.0))
            put_moment(scratch, q, np.float64(at_sum(ws, shift + q)) + mean)
            put_moment(scratch, each + q, np.float64(finish(scatter)))
            put_moment(odd, position + q, at_moment(odd, position + q) + np.float64(scatter - scatter))
        if low > 0.0 and n > 1:
            mark_vanished(ws, total, square, limit, scratch, odd, position)

    return moments


@njit(**INLINED)
def itself(x):
    """The number itself."""
    return x


def rows_writer(each):
    """Make the function that writes means and norms of rows, with so many rows of the batch in a block."""
    moments = moments_of_rows(each, square_root)

    @njit(**CALLED)
    def write_rows(
        ws, shifts, sums, squares, components, n, least, scratch, odd, position, count, means, norms, width, column
    ):  # fmt: skip
        """Write means and norms of some components, from `column` on, of the first `count` rows of a block."""
        for i in range(components):
            row = i * each
            moments(ws, shifts + row, sums + row, squares + row, n, least, scratch, odd, position)
            for q in range(count):
                place = (position + q) * width + column + i
                put_any(means, place, at_any(scratch, q))
                put_any(norms, place, at_any(scratch, each + q))

    return write_rows


def rows_adder(each):
    """Make the function that adds up rows, with so many rows of the batch in a block."""
    moments = moments_of_rows(each, itself)

    @njit(**CALLED)
    def add_rows(
        ws, shifts, sums, squares, components, n, least, scratch, odd, position, count, totals, variances, first
    ):  # fmt: skip
        """Add means of some components, and variances of these, over the first `count` rows of a block."""
        prefer_vector_width()
        for i in range(components):
            row = i * each
            moments(ws, shifts + row, sums + row, squares + row, n, least, scratch, odd, position)
            total, variance = 0.0, 0.0
            for q in range(count):
                total = accumulate(total, at_any(scratch, q))
                variance = accumulate(variance, at_any(scratch, each + q))
            put_any(totals, first + i, at_any(totals, first + i) + total)
            put_any(variances, first + i, at_any(variances, first + i) + variance / (np.float64(n) * (n - 1.0)))

    return add_rows
