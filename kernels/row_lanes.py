"""Rows of a batch in lanes: their values, which draws count, and moments by lane, in emitted functions over batches.

A block of lanes holds Q = lanes // groups rows of a batch, and of each a group of draws, as many as four words of noise
serve (`groups`, 4 in float32 and 2 in float64): lane k Q + q is draw k of the group and of the q-th row. Draws start ..
stop of each row count. Moments are sums over a lane's draws of deviations from the lane's first draw that counts, and
of their squares: with m draws in a lane, the deviations from its mean have at least 1 / m of that sum of squares, so a
mean far from zero costs no digits. `row_moments` makes those of rows of them.

All functions: ws is the workspace, addresses are of elements; loops over q and over lanes have the same number of turns
in every block, so that what a row's result is depends on no other row.
"""

import numpy as np
from numba import njit

from mcgrad.kernels.intrinsics import prefer_vector_width
from mcgrad.kernels.jit import CALLED
from mcgrad.kernels.workspace import at_any, put_any, repeater


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


@njit(**CALLED)
def clear_moments(ws, shifts, sums, squares, components, lanes, groups, start, stop):
    """Set shifts and sums to zero, and squares where a lane may have no draw: others are, at their first draw."""
    zero = ws.dtype.type(0)
    for w in range(components * lanes):
        put_any(ws, shifts + w, zero)
    for w in range(components * lanes):
        put_any(ws, sums + w, zero)
    for w in range(components * lanes if stop - start < groups else 0):
        put_any(ws, squares + w, zero)


@njit(**CALLED)
def take_first_draws(ws, shifts, sums, squares, components, lanes, groups, base, start, stop):
    """Make the shift of lanes what their first draw is, after the group from `base` on that has it."""
    prefer_vector_width()
    each, zero = lanes // groups, ws.dtype.type(0)
    if base == start:  # all lanes have it here, or no draw at all, and then sums of zero
        for w in range(components * lanes):
            put_any(ws, shifts + w, at_any(ws, sums + w))
        for w in range(components * lanes):
            put_any(ws, sums + w, zero)
        for w in range(components * lanes):
            put_any(ws, squares + w, zero)
        return
    for k in range(groups):
        draw = base + k
        if draw >= start and draw < stop and draw - groups < start:
            for i in range(components):
                row = i * lanes + k * each
                for q in range(row, row + each):
                    put_any(ws, shifts + q, at_any(ws, sums + q))
                    put_any(ws, sums + q, zero)
                    put_any(ws, squares + q, zero)
