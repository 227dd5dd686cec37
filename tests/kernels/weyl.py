"""A generator for tests: draw i of component j is frac(i a_j + s); a_j 2**32 is odd, s of the seed and the stream."""

import numpy as np
from numba import uint32

from mcgrad.kernels.jit import scalar

GOLDEN = 0x9E3779B9


@scalar
def weyl32(component, high, stream, low, key0, key1):
    """Draws 4 group .. 4 group + 3, a word each."""
    step = uint32(uint32(uint32(2) * component + uint32(1)) * uint32(GOLDEN))
    w0 = uint32(uint32(uint32(4) * low) * step + key0 + stream)
    w1 = uint32(w0 + step)
    w2 = uint32(w1 + step)
    return w0, w1, w2, uint32(w2 + step)


@scalar
def weyl64(component, high, stream, low, key0, key1):
    """Draws 2 group and 2 group + 1, two words each, the lower half first."""
    step = uint32(uint32(uint32(2) * component + uint32(1)) * uint32(GOLDEN))
    first = uint32(uint32(uint32(2) * low) * step + key0 + stream)
    return uint32(0), first, uint32(0), uint32(first + step)


def words(seed, stream, components, groups, each):
    """The reference."""
    step = (2 * np.asarray(components, np.uint64) + 1) * np.uint64(GOLDEN)
    first = np.asarray(groups, np.uint64) * np.uint64(each)
    draws = [((first + np.uint64(k)) * step + np.uint64(seed % 2**32 + stream)).astype(np.uint32) for k in range(each)]
    return tuple(draws) if each == 4 else (0 * draws[0], draws[0], 0 * draws[1], draws[1])
