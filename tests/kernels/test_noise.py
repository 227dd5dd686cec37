"""The draw contract: kernel rows against the NumPy reference, sub-ranges, extremes of the words, moments."""

import numpy as np
import pytest
from numba import njit, uint32
from scipy import special, stats

from mcgrad.codegen.noise_calls import filler
from mcgrad.kernels import noise32, noise64, noise_fill
from mcgrad.noise.generators import GENERATORS
from mcgrad.noise.laws import NORMAL_ULPS
from mcgrad.noise.numbers import numbers
from mcgrad.noise.source import NoiseSource

SEED, STREAM, COMPONENT = 0xFEDCBA9876543210, 0xFFFFFFFE, 5
EACH = {np.float32: 4, np.float64: 2}
GROUPS = [0, 7, 2**32 - 64, 2**32, 2**40 + 1, 2**63 - 64, 2**64 - 64]
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])

u32, u64, n32, n64 = noise32.uniform, noise64.uniform, noise32.normal_pair, noise64.normal_pair


def kernel_draws(source, dtype, group, lanes, component=COMPONENT):
    """One row, put into the order of the draws."""
    work = np.full((3, lanes + 64), 9, dtype)
    fill = getattr(noise_fill, filler(source, np.dtype(dtype).name))
    key = np.uint32(SEED & 0xFFFFFFFF), np.uint32(SEED >> 32)
    fill(work.reshape(-1), lanes + 64, lanes, np.uint64(group), np.uint32(component), np.uint32(STREAM), *key)
    assert (work[[0, 2]] == 9).all()
    assert (work[1, lanes:] == 9).all()
    return work[1, :lanes].reshape(EACH[dtype], -1).T.ravel()


def ulps(got, right):
    return np.max(np.abs(got.astype(np.float64) - right) / np.spacing(np.abs(right)))


@DTYPES
@pytest.mark.parametrize("generator", GENERATORS)
@pytest.mark.parametrize("group", GROUPS)
def test_uniform_rows_are_the_reference_bit_for_bit(dtype, group, generator):
    source = NoiseSource(STREAM, "uniform", generator)
    lanes = 64 * (1 if group % 2**32 > 2**31 else 5)
    right = numbers(source, SEED, [COMPONENT], EACH[dtype] * group, lanes, dtype)[0]
    assert right.dtype == dtype
    np.testing.assert_array_equal(kernel_draws(source, dtype, group, lanes), right)


@DTYPES
@pytest.mark.parametrize("generator", [name for name, made in GENERATORS.items() if "normal" in made.laws])
@pytest.mark.parametrize("group", GROUPS)
def test_normal_rows_are_the_reference_to_a_few_ulps(dtype, group, generator):
    source = NoiseSource(STREAM, "normal", generator)
    lanes = 64 * (1 if group % 2**32 > 2**31 else 40)
    right = numbers(source, SEED, [COMPONENT], EACH[dtype] * group, lanes, dtype)[0]
    assert ulps(kernel_draws(source, dtype, group, lanes), right) <= NORMAL_ULPS[np.dtype(dtype)]


@DTYPES
@pytest.mark.parametrize("law", ["uniform", "normal"])
def test_rows_of_a_batch_have_the_draws_of_their_groups(law, dtype):
    """What a row of lanes with rows of a batch holds is, to the bit, what a row of lanes with draws has."""
    source, lanes, group = NoiseSource(STREAM, law), 64, 2**32 - 3
    rows = np.array([5, 0, 2**28 - 1, *range(90, 200)], np.uint32)
    key = np.uint32(SEED & 0xFFFFFFFF), np.uint32(SEED >> 32)
    place = (rows, 1, np.uint32(group))
    carried = {"batch": (place, slice(None))}
    if dtype == np.float32:
        carried["pair"] = ((*place, True), slice(2, 4))
    for name, (at, which) in carried.items():
        work = np.full((4, lanes), 9, dtype)
        fill = getattr(noise_fill, filler(source, np.dtype(dtype).name, name))
        fill(work.reshape(-1), lanes, lanes, 2, at, np.uint32(COMPONENT), np.uint32(STREAM), *key)
        assert (work[[0, 3]] == 9).all()
        draws = range(EACH[dtype])[which]
        for i in range(2):
            found = work[1 + i].reshape(len(draws), -1)
            for q in range(found.shape[1]):
                alone = kernel_draws(source, dtype, (int(rows[1 + q]) << 32) + group, lanes, COMPONENT + i)
                np.testing.assert_array_equal(found[:, q], alone[draws.start : draws.stop])


@DTYPES
@pytest.mark.parametrize("law", ["uniform", "normal"])
@pytest.mark.parametrize("base", [0, 2**34 - 50, 2**33 - 3])
def test_any_sub_range_of_the_reference_is_the_same_draws(dtype, law, base):
    source = NoiseSource(STREAM, law)
    whole = numbers(source, SEED, [3, 0, 9], base, 101, dtype)
    for start, stop in [(0, 1), (1, 2), (3, 5), (2, 101), (7, 64), (50, 50)]:
        part = numbers(source, SEED, [3, 0, 9], base + start, stop - start, dtype)
        np.testing.assert_array_equal(part, whole[:, start:stop])


@DTYPES
def test_components_streams_and_seeds_differ(dtype):
    def draw(seed, stream, *place):
        return numbers(NoiseSource(stream, "uniform"), seed, *place)

    whole = draw(1, 0, [0, 1], 0, 64, dtype)
    assert (whole[0] != whole[1]).all()
    assert (whole[0] != draw(1, 1, [0], 0, 64, dtype)[0]).all()
    assert (whole[0] != draw(1 + 2**32, 0, [0], 0, 64, dtype)[0]).all()
    assert (whole[0] != draw(1, 0, [0], 2**34, 64, dtype)[0]).all()


@njit
def extremes32(word):
    return u32(uint32(word))


@njit
def extremes64(lo, hi):
    return u64(uint32(lo), uint32(hi))


@njit
def pair32(a, b):
    return n32(uint32(a), uint32(b))


@njit
def pair64(a, b, c, d):
    return n64(uint32(a), uint32(b), uint32(c), uint32(d))


def test_uniforms_are_never_zero_or_one():
    top = 0xFFFFFFFF
    assert extremes32(0) == extremes32(255) == np.float32(2.0**-25)
    assert extremes32(256) == np.float32(2.0**-24)
    assert extremes32(top) == np.float32(1 - 2.0**-24)
    assert extremes64(0, 0) == extremes64(2047, 0) == 2.0**-54
    assert extremes64(2048, 0) == 2.0**-53
    assert extremes64(top, top) == 1 - 2.0**-53
    assert extremes64(0, 1) == 2.0**-32


def test_normals_of_extreme_words_are_finite():
    words = [0, 1, 0x1FFFFFFF, 0x20000000, 0x3FFFFFFF, 0x40000000, 0x7FFFFFFF, 0x80000000, 0xE0000000, 0xFFFFFFFF]
    for a in words:
        for b in words:
            x, y = pair32(a, b)
            assert np.hypot(x, y) <= 6.56
            for c in (0, 0xFFFFFFFF):
                x, y = pair64(a, c, c, b)
                assert np.hypot(x, y) <= 8.66
    assert pair32(0, 0) == pytest.approx((np.sqrt(2 * 31 * np.log(2)), 0))  # the far end of the tail, at angle 0
    assert pair64(0, 0, 0, 0x40000000) == pytest.approx((0, np.sqrt(2 * 54 * np.log(2))))  # a quarter turn


@DTYPES
def test_normals_are_normal_and_pairs_independent(dtype):
    n = 400_000
    draws = kernel_draws(NoiseSource(STREAM, "normal"), dtype, 0, n // 64 * 64).astype(np.float64)
    # each z-score is beyond 5 with probability 6e-7
    for power, mean, variance in [(1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)]:
        assert abs((draws**power).mean() - mean) < 5 * np.sqrt(variance / len(draws))
    assert abs((draws[::2] * draws[1::2]).mean()) < 5 * np.sqrt(2 / len(draws))
    assert abs((draws[::2] ** 2 * draws[1::2] ** 2).mean() - 1) < 5 * np.sqrt(8 * 2 / len(draws))
    assert stats.kstest(special.ndtr(draws), "uniform").pvalue > 1e-6
