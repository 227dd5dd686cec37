"""An integrand given as a pair of Numba functions does what its traced twin does, inside the kernel."""

import numba
import numpy as np
import pytest

import mcgrad as mg
from mcgrad import tree

N, SEED = 3000, 5
BACKENDS = ["cpu", "numpy"]


@numba.njit
def value(z, tau, X, y):
    total = 0.0
    for i in range(X.shape[0]):
        logit = 0.0
        for j in range(X.shape[1]):
            logit += X[i, j] * z[j]
        total += y[i] * logit - np.log1p(np.exp(logit))
    for j in range(z.size):
        total -= 0.5 * tau * z[j] ** 2
    return total


@numba.njit
def value_and_grad(z, grad, tau, X, y):
    grad[:] = -tau * z
    for i in range(X.shape[0]):
        logit = 0.0
        for j in range(X.shape[1]):
            logit += X[i, j] * z[j]
        slack = y[i] - 1 / (1 + np.exp(-logit))
        for j in range(X.shape[1]):
            grad[j] += X[i, j] * slack
    return value(z, tau, X, y)


def traced(z, *, tau, X, y):
    logits = X @ z
    return np.sum(y * logits - np.log1p(np.exp(logits))) - 0.5 * tau * np.sum(z**2)


RNG = np.random.default_rng(0)
GIVEN = {
    "params": {"tau": 1.5},
    "data": {"X": RNG.standard_normal((8, 3)), "y": (RNG.random(8) < 0.5).astype(float)},
    "wrt": ("loc", "scale"),
}
Q = mg.Normal(np.array([0.1, -0.2, 0.3]), 0.5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_agrees_with_the_traced_function(backend, dtype):
    ours = mg.Estimator(
        mg.Integrand(value=value, value_and_grad=value_and_grad), Q, **GIVEN, dtype=dtype, backend=backend
    )
    reference = mg.Estimator(traced, Q, **GIVEN, backend="numpy", dtype=dtype)
    for changes in ({}, {"tau": 0.5, "scale": 0.25}):
        got, want = (run(N, SEED, **changes) for run in (ours, reference))
        rtol = {"float32": 1e-4, "float64": 1e-10}[dtype]
        assert got.value == pytest.approx(want.value, rel=rtol)
        for name in ("loc", "scale"):
            np.testing.assert_allclose(got.grad[name], want.grad[name], rtol=rtol)
            np.testing.assert_allclose(got.grad_stderr[name], want.grad_stderr[name], rtol=10 * rtol)


@numba.njit
def square(z):
    return z[0] ** 2


@numba.njit
def square_and_grad(z, grad):
    grad[0] = 2 * z[0]
    return z[0] ** 2


SQUARE = mg.Integrand(value=square, value_and_grad=square_and_grad)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "q", [mg.Normal(0.3, 1.2), mg.LogNormal(np.zeros(1), 0.5), mg.Uniform(0.0, 1.0)], ids=lambda q: type(q).__name__
)
def test_draws_of_any_transform(q, backend):
    got = mg.estimate(SQUARE, q, N, seed=SEED, backend=backend)
    want = mg.estimate(lambda z: np.sum(z**2), q, N, seed=SEED, backend="numpy")
    assert got.value == pytest.approx(want.value, rel=1e-11)
    for a, b in zip(tree.flatten(got.grad).values(), tree.flatten(want.grad).values(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10)


def test_many_threads_call_it_at_once():
    runs = [mg.Estimator(SQUARE, mg.Normal(0.3, 1.2), threads=threads, backend="cpu") for threads in (1, 4)]
    one, four = (run(200_000, SEED) for run in runs)
    assert (one.value, one.grad) == (four.value, four.grad)


def test_a_gradient_that_was_not_given_is_refused():
    """Never a silent zero."""
    f = mg.Integrand(value=value, value_and_grad=value_and_grad)
    for wrt in (None, "tau", ("loc", "tau")):
        with pytest.raises(mg.ParameterError, match=r"wrt: given .*tau.*accepted: .*loc, scale"):
            mg.Estimator(f, Q, **{**GIVEN, "wrt": wrt})
    assert mg.Estimator(f, Q, **{**GIVEN, "wrt": ()}, backend="numpy")(10).grad == {}


def test_what_is_not_a_pair_of_numba_functions_is_refused():
    with pytest.raises(
        mg.ParameterError, match=r"value_and_grad: given .*accepted: a function compiled with numba.njit"
    ):
        mg.Integrand(value=square, value_and_grad=lambda z, grad: 0.0)
    with pytest.raises(mg.TraceError, match="draws that are one array"):
        mg.Estimator(SQUARE, mg.Joint(a=mg.Normal()))
