"""Philox4x32, a counter-based random number generator: four 32-bit words from a counter and a key.

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. Ten rounds are the authors'
recommendation (seven pass BigCrush). Pinned by Random123's known answers in the tests.

The words travel in uint64 with rubbish in their upper halves: only the lower halves are ever multiplied or returned.
So every value keeps to its 64-bit lane, and a round is two multiplies, two shifts and four exclusive ors.

As a generator of noise its counter is (component, high, stream, low), with the halves of the group of draws, and its
key the halves of the seed. What changes along a row of draws is the last word of the counter: so the first two rounds
are mostly the same for the whole row, and LLVM takes a sixth of the multiplications out of its loop.
"""

from numba import uint32, uint64

from mcgrad.kernels.intrinsics import wide_product
from mcgrad.kernels.jit import scalar


@scalar
def philox4x32_rounds(rounds, c0, c1, c2, c3, k0, k1):
    """Philox4x32 of counter (c0 .. c3) and key (k0, k1), all uint32; give `rounds` as a literal."""
    c0, c1, c2, c3 = uint64(c0), uint64(c1), uint64(c2), uint64(c3)
    for _ in range(rounds):
        p0, p1 = wide_product(c0, uint64(0xD2511F53)), wide_product(c2, uint64(0xCD9E8D57))
        c0, c1 = (p1 >> uint64(32)) ^ c1 ^ uint64(k0), p1
        c2, c3 = (p0 >> uint64(32)) ^ c3 ^ uint64(k1), p0
        k0, k1 = uint32(k0 + uint32(0x9E3779B9)), uint32(k1 + uint32(0xBB67AE85))
    return uint32(c0), uint32(c1), uint32(c2), uint32(c3)


@scalar
def philox4x32(c0, c1, c2, c3, k0, k1):
    """Philox4x32-10: the four words of counter (c0 .. c3) under key (k0, k1), all uint32."""
    return philox4x32_rounds(10, c0, c1, c2, c3, k0, k1)
