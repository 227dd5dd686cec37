"""Fill the workspaces of draws, one after the other, with noise: consecutive components of each draw are neighbours.

The numbers are those of `noise_fill`, in another order: there neighbours are draws of one component, for blocks of many
draws, here components of one draw, for few draws of many components.

All fillers: ws is a C-contiguous 1-D array; the components of draw d are ws[first + d * stride :][: count]. Groups of
4 draws (float32) or 2 (float64) are filled, `low` to `high` of those that begin with group `base`, a uint64; stream,
key0 and key1 are uint32.
"""

from numba import int32, int64, njit, uint32, uint64

from mcgrad.kernels.intrinsics import (
    bits_float32,
    bits_float64,
    float_bits32,
    float_bits64,
    prefer_vector_width,
    square_root,
)
from mcgrad.kernels.jit import LOOP, lane
from mcgrad.kernels.noise_fill import direction64, normal_pair32, radius_squared64, uniform32, uniform64
from mcgrad.kernels.philox import philox4x32
from mcgrad.kernels.workspace import at, put

words = lane(philox4x32)


@njit(**LOOP)
def uniform_elements32(ws, first, stride, count, base, low, high, stream, key0, key1):
    """Fill float32 workspaces with uniforms."""
    prefer_vector_width()
    for g in range(low, high):
        group = base + uint64(g)
        lower, upper, place = uint32(group), uint32(group >> uint64(32)), first + 4 * g * stride
        for i in range(count):
            a, b, c, d = words(uint32(i), upper, stream, lower, key0, key1)
            put(ws, place + i, uniform32(a))
            put(ws, place + stride + i, uniform32(b))
            put(ws, place + 2 * stride + i, uniform32(c))
            put(ws, place + 3 * stride + i, uniform32(d))


@njit(**LOOP)
def normal_elements32(ws, first, stride, count, base, low, high, stream, key0, key1):
    """Fill float32 workspaces with standard normals."""
    prefer_vector_width()
    for g in range(low, high):
        group = base + uint64(g)
        lower, upper, place = uint32(group), uint32(group >> uint64(32)), first + 4 * g * stride
        for i in range(count):
            a, b, c, d = words(uint32(i), upper, stream, lower, key0, key1)
            put(ws, place + i, bits_float32(int32(a)))
            put(ws, place + stride + i, bits_float32(int32(b)))
            put(ws, place + 2 * stride + i, bits_float32(int32(c)))
            put(ws, place + 3 * stride + i, bits_float32(int32(d)))
        for start in range(place, place + 4 * stride, 2 * stride):
            for i in range(count):
                a, b = float_bits32(at(ws, start + i)), float_bits32(at(ws, start + stride + i))
                cos, sin = normal_pair32(uint32(a), uint32(b))
                put(ws, start + i, cos)
                put(ws, start + stride + i, sin)


@njit(**LOOP)
def uniform_elements64(ws, first, stride, count, base, low, high, stream, key0, key1):
    """Fill float64 workspaces with uniforms."""
    prefer_vector_width()
    for g in range(low, high):
        group = base + uint64(g)
        lower, upper, place = uint32(group), uint32(group >> uint64(32)), first + 2 * g * stride
        for i in range(count):
            a, b, c, d = words(uint32(i), upper, stream, lower, key0, key1)
            put(ws, place + i, uniform64(a, b))
            put(ws, place + stride + i, uniform64(c, d))


@njit(**LOOP)
def normal_elements64(ws, first, stride, count, base, low, high, stream, key0, key1):
    """Fill float64 workspaces with standard normals."""
    prefer_vector_width()
    for g in range(low, high):
        group = base + uint64(g)
        lower, upper, place = uint32(group), uint32(group >> uint64(32)), first + 2 * g * stride
        for i in range(count):
            a, b, c, d = words(uint32(i), upper, stream, lower, key0, key1)
            put(ws, place + i, bits_float64(int64((uint64(a) << uint64(32)) | uint64(b))))
            put(ws, place + stride + i, bits_float64(int64((uint64(c) << uint64(32)) | uint64(d))))
        for i in range(count):
            ab = uint64(float_bits64(at(ws, place + i)))
            put(ws, place + i, radius_squared64(uint32(ab >> uint64(32)), uint32(ab)))
        for i in range(count):
            radius, cd = square_root(at(ws, place + i)), uint64(float_bits64(at(ws, place + stride + i)))
            cos, sin = direction64(uint32(cd >> uint64(32)), uint32(cd))
            put(ws, place + i, radius * cos)
            put(ws, place + stride + i, radius * sin)
