"""Fill one row of a workspace with noise of a point set: integers of a replicate's points, made numbers by inversion.

What they do is the draw contract, Sobol' points (docs/draws.md); `noise_fill.py` has the order in a row. All fillers:
ws is a C-contiguous 1-D array, ws[first : first + lanes] is filled, lanes a power of two of at least 16; place is the
first group of draws, a uint64, whose first draw is a multiple of lanes and whose upper half is the number of a row of
a batch; component is the coordinate, stream that of coordinates without points, both uint32; key0 is the table of the
replicate in one dimension, of uint32 (float64: uint64): for each coordinate its shift, or the key of its hash, and its
numbers W_b, one for each bit; key1 is a uint32 array: how many coordinates the table has, and the halves of the
replicate's seed.

Point i is an exclusive or of W_b over the bits b that are 1 in i. So the points of a row are made of its first by
doubling, each time with one W_b: one exclusive or a number. Until then a row holds the bits of integers. Normals are by
the formula for tails that are not small, unless the row has a small tail: one of 16 rows of 512 lanes.
"""

from numba import njit, uint32, uint64

from mcgrad.kernels import formats, owen, point_laws
from mcgrad.kernels.cuda_points import ROW_SHIFTS
from mcgrad.kernels.intrinsics import align_stack, prefer_vector_width, select
from mcgrad.kernels.jit import CALLED, INLINED, LOOP, lane
from mcgrad.kernels.philox import philox4x32
from mcgrad.kernels.widths import FLOAT32, FLOAT64
from mcgrad.kernels.workspace import at, at_constant, put

words = lane(philox4x32)


def integers(width):
    """Make (load, store) of the integers in a row."""
    uint, sint = formats.uint.at(width), formats.sint.at(width)
    float_bits, bits_float = formats.float_bits.at(width), formats.bits_float.at(width)

    @njit(**INLINED)
    def load(ws, index):
        return uint(float_bits(at(ws, index)))

    @njit(**INLINED)
    def store(ws, index, k):
        put(ws, index, bits_float(sint(k)))

    return load, store


def points(width, bits, each):
    """Make the function that fills a row with what W_b make of the numbers of its draws, and of a first number."""
    uint = formats.uint.at(width)
    load, store = integers(width)

    @njit(**INLINED)
    def double(ws, first, size, number):
        prefer_vector_width()
        for q in range(size):
            store(ws, first + size + q, uint(load(ws, first + q) ^ number))

    @njit(**CALLED)
    def fill(ws, first, lanes, place, component, key0, start):
        numbers, groups = component * (1 + bits) + 1, lanes // each
        low, b, size = uint32(place), each // 2, 1
        while size < groups:  # the bits that change in the row
            low, b, size = uint32(low >> uint32(1)), b + 1, 2 * size
        while low != uint32(0):
            start = select((low & uint32(1)) != uint32(0), uint(start ^ at_constant(key0, numbers + b)), start)
            low, b = uint32(low >> uint32(1)), b + 1
        store(ws, first, start)
        b, size = each // 2, 1
        while size < groups:
            double(ws, first, size, at_constant(key0, numbers + b))
            b, size = b + 1, 2 * size
        for b in range(each // 2):
            double(ws, first, size, at_constant(key0, numbers + b))
            size = 2 * size

    return fill


def random32(width):
    """Make the function that fills a float32 row with the integers of a coordinate that has no points."""
    _, store = integers(width)

    @njit(**CALLED)
    def fill(ws, first, lanes, place, component, stream, key1):
        prefer_vector_width()
        low, high, quarter = uint32(place), uint32(place >> uint64(32)), lanes // 4
        seed_low, seed_high = at_constant(key1, 1), at_constant(key1, 2)
        for q in range(quarter):
            a, b, c, d = words(component, high, stream, uint32(low + uint32(q)), seed_low, seed_high)
            store(ws, first + q, a)
            store(ws, first + quarter + q, b)
            store(ws, first + 2 * quarter + q, c)
            store(ws, first + 3 * quarter + q, d)

    return fill


def random64(width):
    """Make the same for a float64 row: words are halves, the lower one first."""
    _, store = integers(width)

    @njit(**CALLED)
    def fill(ws, first, lanes, place, component, stream, key1):
        prefer_vector_width()
        low, high, half = uint32(place), uint32(place >> uint64(32)), lanes // 2
        seed_low, seed_high = at_constant(key1, 1), at_constant(key1, 2)
        for q in range(half):
            a, b, c, d = words(component, high, stream, uint32(low + uint32(q)), seed_low, seed_high)
            store(ws, first + q, (uint64(b) << uint64(32)) | uint64(a))
            store(ws, first + half + q, (uint64(d) << uint64(32)) | uint64(c))

    return fill


def shift_of_row(width, bits):
    """Make the function that gives what is added to the integers of a row of a batch: nothing in row 0."""
    uint = formats.uint.at(width)

    @njit(**INLINED)
    def shift(place, component, key1):
        row = uint32(place >> uint64(32))
        if row == uint32(0):
            return uint(0)
        a, b, _, _ = words(component, uint32(0), ROW_SHIFTS, row, at_constant(key1, 1), at_constant(key1, 2))
        return uint(a) if bits == 32 else uint(uint64(a) | (uint64(b) << uint64(32)))

    return shift


def uniforms(width):
    """Make the law of a row: its integers into uniforms."""
    load, _ = integers(width)
    number = lane(point_laws.inverse_uniform.at(width))

    @njit(**CALLED)
    def law(ws, first, lanes):
        prefer_vector_width()
        for i in range(lanes):
            put(ws, first + i, number(load(ws, first + i)))

    return law


def normals(width, bits):
    """Make the law of a row: its integers into standard normals."""
    uint = formats.uint.at(width)
    load, _ = integers(width)
    inside, anywhere = lane(point_laws.inverse_normal_inside.at(width)), lane(point_laws.inverse_normal.at(width))
    small = 1 << (bits - 14)  # integers nearer to an end have tails smaller than FEWEST

    @njit(**CALLED)
    def law(ws, first, lanes):
        prefer_vector_width()
        align_stack()
        least = uint(2 * small)
        for i in range(lanes):
            moved = uint(load(ws, first + i) + uint(small))  # less than 2 small near both ends
            least = select(moved < least, moved, least)
        if least < uint(2 * small):
            for i in range(lanes):
                put(ws, first + i, anywhere(load(ws, first + i)))
        else:
            for i in range(lanes):
                put(ws, first + i, inside(load(ws, first + i)))

    return law


def matrix_scrambled(width, bits, law):
    """Make the filler of points whose scramble is in their table: a row of it begins with the shift."""
    uint, place_points, random, shift = formats.uint.at(width), POINTS[bits], OTHER[bits], SHIFT[bits]

    @njit(**LOOP)
    def point_row(ws, first, lanes, place, component, stream, key0, key1):
        prefer_vector_width()
        if component < at_constant(key1, 0):
            start = uint(at_constant(key0, component * (1 + bits)) ^ shift(place, component, key1))
            place_points(ws, first, lanes, place, component, key0, start)
        else:
            random(ws, first, lanes, place, component, stream, key1)
        law(ws, first, lanes)

    return point_row


def owen_scrambled(width, bits, law):
    """Make the filler of points that are scrambled by a hash: a row of the table begins with its key."""
    uint, place_points, random, shift = formats.uint.at(width), POINTS[bits], OTHER[bits], SHIFT[bits]
    load, store = integers(width)
    scrambled = lane(owen.scrambled.at(width))

    @njit(**LOOP)
    def owen_row(ws, first, lanes, place, component, stream, key0, key1):
        prefer_vector_width()
        if component < at_constant(key1, 0):
            key, moved = at_constant(key0, component * (1 + bits)), shift(place, component, key1)
            place_points(ws, first, lanes, place, component, key0, uint(0))
            for i in range(lanes):
                store(ws, first + i, uint(scrambled(load(ws, first + i), key) ^ moved))
        else:
            random(ws, first, lanes, place, component, stream, key1)
        law(ws, first, lanes)

    return owen_row


# What several fillers call is compiled once.
POINTS = {32: points(FLOAT32, 32, 4), 64: points(FLOAT64, 64, 2)}
OTHER = {32: random32(FLOAT32), 64: random64(FLOAT64)}
SHIFT = {32: shift_of_row(FLOAT32, 32), 64: shift_of_row(FLOAT64, 64)}
UNIFORMS = {32: uniforms(FLOAT32), 64: uniforms(FLOAT64)}
NORMALS = {32: normals(FLOAT32, 32), 64: normals(FLOAT64, 64)}
sobol_uniform_row32 = matrix_scrambled(FLOAT32, 32, UNIFORMS[32])
sobol_normal_row32 = matrix_scrambled(FLOAT32, 32, NORMALS[32])
sobol_uniform_row64 = matrix_scrambled(FLOAT64, 64, UNIFORMS[64])
sobol_normal_row64 = matrix_scrambled(FLOAT64, 64, NORMALS[64])
sobol_owen_uniform_row32 = owen_scrambled(FLOAT32, 32, UNIFORMS[32])
sobol_owen_normal_row32 = owen_scrambled(FLOAT32, 32, NORMALS[32])
sobol_owen_uniform_row64 = owen_scrambled(FLOAT64, 64, UNIFORMS[64])
sobol_owen_normal_row64 = owen_scrambled(FLOAT64, 64, NORMALS[64])
