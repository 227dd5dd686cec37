"""Rows of a batch in lanes: their values, which draws count, and their moments, in emitted functions over batches.

A block of lanes holds Q = lanes // groups rows of a batch, and of each a group of draws, as many as four words of noise
serve (`groups`, 4 in float32 and 2 in float64): lane k Q + q is draw k of the group and of the q-th row. Draws start ..
stop of each row count. Moments are sums over a lane's draws of deviations from the lane's first draw that counts, and
of their squares: with m draws in a lane, the deviations from its mean have at least 1 / m of that sum of squares, so a
mean far from zero costs no digits.

All functions: ws is the workspace, addresses are of elements; loops over q and over lanes have the same number of turns
in every block, so that what a row's result is depends on no other row.
"""

import numpy as np
from numba import njit

from mcgrad.kernels.intrinsics import accumulate, prefer_vector_width, select
from mcgrad.kernels.jit import CALLED
from mcgrad.kernels.workspace import at_any, put_any


@njit(**CALLED)
def spread_rows(ws, first, values, stride, position, size, lanes, groups):
    """Fill `size` rows of lanes with the values of Q rows of a batch, from `position` on, for all draws of a group.

    Value i of row r is values[i * stride + r].
    """
    prefer_vector_width()
    each = lanes // groups
    for i in range(size):
        for k in range(groups):
            target, source = first + i * lanes + k * each, i * stride + position
            for q in range(each):
                put_any(ws, target + q, at_any(values, source + q))


@njit(**CALLED)
def mask_draws(ws, first, lanes, groups, base, start, stop, count):
    """Set the mask to 1 where draw base + k of a group counts and the row is one of the first `count`, else to 0."""
    each = lanes // groups
    for k in range(groups):
        inside = (base + k >= start) & (base + k < stop)
        for q in range(each):
            put_any(ws, first + k * each + q, np.float64(1.0 if inside and q < count else 0.0))


@njit(**CALLED)
def clear_rows(ws, first, count):
    """Set `count` elements to zero."""
    for w in range(count):
        put_any(ws, first + w, ws.dtype.type(0))


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


@njit(**CALLED)
def deviations_of_single_draws(ws, draws, head, each, low, high, scratch):
    """Add means about those of the first draw, scatters and deviations of Q rows to scratch[: 3 Q], of one draw a lane.

    Draw k of a row is at draws + k Q, for k from `low` to `high`.
    """
    prefer_vector_width()
    means, scatters, moved = 0, each, 2 * each
    for k in range(low, high):
        for q in range(each):
            far = np.float64(at_any(ws, draws + k * each + q)) - np.float64(at_any(ws, head + q))
            put_any(scratch, means + q, at_any(scratch, means + q) + far)
    for q in range(each):
        put_any(scratch, means + q, at_any(scratch, means + q) / (high - low))
    for k in range(low, high):
        for q in range(each):
            far = np.float64(at_any(ws, draws + k * each + q)) - np.float64(at_any(ws, head + q))
            mean = far - at_any(scratch, means + q)
            put_any(scratch, scatters + q, at_any(scratch, scatters + q) + mean * mean)
            put_any(scratch, moved + q, at_any(scratch, moved + q) + abs(mean))


@njit(**CALLED)
def deviations_of_lanes(ws, shift, total, square, head, each, groups, start, stop, scratch):
    """Add the same of lanes with several draws, of which there are the first, the sum and the sum of squares."""
    prefer_vector_width()
    means, scatters, moved, n = 0, each, 2 * each, stop - start
    for k in range(groups):
        count = (stop - 1 - k) // groups - (start - 1 - k) // groups
        row, weight = k * each, np.float64(count)
        for q in range(each):
            far = np.float64(at_any(ws, shift + row + q)) - np.float64(at_any(ws, head + q))
            sum_ = np.float64(at_any(ws, total + row + q))
            put_any(scratch, means + q, at_any(scratch, means + q) + select(count > 0, weight * far + sum_, 0.0))
    for q in range(each):
        put_any(scratch, means + q, at_any(scratch, means + q) / n)
    for k in range(groups):
        count = (stop - 1 - k) // groups - (start - 1 - k) // groups
        row, weight = k * each, np.float64(count)
        inverse = 1.0 / weight if count > 0 else 0.0
        for q in range(each):
            far = np.float64(at_any(ws, shift + row + q)) - np.float64(at_any(ws, head + q))
            sum_, squared = np.float64(at_any(ws, total + row + q)), np.float64(at_any(ws, square + row + q))
            mean = far + sum_ * inverse - at_any(scratch, means + q)
            scatter = squared - sum_ * sum_ * inverse
            between = weight * (mean * mean)
            put_any(
                scratch,
                scatters + q,
                at_any(scratch, scatters + q) + select(count > 0, select(scatter < 0.0, 0.0, scatter) + between, 0.0),
            )
            put_any(scratch, moved + q, at_any(scratch, moved + q) + select(count > 0, abs(sum_) + abs(mean), 0.0))


@njit(**CALLED)
def moments_of_rows(ws, shift, total, square, lanes, groups, start, stop, least, scratch, odd, position):
    """Write mean and scatter (the sum of squared deviations from it) of one component of Q rows to scratch[:2 Q].

    odd[position + q] grows where they are not finite, or where squares have vanished: where the mean square is below
    `least`, and deviations are not zero.
    """
    prefer_vector_width()
    each, n = lanes // groups, stop - start
    means, scatters, moved = 0, each, 2 * each
    for q in range(3 * each):
        put_any(scratch, q, 0.0)
    if (stop - 1) // groups == start // groups:
        head = total + start % groups * each
        deviations_of_single_draws(ws, total, head, each, start % groups, (stop - 1) % groups + 1, scratch)
    else:
        head = shift + start % groups * each  # of the lanes with the first draw, whose shift is that
        deviations_of_lanes(ws, shift, total, square, head, each, groups, start, stop, scratch)
    for q in range(each):
        mean, scatter = at_any(scratch, means + q) + np.float64(at_any(ws, head + q)), at_any(scratch, scatters + q)
        vanished = (scatter < n * least) & (at_any(scratch, moved + q) > 0.0)
        put_any(scratch, means + q, mean)
        strange = vanished | (mean - mean != 0.0) | (scatter - scatter != 0.0)
        put_any(odd, position + q, at_any(odd, position + q) + select(strange, 1.0, 0.0))


@njit(**CALLED)
def write_rows(
    ws, shifts, sums, squares, components, lanes, groups, start, stop, least, scratch, odd,
    position, count, means, norms, width, column,
):  # fmt: skip
    """Write means and norms of some components, from `column` on, of the first `count` of Q rows of a batch."""
    each = lanes // groups
    for i in range(components):
        row = i * lanes
        moments_of_rows(
            ws, shifts + row, sums + row, squares + row, lanes, groups, start, stop, least, scratch, odd, position
        )
        for q in range(each):
            put_any(scratch, each + q, np.sqrt(at_any(scratch, each + q)))
        for q in range(count):
            place = (position + q) * width + column + i
            put_any(means, place, at_any(scratch, q))
            put_any(norms, place, at_any(scratch, each + q))


@njit(**CALLED)
def add_rows_of_batch(
    ws, shifts, sums, squares, components, lanes, groups, start, stop, least, scratch, odd,
    position, count, totals, variances, first,
):  # fmt: skip
    """Add means of some components, and the variances of these, over the first `count` of Q rows of a batch."""
    each, n = lanes // groups, np.float64(stop - start)
    for i in range(components):
        row = i * lanes
        moments_of_rows(
            ws, shifts + row, sums + row, squares + row, lanes, groups, start, stop, least, scratch, odd, position
        )
        total, variance = 0.0, 0.0
        for q in range(count):
            total = accumulate(total, at_any(scratch, q))
            variance = accumulate(variance, at_any(scratch, each + q))
        put_any(totals, first + i, at_any(totals, first + i) + total)
        put_any(variances, first + i, at_any(variances, first + i) + variance / (n * (n - 1.0)))
