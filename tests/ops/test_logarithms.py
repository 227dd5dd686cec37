"""Logarithms that have a function of their own: they neither overflow nor lose digits, and nor do their derivatives."""

import numpy as np
import pytest

import mcgrad as mg

SPELLINGS = {
    "log(cosh)": (lambda z: np.log(np.cosh(z)), "log_cosh", lambda x: np.abs(x) - np.log(2.0), np.sign),
    "log(1 + exp)": (lambda z: np.log(1.0 + np.exp(z)), "softplus", lambda x: np.maximum(x, 0.0), lambda x: x > 0),
    "log(exp + 1)": (lambda z: np.log(np.exp(z) + 1), "softplus", lambda x: np.maximum(x, 0.0), lambda x: x > 0),
    "log1p(exp)": (lambda z: np.log1p(np.exp(z)), "softplus", lambda x: np.maximum(x, 0.0), lambda x: x > 0),
}
LOC = np.array([-1e4, -100.0, 100.0, 1e4])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", SPELLINGS)
def test_where_the_argument_of_the_logarithm_would_overflow(name, dtype):
    f, op, value, slope = SPELLINGS[name]
    estimator = mg.Estimator(f, mg.Normal(LOC, 0.1), dtype=dtype, backend="numpy")
    assert {var.op for var in estimator.program.body()} & {"log", "log1p", "cosh", "exp", op} == {op}
    est = estimator(100, seed=1)
    exact = value(LOC)
    assert np.abs((est.value - exact) / np.maximum(est.stderr, 1e-6)).max() < 4.5
    np.testing.assert_allclose(np.diagonal(est.grad["loc"]), slope(LOC), atol=1e-12)


def test_digits_near_zero():
    """The logarithm of cosh(1e-9), which rounds to 1, is 5e-19, and its derivative 1e-9."""
    est = mg.estimate(lambda z: np.log(np.cosh(z)), mg.Normal(1e-9, 1e-12), n=4, dtype="float64", backend="numpy")
    assert est.value == pytest.approx(5e-19, rel=1e-2)
    assert est.grad["loc"] == pytest.approx(1e-9, rel=1e-2)


def test_a_sum_with_another_number_stays_a_sum():
    program = mg.Estimator(lambda z: np.log(2.0 + np.exp(z)), mg.Normal(0.0, 1.0), backend="numpy").program
    assert "softplus" not in {var.op for var in program.body()}
