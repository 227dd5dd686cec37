"""Kernels of a run that stays on the device: they write the key of its draws, choose the shift, and make the results.

Sums over draws come from an emitted kernel and `merge`: of each slab of draws `size` sums of deviations from the shift,
as many of their squares, and, where draws are `checked`, the draws used and those that were not finite. What becomes of
constants, factors, fixed entries and what is not finite is as in `mcgrad.engine.epilogue`, which documents the rules.
"""

import math

from numba import float64, int32, int64, types, uint32, uint64

from mcgrad.kernels.device import at, put, subroutine
from mcgrad.kernels.target import cuda

THREADS = 256
OF_ANY = -2  # in `follows`: a component that depends on every number of the value; -1 is one that follows none
NAN = float("nan")
DOUBLES, WHOLES, BYTES = types.CPointer(float64), types.CPointer(int32), types.CPointer(types.uint8)
KEY = types.void(uint32, uint32, types.CPointer(uint32))
ROW_IDS = types.void(types.CPointer(uint32), types.CPointer(uint32), int32, types.CPointer(uint64))


def shift_signature(real):
    """Return the signature of `shift` for a dtype of the shift."""
    return types.void(DOUBLES, int32, int64, int32, types.CPointer(real))


def results_signature(real, result):
    """Return the signature of `results` for dtypes of the shift and of the results."""
    shift, out = types.CPointer(real), types.CPointer(result)
    sums = (DOUBLES, int32, int32, int64, int32, int32, shift, float64, float64)
    parts = (WHOLES, DOUBLES, BYTES, WHOLES, int32, int32, BYTES)
    return types.void(*sums, *parts, out, out, out, types.CPointer(int64), int32)


def key(low, high, words):
    """Write the halves of a seed to memory."""
    if int32(cuda.threadIdx.x) == 0:
        put(words, int32(0), low)
        put(words, int32(1), high)


def bounds_signature(real):
    """Return the signature of `bounds` for a dtype."""
    return types.void(types.CPointer(real), int64, float64, float64, BYTES)


def bounds(x, size, below, above, accepted):
    """Write 0 to accepted[0] unless all of x lies between two numbers; NaN does not."""
    i = int64(cuda.blockIdx.x) * int64(THREADS) + int64(cuda.threadIdx.x)
    while i < size:
        each = float64(at(x, i))
        if not (below < each and each < above):
            put(accepted, int32(0), 0)
        i += int64(cuda.gridDim.x) * int64(THREADS)


def row_ids(low, high, rows, ids):
    """Write the number of each row and, behind it, the seed that is in memory, for kernels over rows."""
    i = int32(cuda.blockIdx.x) * int32(THREADS) + int32(cuda.threadIdx.x)
    if i < rows:
        put(ids, int64(2) * int64(i), uint64(i))
        seed = (uint64(at(high, int32(0))) << uint64(32)) | uint64(at(low, int32(0)))
        put(ids, int64(2) * int64(i) + int64(1), seed)


def shift(totals, size, drawn, checked, shifts):
    """Write the mean of each component over a pilot's draws, whose sums are about zero; 0 where it is not finite."""
    i = int32(cuda.blockIdx.x) * int32(THREADS) + int32(cuda.threadIdx.x)
    if i < size:
        used = float64(drawn)
        if checked != 0:
            used = at(totals, int32(2) * size)
        mean = 0.0
        if used > 0.0:
            mean = at(totals, i) / used
        if not math.isfinite(mean):
            mean = 0.0
        put(shifts, i, mean)


def moments(c, totals, slabs, rows, size, used, shifts, least, floor, sources, known):
    """Return mean and norm of component c, and 1.0 where it is not finite in any draw.

    The norm is NaN where squares have left the range of the sums: `least` and `floor` as in `backends.rescaled`.
    """
    r, factor = at(sources, c), at(known, c)
    if r < 0:
        return factor, 0.0, 0.0 if math.isfinite(factor) else 1.0
    if used == 0.0:
        return NAN, NAN, 0.0
    total, square = 0.0, 0.0
    for slab in range(slabs):
        total += at(totals, int64(slab) * int64(rows) + int64(r))
        square += at(totals, int64(slab) * int64(rows) + int64(size + r))
    slip = total / used
    mean, scatter = float64(at(shifts, r)) + slip, square - total * slip
    if scatter < 0.0:
        scatter = 0.0
    norm = math.sqrt(scatter)
    vanished = norm < math.sqrt(used * least) and abs(mean) < floor and (mean != 0.0 or norm != 0.0)
    if vanished or not math.isfinite(norm):
        norm = NAN
    scaled = mean * factor
    return scaled, norm * abs(factor), 1.0 if math.isfinite(mean) and not math.isfinite(scaled) else 0.0


moments = subroutine(moments, types.UniTuple(float64, 3))


def results(
    totals,
    slabs,
    size,
    drawn,
    checked,
    omit,
    shifts,
    least,
    floor,
    sources,
    known,
    fixed,
    follows,
    components,
    values,
    accepted,
    value,
    others,
    errors,
    nonfinite,
    with_errors,
):
    """Write means, standard errors and the number of draws that were not finite; one block of `THREADS` threads.

    Component c is the random one at `sources[c]`, times the factor `known[c]`, or, where that is negative, `known[c]`
    itself. It is zero where `fixed[c]`. It follows a number of the value, or none, or any: where that is not finite, it
    is NaN. All is NaN where `accepted[0]` is zero. The first `values` means go to `value`, the rest to `others`.
    """
    flags = cuda.shared.array(2, int32)
    thread = int32(cuda.threadIdx.x)
    rows = int32(2) * size + int32(2) * checked
    used, bad = float64(drawn), 0.0
    if checked != 0:
        used = 0.0
        for slab in range(slabs):
            used += at(totals, int64(slab) * int64(rows) + int64(2 * size))
            bad += at(totals, int64(slab) * int64(rows) + int64(2 * size + 1))
    if thread < int32(2):
        put(flags, thread, int32(0))
    cuda.syncthreads()
    c = thread
    while c < components:
        mean, _, whole = moments(c, totals, slabs, rows, size, used, shifts, least, floor, sources, known)
        if at(fixed, c) == 0:
            if whole != 0.0:
                put(flags, int32(0), int32(1))
            if c < values and not math.isfinite(mean):
                put(flags, int32(1), int32(1))
        c = int32(c + int32(THREADS))
    cuda.syncthreads()
    left = used
    if at(flags, int32(0)) != 0:
        bad = used + (bad if omit != 0 else 0.0)
        if omit != 0:
            left = 0.0
    c = thread
    while c < components:
        mean, norm, whole = moments(c, totals, slabs, rows, size, used, shifts, least, floor, sources, known)
        spoiled = left == 0.0 or (at(sources, c) >= 0 and not math.isfinite(mean))
        v = at(follows, c)
        if v >= 0:
            of, _, _ = moments(v, totals, slabs, rows, size, used, shifts, least, floor, sources, known)
            spoiled = spoiled or not math.isfinite(of)
        elif v == OF_ANY:
            spoiled = spoiled or at(flags, int32(1)) != 0
        if at(fixed, c) != 0:
            mean, norm, spoiled = 0.0, 0.0, False
        if spoiled or at(accepted, int32(0)) == 0 or (norm != 0.0 and not math.isfinite(mean)):
            mean, norm = NAN, NAN
        if c < values:
            put(value, c, mean)
        else:
            put(others, c - values, mean)
        if with_errors != 0:
            put(errors, c, norm / math.sqrt((left - 1.0) * left) if left > 1.0 else NAN)
        c = int32(c + int32(THREADS))
    if thread == 0 and with_errors != 0:
        put(nonfinite, int32(0), int64(bad))
