"""Factors of outer products that are summed over rows of a batch: masked, and split within pairs of draws.

For draws t and s of a row, (x_t y_t - x_s y_s)**2 / 2 is unbiased for the variance of x y. With the differences dx, dy
of the two draws and their means mx, my it is (dx my + mx dy)**2 / 2, the half of dx**2 my**2 + mx**2 dy**2 +
2 (dx mx) (dy my): so sums over many pairs are products of matrices, and a mean far from zero costs no digits. Pairs are
the draws 2 j and 2 j + 1 of a row, whose lanes lie lanes // groups apart (`row_lanes`).
"""

from numba import njit

from mcgrad.kernels.intrinsics import select
from mcgrad.kernels.jit import CALLED
from mcgrad.kernels.workspace import at_any, put_any


@njit(**CALLED)
def copy_counted(ws, target, first, size, lanes, groups, mask, odd, position):
    """Copy rows of lanes with zero in those that do not count; odd[position + q] grows where one is not finite."""
    each, zero = lanes // groups, ws.dtype.type(0)
    for i in range(size):
        for k in range(groups):
            row = i * lanes + k * each
            for q in range(each):
                counts = at_any(ws, mask + k * each + q) != zero
                x = select(counts, at_any(ws, first + row + q), zero)
                put_any(ws, target + row + q, x)
                put_any(odd, position + q, at_any(odd, position + q) + select(x - x != zero, 1.0, 0.0))


@njit(**CALLED)
def split_pairs(ws, first, size, target, lanes, groups, mask, second):
    """Write squares of the differences and of the means of pairs in place, and their products to `target`.

    In the place of the first draw of a pair is the square of the difference, or of the mean with `second`, and in that
    of the other draw the other square. All are zero for draws that are without the other draw of their pair.
    """
    each, zero, half = lanes // groups, ws.dtype.type(0), ws.dtype.type(0.5)
    for i in range(size * (groups // 2)):
        own = mask + i % (groups // 2) * 2 * each
        for q in range(each):
            place = first + 2 * i * each + q
            x, y = at_any(ws, place), at_any(ws, place + each)
            both = (at_any(ws, own + q) != zero) & (at_any(ws, own + each + q) != zero)
            difference, mean = select(both, x - y, zero), select(both, half * (x + y), zero)
            put_any(ws, target + i * each + q, difference * mean)
            put_any(ws, place, select(second, mean * mean, difference * difference))
            put_any(ws, place + each, select(second, difference * difference, mean * mean))


@njit(**CALLED)
def add_scaled(target, first, ws, source, count, factor):
    """Add `count` elements of the workspace, times a factor."""
    for i in range(count):
        put_any(target, first + i, at_any(target, first + i) + factor * at_any(ws, source + i))
