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


# --- called in a function --------------------------------------------------------------------------------------------
@numba.njit
def bend(x, k):
    return np.sin(k * x[0]) + x[1] ** 2


@numba.njit
def bend_and_grad(x, grad, k):
    grad[0], grad[1] = k * np.cos(k * x[0]), 2 * x[1]
    return np.sin(k * x[0]) + x[1] ** 2


def bend_in_numpy(x, k):
    return np.sin(k * x[0]) + x[1] ** 2


BEND = mg.Integrand(value=bend, value_and_grad=bend_and_grad)


def in_steps(g):
    def f(z, *, a, k):
        def step(c, x):
            c = 0.9 * c + 0.3 * g(np.stack([c * a, x]), k)
            return c, c

        return mg.scan(step, a, z, reduce="mean")[1]

    return f


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("options", [{}, {"method": "score"}, {"antithetic": True}], ids=str)
def test_in_the_steps_of_a_loop(backend, options):
    q = mg.Normal(np.zeros(6), 1.0)
    given = {"params": {"a": 0.4, "k": 0.7}, "wrt": ["a", "loc"], "backend": backend, "seed": 2, **options}
    got, want = (mg.estimate(in_steps(g), q, 200, **given) for g in (BEND, bend_in_numpy))
    assert got.value == pytest.approx(want.value, rel=1e-12)
    assert got.grad["a"] == pytest.approx(want.grad["a"], rel=1e-11)
    np.testing.assert_allclose(got.grad["loc"], want.grad["loc"], rtol=1e-11, atol=1e-14)


def once(g):
    return lambda z, *, a, k: a * g(z[:2], k)


@pytest.mark.parametrize("made", [in_steps, once])
def test_what_it_has_no_derivative_in_is_refused(made):
    f, twin = made(BEND), made(bend_in_numpy)
    given = {"params": {"a": 0.4, "k": 0.7}, "backend": "numpy", "seed": 2}
    q = mg.Normal(np.zeros(6), 1.0)
    with pytest.raises(mg.ParameterError, match=r'k, in which an Integrand gives no .*method=\{"k": "difference"\}'):
        mg.estimate(f, q, 100, method="pathwise", **given)
    right = mg.estimate(f, q, 100, method={"k": "difference"}, **given)
    assert abs(right.grad["a"]) > 0.1
    near = mg.estimate(twin, q, 100, method="pathwise", **given)
    assert right.grad["k"] == pytest.approx(near.grad["k"], rel=1e-3)


def test_called_with_arrays():
    x = np.array([0.3, -0.2])
    assert BEND(x, 0.7) == bend_in_numpy(x, 0.7)
    assert BEND(x.reshape(2, 1), 0.7) == bend_in_numpy(x, 0.7)
