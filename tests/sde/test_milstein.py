"""Milstein's scheme: its terms, the diffusions that it takes, and those that it refuses."""

import warnings

import numpy as np
import pytest

import mcgrad as mg
from tests.sde.steps import ROWS, STEPS, TIMES, X0, T, Z, by_hand, diffusion, drift


def test_milstein_by_hand():
    found = mg.sde.milstein(drift, diffusion, X0, TIMES, Z)

    def step(t, dt, x, dw):
        slope = 0.2 * (1.0 + t)
        return x + drift(t, x) * dt + diffusion(t, x) * dw + 0.5 * slope * diffusion(t, x) * (dw**2 - dt)

    np.testing.assert_allclose(found, by_hand(X0, Z, step), rtol=1e-13)


@pytest.mark.parametrize("construction", ["sequential", "bridge", "pca"])
def test_variances_are_those_of_the_factor(construction):
    """Ito's term of general noise, and Milstein's of diagonal noise, with motions whose variances are not 1."""
    L = np.array([[0.5, 0.0], [0.6, 1.7]])
    w = mg.paths.brownian(Z, TIMES[1:], construction, scale_tril=L)
    options = {"scale_tril": L, "construction": construction}
    found = mg.sde.gbm(X0, TIMES, Z, drift=0.1, volatility=ROWS, **options)
    variances = np.diag(ROWS @ L @ L.T @ ROWS.T)
    exact = X0 * np.exp((0.1 - 0.5 * variances) * TIMES[1:, None] + w @ ROWS.T)
    np.testing.assert_allclose(found[1:], exact, rtol=1e-11)
    x, dws = X0, np.diff(w, axis=0, prepend=0.0)
    for t, dt, dw in zip(TIMES, STEPS, dws, strict=False):
        x = x + 0.2 * (1 + t) * x * (dw + 0.1 * (1 + t) * (dw**2 - np.diag(L @ L.T) * dt))
    for commutative in (False, True):
        found = mg.sde.milstein(None, diffusion, X0, TIMES, Z, commutative=commutative, reduce="last", **options)
        np.testing.assert_allclose(found, x, rtol=1e-11)


def test_milstein_with_one_motion_and_a_state_that_mixes():
    def mixing(t, x):
        return np.stack([0.3 * x[1], 0.2 * x[0] * x[1]])

    def step(t, dt, x, dw):
        g = mixing(t, x)
        jacobian = np.array([[0.0, 0.3], [0.2 * x[1], 0.2 * x[0]]])
        return x + g * dw + 0.5 * (jacobian @ g) * (dw**2 - dt)

    for z in (Z[:, 0], Z[:, :1]):
        found = mg.sde.milstein(None, mixing if z.ndim == 1 else lambda t, x: mixing(t, x)[:, None], X0, TIMES, z)
        np.testing.assert_allclose(found, by_hand(X0, Z[:, 0], step), rtol=1e-12)


def test_milstein_reads_functions_number_by_number():
    as_one = mg.sde.milstein(None, lambda t, x: np.array([0.1, 0.2]) * x**1.5, X0, TIMES, Z, correlation=-0.6)
    stacked = mg.sde.milstein(
        None, lambda t, x: np.stack([0.1 * x[0] ** 1.5, 0.2 * x[1] ** 1.5]), X0, TIMES, Z, correlation=-0.6
    )
    a, b = mg.sde.milstein(
        None, lambda t, x: (0.1 * x[0] ** 1.5, 0.2 * x[1] ** 1.5), tuple(X0), TIMES, Z, correlation=-0.6
    )
    by_rows = mg.sde.milstein(
        None, lambda t, x: np.diag([0.1, 0.2]) * x**1.5, X0, TIMES, Z, correlation=-0.6, commutative=True
    )
    for found in (stacked, np.stack([a, b], axis=1), by_rows):
        np.testing.assert_allclose(found, as_one, rtol=1e-12)


@pytest.mark.parametrize(
    ("function", "x0"),
    [
        (lambda t, x: np.stack([x[1], x[0]]), X0),
        (lambda t, x: ROWS * x[:, None], X0),
        (lambda t, x: 0.1 * x * np.sum(x), X0),
        (lambda t, x: (x[0] * np.exp(x[1]), 0.2 * x[1]), (1.0, 0.04)),
    ],
)
def test_milstein_refuses_what_needs_levy_areas(function, x0):
    with pytest.raises(mg.TraceError, match=r"Levy areas.*euler, or commutative=True"):
        mg.sde.milstein(None, function, x0, TIMES, Z)
    assert np.isfinite(mg.sde.milstein(None, function, x0, TIMES, Z, commutative=True)[-1]).all()


def test_milstein_is_euler_where_the_noise_is_additive():
    arguments = (drift, lambda t, x: ROWS * (1.0 + t), X0, TIMES, Z)
    np.testing.assert_allclose(mg.sde.milstein(*arguments), mg.sde.euler(*arguments), rtol=1e-14)


def test_milstein_from_numbers_with_traced_functions():
    """The first state is no stand-in, nor is z; what the functions read is."""

    def f(w, *, vol):
        last = mg.sde.milstein(drift, lambda t, x: vol * x, X0, TIMES, Z, reduce="last")
        return np.sum(last) + 0.0 * w

    est = mg.estimate(f, mg.Normal(0.0, 1.0), 2, params={"vol": 0.3}, wrt="vol", backend="numpy", dtype="float64")
    up, down = (f(0.0, vol=0.3 + h) for h in (1e-6, -1e-6))
    np.testing.assert_allclose(est.value, f(0.0, vol=0.3), rtol=1e-12)
    np.testing.assert_allclose(est.grad["vol"], (up - down) / 2e-6, rtol=1e-7)


@pytest.mark.parametrize("jumps", [True, False])
def test_a_kink_of_the_diffusion_that_makes_terms_of_milstein_jump(jumps):
    """The term g g' of g = vol sqrt(max(x, 0)) is vol^2 / 2 down to 0, and 0 below; that of vol max(x, 0) is a kink."""

    def f(z, *, vol):
        def diffusion(t, x):
            above = np.maximum(x, 0.0)
            return vol * (np.sqrt(above) if jumps else above)

        return mg.sde.milstein(drift, diffusion, 0.1, TIMES, z, reduce="last")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mg.Estimator(f, mg.Normal(np.zeros(T), 1.0), params={"vol": 0.4}, wrt="vol", backend="numpy")
    assert [each.category for each in caught] == [mg.JumpWarning] * jumps
    assert all(each.filename == __file__ for each in caught)
