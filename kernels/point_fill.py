"""Fill one row of a workspace with noise from the points of a replicate: integers, made into numbers by inversion.

What they do is the draw contract, part "Sobol' points" (docs/draws.md). `noise_fill.py` has the order in a row, and the
arguments, but that `component` is the coordinate, `key0` the table of the replicate as one array (of uint32, or of
uint64 for points of 64 bits), each row of which is a coordinate's shift or key and then its numbers W_b, and that
`key1` holds how many coordinates the table has and the halves of the replicate's seed.

Point i is an exclusive or of W_b over the bits b of i. Rows start at multiples of their length, a power of two: so all
their points are made of the first by doubling, each time with one W_b, an exclusive or a number.
"""

from numba import int32, int64, njit, uint32, uint64

from mcgrad.kernels import point_laws
from mcgrad.kernels.cuda_points import ROW_SHIFTS, owen32, owen64
from mcgrad.kernels.intrinsics import bits_float32, bits_float64, float_bits32, float_bits64, prefer_vector_width
from mcgrad.kernels.jit import INLINED, LOOP, lane
from mcgrad.kernels.philox import philox4x32
from mcgrad.kernels.workspace import at, put

words = lane(philox4x32)
scrambled32, scrambled64 = lane(owen32), lane(owen64)


@njit(**INLINED)
def double32(ws, first, size, number):
    """Fill the next `size` lanes with those before, changed by a number."""
    for q in range(size):
        put(ws, first + size + q, bits_float32(int32(uint32(float_bits32(at(ws, first + q))) ^ number)))


@njit(**INLINED)
def double64(ws, first, size, number):
    """The same for integers of 64 bits."""
    for q in range(size):
        put(ws, first + size + q, bits_float64(int64(uint64(float_bits64(at(ws, first + q))) ^ number)))


@njit(**INLINED)
def place32(ws, first, lanes, place, component, stream, key0, key1):
    """Fill a row with the points of 32 bits of a coordinate, but for its shift or hash."""
    row, quarter = int64(component) * int64(33), lanes // 4
    x, low, b = uint32(0), uint32(place), int64(2)
    while low != uint32(0):
        if low & uint32(1):
            x = uint32(x ^ key0[row + int64(1) + b])
        low, b = uint32(low >> uint32(1)), b + int64(1)
    put(ws, first, bits_float32(int32(x)))
    size, b = 1, int64(2)
    while size < quarter:
        double32(ws, first, size, key0[row + int64(1) + b])
        size, b = 2 * size, b + int64(1)
    double32(ws, first, quarter, key0[row + int64(1)])
    double32(ws, first, 2 * quarter, key0[row + int64(2)])


@njit(**INLINED)
def place64(ws, first, lanes, place, component, stream, key0, key1):
    """Fill a row with the points of 64 bits of a coordinate, but for its shift or hash."""
    row, half = int64(component) * int64(65), lanes // 2
    x, low, b = uint64(0), uint32(place), int64(1)
    while low != uint32(0):
        if low & uint32(1):
            x = uint64(x ^ key0[row + int64(1) + b])
        low, b = uint32(low >> uint32(1)), b + int64(1)
    put(ws, first, bits_float64(int64(x)))
    size, b = 1, int64(1)
    while size < half:
        double64(ws, first, size, key0[row + int64(1) + b])
        size, b = 2 * size, b + int64(1)
    double64(ws, first, half, key0[row + int64(1)])


@njit(**INLINED)
def random32(ws, first, lanes, place, component, stream, key1):
    """Fill a row with the integers of a coordinate that has no points."""
    low, high, quarter = uint32(place), uint32(place >> uint64(32)), lanes // 4
    for q in range(quarter):
        a, b, c, d = words(component, high, stream, uint32(low + uint32(q)), key1[1], key1[2])
        put(ws, first + q, bits_float32(int32(a)))
        put(ws, first + quarter + q, bits_float32(int32(b)))
        put(ws, first + 2 * quarter + q, bits_float32(int32(c)))
        put(ws, first + 3 * quarter + q, bits_float32(int32(d)))


@njit(**INLINED)
def random64(ws, first, lanes, place, component, stream, key1):
    """The same with integers of 64 bits."""
    low, high, half = uint32(place), uint32(place >> uint64(32)), lanes // 2
    for q in range(half):
        a, b, c, d = words(component, high, stream, uint32(low + uint32(q)), key1[1], key1[2])
        put(ws, first + q, bits_float64(int64((uint64(b) << uint64(32)) | uint64(a))))
        put(ws, first + half + q, bits_float64(int64((uint64(d) << uint64(32)) | uint64(c))))


@njit(**INLINED)
def shift_of_row(place, component, key1):
    """Return by what the integers of a row of a batch are shifted: nothing in row 0."""
    high = uint32(place >> uint64(32))
    if high == uint32(0):
        return uint64(0)
    a, b, _, _ = words(component, uint32(0), ROW_SHIFTS, high, key1[1], key1[2])
    return (uint64(b) << uint64(32)) | uint64(a)


def filler32(law, owen):
    """Make the filler of float32 rows with the numbers that a law makes of integers."""
    number = lane(law)

    @njit(**LOOP)
    def fill32(ws, first, lanes, place, component, stream, key0, key1):
        prefer_vector_width()
        if component < key1[0]:
            place32(ws, first, lanes, place, component, stream, key0, key1)
            own, shift = key0[int64(component) * int64(33)], uint32(shift_of_row(place, component, key1))
            if owen:
                for i in range(lanes):
                    k = scrambled32(uint32(float_bits32(at(ws, first + i))), own)
                    put(ws, first + i, bits_float32(int32(uint32(k ^ shift))))
                own, shift = uint32(0), uint32(0)
            total = uint32(own ^ shift)
            for i in range(lanes):
                put(ws, first + i, number(uint32(uint32(float_bits32(at(ws, first + i))) ^ total)))
        else:
            random32(ws, first, lanes, place, component, stream, key1)
            for i in range(lanes):
                put(ws, first + i, number(uint32(float_bits32(at(ws, first + i)))))

    return fill32


def filler64(law, owen):
    """Make the filler of float64 rows with the numbers that a law makes of integers."""
    number = lane(law)

    @njit(**LOOP)
    def fill64(ws, first, lanes, place, component, stream, key0, key1):
        prefer_vector_width()
        if uint64(component) < uint64(key1[0]):
            place64(ws, first, lanes, place, component, stream, key0, key1)
            own, shift = key0[int64(component) * int64(65)], shift_of_row(place, component, key1)
            if owen:
                for i in range(lanes):
                    k = scrambled64(uint64(float_bits64(at(ws, first + i))), own)
                    put(ws, first + i, bits_float64(int64(uint64(k ^ shift))))
                own, shift = uint64(0), uint64(0)
            total = uint64(own ^ shift)
            for i in range(lanes):
                put(ws, first + i, number(uint64(uint64(float_bits64(at(ws, first + i))) ^ total)))
        else:
            random64(ws, first, lanes, place, component, stream, key1)
            for i in range(lanes):
                put(ws, first + i, number(uint64(float_bits64(at(ws, first + i)))))

    return fill64


UNIFORM32, NORMAL32 = point_laws.inverse_uniform32, point_laws.inverse_normal32
UNIFORM64, NORMAL64 = point_laws.inverse_uniform64, point_laws.inverse_normal64
sobol_uniform_row32, sobol_normal_row32 = filler32(UNIFORM32, False), filler32(NORMAL32, False)
sobol_uniform_row64, sobol_normal_row64 = filler64(UNIFORM64, False), filler64(NORMAL64, False)
sobol_owen_uniform_row32, sobol_owen_normal_row32 = filler32(UNIFORM32, True), filler32(NORMAL32, True)
sobol_owen_uniform_row64, sobol_owen_normal_row64 = filler64(UNIFORM64, True), filler64(NORMAL64, True)
