"""Steps compute elements of small arrays one by one, where they read them so."""

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.ir.ops import OPS


def arrays_by_element(f, shape=(20, 3)):
    """Sizes of what a step computes by element, of more than one element."""
    q = mg.Normal(np.zeros(shape), 1.0)
    made = mg.Estimator(f, q, params={"a": 0.5}, wrt="a", backend="numpy")
    (loop,) = (var for var in made.program.body() if var.op == "loop" and not var.attrs.reverse)
    found = [var for var in loop.attrs.body.equations if OPS[var.op].category == "elementwise" and var.size > 1]
    q = mg.Normal(np.zeros(shape), 1.0)
    expected = mg.estimate(f, q, 200, params={"a": 0.5}, wrt="a", backend="numpy", method={"a": "difference"})
    assert made(200).value == pytest.approx(expected.value, rel=1e-12)
    assert made(200).grad["a"] == pytest.approx(expected.grad["a"], rel=2e-3)
    return {var.size for var in found}


def last(step, z):
    return mg.scan(lambda x, e: (step(x, e), None), 0.0, z)[0]


def test_elements():
    def f(z, *, a):
        return last(lambda x, e: a * np.sin(x) + (a * e)[0] * np.cos(a * e)[1] + np.exp(a * e * 0.1)[2], z)

    assert arrays_by_element(f) == set()


def test_what_is_read_as_a_whole_stays():
    def f(z, *, a):
        def step(x, e):
            y = np.sin(a * e + x)
            return y[0] + 0.1 * np.sum(y * y)

        return last(step, z)

    assert 3 in arrays_by_element(f)


def test_elements_that_are_read_twice_are_computed_once():
    def f(z, *, a):
        def step(x, e):
            y = np.sin(a * e + x)
            return y[0] * y[1] + y[:2] @ y[1:] * 0.1

        return last(step, z)

    assert 3 in arrays_by_element(f)
