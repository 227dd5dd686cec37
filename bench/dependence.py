"""Counts over billions of words: bytes, pairs of bytes, bits against bits of later words, numbers of ones.

What dependence between words that are near to each other would show in, at lengths for which a test that sorts or
stores its words is too slow. All are exact counts, of which the distribution is known if the words are random:

- bytes: values of each of the four bytes of a word (chi-squared, 255 degrees of freedom each);
- pairs: top bytes, and lowest bytes, of a word and the next (chi-squared, 65,535);
- bits: ones in x ^ rotated(y), for the word y at each of `LAGS` after x and all 32 rotations, so that every bit meets
  every other (binomial; the p-value of the least of all, by Bonferroni);
- weights: each word is light, middling or heavy by its number of ones; the 3^8 cases of eight words in a row, rows not
  overlapping (chi-squared, 6,560). After Blackman and Vigna, "Scrambled linear pseudorandom number generators", 2018.
"""

import numpy as np
from llvmlite import ir
from numba import njit, types, uint32
from numba.extending import intrinsic
from scipy import stats
from smallcrush import two_sided

from mcgrad.kernels.intrinsics import prefer_vector_width

LAGS = (1, 2, 3, 4, 5, 6, 7, 8, 16, 32, 64, 128, 1024)
LIGHT, HEAVY = 14, 18  # at most, at least: 29.8%, 40.3% and 29.8% of words
ROW = 8
STRETCH = 4096


class Counts:
    """Counts of all words that were added."""

    def __init__(self):
        self.words = self.compared = self.rows = 0
        self.bytes = np.zeros((4, 256), np.int64)
        self.pairs = np.zeros((2, 1 << 16), np.int64)
        self.ones = np.zeros((len(LAGS), 32), np.int64)
        self.weights = np.zeros(3**ROW, np.int64)

    def add(self, words):
        """Count a block of words; pairs and lags stay within it."""
        self.words += len(words)
        self.compared += len(words) - max(LAGS)
        self.rows += len(words) // ROW
        count_bytes(words, self.bytes, self.pairs)
        count_weights(words, self.weights)
        for k, lag in enumerate(LAGS):
            count_ones(words[: len(words) - max(LAGS)], words[lag : len(words) - max(LAGS) + lag], self.ones[k])

    def p_values(self):
        """Two-sided p-values by name."""
        found = {f"byte {k}": uniform(row) for k, row in enumerate(self.bytes)}
        for name, row in zip(("top", "lowest"), self.pairs, strict=True):
            found[f"pairs of {name} bytes"] = uniform(row)
        bits = 32.0 * self.compared
        z = np.max(np.abs(self.ones - bits / 2)) / np.sqrt(bits / 4)
        found["bits against bits of later words"] = float(-np.expm1(self.ones.size * np.log1p(-2 * stats.norm.sf(z))))
        ones = stats.binom.pmf(np.arange(33), 32, 0.5)
        kinds = np.array([ones[: LIGHT + 1].sum(), ones[LIGHT + 1 : HEAVY].sum(), ones[HEAVY:].sum()])
        cells = np.array(1.0)
        for _ in range(ROW):
            cells = np.multiply.outer(cells, kinds)
        found["weights of 8 words in a row"] = pearson(self.weights, cells.ravel() * self.rows)
        return found


def uniform(counts):
    return pearson(counts, np.full(len(counts), np.sum(counts) / len(counts)))


def pearson(counts, expected):
    """Two-sided p-value of Pearson's statistic; all cells are full enough where there are many words."""
    x, free = np.sum((counts - expected) ** 2 / expected), len(counts) - 1
    return two_sided(stats.chi2.cdf(x, free), stats.chi2.sf(x, free))


@intrinsic
def ones_of(typing, word):
    """Give the number of ones of a uint32, by the processor's instruction."""

    def generate(context, builder, signature, arguments):
        return builder.ctpop(arguments[0])

    return types.uint32(types.uint32), generate


@intrinsic
def rotated(typing, word, by):
    """Rotate a uint32 to the left by 0 .. 31 bits."""

    def generate(context, builder, signature, arguments):
        kind, (word, by) = ir.IntType(32), arguments
        signature = ir.FunctionType(kind, [kind] * 3)
        rotate = builder.module.declare_intrinsic("llvm.fshl", [kind], signature)
        return builder.call(rotate, [word, word, by])

    return types.uint32(types.uint32, types.uint32), generate


@njit(error_model="numpy")
def count_ones(first, later, into):
    """Add up ones of first[i] ^ (later[i] rotated by r) in into[r]."""
    prefer_vector_width()
    for start in range(0, len(first), STRETCH):
        x, y = first[start : start + STRETCH], later[start : start + STRETCH]  # short enough for uint32 sums, and L1
        for r in range(32):
            by, total = uint32(r), uint32(0)
            for i in range(len(x)):
                total = uint32(total + ones_of(uint32(x[i] ^ rotated(y[i], by))))
            into[r] += total


@njit
def count_bytes(words, values, pairs):
    """Count the four bytes of each word, and the outer bytes of each word and the next."""
    previous = words[0]
    for i in range(len(words)):
        word = words[i]
        values[0, word & uint32(255)] += 1
        values[1, (word >> uint32(8)) & uint32(255)] += 1
        values[2, (word >> uint32(16)) & uint32(255)] += 1
        values[3, word >> uint32(24)] += 1
        if i & 1:
            pairs[0, ((previous >> uint32(24)) << uint32(8)) | (word >> uint32(24))] += 1
            pairs[1, ((previous & uint32(255)) << uint32(8)) | (word & uint32(255))] += 1
        previous = word


@njit
def count_weights(words, into):
    """Count the case that each row of 8 words is, the first word the most significant digit to the base 3."""
    for start in range(0, len(words) - ROW + 1, ROW):
        case = 0
        for i in range(start, start + ROW):
            ones = ones_of(words[i])
            case = 3 * case + (ones > LIGHT) + (ones >= HEAVY)
        into[case] += 1
