"""A function that is another one at each call is refused, wherever it is given; what only keeps a record is not."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.ir import build
from mcgrad.trace.trace import trace

Z = build.noise(0, "normal", (3,))
RNG = np.random.default_rng(0)
NOISE = mg.noise.normal((2,))


def jitter(x=1.0):
    return x + RNG.normal(size=2)


def stateful():
    """Make a function that does something else at its second call."""
    calls = itertools.count()
    return lambda z: np.sum(z) if next(calls) % 2 else np.sum(z**2)


def growing():
    weights = []

    def f(z):
        weights.append(2.0)
        return np.sum(z * sum(weights))

    return f


def fewer():
    calls = itertools.count()
    return lambda z: {"a": z, "b": z} if next(calls) % 2 else {"a": z}


def swapped():
    pair = [0, 1]

    def f(z):
        pair.reverse()
        return z[pair[0]] - z[pair[1]]

    return f


@pytest.mark.parametrize(
    ("f", "words"),
    [
        (lambda z: np.sum(z) * RNG.normal(), "the constant "),
        (lambda z: z[0] * np.random.rand(), "the constant "),
        (lambda z: np.dot(z, RNG.normal(size=3)), "a constant, float64 array of shape (3,)"),
        (lambda z: z[RNG.permutation(3)][0] * np.sum(RNG.permutation(100)[:3] * z), "the second"),
        (stateful(), "the second"),
        (growing(), "the constant 2.0 the first time and with the constant 4.0 the second"),
        (fewer(), "the entries .a and then .a, .b"),
        (swapped(), "the second"),
    ],
)
def test_a_function_that_changes_is_refused(f, words):
    with pytest.raises(mg.TraceError, match="not the same function at each call") as caught:
        trace(f, (Z,), {})
    assert words in caught.value.message
    assert "mg.Joint(z=q, noise=mg.Normal(0.0, 1.0))" in caught.value.message
    assert caught.value.filename == __file__


def test_a_function_that_works_only_once_is_refused():
    once = iter([1.0])
    with pytest.raises(mg.TraceError, match=r"raises StopIteration .* when it is called a second time") as caught:
        trace(lambda z: z * next(once), (Z,), {})
    assert isinstance(caught.value.__cause__, StopIteration)


q = mg.Normal(np.zeros(2), 1.0)


@pytest.mark.parametrize(
    ("f", "q", "how"),
    [
        (lambda z: np.sum(jitter(z)), q, {}),
        (mg.elbo(lambda z: np.sum(jitter(z)), q), None, {}),
        (np.sum, mg.Reparameterized(lambda eps, *, a: jitter(a * eps), {"a": 1.0}, NOISE), {}),
        (
            lambda z: np.sum(z["a"]),
            mg.Joint(a=mg.Reparameterized(lambda eps, *, a: jitter(a * eps), {"a": 1.0}, NOISE)),
            {},
        ),
        (np.sum, q.transformed(lambda x: jitter(x)), {}),
        (
            np.sum,
            q.transformed(
                lambda x, *, a: a * x,
                {"a": 2.0},
                inverse=lambda y, *, a: jitter(y / a),
                log_det=lambda x, *, a: 2 * np.log(a),
            ),
            {"method": "score"},
        ),
        (
            np.sum,
            q.transformed(np.exp, inverse=np.log, log_det=lambda x: np.sum(jitter(x))),
            {"method": "score"},
        ),
        (
            np.sum,
            mg.Reparameterized(lambda e, *, a: a + e, {"a": 1.0}, NOISE, lambda z, *, a: -np.sum(jitter(z - a) ** 2)),
            {"method": "score"},
        ),
        (np.sum, mg.Implicit(lambda z, *, a: z / a, lambda u, *, a: jitter(a * u), {"a": 1.0}, NOISE), {}),
        (
            np.sum,
            mg.Implicit(lambda z, *, a: z / a + RNG.normal(), lambda u, *, a: a * u, {"a": 1.0}, mg.noise.normal()),
            {},
        ),
    ],
    ids=["f", "log_joint", "transform", "joint", "fn", "inverse", "log_det", "log_prob", "sampler", "cdf"],
)
def test_wherever_it_is_given(f, q, how):
    with pytest.raises(mg.TraceError, match="not the same function at each call"):
        mg.estimate(f, q, n=100, backend="numpy", **how)


def test_records_and_caches_change_no_program():
    seen, count = [], itertools.count()

    @functools.cache
    def weights(n):
        return np.linspace(0.0, 1.0, n)

    def f(z):
        next(count)
        seen.append(z)
        rng = np.random.default_rng(0)  # the same numbers at each call
        return np.sum(weights(3) * z) + np.sum(rng.normal(size=3) * z) + np.sum(seen[-1])

    assert trace(f, (Z,), {}).shape == ()
    assert len(seen) == 2
