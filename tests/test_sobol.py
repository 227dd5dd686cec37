"""Sobol' points: SciPy's where no scramble changes them, nets after each scramble, and replicates without bias."""

import numpy as np
import pytest
from scipy.stats import chi2, qmc

from mcgrad.ir import build, serial
from mcgrad.ir.program import Output, Program
from mcgrad.noise import directions, philox, sobol
from mcgrad.noise.generators import POINT_SETS
from mcgrad.noise.inversion import INVERSE_NORMAL, INVERSE_UNIFORM
from mcgrad.noise.numbers import numbers
from mcgrad.noise.source import SOBOL, SOBOL_OWEN, NoiseSource

SCRAMBLES = pytest.mark.parametrize("name", [SOBOL, SOBOL_OWEN])
BITS = pytest.mark.parametrize("bits", [32, 64])
SEED = 2**40 + 12345


def scrambled(name, seed, coordinates, first, n, bits):
    point_set = POINT_SETS[name]
    return point_set.points(point_set.table(seed, np.arange(coordinates), bits), first, n)


@pytest.mark.filterwarnings("ignore:The balance properties of Sobol")
@BITS
@pytest.mark.parametrize(("dimensions", "first", "n"), [(40, 0, 2500), (3, 2**20 - 700, 1500), (21201, 0, 70)])
def test_points_without_a_scramble_are_scipys(bits, dimensions, first, n):
    """In the same order and from index 0 on; SciPy's floats are exact, as the points there have at most 21 digits."""
    engine = qmc.Sobol(dimensions, scramble=False, bits=bits)
    if first:
        engine.random(first)  # its fast_forward fails with 64 bits
    made = sobol.points(sobol.unscrambled(np.arange(dimensions), bits), first, n)
    np.testing.assert_array_equal(made.T * 2.0**-bits, engine.random(n))


def test_direction_numbers_follow_the_recurrence_to_the_last():
    """In Python's integers, as the numbers m_i, V_{i-1} = m_i 2**(64 - i): no point that is tested has the last."""
    for degree in (1, 5, 18):
        coefficients, initial = directions._published(degree)
        for j in (0, directions.COUNTS[degree] - 1):
            a, m = [int(c[j]) for c in coefficients], [int(number[j]) for number in initial]
            assert all(number % 2 == 1 and number < 2**i for i, number in enumerate(m, 1))
            while len(m) < 64:
                last = m[-degree] << degree ^ m[-degree]
                for k, coefficient in enumerate(a, 1):
                    last ^= coefficient * m[-k] << k
                m.append(last)
            (V,) = directions.directions(np.array([directions.STARTS[degree] + j]))
            assert V.tolist() == [number << 64 - i for i, number in enumerate(m, 1)]


@SCRAMBLES
@BITS
def test_points_do_not_depend_on_the_range_that_they_are_made_in(name, bits):
    rows = POINT_SETS[name].table(SEED, np.arange(5), bits)
    whole = POINT_SETS[name].points(rows, 0, 5000)
    for first, n in ((0, 1), (1, 1), (1023, 2), (17, 3001), (4096, 904), (4999, 1), (100, 0)):
        np.testing.assert_array_equal(POINT_SETS[name].points(rows, first, n), whole[:, first : first + n])
    last = POINT_SETS[name].points(rows, 2**bits - 3, 3)
    np.testing.assert_array_equal(POINT_SETS[name].points(rows, 2**bits - 2, 1), last[:, 1:2])


@SCRAMBLES
def test_a_row_of_a_table_is_of_its_coordinate_and_points_of_32_bits_begin_those_of_64(name):
    make = {SOBOL: sobol.table, SOBOL_OWEN: sobol.owen_table}[name]
    rows = make(SEED, 40, 64)
    np.testing.assert_array_equal(POINT_SETS[name].table(SEED, np.array([37, 5]), 64), rows[[37, 5]])
    assert (rows.shape, rows.dtype, rows.flags.c_contiguous) == ((40, 65), np.uint64, True)
    assert make(SEED, 40, 32).shape == (40, 33)
    seeds = np.array([[1, SEED, 2**64 - 1]], np.uint64)
    np.testing.assert_array_equal(make(seeds, 40, 64)[0, 1], rows)
    np.testing.assert_array_equal(make(seeds, 3, 32)[0, 2], make(2**64 - 1, 3, 32))
    long, short = (scrambled(name, SEED, 40, 3, 500, bits) for bits in (64, 32))
    np.testing.assert_array_equal(long >> np.uint64(32), short)
    assert len(np.unique(long & np.uint64(0xFFFFFFFF))) > 0.999 * long.size  # and the rest is not empty


@SCRAMBLES
@BITS
def test_scrambles_keep_the_first_digit_in_which_two_points_differ(name, bits):
    """In other words they permute the halves of each interval, the quarters inside of each half, and so on."""
    before = sobol.points(sobol.unscrambled(np.arange(30), bits), 0, 4096)
    after = scrambled(name, SEED, 30, 0, 4096, bits)
    i, j = np.random.default_rng(0).integers(0, 4096, (2, 20_000))
    apart = [x[:, i] ^ x[:, j] for x in (before, after)]
    places = [np.frexp((x & ~(x >> np.uint8(1))).astype(np.float64))[1] for x in apart]  # which does not round up
    np.testing.assert_array_equal(*places)
    assert np.mean(before == after) < 1e-3


@SCRAMBLES
def test_scrambled_points_are_nets(name):
    """2**10 points from a multiple of it on: one in each stratum, and in each elementary interval of two dimensions."""
    x = scrambled(name, SEED, 300, 3 << 10, 1 << 10, 32) >> np.uint32(22)
    assert (np.sort(x, axis=1) == np.arange(1 << 10)).all()
    for a in range(11):
        cells = (x[0] >> np.uint32(10 - a) << np.uint32(10 - a)) | x[1] >> np.uint32(a)
        assert len(np.unique(cells)) == 1 << 10


def test_seeds_of_replicates_are_words_of_their_stream():
    seeds = [sobol.seed_of_replicate(SEED, r) for r in range(2000)]
    assert len(set(seeds)) == 2000
    assert sobol.seed_of_replicate(0, 3) != sobol.seed_of_replicate(1, 3)
    w0, w1, *_ = philox.words(SEED, 7 << 16, 0, np.array([7], np.uint64), 4)
    assert seeds[7] == int(w0[0]) + (int(w1[0]) << 32) < 2**64


@SCRAMBLES
@BITS
def test_each_point_is_uniform_over_replicates(name, bits):
    """Chi-square of 32 cells for some points."""
    seeds = np.array([sobol.seed_of_replicate(5, r) for r in range(640)], np.uint64)
    rows = POINT_SETS[name].table(seeds, np.arange(3), bits)
    x = POINT_SETS[name].points(rows.reshape(-1, 1 + bits), 0, 6).reshape(640, 3, 6)
    cells = (x >> np.uint8(bits - 5)).astype(np.int64)
    for j, i in np.ndindex(3, 6):
        assert chi2.sf(np.sum((np.bincount(cells[:, j, i], minlength=32) - 20.0) ** 2) / 20, 31) > 1e-5


@BITS
def test_owens_scramble_changes_digits_in_different_intervals_independently(bits):
    """Of any two of the 63 intervals of the first six digits, which is all that the variance of a mean depends on."""
    word, n = f"u{bits // 8}", 20_000
    x = np.arange(32).astype(word)  # the digits before the last, in reverse order
    keys = np.random.default_rng(3).integers(0, 2**bits, n, word, False)
    changed = (x ^ sobol.owen_hash(x[None], keys[:, None])).T
    flips = np.concatenate([changed[: 1 << digit] >> np.uint8(digit) & np.uint8(1) for digit in range(6)]) * 2.0 - 1
    z = np.concatenate([flips, np.ones((1, n))]) @ flips.T / np.sqrt(n)
    assert np.abs(z[np.tril_indices(64, -1, 63)]).max() < 5.5


@BITS
def test_each_digit_changes_all_later_ones_half_of_the_time(bits):
    """Of the hash: over 4,096 numbers and keys, |z| < 5.5 for each of the 496 (2,016) pairs of digits."""
    word, n = f"u{bits // 8}", 4096
    x, keys = np.random.default_rng(8).integers(0, 2**bits, (2, n), word, False)
    for digit in range(bits):
        changed = sobol.owen_hash(x, keys) ^ sobol.owen_hash(x ^ np.array(1 << digit, word), keys)
        often = np.unpackbits(changed[:, None].view(np.uint8), axis=1, bitorder="little").mean(axis=0)
        assert not often[:digit].any()
        assert often[digit] == 1
        assert np.abs(often[digit + 1 :] - 0.5).max(initial=0) < 5.5 * 0.5 / np.sqrt(n)


@SCRAMBLES
@pytest.mark.parametrize("n", [1, 32])
def test_the_variance_of_a_mean_is_that_of_owens_scramble(name, n):
    """Of the mean of u over one point in each of n strata, uncorrelated inside of them: n**-3 / 12."""
    seeds = np.array([sobol.seed_of_replicate(77, r) for r in range(2000)], np.uint64)
    rows = POINT_SETS[name].table(seeds, np.arange(1), 64)
    u = INVERSE_UNIFORM.float64(POINT_SETS[name].points(rows.reshape(-1, 65), 0, n)).reshape(2000, n)
    squares = (u.mean(axis=1) - 0.5) ** 2
    assert abs(squares.mean() - n**-3 / 12) < 5 * squares.std() / np.sqrt(len(squares))


@SCRAMBLES
def test_means_of_replicates_are_unbiased_and_their_errors_fall(name):
    """Of prod exp(u) in four dimensions: |z| < 5 over 300 replicates, and an error far below that of random points."""

    def means(n):
        source = NoiseSource(0, "uniform", name)
        replicates = (sobol.seed_of_replicate(9, r) for r in range(300))
        return np.array(
            [np.exp(numbers(source, s, np.arange(4), 0, n, "float64").sum(axis=0)).mean() for s in replicates]
        )

    exact = (np.e - 1) ** 4
    random = np.sqrt(((np.e**2 - 1) / 2) ** 4 - exact**2)
    deviations = []
    for n in (16, 256):
        found = means(n)
        deviations.append(found.std(ddof=1))
        assert abs(found.mean() - exact) < 5 * deviations[-1] / np.sqrt(300)
    assert deviations[0] < 0.5 * random / 4
    assert deviations[1] < 0.08 * random / 16  # n**-1.5 from the first on would be 0.0078 of it


def test_numbers_are_those_of_the_coordinates():
    whole = numbers(NoiseSource(0, "uniform", SOBOL), SEED, np.arange(9), 5, 100, "float32")
    np.testing.assert_array_equal(whole, INVERSE_UNIFORM.float32(sobol.points(sobol.table(SEED, 9, 32), 5, 100)))
    later = numbers(NoiseSource(3, "normal", SOBOL, coordinate=4), SEED, [1, 4], 5, 100, "float64")
    points = sobol.points(sobol.table(SEED, 9, 64), 5, 100)
    np.testing.assert_array_equal(later, INVERSE_NORMAL.float64(points[[5, 8]]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_coordinates_beyond_the_last_are_random(dtype):
    source = NoiseSource(2, "uniform", SOBOL, coordinate=21_000)
    made = numbers(source, SEED, [200, 201, 202], 7, 30, dtype)
    table = sobol.table_of(SEED, np.array([21_200]), int(dtype[-2:]))
    np.testing.assert_array_equal(made[:1], getattr(INVERSE_UNIFORM, dtype)(sobol.points(table, 7, 30)))
    random = numbers(NoiseSource(2, "uniform"), SEED, [21_201, 21_202], 7, 30, dtype)  # of the same words
    np.testing.assert_allclose(made[1:], random, rtol=0, atol=2.0**-24)


def test_programs_with_points_print_and_serialise_the_coordinate_where_there_is_one():
    def program(source):
        return Program((Output("z", build.noise_of(source, (2,))),), "float64")

    for source in (NoiseSource(1, "normal", SOBOL), NoiseSource(1, "normal", SOBOL_OWEN, coordinate=5)):
        again = serial.from_bytes(serial.to_bytes(program(source)))
        assert [var.attrs for var in again.noise()] == [source]
    assert b'["noise",[],[1,"normal","sobol"],[2]]' in serial.to_bytes(program(NoiseSource(1, "normal", SOBOL)))
    assert b'["noise",[],[1,"normal","philox"],[2]]' in serial.to_bytes(program(NoiseSource(1, "normal")))
    assert repr(NoiseSource(1, "normal")) == "(1, 'normal')"
    assert repr(NoiseSource(1, "normal", SOBOL, coordinate=5)) == "(1, 'normal', 'sobol', 5)"
    assert NoiseSource(1, "normal", SOBOL, coordinate=5).offset(8) == NoiseSource(9, "normal", SOBOL, coordinate=5)
