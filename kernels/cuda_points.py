"""Integers of point sets on a GPU, as four words of a group of draws: what `philox4x32` is for independent draws.

The arguments are those of a generator of words: coordinate, the halves of the group of draws, stream, and two words of
a key; here these are the halves of an address, of the replicate's *table* in device memory. A table holds, in uint32
for points of 32 bits and in uint64 for those of 64: how many coordinates it has, what the other coordinates' integers
are made of (the lower and the higher half of the replicate's seed, or all of it), zeros up to `HEADER`, and then a row
for each coordinate, as `src/mcgrad/noise/sobol.py` has it.

Word k is the integer of draw k of a group of four; the words 2 k and 2 k + 1 are the halves of that of draw k of two,
the lower first. The higher half of the group is the number of a row of a batch, which shifts all integers of the row.
"""

from llvmlite import ir
from numba import int64, types, uint32, uint64
from numba.extending import intrinsic

from mcgrad.kernels.device import at
from mcgrad.kernels.intrinsics import select
from mcgrad.kernels.jit import scalar
from mcgrad.kernels.owen import scrambled
from mcgrad.kernels.philox import philox4x32

HEADER = 4  # numbers before the rows
ROW_SHIFTS = uint32(9 << 16)  # stream of the words that shift rows
owen32, owen64 = scrambled.float32, scrambled.float64


def _pointer(element):
    kind = types.CPointer(element)

    @intrinsic
    def pointer(typingctx, low, high):
        """Point to the address with these halves."""
        if low != types.uint32 or high != types.uint32:
            return None

        def codegen(context, builder, signature, args):
            wide = ir.IntType(64)
            upper = builder.shl(builder.zext(args[1], wide), ir.Constant(wide, 32))
            address = builder.or_(upper, builder.zext(args[0], wide))
            return builder.inttoptr(address, context.get_value_type(kind))

        return kind(low, high), codegen

    return pointer


table32, table64 = _pointer(types.uint32), _pointer(types.uint64)


@scalar
def combined32(table, row, low):
    """Exclusive or of W_b over the bits of the first draw of a group of four: those of the group are b - 2.

    Four bits a turn, each a load and an operation that ptxas makes conditional: half the instructions of a bit a turn.
    """
    x, place = uint32(0), row + int64(3)
    while low != uint32(0):
        if low & uint32(1):
            x = uint32(x ^ at(table, place))
        if low & uint32(2):
            x = uint32(x ^ at(table, place + int64(1)))
        if low & uint32(4):
            x = uint32(x ^ at(table, place + int64(2)))
        if low & uint32(8):
            x = uint32(x ^ at(table, place + int64(3)))
        low, place = uint32(low >> uint32(4)), place + int64(4)
    return x


@scalar
def combined64(table, row, low):
    """Exclusive or of W_b over the bits of the first draw of a group of two: those of the group are b - 1."""
    x, place = uint64(0), row + int64(2)
    while low != uint32(0):
        if low & uint32(1):
            x ^= at(table, place)
        if low & uint32(2):
            x ^= at(table, place + int64(1))
        if low & uint32(4):
            x ^= at(table, place + int64(2))
        if low & uint32(8):
            x ^= at(table, place + int64(3))
        low, place = uint32(low >> uint32(4)), place + int64(4)
    return x


@scalar
def shift_of_row(component, high, seed0, seed1):
    """Return two words by which the integers of a row are shifted, lower half first; zeros for row 0."""
    a, b, _, _ = philox4x32(component, uint32(0), ROW_SHIFTS, high, seed0, seed1)
    return select(high == uint32(0), uint32(0), a), select(high == uint32(0), uint32(0), b)


@scalar
def sobol32(component, high, stream, low, key0, key1):
    """Integers of 32 bits of a group of four draws, with a matrix scramble."""
    table = table32(key0, key1)
    seed0, seed1 = at(table, 1), at(table, 2)
    if component >= at(table, 0):
        return philox4x32(component, high, stream, low, seed0, seed1)
    row = int64(HEADER) + int64(component) * int64(33)
    shift, _ = shift_of_row(component, high, seed0, seed1)
    x = uint32(combined32(table, row, low) ^ at(table, row) ^ shift)
    w0, w1 = at(table, row + 1), at(table, row + 2)
    return x, uint32(x ^ w0), uint32(x ^ w1), uint32(x ^ w0 ^ w1)


@scalar
def sobol_owen32(component, high, stream, low, key0, key1):
    """Integers of 32 bits of a group of four draws, with Owen's scramble."""
    table = table32(key0, key1)
    seed0, seed1 = at(table, 1), at(table, 2)
    if component >= at(table, 0):
        return philox4x32(component, high, stream, low, seed0, seed1)
    row = int64(HEADER) + int64(component) * int64(33)
    shift, _ = shift_of_row(component, high, seed0, seed1)
    x, key = combined32(table, row, low), at(table, row)
    w0, w1 = at(table, row + 1), at(table, row + 2)
    return (
        uint32(owen32(x, key) ^ shift),
        uint32(owen32(uint32(x ^ w0), key) ^ shift),
        uint32(owen32(uint32(x ^ w1), key) ^ shift),
        uint32(owen32(uint32(x ^ w0 ^ w1), key) ^ shift),
    )


@scalar
def halves(x, y, shift0, shift1):
    """Return the halves of two integers of 64 bits, lower ones first, each with its shift."""
    return (
        uint32(uint32(x) ^ shift0),
        uint32(uint32(x >> uint64(32)) ^ shift1),
        uint32(uint32(y) ^ shift0),
        uint32(uint32(y >> uint64(32)) ^ shift1),
    )


@scalar
def sobol64(component, high, stream, low, key0, key1):
    """Integers of 64 bits of a group of two draws, with a matrix scramble, as halves."""
    table = table64(key0, key1)
    seed0, seed1 = uint32(at(table, 1)), uint32(at(table, 1) >> uint64(32))
    if uint64(component) >= at(table, 0):
        return philox4x32(component, high, stream, low, seed0, seed1)
    row = int64(HEADER) + int64(component) * int64(65)
    shift0, shift1 = shift_of_row(component, high, seed0, seed1)
    x = combined64(table, row, low) ^ at(table, row)
    return halves(x, x ^ at(table, row + 1), shift0, shift1)


@scalar
def sobol_owen64(component, high, stream, low, key0, key1):
    """Integers of 64 bits of a group of two draws, with Owen's scramble, as halves."""
    table = table64(key0, key1)
    seed0, seed1 = uint32(at(table, 1)), uint32(at(table, 1) >> uint64(32))
    if uint64(component) >= at(table, 0):
        return philox4x32(component, high, stream, low, seed0, seed1)
    row = int64(HEADER) + int64(component) * int64(65)
    shift0, shift1 = shift_of_row(component, high, seed0, seed1)
    x, key = combined64(table, row, low), at(table, row)
    return halves(owen64(x, key), owen64(x ^ at(table, row + 1), key), shift0, shift1)
