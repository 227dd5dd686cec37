"""np.sort and its relatives: the network, NaN and infinities, equal elements, and the derivative."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.differentiate.modes import jvp, pulled_back
from mcgrad.ir import build
from mcgrad.ir.build import const, input_
from mcgrad.ir.interpret import interpret
from mcgrad.ir.program import toposort
from mcgrad.trace.sorting import SMALL, layers
from mcgrad.trace.trace import trace

SIZES = (2, 5, SMALL, SMALL + 3)


@pytest.mark.parametrize("n", range(2, 13))
def test_the_network_sorts_zeros_and_ones_and_so_everything(n: int):
    rows = np.array(list(itertools.product((0, 1), repeat=n)))
    for pairs in layers(n):
        assert len({place for pair in pairs for place in pair}) == 2 * len(pairs)
        for i, j in pairs:
            rows[:, i], rows[:, j] = rows[:, [i, j]].min(1), rows[:, [i, j]].max(1)
    assert np.all(np.diff(rows, axis=1) >= 0)


def sorted_at(x, f=np.sort):
    z = input_("z", x.shape)
    return interpret([trace(f, (z,), {})], {z: x[..., None]}, "float64")[0][..., 0]


@pytest.mark.parametrize("n", SIZES)
def test_special_values(n: int):
    x = np.random.default_rng(n).permutation([np.inf, -np.inf, *np.repeat([0.0, 2.0], n)][:n])
    np.testing.assert_array_equal(sorted_at(x), np.sort(x))
    x[n // 2] = np.nan
    assert np.isnan(sorted_at(x)).all()
    assert np.isnan(sorted_at(x, np.median)) == np.isnan(np.median(x))


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 3), (1, 2)])
def test_empty_axes(shape):
    for axis in range(len(shape)):
        x = np.zeros(shape)
        assert sorted_at(x, lambda z, a=axis: np.sort(z, a)).shape == np.sort(x, axis).shape


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("ties", [False, True])
def test_the_derivative_is_a_permutation(n: int, ties: bool):
    x = np.random.default_rng(n).permutation(np.arange(n) // (2 if ties else 1)).astype(float)
    z = input_("z", x.shape)
    result = trace(np.sort, (z,), {})
    columns = [interpret([jvp(result, z, const(seed))], {z: x[:, None]}, "float64")[0][:, 0] for seed in np.eye(n)]
    rows = [interpret(pulled_back({result: const(ct)}, [z]), {z: x[:, None]}, "float64")[0][:, 0] for ct in np.eye(n)]
    jacobian = np.stack(rows)
    np.testing.assert_array_equal(np.stack(columns, 1), jacobian)
    assert sorted(map(tuple, jacobian)) == sorted(map(tuple, np.eye(n)))
    np.testing.assert_array_equal(jacobian @ x, np.sort(x))


def test_the_mean_of_an_order_statistic():
    """The median of five standard normals that are moved and stretched moves and stretches as they do."""
    e = mg.estimate(lambda z: np.median(z), mg.Normal(np.full(5, 0.3), 2.0), n=20_000, seed=2)
    assert abs(e.value - 0.3) < 5 * e.stderr
    np.testing.assert_allclose(e.grad["loc"].sum(), 1.0, rtol=1e-5)
    assert np.all(np.abs(e.grad["loc"] - 0.2) < 5 * e.grad_stderr["loc"])


def test_a_draw_with_a_nan_is_counted():
    e = mg.estimate(lambda z: np.sort(np.log(z))[2], mg.Normal(np.zeros(3), 1.0), n=64, seed=1, backend="numpy")
    assert 40 < e.nonfinite < 64


def test_equations_are_as_many_for_any_number_of_elements():
    few, many = (len(list(toposort([trace(np.sort, (build.noise(0, "normal", (n,)),), {})]))) for n in (20, 200))
    assert few == many < 40


@pytest.mark.parametrize("f", [np.argmax, np.argmin, np.argsort, lambda x: np.argmax(x, 0), lambda x: x.argsort(None)])
def test_places_are_those_of_numpy_for_equal_and_infinite_elements(f):
    x = np.array([[2.0, -np.inf, 1.0, np.inf], [-np.inf, 2.0, 0.0, np.inf], [1.0, -0.0, 0.0, 2.0]])
    right = np.argsort(x, kind="stable") if f is np.argsort else x.ravel().argsort(kind="stable")
    np.testing.assert_array_equal(sorted_at(x, f), right if f(x).size > 4 else f(x))


def test_places_of_nan_are_nan():
    x = np.array([[2.0, np.nan, 1.0], [1.0, 2.0, 3.0]])
    np.testing.assert_array_equal(sorted_at(x, lambda x: np.argmax(x, 1)), [np.nan, 2.0])
    np.testing.assert_array_equal(sorted_at(x, lambda x: np.argsort(x, 1)), [[np.nan] * 3, [0.0, 1.0, 2.0]])
    with pytest.raises(ValueError, match="argmax of an empty sequence"):
        trace(lambda x: np.argmax(x[:0]), (input_("z", (3,)),), {})


def test_the_place_of_the_largest_indexes_and_has_no_derivative():
    def f(z, *, prices):
        return prices[np.argmax(z)] * np.max(z)  # the best of three, and its price

    prices, loc = np.array([1.0, 2.0, 4.0]), np.array([0.0, 9.0, 0.0])
    e = mg.estimate(f, mg.Normal(loc, 1.0), n=4000, params={"prices": prices}, seed=1, method="pathwise")
    assert abs(e.value - 18.0) < 5 * e.stderr
    np.testing.assert_array_equal(e.grad["loc"], [0.0, 2.0, 0.0])
    assert abs(e.grad["prices"][1] - 9.0) < 5 * e.grad_stderr["prices"][1]
    with pytest.warns(mg.JumpWarning, match="argmax"):
        mg.estimate(lambda z: np.take(prices, np.argmax(z)), mg.Normal(np.zeros(3), 1.0), n=2000, method="pathwise")
