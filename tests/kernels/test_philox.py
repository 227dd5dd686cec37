"""Random123's known answers, on the kernel and on the NumPy reference."""

from pathlib import Path

import numpy as np
import pytest
from numba import njit

from mcgrad.kernels.philox import philox4x32, philox4x32_rounds
from mcgrad.noise import philox

FILE = Path(__file__).parent / "data" / "philox4x32_kat.txt"
KNOWN = [line for line in FILE.read_text().splitlines() if line[:1].isdigit()]


def parse(line):
    rounds, rest = line.split(":")
    inputs, answer = rest.split("->")
    counter, key = inputs.split("|")
    return int(rounds), *([int(word, 16) for word in part.split()] for part in (counter, key, answer))


@njit
def seven(c0, c1, c2, c3, k0, k1):
    return philox4x32_rounds(7, c0, c1, c2, c3, k0, k1)


@njit
def ten(c0, c1, c2, c3, k0, k1):
    return philox4x32(c0, c1, c2, c3, k0, k1)


def test_the_file_has_both_round_counts():
    assert sorted(parse(line)[0] for line in KNOWN) == [7, 7, 7, 10, 10, 10]


@pytest.mark.parametrize("line", KNOWN)
def test_known_answers(line):
    rounds, counter, key, answer = parse(line)
    words = {7: seven, 10: ten}[rounds](*map(np.uint32, counter + key))
    assert [int(word) for word in words] == answer
    reference = philox.philox4x32([np.uint64(word) for word in counter], key, rounds)
    assert [int(word) for word in reference] == answer


def test_reference_words_use_the_contract_of_key_and_counter():
    _, counter, key, answer = parse(KNOWN[2])
    group, seed = counter[3] | counter[1] << 32, key[0] | key[1] << 32
    words = philox.words(seed, counter[2], counter[0], np.array([group], np.uint64), 4)
    assert [int(word[0]) for word in words] == answer
    assert all(word.dtype == np.uint32 for word in words)
