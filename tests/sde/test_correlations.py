"""Correlations of the motions: singular matrices, those that are none, and derivatives, against closed forms."""

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.sde.motion import semidefinite_cholesky
from tests.sde.steps import TIMES

UNIT = np.array([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [0.0, 1.0, 0.0], [0.28, 0.96, 0.0]])


@pytest.mark.parametrize(
    "matrix",
    [[[1.0, 1.0], [1.0, 1.0]], [[1.0, -1.0], [-1.0, 1.0]], np.ones((3, 3)), UNIT[:3] @ UNIT[:3].T, UNIT @ UNIT.T],
    ids=["1", "-1", "ones", "rank 2 of 3", "rank 2 of 4"],
)
def test_singular_correlations(matrix):
    """Of numbers and traced: the covariance of the motions is the matrix, and gradients in other parameters exist."""
    matrix = np.array(matrix)
    n = len(matrix)
    factor = semidefinite_cholesky(matrix)
    assert np.allclose(factor @ factor.T, matrix, atol=1e-12)
    assert (np.triu(factor, 1) == 0).all()
    z = np.random.default_rng(0).normal(size=(3, n))

    def f(z, *, vol, C):
        return mg.sde.euler(None, lambda t, x: vol * np.ones(n), np.zeros(n), np.arange(4.0), z, correlation=C,
                            reduce="last")  # fmt: skip

    assert np.allclose(f(z, vol=0.3, C=matrix), 0.3 * factor @ z.sum(axis=0))
    given = {"params": {"vol": 0.3}, "data": {"C": matrix}, "wrt": ["vol"], "seed": 1, "backend": "numpy"}
    q = mg.Normal(np.zeros((3, n)), 1.0)
    est = mg.estimate(lambda z, vol, C: np.sum(f(z, vol=vol, C=C)) ** 2, q, 4000, **given)
    exact = 3 * 0.3**2 * matrix.sum()
    assert abs(est.value - exact) <= 4.5 * est.stderr + 1e-12
    assert abs(est.grad["vol"] - 2 * exact / 0.3) <= 4.5 * est.grad_stderr["vol"] + 1e-11


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_singular_correlations_that_draws_change(dtype):
    """A third motion that is made of the other two: what rounding leaves of its variance may be negative."""
    z = np.zeros((3, 3))

    def f(z, *, angle):
        cos, sin = np.cos(angle + 0.3 * z[2, 2]), np.sin(angle + 0.3 * z[2, 2])
        C = np.array([[1.0, 0.0, cos], [0.0, 1.0, sin], [cos, sin, 1.0]])
        x = mg.sde.euler(None, lambda t, x: np.ones(3), np.zeros(3), np.arange(3.0), z[:2], correlation=C,
                         reduce="last")  # fmt: skip
        return np.stack([x[2] - cos * x[0] - sin * x[1], x[2] ** 2])

    q, given = mg.Normal(z, 1.0), {"params": {"angle": 0.4}, "wrt": [], "seed": 1, "dtype": dtype, "backend": "numpy"}
    est = mg.estimate(f, q, 4000, **given)
    assert est.nonfinite == 0
    assert abs(est.value[0]) < (1e-4 if dtype == "float32" else 1e-9)
    assert abs(est.value[1] - 2.0) < 4.5 * est.stderr[1]


@pytest.mark.parametrize("rho", [1.1, -1.1])
def test_what_is_no_correlation_is_nan_where_it_is_traced(rho):
    def f(z, *, rho):
        return np.sum(mg.sde.gbm(np.ones(2), TIMES, z, drift=0.0, volatility=0.1, correlation=rho, reduce="last"))

    q = mg.Normal(np.zeros((len(TIMES) - 1, 2)), 1.0)
    assert np.isnan(mg.estimate(f, q, 10, params={"rho": rho}, wrt=[], backend="numpy").value)
    assert np.isnan(semidefinite_cholesky(np.array([[1.0, 1.0, 0.2], [1.0, 1.0, 0.4], [0.2, 0.4, 1.0]]))).any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_traced_correlation_has_the_derivative_of_its_root(dtype):
    """E of the product of two motions at time 1 is rho."""

    def f(z, *, rho):
        x = mg.sde.euler(None, lambda t, x: np.ones(2), np.zeros(2), np.linspace(0.0, 1.0, 5), z, correlation=rho,
                         reduce="last")  # fmt: skip
        return x[0] * x[1]

    est = mg.estimate(f, mg.Normal(np.zeros((4, 2)), 1.0), 20_000, params={"rho": -0.7}, wrt=["rho"], backend="cpu",
                      dtype=dtype, seed=2)  # fmt: skip
    assert abs(est.value + 0.7) < 4.5 * est.stderr
    assert abs(est.grad["rho"] - 1.0) < 4.5 * est.grad_stderr["rho"]
