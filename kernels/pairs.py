"""Factors of outer products that are summed over rows of a batch: masked, and multiplied within pairs of draws.

For draws t and s of a row, (x_t y_t - x_s y_s)**2 / 2 is unbiased for the variance of x y. It is the mean of the two
squares less the product of x_t x_s and y_t y_s: so sums over many pairs are products of matrices. Pairs are the draws
2 j and 2 j + 1 of a row, whose lanes lie lanes // groups apart (`row_lanes`).
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
def multiply_pairs(ws, target, first, size, lanes, groups):
    """Write the products of both draws of each pair: rows of half as many numbers."""
    each = lanes // groups
    for i in range(size * (groups // 2)):
        for q in range(each):
            source = first + 2 * i * each + q
            put_any(ws, target + i * each + q, at_any(ws, source) * at_any(ws, source + each))


@njit(**CALLED)
def square_pairs(ws, first, size, lanes, groups, mask):
    """Square rows of lanes in place, with zero for draws that are without the other draw of their pair."""
    each, zero = lanes // groups, ws.dtype.type(0)
    for i in range(size):
        for k in range(groups):
            row, other = first + i * lanes + k * each, mask + (k ^ 1) * each
            for q in range(each):
                x = at_any(ws, row + q)
                put_any(ws, row + q, select(at_any(ws, other + q) != zero, x * x, zero))


@njit(**CALLED)
def add_scaled(target, first, ws, source, count, factor):
    """Add `count` elements of the workspace, times a factor."""
    for i in range(count):
        put_any(target, first + i, at_any(target, first + i) + factor * at_any(ws, source + i))
