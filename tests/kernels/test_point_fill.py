"""Rows of points: kernels against the reference, coordinates without points, rows of a batch, machine code."""

import sys
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np
import pytest

from mcgrad.kernels import point_fill
from mcgrad.noise import philox, sobol
from mcgrad.noise.inversion import INVERSE_UNIFORM

from .test_point_laws import numbers

sys.path.append(str(Path(__file__).parents[2] / "bench"))

import noise_code

BITS = pytest.mark.parametrize("bits", [32, 64])
SCRAMBLES = pytest.mark.parametrize("generator", ["sobol", "sobol_owen"])
SEED, COORDINATES, STREAM = 0xFEDCBA9876543210, 5, 3
EACH = {32: 4, 64: 2}
KEY1 = np.array([COORDINATES, SEED & 0xFFFFFFFF, SEED >> 32], np.uint32)


def row(generator, law, bits, first, lanes, coordinate, high=0):
    """Draws first .. first + lanes - 1 of a row of a batch, in their order."""
    made = {"sobol": sobol.table, "sobol_owen": sobol.owen_table}[generator]
    work = np.full((3, lanes), 9, f"float{bits}")
    fill = getattr(point_fill, f"{generator}_{law}_row{bits}")
    place = np.uint64((high << 32) + first // EACH[bits])
    table = made(SEED, COORDINATES, bits).reshape(-1)
    fill(work.reshape(-1), lanes, lanes, place, np.uint32(coordinate), np.uint32(STREAM), table, KEY1)
    assert (work[[0, 2]] == 9).all()
    return work[1].reshape(EACH[bits], -1).T.ravel()


def integers(generator, bits, first, lanes, coordinate):
    made, points = {
        "sobol": (sobol.table, sobol.points),
        "sobol_owen": (sobol.owen_table, sobol.owen_points),
    }[generator]
    return points(made(SEED, COORDINATES, bits), first, lanes)[coordinate]


@BITS
@SCRAMBLES
@pytest.mark.parametrize(("first", "lanes"), [(48, 16), (512 * 5, 512), (2**31 - 512, 512)])
def test_rows_are_the_points_of_the_reference(bits, generator, first, lanes):
    for coordinate in (0, COORDINATES - 1):
        k = integers(generator, bits, first, lanes, coordinate)
        u = row(generator, "uniform", bits, first, lanes, coordinate)
        np.testing.assert_array_equal(u, getattr(INVERSE_UNIFORM, f"float{bits}")(k))
        z = row(generator, "normal", bits, first, lanes, coordinate)
        np.testing.assert_array_equal(z, numbers("inverse_normal", k))


@BITS
def test_rows_with_a_small_tail_are_found(bits):
    """All rows of 2**15 points: with two tails of 2**-14, each has four of these integers."""
    k = integers("sobol", bits, 0, 1 << 15, 1)
    found = np.concatenate([row("sobol", "normal", bits, first, 512, 1) for first in range(0, 1 << 15, 512)])
    np.testing.assert_array_equal(found, numbers("inverse_normal", k))
    assert np.count_nonzero(np.abs(found) > 3.8105) == 4


@BITS
@SCRAMBLES
def test_coordinates_without_points_are_random(bits, generator):
    first, coordinate = 3 * 64, COORDINATES + 7
    groups = np.arange(64 // EACH[bits], dtype=np.uint64) + np.uint64(first // EACH[bits])
    w = philox.words(SEED, STREAM, coordinate, groups, EACH[bits])
    halves = [a.astype(np.uint64) | (b.astype(np.uint64) << np.uint64(32)) for a, b in (w[:2], w[2:])]
    k = np.stack(w if bits == 32 else halves, axis=1).ravel()
    z = row(generator, "normal", bits, first, 64, coordinate)
    np.testing.assert_array_equal(z, numbers("inverse_normal", k))


@BITS
@SCRAMBLES
def test_rows_of_a_batch_are_shifted(bits, generator):
    low, high, *_ = (int(w) for w in philox.words(SEED, int(point_fill.ROW_SHIFTS), 2, 6, 4))
    shift = low if bits == 32 else high << 32 | low
    k = integers(generator, bits, 64, 64, 2) ^ np.array(shift, f"uint{bits}")
    u = row(generator, "uniform", bits, 64, 64, 2, high=6)
    np.testing.assert_array_equal(u, getattr(INVERSE_UNIFORM, f"float{bits}")(k))


@pytest.mark.skipif(not llvm.get_host_cpu_features().get("avx2"), reason="reads AVX2 or AVX-512 code")
@BITS
def test_a_normal_of_a_point_takes_fewer_instructions_than_one_of_philox(bits):
    points, _ = noise_code.sobol(bits)
    assert sum(points) < sum(noise_code.philox(bits))
