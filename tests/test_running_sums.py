"""Carries of a loop that add up the same values have one sum; each result is that of the steps one after the other."""

import numpy as np
import pytest

import mcgrad as mg
from tests.test_loops import assert_equal, estimates

MARKET = {"spot": 100.0, "vol": 0.2, "rate": 0.05}


def carries(make, q):
    f, params = make(mg.scan)
    made = mg.Estimator(f, q, params=params, wrt=[*params], backend="numpy")
    return [var.attrs.carries for var in made.program.body() if var.op == "loop" and not var.attrs.reverse]


def check(make, q):
    _, params = make(mg.scan)
    assert_equal(*estimates(make, q, wrt=[*params]))


def prices(scan):
    def f(z, *, spot, vol, rate):
        dt = 0.02

        def step(x, e):
            x = x + ((rate - 0.5 * vol**2) * dt + vol * np.sqrt(dt) * e)
            return x, np.exp(x)

        _, mean = scan(step, np.log(spot), z, reduce="mean")
        return mean

    return f, MARKET


def test_log_prices():
    """Normals, prices, and the sums of the derivatives in vol and rate; not the logarithm and its derivatives."""
    q = mg.Normal(np.zeros(6), 1.0)
    assert carries(prices, q) == [4]
    check(prices, q)


def test_what_is_not_centered_stays_with_what_is_added():
    """Parting e^2 from a would lose digits where both are large and their sum is not."""

    def make(scan):
        def f(z, *, a, b):
            def step(state, e):
                x, y = state
                return (x + (a + e**2), y + (b + e**2)), None

            (x, y), _ = scan(step, (0.0, 1.0), z)
            return np.sin(x) + y

        return f, {"a": -1.0, "b": 0.3}

    q = mg.Normal(np.full(6, 1.0), 1.0)
    assert carries(make, q)[0] == 2
    check(make, q)


def test_sums_of_sums():
    """The second adds up the first, before and after its step; what they begin with changes by draw, or does not."""

    def make(scan):
        def f(z, *, a):
            def step(state, e):
                x, y, w = state
                after = x + a * e
                return (after, y + after * x, w + 2.0 * e), w

            (x, y, w), seen = scan(step, (z["start"], 0.5 * z["start"], 1.0), z["steps"])
            return x * y + w + np.sum(seen * np.arange(6))

        return f, {"a": 0.7}

    check(make, mg.Joint(start=mg.Normal(0.0, 1.0), steps=mg.Normal(np.full(6, 0.3), 1.5)))


def test_vectors():
    def make(scan):
        def f(z, *, a):
            def step(state, e):
                x, y = state
                return (x + a * e, y + np.array([2.0, 3.0]) * e), np.exp(0.1 * x)

            (x, y), total = scan(step, (np.zeros(2), np.ones(2)), z, reduce="sum")
            return np.sum(x * y * total)

        return f, {"a": 0.7}

    check(make, mg.Normal(np.full((6, 2), 0.1), np.linspace(0.5, 1.5, 12).reshape(6, 2)))


def test_other_steps_and_other_draws():
    """Factors that change by step belong to what is added up; a factor that draws change is none."""

    def make(scan):
        def f(z, *, a):
            def step(state, given):
                x, y, w = state
                e, t = given[0], given[1]
                return (x + t * e, y + a * (t * e), w + y * e), None

            (x, y, w), _ = scan(step, (0.0, 1.0, 0.0), np.stack([z, np.arange(6.0)], axis=1))
            return np.cos(x) * y + w

        return f, {"a": 0.7}

    check(make, mg.Normal(np.full(6, 0.2), 1.0))


def known(make, q):
    """Check a loop, and that the interpreter goes through no steps of what no draw changes."""
    f, params = make(mg.scan)
    made = mg.Estimator(f, q, params=params, wrt=[*params], backend="numpy")
    assert [var for var in made.program.hoisted() if var.op == "loop"] == []
    check(make, q)


@pytest.mark.parametrize("reverse", [False, True])
def test_what_no_draw_changes_is_known_before_the_loop(reverse):
    """Times, and a sum of other numbers in each step; of both what they are before, after and in the end is read."""

    def make(scan):
        def f(z, *, a):
            def step(state, given):
                x, t, u, left = state
                e, k = given[0], given[1]
                after = t + 0.1 * a
                x = x + np.sin(t) * e + np.cos(after) * np.sum(u) * left
                return (x, after, u + a * np.array([1.0, 2.0]) * k, left - 0.25 * k), t * u[1]

            steps = np.stack([z, np.arange(6.0) + 1.0], axis=1)
            (x, t, u, left), seen = scan(step, (0.5, 0.3 * a, np.array([a, 2.0]), 3.0), steps, reverse=reverse)
            return x * t + u[0] * u[1] * left + np.sum(seen * np.arange(6))

        return f, {"a": 0.7}

    known(make, mg.Normal(np.full(6, 0.2), 1.0))


def test_what_a_known_sum_changes_goes_through_the_steps():
    """A product of sums, for which there is no array before the loop."""

    def make(scan):
        def f(z, *, a):
            def step(state, e):
                x, t, w = state
                return (x + w * e, t + a, w * (1.0 + t)), None

            (x, t, w), _ = scan(step, (0.0, 0.1, 1.0), z)
            return x * x + t * w

        return f, {"a": 0.7}

    check(make, mg.Normal(np.full(6, 0.2), 1.0))


def test_rows_of_a_batch_have_sums_of_their_own():
    def f(z, *, a):
        def step(state, e):
            x, t = state
            return (x + np.sin(t) * e, t + a), None

        return mg.scan(step, (0.0, 0.0), z)[0][0] ** 2

    a = np.array([0.3, 0.8])
    q = mg.Normal(np.zeros((2, 5)), 1.0, batch_ndim=1)
    options = {"params": {"a": a}, "batched_params": "a", "wrt": ["a"], "backend": "numpy"}
    est = mg.estimate(f, q, 20_000, seed=1, **options)
    t = a[:, None] * np.arange(5)
    exact = np.sum(2 * np.sin(t) * np.cos(t) * np.arange(5), axis=1)
    assert np.all(np.abs(est.grad["a"] - exact) < 4.5 * est.grad_stderr["a"])
