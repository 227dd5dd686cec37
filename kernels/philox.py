"""Philox4x32, a counter-based random number generator: four 32-bit words from a counter and a key.

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. Ten rounds are the authors'
recommendation (seven pass BigCrush). Pinned by Random123's known answers in the tests.
"""

from numba import uint32, uint64

from mcgrad.kernels.jit import scalar



@scalar
def philox4x32_rounds(rounds, c0, c1, c2, c3, k0, k1):
    """`rounds` rounds on counter (c0 .. c3) and key (k0, k1), all uint32; give `rounds` as a literal."""
    for _ in range(rounds):
        p0, p1 = uint64(c0) * uint64(0xD2511F53), uint64(c2) * uint64(0xCD9E8D57)
        c0, c2 = uint32(uint32(p1 >> uint64(32)) ^ c1 ^ k0), uint32(uint32(p0 >> uint64(32)) ^ c3 ^ k1)
        c1, c3 = uint32(p1 & uint64(0xFFFFFFFF)), uint32(p0 & uint64(0xFFFFFFFF))
        k0, k1 = uint32(k0 + uint32(0x9E3779B9)), uint32(k1 + uint32(0xBB67AE85))
    return c0, c1, c2, c3


@scalar
def philox4x32(c0, c1, c2, c3, k0, k1):
    """Philox4x32-10: the four words of counter (c0 .. c3) under key (k0, k1), all uint32."""
    return philox4x32_rounds(10, c0, c1, c2, c3, k0, k1)
