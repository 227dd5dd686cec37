"""Every function against mpmath, within the bounds that `kernels/bounds.py` states."""

import zlib

import numpy as np
import pytest

from mcgrad.kernels.bounds import BOUNDS, Range

from .loops import FLOATS, NAMES, evaluate
from .oracle import error_ratio, sample

POINTS = 200
EXACT = {"absolute", "ceil", "floor", "isfinite", "isnan", "maximum", "minimum", "nextafter", "sign"}
BITS = pytest.mark.parametrize("bits", [32, 64])


def test_every_function_has_a_bound_or_is_exact():
    assert set(BOUNDS) | EXACT == set(NAMES)
    assert not set(BOUNDS) & EXACT


@BITS
@pytest.mark.parametrize("name", sorted(BOUNDS))
def test_error_is_within_the_stated_bound(name, bits):
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    for bound in BOUNDS[name][bits]:
        for domain in bound.domains:
            spans = (domain,) if isinstance(domain, Range) else domain
            arguments = [sample(rng, span, POINTS).astype(FLOATS[bits]) for span in spans]
            got = evaluate(name, bits, *arguments)
            ratios = [error_ratio(name, point, value, bound) for *point, value in zip(*arguments, got, strict=True)]
            worst = int(np.argmax(ratios))
            assert ratios[worst] <= 1, f"{name}{tuple(a[worst] for a in arguments)}: {ratios[worst] * bound.ulps} ulps"


@BITS
def test_exact_functions_are_numpys(bits):
    x = np.concatenate([np.arange(-5, 5.25, 0.25), [1e30, -1e30, 0.1, -0.1]])
    for name in ("absolute", "ceil", "floor", "sign", "isfinite", "isnan"):
        np.testing.assert_array_equal(evaluate(name, bits, x), getattr(np, name)(x.astype(FLOATS[bits])))


@BITS
def test_powers_of_two_and_squares_are_exact(bits):
    n = np.arange(-120.0, 120.0)
    np.testing.assert_array_equal(evaluate("log2", bits, 2.0**n), n)
    np.testing.assert_array_equal(evaluate("exp2", bits, n), 2.0**n)
    whole = np.arange(1.0, 90.0)
    np.testing.assert_array_equal(evaluate("power", bits, whole, np.full_like(whole, 2.0)), whole**2)
    np.testing.assert_array_equal(evaluate("cbrt", bits, whole**3), whole)


@BITS
def test_sine_and_cosine_stay_bounded_beyond_their_range(bits):
    x = 10.0 ** np.linspace(8, 38, 500)
    for name in ("sin", "cos"):
        assert np.abs(evaluate(name, bits, x)).max() <= 1
