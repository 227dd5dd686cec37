"""Orders in which estimates read the words of the draw contract (docs/draws.md): what the tests of randomness are fed.

An interleaving says of the n-th call of Philox which seed, stream, component and group it is given. To add one, write
that function and a row of `INTERLEAVINGS`; `tests/reliability/test_randomness.py` holds all of them to
`noise/philox.py`, and those that estimates read to `sample`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import count

import numpy as np
from numba import njit, uint32, uint64

from mcgrad.kernels.philox import philox4x32
from mcgrad.noise import philox

BLOCK = 1 << 18  # calls at a time: 4 MB of words
COMPONENTS = 1000  # of the vector in `many components`
LANES = 512  # draws of a row in `lane order`


@dataclass(frozen=True)
class Interleaving:
    """An order of calls.

    Parameters
    ----------
    call : function
        From n, a uint64 (or an array of them), to seed, stream, component and group.
    text : str
        What it stands for.
    lanes : int
        Words that are read together: 4 is the order of the draws. Of more, the first words of lanes / 4 calls come
        first, then the second words, as a kernel keeps them in its rows.
    """

    call: Callable
    text: str
    lanes: int = 4


def one_component(n):
    return 0, 0, 0, n


def many_components(n):
    return 0, 0, n % uint64(COMPONENTS), n // uint64(COMPONENTS)


def all_components(n):
    return 0, 0, n & uint64(0xFFFFFFFF), n >> uint64(32)


def consecutive_seeds(n):
    return n, 0, 0, 0


def high_word_of_the_seed(n):
    return n << uint64(32), 0, 0, 0


def streams(n):
    return 0, n & uint64(0xFFFFFFFF), 0, n >> uint64(32)


def joint(n):
    """Sources of 3, 1 and 4 numbers: streams 0 0 0 1 2 2 2 2, components 0 1 2 0 0 1 2 3, a nibble each."""
    place = uint64(4) * (n & uint64(7))
    stream, component = uint64(0x22221000), uint64(0x32100210)
    return 0, (stream >> place) & uint64(15), (component >> place) & uint64(15), n >> uint64(3)


def groups_beyond_32_bits(n):
    return 0, 0, 0, n + uint64(2**32 - 2**20)


def groups_apart(n):
    return 0, 0, 0, n << uint64(32)


def pilot_streams(n):
    return 0, (n % uint64(5)) << uint64(16), 0, n // uint64(5)


INTERLEAVINGS = {
    "one component": Interleaving(one_component, "all draws of one number"),
    "many components": Interleaving(many_components, f"vectors of {COMPONENTS} numbers, draw by draw"),
    "2^32 components": Interleaving(all_components, "one draw of a vector of 2^32 numbers, then the next"),
    "consecutive seeds": Interleaving(consecutive_seeds, "the first draws of seeds 0, 1, 2, ..."),
    "high word of the seed": Interleaving(high_word_of_the_seed, "the first draws of seeds 0, 2^32, 2 2^32, ..."),
    "streams": Interleaving(streams, "the first draws of streams 0, 1, 2, ..."),
    "joint": Interleaving(joint, "a Joint of sources of 3, 1 and 4 numbers, draw by draw"),
    "groups beyond 2^32": Interleaving(groups_beyond_32_bits, "one number, from 2^20 groups below group 2^32 on"),
    "groups 2^32 apart": Interleaving(groups_apart, "one number, in groups 0, 2^32, 2 2^32, ..."),
    "pilot streams": Interleaving(pilot_streams, "a number, those of the three pilots and of steps in turn"),
    "lane order": Interleaving(one_component, f"all draws of one number as rows of {LANES} lanes hold them", LANES),
}


def words(interleaving, first, calls):
    """Words of the calls first .. first + calls, in the interleaving's order: uint32, 4 calls of them."""
    out = np.empty(4 * calls, np.uint32)
    _filler(interleaving.call)(np.uint64(first), out)
    return reordered(out, interleaving.lanes)


def reference_words(interleaving, first, calls, rounds=10):
    """Words of the same calls in NumPy; fewer rounds are a generator that is known to fail."""
    n = np.uint64(first) + np.arange(calls, dtype=np.uint64)
    seed, stream, component, group = (np.asarray(x, np.uint64) for x in interleaving.call(n))
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    counter, key = (component, group >> half, stream, group & low), (seed & low, seed >> half)
    out = np.stack(np.broadcast_arrays(n, *philox.philox4x32(counter, key, rounds))[1:], axis=-1)
    return reordered(out.astype(np.uint32).ravel(), interleaving.lanes)


def reordered(out, lanes):
    """Give the words in an order in which those of lanes / 4 calls are together: first words, second words, ..."""
    return out if lanes == 4 else out.reshape(-1, lanes // 4, 4).transpose(0, 2, 1).ravel()


def blocks(interleaving, rounds=10, calls=BLOCK):
    """Yield the words without end, a block at a time; fewer rounds by way of NumPy."""
    for first in count(0, calls):
        yield words(interleaving, first, calls) if rounds == 10 else reference_words(interleaving, first, calls, rounds)


@cache
def _filler(call):
    call = njit(inline="always")(call)

    @njit(error_model="numpy", boundscheck=False)
    def fill(first, out):
        for k in range(len(out) // 4):
            seed, stream, component, group = call(first + uint64(k))
            low, high = uint32(group), uint32(uint64(group) >> uint64(32))
            key0, key1 = uint32(seed), uint32(uint64(seed) >> uint64(32))
            w0, w1, w2, w3 = philox4x32(uint32(component), high, uint32(stream), low, key0, key1)
            out[4 * k], out[4 * k + 1], out[4 * k + 2], out[4 * k + 3] = w0, w1, w2, w3

    return fill
