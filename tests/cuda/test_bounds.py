"""The GPU's float32 functions stay within their bounds when its instructions err as far as documented.

The same functions on a real device are measured in `test_device.py`.
"""

import zlib
from dataclasses import replace

import numpy as np
import pytest

from mcgrad.kernels import noise32
from mcgrad.kernels.bounds import BOUNDS, GPU_FLOOR, GPU_MORE, Range
from mcgrad.noise.laws import BOX_MULLER
from tests.cuda.emulated import emulated, evaluate
from tests.kernels.oracle import error_ratio, sample

POINTS = 200


@pytest.mark.parametrize("name", sorted(BOUNDS))
def test_error_is_within_the_stated_bound(name):
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    for stated in BOUNDS[name][32]:
        bound = replace(stated, ulps=stated.ulps + GPU_MORE[name], floor=stated.floor * GPU_FLOOR)
        for domain in bound.domains:
            spans = (domain,) if isinstance(domain, Range) else domain
            arguments = [sample(rng, span, POINTS).astype(np.float32) for span in spans]
            got = evaluate(name, *arguments)
            ratios = [error_ratio(name, point, value, bound) for *point, value in zip(*arguments, got, strict=True)]
            assert max(ratios) <= 1, f"{name}{tuple(a[int(np.argmax(ratios))] for a in arguments)}"


@pytest.mark.parametrize("x", [np.inf, -np.inf, np.nan, 0.0, -0.0, 89.0, -104.0, 1e30, -1e30])
def test_the_exponential_keeps_its_edges(x):
    with np.errstate(all="ignore"):
        right = np.exp(np.float32(x))
    np.testing.assert_allclose(evaluate("exp", np.float32(x)), right, rtol=1e-6)


def test_normals_are_within_the_six_ulps_of_the_draw_contract():
    rng = np.random.default_rng(3)
    radial, angular = rng.integers(0, 2**32, (2, 100_000), dtype=np.uint32)
    radial[:3] = 0, 1, 2**32 - 1
    with np.errstate(all="ignore"):
        got = emulated(noise32.normal_pair)(radial, angular)
    right = list(BOX_MULLER.float32(radial, angular, radial, angular))[:2]
    for mine, exact in zip(got, right, strict=True):
        exact = np.asarray(exact, np.float32)
        assert np.max(np.abs(mine.astype(np.float64) - exact) / np.spacing(np.abs(exact))) <= 6
