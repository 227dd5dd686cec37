"""The formats of float32 and float64, for functions of both widths: bits as integers of the same size, constants."""

import numpy as np
from numba import int32, int64, uint32, uint64

from mcgrad.kernels.intrinsics import bits_float32, bits_float64, float_bits32, float_bits64
from mcgrad.kernels.widths import by_width

real = by_width(np.float32, np.float64)
# Numba makes 64 bits of sums, products and shifts of integers of 32, so that these are cast at each step.
sint, uint = by_width(int32, int64), by_width(uint32, uint64)
float_bits, bits_float = by_width(float_bits32, float_bits64), by_width(bits_float32, bits_float64)
FRACTION = by_width(23, 52)  # bits of the fraction; those of the exponent and the sign are above them
FRACTION_MASK = by_width(0x007FFFFF, 0x000FFFFFFFFFFFFF)
ONE = by_width(0x3F800000, 0x3FF0000000000000)  # bits of 1.0
WHOLE = by_width(0x4B000000, 0x4330000000000000)  # bits of 2**23 (float64: 2**52): with n in the low bits, n more
MAGIC = by_width(1.5 * 2.0**23, 1.5 * 2.0**52)  # x + MAGIC has the nearest integer of a moderate x in its low bits
