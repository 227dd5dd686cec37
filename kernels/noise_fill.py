"""Fill one row of a workspace with noise: a generator's words, made uniforms or normals by a law.

A generator is a scalar function (component, high, stream, low, key0, key1) -> four words, all uint32: of the halves of
the group of draws, the halves of the seed, the index of the noise source and that of a component of it. A law is one of
the functions below, which make a filler of a generator; what they do is the draw contract, version 2 (docs/draws.md).
The table at the end has the fillers that emitted code calls.

Four words serve a group of 4 draws in float32 (group = draw // 4) and of 2 in float64 (group = draw // 2). Uniforms:
word k serves draw 4 group + k of a float32 row; words (0, 1) as (lo, hi) make draw 2 group of a float64 row, words
(2, 3) draw 2 group + 1. Normals by Box and Muller, for generators with independent words: in float32 words (0, 1) make
draws 0 and 1 of a group (cos, sin), words (2, 3) draws 2 and 3; in float64 all four words make both draws (cos, sin).

Order in a row, so that every store is contiguous: with Q = lanes // 4, lane k Q + q holds draw 4 (group + q) + k of a
float32 row; with H = lanes // 2, lane k H + q holds draw 2 (group + q) + k of a float64 row. Where lanes carry rows of
a batch (`of_rows`, `of_seeds`), they hold draws 4 group + k (2 group + k) of the q-th of these; where they carry two of
the four draws of a group (`of_pairs`), with H = lanes // 2, lane k H + q holds draw 4 group + k, or 4 group + 2 + k.

Normals are made in two loops (float64: three), the words first and kept in the row itself: one loop for all would wait
on the chain of Philox's ten rounds, then on those of the logarithm and the root, as no processor looks far enough ahead
to overlap the next turn.

All fillers: ws is a C-contiguous 1-D array, ws[first : first + lanes] is filled, lanes a multiple of 64; place is the
first group of draws, a uint64 whose lower half does not overflow within the row (it does not where the first draw is a
multiple of a power-of-two number of lanes), or what `of_rows` says; component, stream, key0 and key1 are uint32, but
what `of_seeds` says of the last two. Those of rows of a batch fill the rows of so many components, neighbours from
`component` and `first` on: their loops over one row are short.
"""

from numba import int32, int64, njit, uint32, uint64

from mcgrad.kernels import noise32, noise64
from mcgrad.kernels.intrinsics import (
    bits_float32,
    bits_float64,
    float_bits32,
    float_bits64,
    prefer_vector_width,
    select,
    square_root,
)
from mcgrad.kernels.jit import INLINED, LOOP, lane
from mcgrad.kernels.philox import philox4x32
from mcgrad.kernels.workspace import at, put

uniform32, normal_pair32 = lane(noise32.uniform), lane(noise32.normal_pair)
uniform64, radius_squared64, direction64 = map(lane, (noise64.uniform, noise64.radius_squared, noise64.direction))


def of_draws(words):
    """Take the words of consecutive groups of draws: `place` is the first of these."""

    @njit(**INLINED)
    def words_of_group(place, q, component, stream, key0, key1):
        low, high = uint32(place), uint32(place >> uint64(32))
        return words(component, high, stream, uint32(low + uint32(q)), key0, key1)

    return words_of_group


def of_rows(words):
    """Take the words of one group of draws in each of some rows of a batch.

    `place` is an array of uint32 with the numbers of the rows, the position of the first, and the lower half of the
    group's number, whose higher half is the number of the row (docs/draws.md).
    """

    @njit(**INLINED)
    def words_of_row(place, q, component, stream, key0, key1):
        numbers, first, low = place
        return words(component, at(numbers, first + q), stream, low, key0, key1)

    return words_of_row


def of_seeds(words):
    """Take the words of one group of draws in each of some rows that have seeds of their own.

    `place` is as `of_rows` has it; key0 and key1 are arrays of uint32 with those of each row.
    """

    @njit(**INLINED)
    def words_of_seed(place, q, component, stream, key0, key1):
        numbers, first, low = place
        row = first + q
        return words(component, at(numbers, row), stream, low, at(key0, row), at(key1, row))

    return words_of_seed


def of_pairs(words):
    """Take two of the four words of a group of draws in each of some rows of a batch, by which it has two draws.

    `place` is that of `of_rows`, and whether these are the second two.
    """
    words_of_row = of_rows(words)

    @njit(**INLINED)
    def words_of_pair(place, q, component, stream, key0, key1):
        numbers, first, low, second = place
        a, b, c, d = words_of_row((numbers, first, low), q, component, stream, key0, key1)
        return select(second, c, a), select(second, d, b)

    return words_of_pair


def options(places):
    """Options of a filler; that of one row of draws is made of it before anything is compiled."""
    return {"inline": "always"} if places is of_draws else LOOP


def one_row(fill):
    """Make the filler of one row, of one of some rows."""

    @njit(**LOOP)
    def row(ws, first, lanes, place, component, stream, key0, key1):
        prefer_vector_width()
        fill(ws, first, lanes, 1, place, component, stream, key0, key1)

    return row


def uniforms32(generator, places=of_draws):
    """Make the filler of float32 rows with uniforms of a generator's words."""
    words = places(lane(generator))

    @njit(**options(places))
    def uniform_rows32(ws, first, lanes, components, place, component, stream, key0, key1):
        prefer_vector_width()
        quarter = lanes // 4
        for i in range(components):
            row = first + i * lanes
            for q in range(quarter):
                a, b, c, d = words(place, q, uint32(component + uint32(i)), stream, key0, key1)
                put(ws, row + q, uniform32(a))
                put(ws, row + quarter + q, uniform32(b))
                put(ws, row + 2 * quarter + q, uniform32(c))
                put(ws, row + 3 * quarter + q, uniform32(d))

    return one_row(uniform_rows32) if places is of_draws else uniform_rows32


def uniform_pairs32(generator):
    """Make the filler of float32 rows with uniforms where lanes carry two draws of each row of a batch."""
    words = of_pairs(lane(generator))

    @njit(**LOOP)
    def uniform_pair_rows32(ws, first, lanes, components, place, component, stream, key0, key1):
        prefer_vector_width()
        half = lanes // 2
        for i in range(components):
            row = first + i * lanes
            for q in range(half):
                a, b = words(place, q, uint32(component + uint32(i)), stream, key0, key1)
                put(ws, row + q, uniform32(a))
                put(ws, row + half + q, uniform32(b))

    return uniform_pair_rows32


def uniforms64(generator, places=of_draws):
    """Make the filler of float64 rows with uniforms of a generator's words."""
    words = places(lane(generator))

    @njit(**options(places))
    def uniform_rows64(ws, first, lanes, components, place, component, stream, key0, key1):
        prefer_vector_width()
        half = lanes // 2
        for i in range(components):
            row = first + i * lanes
            for q in range(half):
                a, b, c, d = words(place, q, uint32(component + uint32(i)), stream, key0, key1)
                put(ws, row + q, uniform64(a, b))
                put(ws, row + half + q, uniform64(c, d))

    return one_row(uniform_rows64) if places is of_draws else uniform_rows64


def box_muller32(generator, places=of_draws):
    """Make the filler of float32 rows with standard normals of a generator's words."""
    words = places(lane(generator))

    @njit(**options(places))
    def normal_rows32(ws, first, lanes, components, place, component, stream, key0, key1):
        prefer_vector_width()
        quarter = lanes // 4
        for i in range(components):
            row = first + i * lanes
            for q in range(quarter):
                a, b, c, d = words(place, q, uint32(component + uint32(i)), stream, key0, key1)
                put(ws, row + q, bits_float32(int32(a)))
                put(ws, row + quarter + q, bits_float32(int32(b)))
                put(ws, row + 2 * quarter + q, bits_float32(int32(c)))
                put(ws, row + 3 * quarter + q, bits_float32(int32(d)))
        for start in range(first, first + components * lanes, 2 * quarter):
            for q in range(quarter):
                a, b = float_bits32(at(ws, start + q)), float_bits32(at(ws, start + quarter + q))
                cos, sin = normal_pair32(uint32(a), uint32(b))
                put(ws, start + q, cos)
                put(ws, start + quarter + q, sin)

    return one_row(normal_rows32) if places is of_draws else normal_rows32


def box_muller_pairs32(generator):
    """Make the filler of float32 rows with standard normals where lanes carry two draws of each row of a batch."""
    words = of_pairs(lane(generator))

    @njit(**LOOP)
    def normal_pair_rows32(ws, first, lanes, components, place, component, stream, key0, key1):
        prefer_vector_width()
        half = lanes // 2
        for i in range(components):
            row = first + i * lanes
            for q in range(half):
                a, b = words(place, q, uint32(component + uint32(i)), stream, key0, key1)
                put(ws, row + q, bits_float32(int32(a)))
                put(ws, row + half + q, bits_float32(int32(b)))
        for row in range(first, first + components * lanes, lanes):
            for q in range(half):
                a, b = float_bits32(at(ws, row + q)), float_bits32(at(ws, row + half + q))
                cos, sin = normal_pair32(uint32(a), uint32(b))
                put(ws, row + q, cos)
                put(ws, row + half + q, sin)

    return normal_pair_rows32


def box_muller64(generator, places=of_draws):
    """Make the filler of float64 rows with standard normals of a generator's words."""
    words = places(lane(generator))

    @njit(**options(places))
    def normal_rows64(ws, first, lanes, components, place, component, stream, key0, key1):
        prefer_vector_width()
        half = lanes // 2
        for i in range(components):
            row = first + i * lanes
            for q in range(half):
                a, b, c, d = words(place, q, uint32(component + uint32(i)), stream, key0, key1)
                # a and c on top: LLVM makes a 64-bit multiply of b << 32, as b is the lower half of a product
                put(ws, row + q, bits_float64(int64((uint64(a) << uint64(32)) | uint64(b))))
                put(ws, row + half + q, bits_float64(int64((uint64(c) << uint64(32)) | uint64(d))))
        for row in range(first, first + components * lanes, lanes):
            for q in range(half):
                ab = uint64(float_bits64(at(ws, row + q)))
                put(ws, row + q, radius_squared64(uint32(ab >> uint64(32)), uint32(ab)))
            for q in range(half):
                radius, cd = square_root(at(ws, row + q)), uint64(float_bits64(at(ws, row + half + q)))
                cos, sin = direction64(uint32(cd >> uint64(32)), uint32(cd))
                put(ws, row + q, radius * cos)
                put(ws, row + half + q, radius * sin)

    return one_row(normal_rows64) if places is of_draws else normal_rows64


uniform_row32, normal_row32 = uniforms32(philox4x32), box_muller32(philox4x32)
uniform_row64, normal_row64 = uniforms64(philox4x32), box_muller64(philox4x32)
uniform_batch_rows32, normal_batch_rows32 = uniforms32(philox4x32, of_rows), box_muller32(philox4x32, of_rows)
uniform_pair_rows32, normal_pair_rows32 = uniform_pairs32(philox4x32), box_muller_pairs32(philox4x32)
uniform_batch_rows64, normal_batch_rows64 = uniforms64(philox4x32, of_rows), box_muller64(philox4x32, of_rows)
uniform_seeds_rows32, normal_seeds_rows32 = uniforms32(philox4x32, of_seeds), box_muller32(philox4x32, of_seeds)
uniform_seeds_rows64, normal_seeds_rows64 = uniforms64(philox4x32, of_seeds), box_muller64(philox4x32, of_seeds)
