"""Moments: merging in any way gives what one pass over everything gives, far from zero too."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, strategies as st

from mcgrad.moments import Moments


@st.composite
def split_samples(draw):
    """Return a sample (2, n), a million standard deviations from zero or less, and where to cut it."""
    n = draw(st.integers(1, 60))
    seed = draw(st.integers(0, 2**32 - 1))
    offset = draw(st.sampled_from([0.0, 1.0, 1e6]))
    scale = draw(st.sampled_from([1e-300, 1e-100, 1.0, 1e50, 1e300]))
    x = (np.random.default_rng(seed).standard_normal((2, n)) + offset) * scale
    return x, sorted(draw(st.lists(st.integers(0, n), max_size=6)))


def exact(row):
    """Return mean and sum of squared deviations in rational arithmetic."""
    values = [Fraction(float(v)) for v in row]
    mean = sum(values) / len(values)
    return float(mean), sum((v - mean) ** 2 for v in values)


@given(split_samples())
def test_every_way_to_merge_gives_the_exact_moments(case):
    x, cuts = case
    parts = [Moments.of(part) for part in np.split(x, cuts, axis=1)]
    in_order = parts[0]
    for part in parts[1:]:
        in_order = in_order.merge(part)
    for moments in (Moments.of(x), Moments.combine(parts), in_order):
        assert moments.count == x.shape[1]
        for row, mean, norm in zip(x, moments.mean, moments.norm, strict=True):
            exact_mean, exact_m2 = exact(row)
            assert mean == pytest.approx(exact_mean, rel=1e-14, abs=1e-14 * np.abs(row).max())
            # each mean of a part is known to an ulp or so of the offset, 1e-10 standard deviations
            slack = Fraction(1e-8) * exact_m2 + Fraction(1e-20) * Fraction(np.abs(row).max()) ** 2
            assert abs(Fraction(norm) ** 2 - exact_m2) <= slack


def test_a_mean_of_a_million_standard_deviations_costs_no_standard_error():
    x = np.random.default_rng(0).standard_normal((1, 100_000))
    far = Moments.combine([Moments.of(part) for part in np.split(x + 1e6, 100, axis=1)])
    np.testing.assert_allclose(far.stderr, x.std(axis=1, ddof=1) / math.sqrt(100_000), rtol=1e-9)


def test_non_finite_components_spoil_only_themselves():
    x = np.ones((4, 6))
    x[0, 1], x[1, 4], x[2, 5] = np.nan, np.inf, -np.inf
    parts = [Moments.of(x[:, :3]), Moments.of(x[:, 3:])]
    for moments in (Moments.of(x), Moments.combine(parts), parts[0].merge(parts[1])):
        assert not np.isfinite(moments.mean[:3]).any()
        assert np.isnan(moments.stderr[:3]).all()
        assert (moments.mean[3], moments.stderr[3]) == (1.0, 0.0)


def test_parts_without_draws_change_nothing():
    some, none = Moments.of([[1.0, 2.0, 4.0]]), Moments.of(np.empty((1, 0)))
    for moments in (some.merge(none), none.merge(some), Moments.combine([none, some, none])):
        assert (moments.count, moments.mean[0], moments.m2[0]) == (3, some.mean[0], some.m2[0])
    assert Moments.combine([none, none]).count == none.merge(none).count == 0
    assert np.isnan(none.mean[0])
    garbage = Moments.pool([3, 0], [some.mean, [np.nan]], [some.norm, [7.0]])
    assert (garbage.count, garbage.mean[0], garbage.m2[0]) == (3, some.mean[0], some.m2[0])


def test_variance_and_stderr():
    moments = Moments.of([[1.0, 2.0, 3.0, 6.0], [5.0, 5.0, 5.0, 5.0]])
    np.testing.assert_allclose(moments.variance, [14 / 3, 0.0])
    np.testing.assert_allclose(moments.stderr, [math.sqrt(14 / 12), 0.0])
    assert np.isnan(Moments.of([[3.0]]).stderr[0])


def test_float32_samples_are_summed_in_float64():
    x = np.full((1, 1 << 20), 0.1, np.float32)
    moments = Moments.of(x)
    assert moments.mean.dtype == np.float64
    assert moments.mean[0] == float(np.float32(0.1))
