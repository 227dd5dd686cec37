"""Sobol' points in NumPy: the reference, bit for bit, of the kernels (docs/draws.md).

Point i of a coordinate is the exclusive or of numbers W_b over the bits b that are 1 in i. With W_0 = V_0 and
W_b = V_b ^ V_{b-1}, V the direction numbers, it is the i-th point in the order of the Gray code, which starts with
index 0. A scramble changes the numbers W_b of each coordinate on the host, once a replicate, into a *table*, of which a
point is made in the same way. So a replicate is a sequence of its own, and its seed is all that tells it from others.

- ``"sobol"``: a linear matrix scramble (Matousek) and a digital shift. A row of the table is the shift, then the
  scrambled W_b; a point is the shift ^ W_b ...
- ``"sobol_owen"``: a nested uniform scramble (Owen) by a hash. A row is a key, then the W_b with their bits in reverse
  order; a point is the reverse of the hash of W_b ^ ..., under the key.

Points have 32 or 64 bits; those of 32 bits are the first halves of those of 64.

References
----------
J. Matousek, On the L2-discrepancy for anchored boxes, J. Complexity 14, 527-556, 1998. A. B. Owen, Randomly permuted
(t, m, s)-nets and (t, s)-sequences, in Monte Carlo and Quasi-Monte Carlo Methods in Scientific Computing, 1995. S.
Laine and T. Karras, Stratified sampling for stochastic transparency, Computer Graphics Forum 30, 2011: the form of the
hash. B. Burley, Practical hash-based Owen scrambling, JCGT 9(4), 2020: its use here. N. Vegdahl, Building a better LK
hash, 2021: its constants in 32 bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.noise import philox
from mcgrad.noise.directions import DIMENSIONS, directions
from mcgrad.noise.replicates import seeds_of_replicates
from mcgrad.noise.streams import OWEN_KEYS, ROW_SHIFTS, SCRAMBLES

Array = npt.NDArray[Any]
Seed = int | npt.NDArray[np.uint64]  # of a replicate, or of several

WORDS: dict[int, np.dtype[Any]] = {32: np.dtype(np.uint32), 64: np.dtype(np.uint64)}
COORDINATES = DIMENSIONS  # beyond these there are no points
HASH = 0xECC847B93D20ADEA, 0x46E2578905526C56, 0xB9D2F21953A22864  # the lower halves are Vegdahl's

_HALF = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)
_TOGETHER = 1024  # coordinates of replicates that are scrambled at once
_REVERSED = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little"), axis=1)[:, 0]


def seed_of_replicate(seed: int, replicate: int) -> int:
    """Return the seed of a replicate, by its number: one of `seeds_of_replicates`.

    Parameters
    ----------
    seed : int
        Of the estimate, 0 .. 2**64 - 1.
    replicate : int
        Its number, from 0 on.
    """
    return int(seeds_of_replicates(seed, replicate, 1)[0])


def table(seed: Seed, coordinates: int, bits: int) -> Array:
    """Return the table of coordinates 0 .. coordinates - 1 of a replicate, by matrix scramble and digital shift.

    Parameters
    ----------
    seed : int or uint64 array
        Of the replicate (`seed_of_replicate`), or of several: one call for all takes a fraction of the time.
    coordinates : int
        Up to `COORDINATES`.
    bits : {32, 64}

    Returns
    -------
    uint32 or uint64 array, shape (*seed.shape, coordinates, 1 + bits)
        The shift, then W_b. A row does not depend on how many there are.
    """
    return table_of(seed, np.arange(coordinates), bits)


def owen_table(seed: Seed, coordinates: int, bits: int) -> Array:
    """Return the table of a replicate with Owen's scramble, as `table`: a row is the key, then W_b in reverse."""
    return owen_table_of(seed, np.arange(coordinates), bits)


def unscrambled(coordinates: Array, bits: int) -> Array:
    """Return the table of points that no scramble changes, of some coordinates: a shift of 0, then W_b."""
    W = _sequence(coordinates, bits)
    return np.concatenate([np.zeros_like(W[:, :1]), W], axis=1)


def table_of(seed: Seed, coordinates: Array, bits: int) -> Array:
    """Return the rows of some coordinates of `table`.

    Random number 0 of a coordinate is its shift. Random number q + 1 makes column q of its matrix, which says what
    digit q of a number adds to the scrambled one: digits before q are 0, digit q is 1, those after it are the number's.
    """
    W = _sequence(coordinates, bits).T[:, None]  # axes: b, replicates, coordinates
    seeds = np.asarray(seed, np.uint64).reshape(-1)
    out = np.empty((len(seeds), len(coordinates), 1 + bits), WORDS[bits])
    together = max(1, _TOGETHER // max(1, len(coordinates)))  # so many replicates fit into a cache
    for begin in range(0, len(seeds), together):
        some = slice(begin, begin + together)
        out[some] = _scrambled(W, _random(seeds[some], coordinates, bits))
    return out.reshape(*np.shape(seed), len(coordinates), 1 + bits)


def owen_table_of(seed: Seed, coordinates: Array, bits: int) -> Array:
    """Return the rows of some coordinates of `owen_table`; the key is the first two words of a stream of Philox."""
    seeds = np.asarray(seed, np.uint64)[..., None]
    low, high, *_ = (word.astype(np.uint64) for word in philox.words(seeds, OWEN_KEYS, coordinates, 0, 4))
    key = (low if bits == 32 else high << _HALF | low).astype(WORDS[bits])[..., None]
    reversed_sequence = reverse(_sequence(coordinates, bits))
    return np.concatenate([key, np.broadcast_to(reversed_sequence, (*key.shape[:-1], bits))], axis=-1)


def points(rows: Array, first: int, n: int) -> Array:
    """Return points first .. first + n - 1, of 2**bits, as integers, by rows of `table`: shape (coordinates, n)."""
    return _combined(rows[:, 1:], first, n) ^ rows[:, :1]


def owen_points(rows: Array, first: int, n: int) -> Array:
    """Return points first .. first + n - 1, of 2**bits, as integers, by rows of `owen_table`: (coordinates, n)."""
    return reverse(owen_hash(_combined(rows[:, 1:], first, n), rows[:, :1]))


def shifts_of_row(seed: int, coordinates: Array, row: int, bits: int) -> Array:
    """Return what the points of a row of a batch, but for row 0, are shifted by: their exclusive or with these numbers.

    So rows share the scramble of a replicate, and the errors of their means are uncorrelated, as each shift by itself
    makes points uniform.

    Parameters
    ----------
    seed : int
        Of the replicate.
    coordinates : int array
    row : int
    bits : {32, 64}
    """
    low, high, *_ = (word.astype(np.uint64) for word in philox.words(seed, ROW_SHIFTS, coordinates, row, 4))
    return (low if bits == 32 else high << _HALF | low).astype(WORDS[bits])


def owen_hash(x: Array, key: Array) -> Array:
    """Scramble the digits of numbers in reverse order: a nested scramble, a hash of each digit and those before it.

    Whether bit k changes depends on the key and the bits below k. In 64 bits the lower halves are what 32 bits give.

    Parameters
    ----------
    x, key : uint32 or uint64 arrays
    """
    word = x.dtype.type
    first, second, third = (word(constant & (1 << 8 * x.dtype.itemsize) - 1) for constant in HASH)
    low = key & word(_LOW)
    factor = (key ^ low) | (low >> word(16)) | word(1)
    x = x ^ (x * first)
    x = (x + key) * factor
    x = x ^ (x * second)
    x = x ^ (x * third)
    return x


def reverse(x: Array) -> Array:
    """Return the numbers with their bits in reverse order."""
    return _REVERSED[x.byteswap().view(np.uint8)].view(x.dtype)


def _sequence(coordinates: Array, bits: int) -> Array:
    """Return W_b, which add up to points in the order of the Gray code: shape (coordinates, bits)."""
    V = directions(coordinates)
    W = V.copy()
    W[:, 1:] ^= V[:, :-1]
    return W if bits == 64 else (W[:, :32] >> _HALF).astype(np.uint32)


def _scrambled(W: Array, random: Array) -> Array:
    """Return the tables of replicates by their random numbers, which have the shape (replicates, coordinates, bits)."""
    bits, word = len(W), W.dtype.type
    columns = np.ascontiguousarray(np.moveaxis(random, -1, 0))
    out = np.zeros((1 + bits, *columns.shape[1:]), W.dtype)
    out[0] = columns[0]
    for q in range(bits):
        digit = word(1) << word(bits - 1 - q)
        column = digit | (columns[q + 1] & (digit - word(1))) if q + 1 < bits else digit
        has_digit = word(0) - ((W[q:] >> word(bits - 1 - q)) & word(1))  # all ones; no W_b with b < q has it
        out[1 + q :] ^= has_digit & column
    return np.moveaxis(out, 0, -1)


def _random(seeds: Array, coordinates: Array, bits: int) -> Array:
    """Return the random numbers of the scramble, one a digit: shape (replicates, coordinates, bits).

    The upper halves of the first 32 are the words of groups 0 .. 7; those of the others have no use, and are 0. The
    lower halves are the words of groups 8 .. 23.
    """
    four = philox.words(seeds[:, None, None], SCRAMBLES, coordinates[:, None], np.arange(8 if bits == 32 else 24), 4)
    words = np.stack(four, axis=-1).reshape(len(seeds), len(coordinates), -1)
    if bits == 32:
        return words
    out = words[..., 32:].astype(np.uint64)
    out[..., :32] |= words[..., :32].astype(np.uint64) << _HALF
    return out


def _combined(W: Array, first: int, n: int) -> Array:
    """Return the exclusive or of W_b over the bits of the indices first .. first + n - 1: shape (coordinates, n)."""
    low = min(10, max(n - 1, 0).bit_length())  # the range in aligned blocks of 2**low
    inside = np.zeros((len(W), 1), W.dtype)
    for b in range(low):
        inside = np.concatenate([inside, inside ^ W[:, b, None]], axis=1)
    begin, end = first >> low, -(-(first + n) >> low)
    blocks = np.zeros((len(W), end - begin), W.dtype)
    numbers = np.uint64(begin) + np.arange(end - begin, dtype=np.uint64)
    for b in range(low, (first + n - 1).bit_length()):
        blocks ^= (0 - (numbers >> np.uint64(b - low) & np.uint64(1))).astype(W.dtype) & W[:, b, None]
    out = (blocks[:, :, None] ^ inside[:, None]).reshape(len(W), -1)
    return out[:, first - (begin << low) :][:, :n]
