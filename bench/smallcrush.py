"""The ten tests of SmallCrush, with its statistics, sizes and bits: written after L'Ecuyer and Simard, without TestU01.

It runs wherever mcgrad does, and smaller in the tests. That it is SmallCrush, `smallcrush_known.py` shows: on a
generator for which TestU01's output is published it reads the same words and finds the same statistics. Each test
takes a `Reader` and its sizes, and returns a `Result` by statistic. Bits are counted from the most significant: a test
that skips 20 bits and takes 10 reads bits 20 to 29 of each word.

Sources: L'Ecuyer and Simard, "TestU01: a C library for empirical testing of random number generators", ACM TOMS 33(4),
2007. Knuth, The Art of Computer Programming 2, 3.3.2. Marsaglia, "A current view of random number generators", 1985.
"""

from dataclasses import dataclass
from itertools import count

import numpy as np
from numba import int64, njit, uint32
from scipy import special, stats

LEAST = 10.0  # counts expected in a cell of a chi-squared test, or it is joined with its neighbours
CHUNK = 1 << 22  # words at a time


class Reader:
    """Words of an iterator of uint32 blocks, in order.

    Parameters
    ----------
    blocks : iterator of uint32 arrays
    reverse : bool
        Whether each word is read from its least significant bit: tests look at high bits more than at low ones.
    """

    def __init__(self, blocks, reverse=False):
        self.blocks, self.reverse, self.rest = iter(blocks), reverse, np.empty(0, np.uint32)
        self.read = 0

    def take(self, n):
        """Next n words."""
        parts, have = [self.rest], len(self.rest)
        while have < n:
            block = next(self.blocks)
            parts.append(reversed_bits(block) if self.reverse else block)
            have += len(block)
        whole = np.concatenate(parts) if len(parts) > 1 else self.rest
        self.rest, self.read = whole[n:], self.read + n
        return whole[:n]

    def bits(self, n, skip, count):
        """`count` bits of each of the next n words, as uint32."""
        return (self.take(n) << np.uint32(skip)) >> np.uint32(32 - count)

    def tables(self, rows, columns, skip, count):
        """Yield (m, columns) tables of bits until there were `rows` rows."""
        for start in range(0, rows, step := max(1, CHUNK // columns)):
            m = min(step, rows - start)
            yield self.bits(m * columns, skip, count).reshape(m, columns)


def reversed_bits(words):
    """Words with their bits in the opposite order."""
    for shift, mask in ((1, 0x55555555), (2, 0x33333333), (4, 0x0F0F0F0F), (8, 0x00FF00FF), (16, 0x0000FFFF)):
        mask, shift = np.uint32(mask), np.uint32(shift)
        words = ((words >> shift) & mask) | ((words & mask) << shift)
    return words


def two_sided(left, right):
    """Twice the lesser of P(X <= x) and P(X >= x)."""
    return float(min(1.0, 2 * min(left, right)))


@dataclass(frozen=True)
class Result:
    """What a test found: the statistic, its two-sided p-value, and the degrees of freedom of a chi-squared one."""

    statistic: float
    p: float
    freedom: int | None = None


def poisson(count, mean):
    return Result(count, two_sided(stats.poisson.cdf(count, mean), stats.poisson.sf(count - 1, mean)))


def chi_squared(counts, probabilities):
    """Pearson's statistic, its degrees of freedom and two-sided p-value.

    Cells are joined from left to right until `LEAST` counts are expected in each; what is left joins the last.
    """
    expected = np.asarray(probabilities) * np.sum(counts)
    group, due, cell = np.empty(len(expected), int), 0.0, 0
    for k, more in enumerate(expected.tolist()):
        group[k], due = cell, due + more
        if due >= LEAST:
            due, cell = 0.0, cell + 1
    group = np.minimum(group, max(cell - 1, 0))
    seen, due = np.bincount(group, counts), np.bincount(group, expected)
    x, free = float(np.sum((seen - due) ** 2 / due)), len(due) - 1
    return Result(x, two_sided(special.gammainc(free / 2, x / 2), special.gammaincc(free / 2, x / 2)), free)


def birthday_spacings(reader, n=5_000_000, bits=30):
    """Equal spacings of n sorted points of a square grid with 2^(2 bits) cells: nearly Poisson."""
    pairs = np.concatenate(list(reader.tables(n, 2, 0, bits))).astype(np.uint64)
    points = np.sort((pairs[:, 0] << np.uint64(bits)) | pairs[:, 1])
    spacings = np.sort(np.diff(points))
    return {"spacings": poisson(int(np.sum(spacings[1:] == spacings[:-1])), n**3 / 4.0 / 4.0**bits)}


def collision(reader, n=5_000_000, bits=16):
    """Points that fall into a cell that holds one already, of 2^(2 bits): nearly Poisson, as the cells are many."""
    pairs = np.concatenate(list(reader.tables(n, 2, 0, bits))).astype(np.uint32)
    points = np.sort((pairs[:, 0] << np.uint32(bits)) | pairs[:, 1])
    k = 4.0**bits
    mean = n + k * np.expm1(n * np.log1p(-1 / k))
    return {"collisions": poisson(int(np.sum(points[1:] == points[:-1])), mean)}


def gap(reader, n=200_000, skip=22, bits=10, below=4):
    """Numbers between two that are less than `below` / 2^bits: geometric."""
    p, ends, found = below / 2**bits, [np.array([-1])], 0
    step = min(CHUNK, int(1.1 * n / p))
    for start in count(0, step):
        hits = np.flatnonzero(reader.bits(step, skip, bits) < below)
        ends.append(hits + start)
        found += len(hits)
        if found >= n:
            break
    gaps = np.diff(np.concatenate(ends)[: n + 1]) - 1
    most = int(np.ceil(np.log(LEAST / n / p) / np.log1p(-p)))
    probabilities = p * (1 - p) ** np.arange(most)
    counts = np.bincount(np.minimum(gaps, most), minlength=most + 1)
    return {"gaps": chi_squared(counts, [*probabilities, (1 - p) ** most])}


def occupied(cells, draws):
    """P(k cells of equal probability are occupied after so many draws), k = 0 .. cells."""
    p = np.zeros(cells + 1)
    p[0] = 1
    for _ in range(draws):
        p = p * np.arange(cells + 1) / cells + np.concatenate([[0], p[:-1] * (cells - np.arange(cells)) / cells])
    return p


def poker(reader, n=400_000, skip=24, bits=6, hand=64):
    """How many different values a hand of numbers has."""
    counts = np.zeros(2**bits + 1, int)
    for table in reader.tables(n, hand, skip, bits):
        seen = np.bitwise_or.reduce(np.uint64(1) << table.astype(np.uint64), axis=1)
        counts += np.bincount(np.bitwise_count(seen), minlength=2**bits + 1)
    return {"different": chi_squared(counts, occupied(2**bits, hand))}


def coupons(reader, n=500_000, skip=26, bits=4, most=62):
    """How many numbers it takes until each value was seen, n times over; `most` stands for all that take as many."""
    values, counts = 2**bits, np.zeros(most + 1, np.int64)
    state, step = np.zeros(2, np.int64), min(CHUNK, 4 * n * values)
    while np.sum(counts) < n:
        collect(reader.bits(step, skip, bits), 2**values - 1, n, state, counts)
    done = np.array([occupied(values, draws)[-1] for draws in range(values - 1, most)])
    return {"tries": chi_squared(counts[values:], [*np.diff(done), 1 - done[-1]])}


@njit
def collect(numbers, full, n, state, counts):
    """Count lengths of sequences that hold each value; state: what the unfinished one holds, and its length."""
    seen, length, found, most = state[0], state[1], np.sum(counts), len(counts) - 1
    for number in numbers:
        if found < n:
            seen, length = seen | (1 << int64(number)), length + 1
            if seen == full or length == most - 1:
                counts[length if seen == full else most] += 1
                seen, length, found = 0, 0, found + 1
    state[0], state[1] = seen, length


def maximum_of(reader, n=2_000_000, cells=100_000, t=6):
    """The largest of t uniforms to the power t is uniform: by cells, and by Anderson and Darling's statistic."""
    largest = np.concatenate([np.max(table, axis=1) for table in reader.tables(n, t, 0, 32)])
    u = np.sort(((largest + 0.5) / 2.0**32) ** t)
    cells = min(cells, int(n / LEAST))
    counts = np.bincount((u * cells).astype(int), minlength=cells)
    found = stats.goodness_of_fit if False else anderson_darling(u)
    return {"cells": chi_squared(counts, np.full(cells, 1 / cells)), "Anderson-Darling": found}


def anderson_darling(u):
    """Two-sided p-value of sorted uniforms, by Marsaglia and Marsaglia (2004) for large n."""
    n = len(u)
    weight = 2 * np.arange(n) + 1
    z = -n - np.mean(weight * (np.log(u) + np.log1p(-u[::-1])))
    if z < 2:
        p = np.exp(-1.2337141 / z) / np.sqrt(z)
        p *= 2.00012 + (0.247105 - (0.0649821 - (0.0347962 - (0.011672 - 0.00168691 * z) * z) * z) * z) * z
    else:
        p = np.exp(-np.exp(1.0776 - (2.30695 - (0.43424 - (0.082433 - (0.008056 - 0.0003146 * z) * z) * z) * z) * z))
    return Result(z, two_sided(p, 1 - p))


def weights(reader, n=200_000, skip=27, bits=5, below=4, k=256):
    """How many of k numbers are less than `below` / 2^bits: binomial."""
    counts = np.zeros(k + 1, int)
    for table in reader.tables(n, k, skip, bits):
        counts += np.bincount(np.sum(table < below, axis=1), minlength=k + 1)
    return {"weights": chi_squared(counts, stats.binom.pmf(np.arange(k + 1), k, below / 2**bits))}


def matrix_rank(reader, n=20_000, skip=20, bits=10, size=60):
    """Rank over GF(2) of square matrices, a row of size / bits words."""
    parts, counts = size // bits, np.zeros(size + 1, int)
    for table in reader.tables(n, size * parts, skip, bits):
        rows = np.zeros((len(table), size), np.uint64)
        for k in range(parts):
            rows = (rows << np.uint64(bits)) | table[:, k::parts].astype(np.uint64)
        counts += np.bincount(ranks(rows, size), minlength=size + 1)
    i = np.arange(size)
    p = [
        2.0 ** (r * (2 * size - r) - size**2) * np.prod((1 - 2.0 ** (i[:r] - size)) ** 2 / (1 - 2.0 ** (i[:r] - r)))
        for r in range(size + 1)
    ]
    return {"ranks": chi_squared(counts, p)}


def ranks(rows, size):
    """Ranks of many matrices at once, by elimination; rows hold the columns as bits."""
    every, found = np.arange(len(rows)), np.zeros(len(rows), int)
    for column in range(size):
        has = (rows >> np.uint64(column)) & np.uint64(1)
        first = np.argmax(has, axis=1)
        pivot = rows[every, first] * has[every, first]  # 0 where no row has the bit
        rows ^= has * pivot[:, None]  # the pivot's own row becomes 0
        found += pivot != 0
    return found


def hamming_pairs(reader, n=500_000, skip=20, bits=10, length=300):
    """Numbers of ones in a block of bits and in the next: independent, binomial."""
    words, counts = length // bits, np.zeros((length + 1, length + 1), int)
    for table in reader.tables(n, 2 * words, skip, bits):
        ones = np.bitwise_count(table)
        pair = np.sum(ones[:, :words], axis=1, dtype=int), np.sum(ones[:, words:], axis=1, dtype=int)
        counts += np.bincount(pair[0] * (length + 1) + pair[1], minlength=counts.size).reshape(counts.shape)
    p = stats.binom.pmf(np.arange(length + 1), length, 0.5)
    cells = np.outer(p, p).ravel()
    full = cells * n >= LEAST  # all others are one cell
    seen = [*counts.ravel()[full], np.sum(counts.ravel()[~full])]
    return {"pairs": chi_squared(seen, [*cells[full], np.sum(cells[~full])])}


def random_walk(reader, n=1_000_000, bits=30, length=150):
    """Walks of +1 and -1: how many steps up, the maximum, steps above zero, returns to zero, changes of sign."""
    names, counts = ("up", "maximum", "above zero", "returns", "changes of sign"), np.zeros((5, length + 1), np.int64)
    for table in reader.tables(n, length // bits, 0, bits):
        walk(table, bits, counts)
    return {name: chi_squared(*pair) for name, *pair in zip(names, counts, walks(length), strict=True)}


@njit
def walk(table, bits, counts):
    """Count the five statistics of the walk that each row is, the first bit of each word the most significant."""
    for row in table:
        at, ups, most, above, returns, changes, side, odd = 0, 0, 0, 0, 0, 0, 0, True
        for word in row:
            for k in range(bits):
                step = int64(word >> uint32(bits - 1 - k)) & 1
                before, at, ups = at, at + 2 * step - 1, ups + step
                most, above, returns = max(most, at), above + (before + at > 0), returns + (at == 0)
                if odd:  # where the walk is not at zero
                    changes, side = changes + (side * at < 0), at
                odd = not odd
        for k, found in enumerate((ups, most, above, returns, changes)):
            counts[k, found] += 1


def walks(length):
    """Exact distributions of the five statistics for an even length, on 0 .. length. Feller, volume 1, chapter 3."""
    k, half = np.arange(length + 1), length // 2
    even = np.where(k % 2 == 0, special.comb(k, k // 2) * special.comb(length - k, (length - k) // 2), 0.0)
    return (
        stats.binom.pmf(k, length, 0.5),
        special.comb(length, (length + k + 1) // 2) * 0.5**length,
        even * 0.5**length,
        np.where(k <= half, special.comb(length - k, half) * 0.5 ** (length - k), 0.0),
        np.where(k < half, special.comb(length - 1, np.maximum(half - 1 - k, 0)) * 0.5 ** (length - 2), 0.0),
    )


TESTS = {
    "birthday spacings": birthday_spacings,
    "collision": collision,
    "gap": gap,
    "poker": poker,
    "coupon collector": coupons,
    "maximum of 6": maximum_of,
    "weight distribution": weights,
    "matrix rank": matrix_rank,
    "Hamming independence": hamming_pairs,
    "random walk": random_walk,
}


def battery(reader, sizes=None):
    """All ten tests, one after the other from the same reader: two-sided p-values by test and statistic.

    sizes: keyword arguments by test, where they are not SmallCrush's.
    """
    found = {}
    for name, test in TESTS.items():
        for statistic, result in test(reader, **(sizes or {}).get(name, {})).items():
            found[f"{name}, {statistic}"] = result.p
    return found
