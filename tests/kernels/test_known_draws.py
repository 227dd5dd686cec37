"""Known answers of the draw contract, version 3: these numbers change only with the version."""

import re
from pathlib import Path

import numpy as np
import pytest

from mcgrad.noise import philox, sobol
from mcgrad.noise.directions import directions
from mcgrad.noise.numbers import numbers
from mcgrad.noise.source import NoiseSource

KNOWN = [  # seed, stream, component, first draw, dtype, uniforms, normals
    (0, 0, 0, 0, np.float32, [0.39904642, 0.88052016], [0.9911377, -0.92466259]),
    (0, 0, 0, 2, np.float32, [0.73571277, 0.6054818], [-0.61760896, -0.4820686]),
    (0, 0, 0, 0, np.float64, [0.880520197888614, 0.605481853879921], [-0.397667538444182, -0.310395478801738]),
    (2024, 1, 3, 10, np.float32, [0.5519197, 0.1994552], [0.34046164, 1.0357562]),
    (2024, 1, 3, 10, np.float64, [0.569271089251537, 0.101717040311869], [0.851995989349, 0.633166556851532]),
]


@pytest.mark.parametrize(("seed", "stream", "component", "first", "dtype", "uniforms", "normals"), KNOWN)
def test_draws_are_those_of_version_1(seed, stream, component, first, dtype, uniforms, normals):
    place = (seed, [component], first, 2, dtype)
    rtol = 5e-7 if dtype == np.float32 else 2e-12
    np.testing.assert_allclose(numbers(NoiseSource(stream, "uniform"), *place)[0], uniforms, rtol=rtol)
    np.testing.assert_allclose(numbers(NoiseSource(stream, "normal"), *place)[0], normals, rtol=rtol)


def test_words_are_those_of_version_1():
    words = philox.words(2024, 1, 3, np.array([5], np.uint64), 4)
    assert [int(word[0]) for word in words] == [0xE4C652DE, 0x91BBC006, 0x95DC1DAE, 0x1A0A20C1]


PAGE = (Path(__file__).parents[2] / "docs" / "draws.md").read_text(encoding="utf-8")
POINTS = re.findall(
    r"^\| (\d+), (\d+), (\d+) \| (\d+), \d+ \| (sobol\w*), (float\d\d) \| `(\w+)` `(\w+)` \| (.+?) \| (.+?) \|$",
    PAGE,
    re.M,
)


@pytest.mark.parametrize("row", POINTS, ids=lambda row: "-".join(row[:6]))
def test_points_are_those_of_version_3(row):
    """As the page has them, by its text in Python's integers: nothing of `noise.sobol` but the reference's result."""
    seed, replicate, coordinate, first = map(int, row[:4])
    name, dtype, *integers = row[4:8]
    uniforms, normals = ([float(x) for x in cell.split(", ")] for cell in row[8:])
    bits = int(dtype[-2:])

    def word(key, stream, component, group, k):
        return int(philox.words(key, stream, component, np.uint64(group), 4)[k])

    def combined(numbers, chosen):
        out = 0
        for i, number in enumerate(numbers):
            out ^= number * (chosen >> i & 1)
        return out

    own = word(seed, 7 << 16, 0, replicate, 1) << 32 | word(seed, 7 << 16, 0, replicate, 0)
    V = [int(number) for number in directions(np.array([coordinate]))[0]]
    W = [a ^ b for a, b in zip(V, [0, *V[:-1]], strict=True)]

    def matrix_scrambled(i):
        random = [word(own, 5 << 16, coordinate, 8 + q // 4, q % 4) for q in range(64)]
        random = [
            low | word(own, 5 << 16, coordinate, q // 4, q % 4) << 32 if q < 32 else low for q, low in enumerate(random)
        ]
        columns = [1 << 63 - q | (random[q + 1] % (1 << 63 - q) if q < 63 else 0) for q in range(64)]
        return random[0] ^ combined([combined(columns[::-1], w) for w in W], i)

    def hashed(i):
        key = word(own, 6 << 16, coordinate, 0, 1) << 32 | word(own, 6 << 16, coordinate, 0, 0)
        x = int(f"{combined(W, i):064b}"[::-1], 2)
        x ^= x * 0xECC847B93D20ADEA
        x = (x + key) * ((key % 2**32 >> 16 | 1) + (key - key % 2**32))
        x ^= x * 0x46E2578905526C56
        x ^= x * 0xB9D2F21953A22864
        return int(f"{x % 2**64:064b}"[::-1], 2)

    made = [{"sobol": matrix_scrambled, "sobol_owen": hashed}[name](i) >> 64 - bits for i in (first, first + 1)]
    assert [f"{k:0{bits // 4}x}" for k in made] == integers
    place = (sobol.seed_of_replicate(seed, replicate), [0], first, 2, dtype)
    rtol = 5e-7 if dtype == "float32" else 2e-12
    np.testing.assert_allclose(numbers(NoiseSource(0, "uniform", name, coordinate), *place)[0], uniforms, rtol=rtol)
    np.testing.assert_allclose(numbers(NoiseSource(0, "normal", name, coordinate), *place)[0], normals, rtol=rtol)


def test_the_page_has_points_of_both_scrambles_and_the_seeds_and_tables_of_replicates():
    assert len(POINTS) == 12
    seeds = re.findall(r"^\| (\d+) \| (\d+) \| `(\w{16})` \|$", PAGE, re.M)
    assert (
        [sobol.seed_of_replicate(int(seed), int(r)) for seed, r, _ in seeds]
        == [int(own, 16) for *_, own in seeds]
        != []
    )
    tables = re.findall(r"^\| (\d+) \| (`\w+` `.*`) \| (`\w+` `.*`) \|$", PAGE, re.M)
    assert len(tables) == 2
    for coordinate, *cells in tables:
        for cell, table in zip(cells, (sobol.table, sobol.owen_table), strict=True):
            assert [int(x, 16) for x in re.findall(r"\w+", cell)] == table(0, 9, 64)[int(coordinate), :4].tolist()


def test_hashes_are_those_of_version_3():
    assert sobol.owen_hash(np.array([0xDEADBEEF], np.uint32), np.uint32(0x12345678))[0] == 0xABDB6DE7
    x, key = np.array([0x0123456789ABCDEF], np.uint64), np.uint64(0xFEDCBA9876543210)
    assert sobol.owen_hash(x, key)[0] == 0xC9E59C167AD1200F
