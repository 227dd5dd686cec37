"""Moments of rows of a batch from those of lanes, at the end of a block whose lanes carry these rows (`row_lanes`).

Lanes have a shift, the sum of deviations from it, and the sum of their squares; with one draw in each lane, the draw
itself is in place of the sum, and there is nothing else. What a row's result is depends on no other row: all rows go
through the same operations.
"""

import numpy as np
from numba import njit

from mcgrad.kernels.intrinsics import accumulate, prefer_vector_width, select, square_root
from mcgrad.kernels.jit import CALLED, INLINED
from mcgrad.kernels.workspace import at, at_any, at_moment, at_sum, put_any, put_moment


@njit(**INLINED)
def draws_of_lane(k, groups, start, stop):
    """How many of the draws start .. stop are draw k of a group."""
    return (stop - 1 - k) // groups - (start - 1 - k) // groups


def moments_of_rows(groups, each, finish):
    """Make the function that works out the moments of one component in the rows of a block.

    Parameters
    ----------
    groups, each : int
        Draws of a row in the lanes at a time, and rows of the batch in a block. They are constants of the machine code,
        so that its loops over k are unrolled, and those over q are of whole vectors.
    finish : function
        What is to be written of the scatter, the sum of squared deviations from the mean.

    Returns
    -------
    function of ws, shift, total, square, start, stop, least, scratch, odd, position
        It writes means and what `finish` gives to scratch[: 2 each], and adds to odd[position + q] a NaN where they are
        not finite, or 1 where squares have vanished: where the mean square is below `least`, and deviations are not 0.

    Notes
    -----
    Deviations from the first draw that counts are as exact in the dtype of the workspace as their sums, so all is
    worked out in this, but for the mean itself.
    """

    @njit(**INLINED)
    def of_single_draws(ws, draws, start, stop, limit, scratch, odd, position):
        """One draw in each lane; returns how many scatters are below the limit."""
        prefer_vector_width()
        real, n, low = ws.dtype.type, stop - start, 0.0
        zero, share, head = real(0), 1.0 / n, draws + start % groups * each
        for q in range(each):
            first, total, scatter = at_sum(ws, head + q), zero, zero
            for k in range(groups):
                counts = real(draws_of_lane(k, groups, start, stop))
                total += counts * (at_sum(ws, draws + k * each + q) - first)
            mean = np.float64(total) * share
            about = real(mean)
            for k in range(groups):
                counts = real(draws_of_lane(k, groups, start, stop))
                far = counts * (at_sum(ws, draws + k * each + q) - first - about)
                scatter += far * far
            low = accumulate(low, select(scatter < limit, 1.0, 0.0))
            put_moment(scratch, q, np.float64(first) + mean)
            put_moment(scratch, each + q, np.float64(finish(scatter)))
            put_moment(odd, position + q, at_moment(odd, position + q) + np.float64(scatter - scatter))
        return low

    @njit(**INLINED)
    def of_several_draws(ws, shift, total, square, start, stop, limit, scratch, odd, position):
        """The same where lanes have their first draw, the sum of the others' deviations, and that of their squares."""
        prefer_vector_width()
        real, n, low = ws.dtype.type, stop - start, 0.0
        zero, share, head = real(0), 1.0 / n, shift + start % groups * each
        for q in range(each):
            first, moved, scatter = at(ws, head + q), zero, zero
            for k in range(groups):
                count = real(draws_of_lane(k, groups, start, stop))
                moved += count * (at(ws, shift + k * each + q) - first) + at_sum(ws, total + k * each + q)
            mean = np.float64(moved) * share
            about = real(mean)
            for k in range(groups):
                count = draws_of_lane(k, groups, start, stop)
                counts, part = real(min(count, 1)), real(1.0 / max(count, 1))
                far = counts * (at(ws, shift + k * each + q) - first - about)
                sum_, squares = at_sum(ws, total + k * each + q), at_sum(ws, square + k * each + q)
                inside = squares - sum_ * (sum_ * part)
                scatter += select(inside < zero, zero, inside)
                between = far + sum_ * part
                scatter += real(count) * (between * between)
            low = accumulate(low, select(scatter < limit, 1.0, 0.0))
            put_moment(scratch, q, np.float64(first) + mean)
            put_moment(scratch, each + q, np.float64(finish(scatter)))
            put_moment(odd, position + q, at_moment(odd, position + q) + np.float64(scatter - scatter))
        return low

    @njit(**CALLED)
    def mark_vanished(ws, shift, total, several, start, stop, limit, scratch, odd, position):
        """Add 1 to odd[position + q] where a scatter is below the limit and deviations are not zero."""
        zero, head = ws.dtype.type(0), shift + start % groups * each
        for q in range(each):
            first, moved = at_any(ws, head + q), zero
            for k in range(groups):
                if draws_of_lane(k, groups, start, stop) > 0:
                    moved += abs(at_any(ws, shift + k * each + q) - first)
                    if several:
                        moved += abs(at_any(ws, total + k * each + q))
            if moved > zero and at_any(scratch, each + q) < finish(limit):
                put_any(odd, position + q, at_any(odd, position + q) + 1.0)

    @njit(**INLINED)
    def moments(ws, shift, total, square, start, stop, least, scratch, odd, position):
        limit, several = ws.dtype.type((stop - start) * least), (stop - 1) // groups != start // groups
        if several:
            low = of_several_draws(ws, shift, total, square, start, stop, limit, scratch, odd, position)
        else:
            shift = total
            low = of_single_draws(ws, total, start, stop, limit, scratch, odd, position)
        if low > 0.0 and stop - start > 1:
            mark_vanished(ws, shift, total, several, start, stop, limit, scratch, odd, position)

    return moments


@njit(**INLINED)
def itself(x):
    """The number itself."""
    return x


def rows_writer(groups, each):
    """Make the function that writes means and norms of rows, with so many draws of each and rows in the lanes."""
    moments, lanes = moments_of_rows(groups, each, square_root), groups * each

    @njit(**CALLED)
    def write_rows(
        ws, shifts, sums, squares, components, start, stop, least, scratch, odd,
        position, count, means, norms, width, column,
    ):  # fmt: skip
        """Write means and norms of some components, from `column` on, of the first `count` rows of a block."""
        for i in range(components):
            row = i * lanes
            moments(ws, shifts + row, sums + row, squares + row, start, stop, least, scratch, odd, position)
            for q in range(count):
                place = (position + q) * width + column + i
                put_any(means, place, at_any(scratch, q))
                put_any(norms, place, at_any(scratch, each + q))

    return write_rows


def rows_adder(groups, each):
    """Make the function that adds up rows, with so many draws of each and rows in the lanes."""
    moments, lanes = moments_of_rows(groups, each, itself), groups * each

    @njit(**CALLED)
    def add_rows(
        ws, shifts, sums, squares, components, start, stop, least, scratch, odd,
        position, count, totals, variances, first,
    ):  # fmt: skip
        """Add means of some components, and variances of these, over the first `count` rows of a block."""
        prefer_vector_width()
        n = np.float64(stop - start)
        for i in range(components):
            row = i * lanes
            moments(ws, shifts + row, sums + row, squares + row, start, stop, least, scratch, odd, position)
            total, variance = 0.0, 0.0
            for q in range(count):
                total = accumulate(total, at_any(scratch, q))
                variance = accumulate(variance, at_any(scratch, each + q))
            put_any(totals, first + i, at_any(totals, first + i) + total)
            put_any(variances, first + i, at_any(variances, first + i) + variance / (n * (n - 1.0)))

    return add_rows
