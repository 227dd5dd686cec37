"""Known answers of the draw contract, version 2: these numbers change only with the version."""

import numpy as np
import pytest

from mcgrad.noise import philox
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
