"""Rows of a batch on a GPU: moments that threads put together, and kernels that merge parts and add up rows.

A *part* is some draws of one row. Its partial is `width(components)` numbers: the mean of each component, then its
scatter (the sum of squared deviations from the mean), the draws used, and those that were not finite. All orders of
additions depend on the numbers of draws, parts and rows alone.
"""

import math
from functools import partial

import numpy as np
from numba import boolean, float64, int32, int64, types

from mcgrad.kernels.device import ALL, WARP, at, put, subroutine
from mcgrad.kernels.intrinsics import select
from mcgrad.kernels.target import cuda

THREADS = 256  # of a block of `merge_rows` and of `add_rows`
TABLE = 2 * THREADS
SIDE = 32  # components of a block of `add_rows`
TOGETHER = 256  # rows of a block of `add_rows`
real_pointer, int_pointer = types.CPointer(float64), types.CPointer(int32)


@subroutine
def team_sum(x, team):
    """Sum over the `team` threads that have the draws of one part, in each of them; `team` is a power of two."""
    step = int32(team >> int32(1))
    while step > 0:
        x += cuda.shfl_xor_sync(ALL, x, step)
        step = int32(step >> int32(1))
    return x


@subroutine
def first_of_team(x, team):
    """Return what the first thread of a team has."""
    lane = int32(int32(cuda.threadIdx.x) % int32(WARP))
    return cuda.shfl_sync(ALL, x, int32(lane - lane % team))


@partial(subroutine, result=types.void)
def put_moments(out, first, component, components, team, mine, used, shift, total, square):
    """Write mean and scatter of one component of a part, from the sums of each of its threads.

    Parameters
    ----------
    out : pointer to float64
    first : int64
        Where the partial starts; negative in threads without a part.
    component, components, team : int32
    mine, used : float64
        Draws of the thread, and of all threads of the team.
    shift, total, square : real
        The thread's shift, and its sums of deviations from that and of their squares.
    """
    common = first_of_team(float64(shift), team)
    away, sum_ = float64(shift) - common, float64(total)
    moved = mine * away
    sum_, squares = sum_ + moved, float64(square) + away * (sum_ + sum_ + moved)
    total_ = team_sum(select(mine > 0.0, sum_, 0.0), team)
    scatter = team_sum(select(mine > 0.0, squares, 0.0), team)
    mean = total_ / max(used, 1.0)
    scatter = scatter - total_ * mean
    if first >= 0 and int32(cuda.threadIdx.x) % team == component % team:
        put(out, first + int64(component), common + mean)
        put(out, first + int64(components + component), select(scatter < 0.0, 0.0, scatter))


MERGE_SIGNATURE = types.void(
    real_pointer, int32, int32, int32, boolean, float64, float64, int_pointer, int32, real_pointer
)


def merge_rows(partials, rows, parts, components, omit, least, floor, columns, width, results):
    """Merge the parts of each row and component, in order; one thread does one component of a row.

    Parameters
    ----------
    partials : pointer to float64
        Of all parts of all rows. After them a number for each row, zero before, is set to 1 where squares of a
        component did not keep their digits, as `exponents` in `backends/rescaled.py` has it. Where a component is
        summed over the rows, its mean and the variance of this replace those of the row's first part.
    rows, parts, components : int32
    omit : bool
    least, floor : float64
        See `backends/rescaled.Range`.
    columns : pointer to int32
        The column of each component in the results, or a negative number where it is summed over the rows.
    width : int32
        Columns of the results.
    results : pointer to float64
        Filled: means and norms (rows x width each), draws used, draws that are not finite, and 1 or 0 as after the
        partials (a number for each row).
    """
    place = int64(cuda.blockIdx.x) * int64(THREADS) + int64(cuda.threadIdx.x)
    if place < int64(rows) * int64(components):
        row, k = place // int64(components), int32(place % int64(components))
        size = int64(2 * components + 2)
        start = row * int64(parts) * size
        used, nonfinite, mean, scatter = 0.0, 0.0, 0.0, 0.0
        for part in range(parts):
            first = start + int64(part) * size
            more = at(partials, first + int64(2 * components))
            nonfinite += at(partials, first + int64(2 * components + 1))
            if more > 0.0:
                theirs, spread = at(partials, first + int64(k)), at(partials, first + int64(components + k))
                if used == 0.0:
                    mean, scatter = theirs, spread
                else:
                    away, share = theirs - mean, more / (used + more)
                    mean, scatter = mean + away * share, scatter + spread + away * away * (used * share)
                used += more
        if used == 0.0:
            mean, scatter = np.nan, np.nan
        elif used == 1.0 and scatter == scatter:
            scatter = 0.0
        finite, spreads = mean - mean == 0.0, scatter - scatter == 0.0
        odd = not spreads and (finite or omit or nonfinite == 0.0)
        odd = odd or (scatter < used * least and abs(mean) < floor and (mean != 0.0 or scatter != 0.0))
        column, each = at(columns, k), int64(rows)
        if column >= 0:
            put(results, row * int64(width) + int64(column), mean)
            put(results, (each + row) * int64(width) + int64(column), math.sqrt(scatter))
        else:
            variance = np.nan
            if used > 1.0:
                variance = scatter / (used * (used - 1.0))
            put(partials, start + int64(k), mean)
            put(partials, start + int64(components + k), variance)
        rest = 2 * each * int64(width)
        if k == 0:
            put(results, rest + row, used)
            put(results, rest + each + row, nonfinite)
        if used > 0.0 and odd:
            put(partials, each * int64(parts) * size + row, 1.0)
            put(results, rest + 2 * each + row, 1.0)


ADD_SIGNATURE = types.void(real_pointer, int32, int32, int32, int_pointer, int32, real_pointer)


def add_rows(partials, rows, parts, components, places, count, totals):
    """Add up means, and the variances of these, over the rows that are not marked; a block has some of each.

    Parameters
    ----------
    partials : pointer to float64
        As `merge_rows` leaves them.
    rows, parts, components : int32
    places : pointer to int32
        Which components are summed.
    count : int32
        How many.
    totals : pointer to float64
        Filled: for each `TOGETHER` rows `count` sums of means, then as many of variances.
    """
    table = cuda.shared.array(TABLE, float64)
    tiles, thread = int32((count + SIDE - 1) // SIDE), int32(cuda.threadIdx.x)
    tile, group = int32(int32(cuda.blockIdx.x) % tiles), int32(int32(cuda.blockIdx.x) // tiles)
    own, line = int32(tile * SIDE + thread % SIDE), int32(thread // SIDE)
    size = int64(2 * components + 2)
    total, variance = 0.0, 0.0
    if own < count:
        k = at(places, own)
        row = int32(group * TOGETHER + line)
        while row < min(int32((group + 1) * TOGETHER), rows):
            if at(partials, int64(rows) * int64(parts) * size + int64(row)) == 0.0:
                start = int64(row) * int64(parts) * size
                total += at(partials, start + int64(k))
                variance += at(partials, start + int64(components + k))
            row = int32(row + THREADS // SIDE)
    put(table, thread, total)
    put(table, int32(THREADS + thread), variance)
    cuda.syncthreads()
    if line == 0 and own < count:
        total, variance = 0.0, 0.0
        for other in range(THREADS // SIDE):
            total += at(table, int32(other * SIDE + thread))
            variance += at(table, int32(THREADS + other * SIDE + thread))
        put(totals, int64(2 * group) * int64(count) + int64(own), total)
        put(totals, int64(2 * group + 1) * int64(count) + int64(own), variance)
