"""Outer products that are summed over rows of a batch, and their variances, from pairs of draws.

For draws t and s of a row, (x_t y_t - x_s y_s)**2 / 2 is unbiased for the variance of x y, and a mean far from zero
costs no digits of it. Pairs are the draws 2 j and 2 j + 1 of a row, whose lanes lie lanes // groups apart
(`row_lanes`).
"""

from numba import njit

from mcgrad.kernels.intrinsics import accumulate, prefer_vector_width, select
from mcgrad.kernels.jit import CALLED
from mcgrad.kernels.workspace import at, at_any, put_any


@njit(**CALLED)
def mark_odd(ws, first, size, lanes, groups, mask, odd, position):
    """Let odd[position + q] grow where one of `size` rows of lanes is not finite in a draw that counts."""
    each, zero = lanes // groups, ws.dtype.type(0)
    for i in range(size):
        for k in range(groups):
            row = first + i * lanes + k * each
            for q in range(each):
                x = select(at_any(ws, mask + k * each + q) != zero, at_any(ws, row + q), zero)
                put_any(odd, position + q, at_any(odd, position + q) + select(x - x != zero, 1.0, 0.0))


@njit(**CALLED)
def add_products(ws, x, rows, y, columns, lanes, mask, whole, totals, place, share):
    """Add an outer product of rows of lanes to the totals from `place` on, without its variance; see `add_pairs`."""
    prefer_vector_width()
    zero = ws.dtype.type(0)
    for i in range(rows):
        for j in range(columns):
            a, b, total = x + i * lanes, y + j * lanes, zero
            if whole:
                for w in range(lanes):
                    total = accumulate(total, at(ws, a + w) * at(ws, b + w))
            else:
                for w in range(lanes):
                    product = at(ws, a + w) * at(ws, b + w)
                    total = accumulate(total, select(at(ws, mask + w) != zero, product, zero))
            k = place + i * columns + j
            put_any(totals, k, at_any(totals, k) + share * total)


@njit(**CALLED)
def add_pairs(ws, x, rows, y, columns, lanes, groups, mask, whole, totals, variances, place, share, pair_share):
    """Add an outer product of rows of lanes, and the squares of differences in pairs, to the totals from `place` on.

    Each is summed over the lanes that count, and then multiplied by a share; `whole` says that all count. A turn of the
    inner loop takes two pairs: as the lanes carry 2 or 4 draws of each row of the batch, these fill a half of them.
    """
    prefer_vector_width()
    half, other, zero = lanes // groups, lanes // 2 if groups == 4 else lanes // 4, ws.dtype.type(0)
    for i in range(rows):
        a = x + i * lanes
        for j in range(columns):
            b, total, square = y + j * lanes, zero, zero
            if whole:
                for q in range(lanes // 4):
                    first, second = at(ws, a + q) * at(ws, b + q), at(ws, a + half + q) * at(ws, b + half + q)
                    c, d = a + other, b + other
                    third, fourth = at(ws, c + q) * at(ws, d + q), at(ws, c + half + q) * at(ws, d + half + q)
                    total = accumulate(total, (first + second) + (third + fourth))
                    square = accumulate(square, (first - second) ** 2 + (third - fourth) ** 2)
            else:
                for q in range(lanes // 4):
                    for_pair, for_other = mask + q, mask + other + q
                    one, two = at(ws, for_pair) != zero, at(ws, for_pair + half) != zero
                    three, four = at(ws, for_other) != zero, at(ws, for_other + half) != zero
                    first = select(one, at(ws, a + q) * at(ws, b + q), zero)
                    second = select(two, at(ws, a + half + q) * at(ws, b + half + q), zero)
                    c, d = a + other, b + other
                    third = select(three, at(ws, c + q) * at(ws, d + q), zero)
                    fourth = select(four, at(ws, c + half + q) * at(ws, d + half + q), zero)
                    between = select(one & two, first - second, zero)
                    others = select(three & four, third - fourth, zero)
                    total = accumulate(total, (first + second) + (third + fourth))
                    square = accumulate(square, between * between + others * others)
            k = place + i * columns + j
            put_any(totals, k, at_any(totals, k) + share * total)
            put_any(variances, k, at_any(variances, k) + pair_share * square)
