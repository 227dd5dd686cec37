"""z[key] = value means what it means in NumPy, for arrays that share memory too, or is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.errors import TraceError
from mcgrad.ir import build
from mcgrad.ir.interpret import interpret
from mcgrad.trace.trace import trace, trace_integrand

RNG = np.random.default_rng(3)


def traced(f: Callable[..., Any], *arrays: Any) -> Any:
    leaves = [build.noise(i, "uniform", np.shape(x)) for i, x in enumerate(arrays)]
    values = {leaf: np.asarray(x)[..., None] for leaf, x in zip(leaves, arrays, strict=True)}
    result = trace(f, tuple(leaves), {})
    value = interpret([result], values, "float64")[0][..., 0]
    assert value.shape == result.shape
    return value


def writing(key: Any, value: Any) -> Callable[..., Any]:
    def f(z: Any) -> Any:
        z[key] = value(z) if callable(value) else value
        return z

    return f


def recursion(z):
    path = z.copy()
    for i in range(1, len(z)):
        path[i] = 0.5 * path[i - 1] + z[i]
    return path


def augmented(z):
    z[1] += z[0]
    z[::2] *= 3.0
    z[z > 0.5] -= 1.0
    return z


def in_place(z):
    other, once = z, z[0]
    other += 1.0
    once -= 5.0
    with_view = z * 2.0
    part = with_view[1:]
    part *= z[1:] - once
    return np.concatenate([z, with_view, part])


def copies_stay(z):
    first, row, cut = z[0], z[[0, 1]], z[1:].copy()
    z[0] = 9.0
    z[1] = 8.0
    return np.concatenate([np.stack([first]), row, cut, z])


def same_object(z):
    other = z
    other[0] = 2.0
    return z


def view_made_afterwards(z):
    z[0] = 2.0
    top = z[:2]
    return top * z[2]


@pytest.mark.parametrize(
    "f", [recursion, in_place, copies_stay, same_object, view_made_afterwards, writing(0, 1.0),
          writing(slice(1, 3), [1.0, 2.0]),
          writing(slice(None, None, -1), lambda z: z * 2), writing([0, 0, 2], [1.0, 2.0, 3.0]), writing(..., 4.0),
          writing(np.array([True, False, True, False, True]), lambda z: z[:3].copy()),
          writing([], 1.0), writing(1, True)]
)  # fmt: skip
def test_one_axis(f):
    z = RNG.normal(size=5)
    np.testing.assert_allclose(traced(f, z), f(z.copy()))


@pytest.mark.parametrize(
    "f", [writing(0, 1.0), writing((slice(None), 1), lambda z: z[:, 0]), writing((1, 2), lambda z: z[0, 0]),
          writing(([0, 1], [2, 0]), [1.0, 2.0]), writing((0, slice(1, None)), np.ones((1, 2))), writing(slice(0), 1.0)]
)  # fmt: skip
def test_two_axes(f):
    z = RNG.normal(size=(2, 3))
    np.testing.assert_allclose(traced(f, z), f(z.copy()))


def test_masks_of_the_draw():
    def f(z):
        z[z < 0] = 0.0
        z[z[:, 0] > 0.5] = [7.0, 8.0, 9.0]
        return z

    z = RNG.normal(size=(4, 3))
    np.testing.assert_allclose(traced(f, z), f(z.copy()))
    refused = "z[z > 0.5] -= 1.0"
    with pytest.raises(TraceError) as caught:
        trace(augmented, (build.noise(0, "normal", (5,)),), {})
    assert caught.value.line.strip() == refused


def test_a_value_that_does_not_fit_raises_as_numpy():
    with pytest.raises(ValueError, match="setting an array element with a sequence"):
        traced(writing(0, np.ones(1)), np.zeros(3))
    for value in (np.ones(2), np.ones((2, 3))):
        with pytest.raises(ValueError, match="could not broadcast") as expected:
            writing(slice(None), value)(np.zeros(3))
        with pytest.raises(ValueError, match="could not broadcast") as caught:
            traced(writing(slice(None), value), np.zeros(3))
        assert str(expected.value).split(" from ")[0] == str(caught.value).split(" from ")[0]


@pytest.mark.parametrize("view", [lambda z: z[:2], lambda z: z[::-1], lambda z: z[None], lambda z: z[1:][:1]])
def test_slices_follow_what_is_written_to_their_base_and_the_other_way_round(view):
    def f(z):
        other, third = view(z), z[1:]
        z[1] = 5.0
        before = other * 1.0
        other[..., 0] = 2.0
        other += 1.0
        third[1] *= z[0]
        other[..., -1:] = other[..., :1] - 3.0
        return np.concatenate([before.ravel(), other.ravel(), z, third])

    z = np.array([0.3, -1.2, 0.7])
    np.testing.assert_allclose(traced(f, z), f(z.copy()), rtol=1e-12)


@pytest.mark.parametrize(
    "view", [lambda z: z.reshape(3, 1), lambda z: z.T, np.ravel, lambda z: np.split(z, 3)[0],
             lambda z: z[:2].reshape(2, 1), np.real, lambda z: np.broadcast_to(z, (2, 3)), np.atleast_2d]
)  # fmt: skip
def test_what_shares_memory_is_never_read_as_it_was(view):
    def base_written(z):
        other = view(z)
        z[0] = 1.0
        return other

    with pytest.raises(TraceError, match="written to by way of another"):
        trace(base_written, (build.noise(0, "normal", (3,)),), {})

    def view_written(z):
        other = view(z)
        other[..., 0] = 1.0
        return z

    with pytest.raises(TraceError, match=r"written to by way of another|does not let one write"):
        trace(view_written, (build.noise(0, "normal", (3,)),), {})


@pytest.mark.parametrize("write", [
    lambda w, z: w.__iadd__(z), lambda w, z: w[1:].__imul__(2.0), lambda w, z: w.reshape(3, 1).__isub__(1.0)
])  # fmt: skip
def test_other_names_of_a_parameter_that_was_written_to_are_refused(write):
    """NumPy changes w, too; here the result is another array, so w is not read as it was."""

    def f(z, w):
        return np.sum(write(w, z) * z[0]) + np.sum(w)

    z, w = build.noise(0, "normal", (3,)), build.input_("w", (3,))
    with pytest.raises(TraceError, match=r"written to by way of another one.* write to a copy"):
        trace_integrand(f, z, {"w": w})


def test_parameters_and_data_are_not_written_to():
    def f(z, w):
        w[0] = 1.0
        return np.sum(w * z)

    z, w = build.noise(0, "normal", (3,)), build.input_("w", (3,))
    with pytest.raises(TraceError, match=r"x = x\.copy\(\)"):
        trace_integrand(f, z, {"w": w})


def set_at(z, key, value):
    z = z.copy()
    z[key] = value
    return z


def add_at(z, key, value):
    z = z.copy()
    np.add.at(z, key, value)
    return z


@pytest.mark.parametrize("key", [0, slice(1, None), [0, 0, 2], np.array([True, False, True])], ids=str)
@pytest.mark.parametrize(
    ("f", "meaning"), [(lambda a, k, v: mg.at(a, k).set(v), set_at), (lambda a, k, v: mg.at(a, k).add(v), add_at)]
)
def test_at(f, meaning, key):
    z = RNG.normal(size=3)
    want = meaning(z, key, z[1])
    np.testing.assert_allclose(f(z, key, z[1]), want)
    np.testing.assert_allclose(traced(lambda z: f(z, key, z[1]), z), want)
    np.testing.assert_allclose(traced(lambda x: f(z, key, x), z[1]), want)


def test_at_of_plain_arrays():
    counts = np.zeros(3, int)
    np.testing.assert_array_equal(mg.at(counts, [0, 0, 2]).add(1), [2, 0, 1])
    np.testing.assert_array_equal(mg.at(counts, 1).set(0.5), [0, 0.5, 0])  # no fraction is cut off
    assert counts.tolist() == [0, 0, 0]


@pytest.mark.parametrize("value", [lambda z: z[1], lambda z: z[1] > 0.0], ids=["number", "boolean"])
@pytest.mark.parametrize("rule", ["set", "add"])
def test_at_of_booleans(rule, value):
    def f(z):
        return getattr(mg.at(z > 0.0, [0, 2]), rule)(value(z))

    def of_an_array(z):
        return getattr(mg.at(np.array([True, False, False]), [0, 2]), rule)(value(z))

    z = np.array([-0.3, 0.6, 1.1])
    for function in (f, of_an_array):
        np.testing.assert_array_equal(traced(function, z), function(z))


def test_the_gradient_of_a_recursion_that_is_written_into_an_array():
    def recursion_of(z, a):
        path = z.copy()
        for i in range(1, len(z)):
            path[i] = a * path[i - 1] + z[i]
        return path[-1] + path[1] ** 2

    def by_hand(z, a):
        first = a * z[0] + z[1]
        return a * (a * first + z[2]) + z[3] + first**2

    q = mg.Normal(np.linspace(0.1, 0.4, 4), 1.0)
    given = {"params": {"a": 0.7}, "n": 256, "seed": 1, "backend": "numpy", "dtype": "float64"}
    one, other = mg.estimate(recursion_of, q, **given), mg.estimate(by_hand, q, **given)
    for name in ("loc", "a"):
        np.testing.assert_allclose(one.grad[name], other.grad[name], rtol=1e-12)
