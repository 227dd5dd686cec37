"""Rows of a batch in lanes: their values, which draws count, and sums by row, in emitted functions over batches.

A block of lanes holds Q = lanes // groups rows of a batch, and of each a group of draws, as many as four words of noise
serve (`groups`, 4 in float32 and 2 in float64): lane k Q + q is draw k of the group and of the q-th row. Draws start ..
stop of each row count. Of each component a row has a shift, its first draw that counts, and sums of its draws'
deviations from this, and of their squares: with m draws, the deviations from their mean have at least 1 / m of that sum
of squares, so a mean far from zero costs no digits. `row_moments` makes moments of them. The three lie `apart` elements
from one another, which is a constant of the machine code: so no loop looks at run time whether they overlap.

All functions: ws is the workspace, addresses are of elements; loops over q and over lanes have the same number of turns
in every block, so that what a row's result is depends on no other row.
"""

import numpy as np
from numba import njit

from mcgrad.kernels.intrinsics import prefer_vector_width, select
from mcgrad.kernels.jit import CALLED, INLINED
from mcgrad.kernels.workspace import at_draw, at_sum, put_any, put_sum, repeater


def rows_spreader(groups, each):
    """Make `spread_rows` for so many draws of a row in the lanes, and rows of the batch: constants of machine code."""
    repeat = repeater(groups, each)

    @njit(**CALLED)
    def spread_rows(ws, first, values, stride, position, size):
        """Fill `size` rows of lanes, from `first` on, with the values of rows of a batch, from `position` on.

        Value i of row r is values[i * stride + r]; all draws of a row have it.
        """
        prefer_vector_width()
        for i in range(size):
            repeat(ws, first + i * groups * each, values, i * stride + position)

    return spread_rows


@njit(**CALLED)
def mask_draws(ws, first, lanes, groups, base, start, stop, count):
    """Set the mask to 1 where draw base + k of a group counts and the row is one of the first `count`, else to 0."""
    each = lanes // groups
    for k in range(groups):
        inside = (base + k >= start) & (base + k < stop)
        for q in range(each):
            put_any(ws, first + k * each + q, np.float64(1.0 if inside and q < count else 0.0))


def draws_adder(groups, each, apart):
    """Make `add_draws` for so many draws of a row in the lanes, and rows of the batch: constants of machine code."""

    @njit(**CALLED)
    def add_some_draws(ws, draws, row, base, start, stop):
        """Add those of a group that count; the group from `start` on is the first, and starts the sums."""
        prefer_vector_width()
        zero, first, head = ws.dtype.type(0), base <= start, draws + start % groups * each
        total, square = row + apart, row + 2 * apart
        for q in range(each):
            about = select(first, at_draw(ws, head + q), at_sum(ws, row + q))
            sum_ = select(first, zero, at_sum(ws, total + q))
            squares = select(first, zero, at_sum(ws, square + q))
            for k in range(groups):
                difference = at_draw(ws, draws + k * each + q) - about
                difference = select((base + k >= start) & (base + k < stop), difference, zero)
                sum_ += difference
                squares += difference * difference
            put_sum(ws, row + q, about)
            put_sum(ws, total + q, sum_)
            put_sum(ws, square + q, squares)

    @njit(**INLINED)
    def add_draws(ws, draws, row, base, start, stop):
        """Add a group of draws of a component, one for each lane from `draws` on, to the sums of its rows.

        Shifts are from `row` on; deviations from them go to the sums, and their squares.
        """
        if base <= start or base + groups > stop:
            add_some_draws(ws, draws, row, base, start, stop)
            return
        total, square = row + apart, row + 2 * apart
        for q in range(each):
            about, sum_, squares = at_sum(ws, row + q), at_sum(ws, total + q), at_sum(ws, square + q)
            for k in range(groups):
                difference = at_draw(ws, draws + k * each + q) - about
                sum_ += difference
                squares += difference * difference
            put_sum(ws, total + q, sum_)
            put_sum(ws, square + q, squares)

    return add_draws
