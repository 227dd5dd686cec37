"""Moments of scatters: of an array of which a draw has a few elements at places of its own, and zero elsewhere.

A loop over all elements for each draw would be the most of the work. Here the elements that a draw has, its *hits*, are
added about the shift and counted by place, and once for a range of draws what the others have: so many draws whose
element there is zero. For a range of draws there is a part of the workspace with the number of draws that count, then
the hits of each place, then, where a draw has several elements, one number for each place, in which they are added up.
"""

import numpy as np
from numba import njit

from mcgrad.kernels.jit import CALLED
from mcgrad.kernels.workspace import at_any, put_any

COUNTED = 1 << 23  # draws, from which on misses are added and counts begin anew: float32 counts to twice as many


@njit(**CALLED)
def start_hits(ws, first, length):
    """Set the part of the workspace to zero."""
    for i in range(first, first + length):
        put_any(ws, i, ws.dtype.type(0))


@njit(**CALLED)
def _add(value, place, hits, ws, shift, sums, squares, output):
    """Add an element that is not zero about the shift of its place."""
    difference = np.float64(value) - np.float64(at_any(shift, output + place))
    put_any(sums, output + place, at_any(sums, output + place) + difference)
    put_any(squares, output + place, at_any(squares, output + place) + difference * difference)
    put_any(ws, hits + place, at_any(ws, hits + place) + ws.dtype.type(1))


@njit(**CALLED)
def add_misses(ws, first, size, shift, sums, squares, output):
    """Add the zeros of all draws that have no element at a place, about the shift."""
    counted = np.float64(at_any(ws, first))
    for i in range(size if counted else 0):  # a call over no draws, which compiles a kernel, has no arrays to write to
        zeros = counted - np.float64(at_any(ws, first + 1 + i))
        mean = np.float64(at_any(shift, output + i))
        put_any(sums, output + i, at_any(sums, output + i) - zeros * mean)
        put_any(squares, output + i, at_any(squares, output + i) + zeros * mean * mean)


@njit(**CALLED)
def add_hits(ws, elements, places, count, lanes, mask, first, size, shift, sums, squares, output):
    """Add the elements of the draws of a block that count: `count` rows of lanes, and as many of their places.

    Elements that a draw has at the same place are one: they are added up first, and a sum of zero is no hit.
    """
    hits, zero = first + 1, ws.dtype.type(0)
    parts = hits + size
    if at_any(ws, first) >= COUNTED:
        add_misses(ws, first, size, shift, sums, squares, output)
        start_hits(ws, first, 1 + size)
    for w in range(lanes):
        if at_any(ws, mask + w) != zero:
            put_any(ws, first, at_any(ws, first) + ws.dtype.type(1))
            if count == 1:
                value = at_any(ws, elements + w)
                if value != zero:
                    _add(value, np.int64(at_any(ws, places + w)), hits, ws, shift, sums, squares, output)
            else:
                for i in range(count):
                    place = parts + np.int64(at_any(ws, places + i * lanes + w))
                    put_any(ws, place, at_any(ws, place) + at_any(ws, elements + i * lanes + w))
                for i in range(count):
                    place = np.int64(at_any(ws, places + i * lanes + w))
                    value = at_any(ws, parts + place)
                    if value != zero:
                        _add(value, place, hits, ws, shift, sums, squares, output)
                        put_any(ws, parts + place, zero)
