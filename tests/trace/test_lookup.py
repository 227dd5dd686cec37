"""Elements found by a traced number: numbers that are no index, special values, and derivatives."""

from __future__ import annotations

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.differentiate.modes import jvp, pulled_back
from mcgrad.ir import build
from mcgrad.ir.build import const, input_
from mcgrad.ir.interpret import interpret
from mcgrad.trace.trace import trace

KNOTS, VALUES = np.array([-1.0, 0.0, 0.5, 2.0]), np.array([1.0, -1.0, 3.0, 2.0])


def at(f, *arrays):
    leaves = [build.noise(i, "normal", np.shape(x)) for i, x in enumerate(arrays)]
    values = {leaf: np.asarray(x, float)[..., None] for leaf, x in zip(leaves, arrays, strict=True)}
    return interpret([trace(f, tuple(leaves), {})], values, "float64")[0][..., 0]


def test_what_is_no_index_gives_nan():
    found = at(lambda w, k: w[np.floor(k).astype(int)], VALUES, [0.0, -4.0, 3.0, 4.0, -5.0, np.nan, np.inf])
    np.testing.assert_array_equal(found, [1.0, 1.0, 2.0, *[np.nan] * 4])


def positions(z):
    k = np.zeros(3)
    k[np.floor(z[0])] = 1.0
    return k


@pytest.mark.parametrize(
    "read",
    [
        lambda z: z[np.floor(z)],
        lambda z: z[np.ceil(z[0]), None],
        lambda z: z[np.trunc(z)],
        lambda z: z[1 + 2 * np.floor(z[0])],
        lambda z: z[-np.floor(z) // 2],
        lambda z: z[np.minimum(np.floor(z), 2)],
        lambda z: z.take(np.floor(z)),
        lambda z: np.take(z, np.floor(z), mode="clip"),
        lambda z: np.take(VALUES, indices=np.floor(z)),
        lambda z: np.take_along_axis(z, np.floor(z), 0),
        lambda z: np.choose(np.floor(z), [z, z, z]),
        positions,
    ],
)
def test_floats_are_no_indices(read):
    """As in NumPy, also where they are whole; `astype(int)` makes indices of them."""
    with pytest.raises(IndexError, match=r"must be of integer .*write k\.astype\(int\) for an index k"):
        at(lambda z: np.sum(read(z)), np.array([0.5, 1.5, 2.5]))
    with pytest.raises((IndexError, TypeError)):
        read(np.array([0.5, 1.5, 2.5]))


def test_an_element_that_is_not_chosen_may_be_anything():
    assert at(lambda w, k: w[k.astype(int)], [np.nan, 2.0, np.inf], np.float64(1.0)) == 2.0


@pytest.mark.parametrize("axis", [0, 1, -1, None])
def test_take_along_each_axis(axis):
    a, k = np.arange(24.0).reshape(2, 3, 4), np.array([[0, 1], [-1, 0]])
    found = at(lambda a, k: np.take(a, k.astype(int), axis), a, k)
    np.testing.assert_array_equal(found, np.take(a, k, axis))


@pytest.mark.parametrize(
    "f", [lambda x: np.interp(x, KNOTS, VALUES), lambda x: np.searchsorted(KNOTS, x),
          lambda x: np.digitize(x, KNOTS), lambda x: np.searchsorted(KNOTS, x, "right")]
)  # fmt: skip
def test_at_knots_and_beyond(f):
    x = np.array([*KNOTS, -2.0, 3.0, 0.25, np.inf, -np.inf, np.nan])
    np.testing.assert_array_equal(at(f, x), f(x))


def test_the_derivatives_of_interp_and_of_an_index():
    x, y = input_("x", (5,)), input_("y", (4,))
    value = trace(lambda x, y: np.interp(x, KNOTS, y), (x, y), {})
    points = np.array([-2.0, -0.25, 0.0, 1.0, 3.0])
    leaves = {x: points[:, None], y: VALUES[:, None]}
    slopes = interpret([jvp(value, x, const(np.ones(5)))], leaves, "float64")[0][:, 0]
    np.testing.assert_allclose(slopes, [0.0, -2.0, 8.0, -2 / 3, 0.0])  # at a knot that of the piece above
    weights = interpret(pulled_back({value: const(np.ones(5))}, [y]), leaves, "float64")[0][:, 0]
    want = [np.interp(points, KNOTS, unit).sum() for unit in np.eye(4)]
    np.testing.assert_allclose(weights, want)


def test_regimes_that_a_categorical_draw_chooses():
    """E w[k] and its gradient in w, the probabilities; compiled and by the reference."""
    probs, w = np.array([0.2, 0.5, 0.3]), np.array([1.0, -2.0, 4.0])
    given = {"params": {"w": w}, "wrt": ["w"], "n": 4000, "seed": 3}
    for backend in ("numpy", "cpu"):
        e = mg.estimate(lambda z, w: w[z.astype(int)], mg.Categorical(probs), backend=backend, **given)
        assert abs(e.value - probs @ w) < 5 * e.stderr
        assert np.all(np.abs(e.grad["w"] - probs) < 5 * e.grad_stderr["w"])
