"""The words that estimates read look random in every order in which they read them; `bench/randomness.py` in short.

Seeds are fixed, so no test fails by chance: of the 700 p-values the least is 1e-4, and what fails is below 1e-6.
"""

import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from scipy import special

import mcgrad as mg
from mcgrad.kernels import noise_fill
from mcgrad.noise import streams
from mcgrad.noise.numbers import numbers
from mcgrad.noise.source import NoiseSource

sys.path.append(str(Path(__file__).parents[2] / "bench"))

import dependence
import interleavings
import normals
import smallcrush
import smallcrush_known
from interleavings import COMPONENTS, INTERLEAVINGS, LANES, reference_words, words
from outcome import FAILURE

SIZES = {
    "birthday spacings": {"n": 20_000, "bits": 18},
    "collision": {"n": 50_000, "bits": 10},
    "gap": {"n": 3000},
    "poker": {"n": 4000},
    "coupon collector": {"n": 3000},
    "maximum of 6": {"n": 20_000, "cells": 1000},
    "weight distribution": {"n": 2000},
    "matrix rank": {"n": 400},
    "Hamming independence": {"n": 5000},
    "random walk": {"n": 4000},
}
CALLS = 1 << 17
each_order = pytest.mark.parametrize("name", INTERLEAVINGS)


def blocks(name, rounds=10):
    return interleavings.blocks(INTERLEAVINGS[name], rounds, CALLS)


@each_order
def test_words_are_those_of_the_draw_contract(name):
    for first in (0, 12 * LANES):
        np.testing.assert_array_equal(
            words(INTERLEAVINGS[name], first, 4 * LANES), reference_words(INTERLEAVINGS[name], first, 4 * LANES)
        )


def of(name, calls, first=0):
    """Words of an order as float32 uniforms, a row a call."""
    return (words(INTERLEAVINGS[name], first, calls) >> 8).astype(np.float32).reshape(calls, 4) * np.float32(2.0**-24)


UNIT = mg.Uniform(np.float32(0), np.float32(1))


@pytest.mark.parametrize(("name", "first"), [("one component", 0), ("groups beyond 2^32", 4 * (2**32 - 2**20))])
def test_draws_of_one_number_are_read_in_that_order(name, first):
    np.testing.assert_array_equal(UNIT.sample(64, first=first, dtype="float32"), of(name, 16).ravel())


@pytest.mark.parametrize(("name", "step"), [("consecutive seeds", 1), ("high word of the seed", 1 << 32)])
def test_first_draws_of_seeds_are_read_in_that_order(name, step):
    drawn = [UNIT.sample(4, step * k, dtype="float32") for k in range(8)]
    np.testing.assert_array_equal(drawn, of(name, 8))


def test_draws_far_apart_are_read_in_that_order():
    drawn = [UNIT.sample(4, first=4 * k << 32, dtype="float32") for k in range(8)]
    np.testing.assert_array_equal(drawn, of("groups 2^32 apart", 8))


@pytest.mark.parametrize(("name", "size"), [("many components", COMPONENTS), ("2^32 components", 50)])
def test_vectors_are_read_in_that_order(name, size):
    q = mg.Uniform(np.zeros(size, np.float32), np.ones(size, np.float32))
    np.testing.assert_array_equal(q.sample(4, dtype="float32"), of(name, size).T)


def test_joints_and_streams_are_read_in_that_order():
    q = mg.Joint(a=unit(3), b=unit(), c=unit(2, 2))
    drawn = q.sample(8, dtype="float32")
    read = np.concatenate([drawn[part].reshape(8, -1) for part in "abc"], axis=1).reshape(2, 4, 8)
    np.testing.assert_array_equal(read.transpose(0, 2, 1).reshape(16, 4), of("joint", 16))
    firsts = mg.Joint(**{f"z{k}": UNIT for k in range(8)}).sample(4, dtype="float32")
    np.testing.assert_array_equal([firsts[f"z{k}"] for k in range(8)], of("streams", 8))


def unit(*shape):
    return mg.Uniform(np.zeros(shape, np.float32), np.ones(shape, np.float32))


def test_kernels_hold_the_words_in_lane_order():
    row = np.zeros(LANES, np.float32)
    noise_fill.uniform_row32(row, 0, LANES, np.uint64(0), *(np.uint32(0),) * 4)
    np.testing.assert_array_equal(row, of("lane order", LANES // 4).ravel())


def test_pilots_read_the_streams_that_are_tested():
    assert (streams.BASELINES, streams.AUTO, streams.SCORES, streams.STEPS) == (1 << 16, 2 << 16, 3 << 16, 4 << 16)
    seen = [int(INTERLEAVINGS["pilot streams"].call(np.uint64(n))[1]) for n in range(6)]
    assert seen == [0, 1 << 16, 2 << 16, 3 << 16, 4 << 16, 0]


@each_order
@pytest.mark.parametrize("reverse", [False, True])
def test_words_pass_the_ten_tests_of_smallcrush(name, reverse):
    found = smallcrush.battery(smallcrush.Reader(blocks(name), reverse), SIZES)
    assert len(found) == 15
    assert min(found.values()) > FAILURE, found


@each_order
def test_words_do_not_depend_on_words_near_by(name):
    counts = dependence.Counts()
    counts.add(next(blocks(name)))
    assert min(counts.p_values().values()) > FAILURE


@pytest.mark.parametrize(("dtype", "share"), [("float32", 0.998), ("float64", 1.0)])
def test_words_of_normals_are_of_the_draw_contract(dtype, share):
    """Kernels round otherwise than the reference: in float32 a few draws fall into the next of 2^16 cells."""
    z = numbers(NoiseSource(0, "normal"), 0, [0], 1 << 16, 1 << 16, dtype)[0]
    halves = (special.ndtr(z.astype(np.float64)) * 2.0**16).astype(np.uint32).reshape(-1, 2)
    second = list(islice(normals.words(dtype, 1 << 16), 2))[1]
    assert np.mean(second == (halves[:, 0] << np.uint32(16)) + halves[:, 1]) >= share


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normals_pass_the_ten_tests_of_smallcrush(dtype):
    found = smallcrush.battery(smallcrush.Reader(normals.words(dtype)), SIZES)
    assert min(found.values()) > FAILURE, found


@pytest.mark.parametrize("name", ["one component", "many components", "consecutive seeds", "streams"])
def test_three_rounds_of_philox_fail(name):
    found = smallcrush.battery(smallcrush.Reader(blocks(name, rounds=3)), SIZES)
    assert sum(p < FAILURE for p in found.values()) >= 12, found
    counts = dependence.Counts()
    counts.add(next(blocks(name, rounds=3)))
    assert sum(p < FAILURE for p in counts.p_values().values()) >= 6


@pytest.mark.parametrize("name", ["groups 2^32 apart", "joint"])
def test_six_rounds_of_philox_fail_as_bits_depend_on_later_ones(name):
    counts = dependence.Counts()
    counts.add(next(blocks(name, rounds=6)))
    assert counts.p_values()["bits against bits of later words"] < FAILURE


@pytest.mark.parametrize("name", smallcrush.TESTS)
def test_each_test_can_fail(name):
    """Two rounds, one component: every statistic fails."""
    found = smallcrush.TESTS[name](smallcrush.Reader(blocks("one component", rounds=2)), **SIZES[name])
    assert all(result.p < FAILURE for result in found.values()), found


@pytest.mark.parametrize("name", ["gap", "poker", "coupon collector", "matrix rank", "random walk"])
def test_the_tests_find_what_testu01_finds(name):
    assert smallcrush_known.agrees(name)


def test_dependence_between_bits_of_distant_words_is_seen():
    x, bit = np.random.Generator(np.random.PCG64(1)).integers(0, 2**32, CALLS, np.uint32), np.uint32(1 << 17)
    x[64:] = (x[64:] & ~bit) | ((x[:-64] >> np.uint32(5)) & bit)  # one bit of 32 is that of the word 64 before
    counts = dependence.Counts()
    counts.add(x)
    failed = [test for test, p in counts.p_values().items() if p < FAILURE]
    assert failed == ["bits against bits of later words"]
