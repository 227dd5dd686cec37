"""Exact steps against closed forms, values and gradients, on few steps: their distribution is that of the solution."""

import math

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.sde.exact import mean_decay

TIMES = np.array([0.0, 0.1, 0.4, 1.0])
Q = mg.Normal(np.zeros(3), 1.0)


def ndtr(x):
    return 0.5 * math.erfc(-x / math.sqrt(2.0))


def call(spot, strike, vol, rate, t=1.0, paid=None):
    """Black and Scholes: price, delta, vega, and the derivative in the rate."""
    paid = rate if paid is None else paid
    d1 = (math.log(spot / strike) + (rate + 0.5 * vol**2) * t) / (vol * math.sqrt(t))
    d2, density = d1 - vol * math.sqrt(t), math.exp(-0.5 * d1**2) / math.sqrt(2.0 * math.pi)
    price = math.exp(-paid * t) * (spot * math.exp(rate * t) * ndtr(d1) - strike * ndtr(d2))
    return price, ndtr(d1), spot * density * math.sqrt(t), strike * t * math.exp(-rate * t) * ndtr(d2)


def assert_close(est, value, grads, most=4.0):
    assert abs(est.value - value) < most * est.stderr
    for name, expected in grads.items():
        assert np.all(np.abs(est.grad[name] - expected) < most * est.grad_stderr[name]), name


@pytest.mark.parametrize("construction", ["sequential", "bridge"])
def test_call_option_and_greeks(construction):
    def f(z, *, spot, vol, rate):
        last = mg.sde.gbm(spot, TIMES, z, drift=rate, volatility=vol, construction=construction, reduce="last")
        return np.exp(-rate) * np.maximum(last - 105.0, 0.0)

    params = {"spot": 100.0, "vol": 0.3, "rate": 0.05}
    est = mg.estimate(f, Q, 40_000, params=params, wrt=list(params), antithetic=True)
    price, delta, vega, rho = call(100.0, 105.0, 0.3, 0.05)
    assert_close(est, price, {"spot": delta, "vol": vega, "rate": rho})
    assert est.stderr < 0.1


def test_parameters_by_time_and_maturity():
    """Coefficients that are constant in each step: the variance adds up; and the derivative in the maturity."""
    vols = np.array([0.1, 0.4, 0.2])

    def f(z, *, maturity):
        last = mg.sde.gbm(100.0, maturity * TIMES, z, drift=lambda t: 0.1 * (t < 0.2),
                          volatility=lambda t: np.where(t < 0.05, 0.1, np.where(t < 0.3, 0.4, 0.2)),
                          reduce="last")  # fmt: skip
        return np.maximum(last - 100.0, 0.0)

    est = mg.estimate(f, Q, 40_000, params={"maturity": 1.0}, wrt="maturity", antithetic=True)

    def price(maturity):
        gaps = maturity * np.diff(TIMES)
        variance = np.sum(vols**2 * gaps) / 1.0
        return call(100.0, 100.0, math.sqrt(variance), 0.1 * (gaps[0] + gaps[1]), paid=0.0)[0]

    assert_close(est, price(1.0), {"maturity": (price(1.001) - price(0.999)) / 0.002})


def test_exchange_of_two_assets_with_a_traced_correlation():
    def f(z, *, rho):
        a, b = (mg.sde.gbm(np.array([100.0, 95.0]), TIMES, z, drift=0.0, volatility=np.array([0.3, 0.2]),
                           correlation=rho, reduce="last")[i] for i in range(2))  # fmt: skip
        return np.maximum(a - b, 0.0)

    def price(rho):  # Margrabe 1978
        return call(100.0, 95.0, math.sqrt(0.09 + 0.04 - 2 * rho * 0.06), 0.0)[0]

    est = mg.estimate(f, mg.Normal(np.zeros((3, 2)), 1.0), 40_000, params={"rho": 0.4}, wrt="rho", antithetic=True)
    assert_close(est, price(0.4), {"rho": (price(0.401) - price(0.399)) / 0.002})


def test_general_noise_is_that_of_its_covariance():
    rows = np.array([[0.2, 0.1, 0.0], [-0.1, 0.2, 0.2]])
    z = np.random.default_rng(0).standard_normal((3, 3))
    correlation = np.array([[1.0, 0.3, 0.1], [0.3, 1.0, -0.2], [0.1, -0.2, 1.0]])
    found = mg.sde.gbm(np.ones(2), TIMES, z, drift=0.1, volatility=rows, correlation=correlation, reduce="last")
    w = np.linalg.cholesky(correlation) @ (np.sqrt(np.diff(TIMES)) @ z)
    variances = np.diag(rows @ correlation @ rows.T)
    np.testing.assert_allclose(found, np.exp(0.1 - 0.5 * variances + rows @ w), rtol=1e-13)


def test_merton():
    """Counts and sizes of jumps are parts of the draw; the price is a series of those of Black and Scholes."""
    intensity, loc, scale, vol, rate = 1.5, -0.1, 0.15, 0.2, 0.03

    def f(z, *, spot, vol):
        sizes = z["counts"] * loc + np.sqrt(z["counts"]) * scale * z["e"]
        loss = intensity * np.expm1(loc + 0.5 * scale**2)
        last = mg.sde.gbm(spot, TIMES, z["w"], drift=rate - loss, volatility=vol, jumps=sizes, reduce="last")
        return np.exp(-rate) * np.maximum(last - 100.0, 0.0)

    q = mg.Joint(w=Q, e=Q, counts=mg.Poisson(intensity * np.diff(TIMES)))
    est = mg.estimate(f, q, 40_000, params={"spot": 100.0, "vol": vol}, wrt=["spot", "vol"])
    mean = math.exp(loc + 0.5 * scale**2)
    total = np.zeros(3)
    for k in range(40):
        weight = math.exp(-intensity * mean + k * math.log(intensity * mean) - math.lgamma(k + 1))
        sigma = math.sqrt(vol**2 + k * scale**2)
        of_k = call(100.0, 100.0, sigma, rate - intensity * (mean - 1) + k * math.log(mean))[:3]
        total += weight * np.array(of_k) * [1.0, 1.0, vol / sigma]
    assert_close(est, total[0], {"spot": total[1], "vol": total[2]})


# --- Ornstein and Uhlenbeck ------------------------------------------------------------------------------------------
def test_ornstein_uhlenbeck_moments():
    """Mean, mean square, and the covariance of two times; gradients in all parameters."""

    def f(z, **model):
        path = mg.sde.ou(times=TIMES, z=z, **model)
        return np.stack([path[-1], path[-1] ** 2, path[1] * path[-1]])

    def exact(x0, rate, mean, volatility):
        m = [mean + (x0 - mean) * math.exp(-rate * t) for t in (0.1, 1.0)]
        v = [volatility**2 * -math.expm1(-2 * rate * t) / (2 * rate) for t in (0.1, 1.0)]
        return np.array([m[1], m[1] ** 2 + v[1], m[0] * m[1] + v[0] * math.exp(-0.9 * rate)])

    model = {"x0": 0.8, "rate": 1.3, "mean": 0.2, "volatility": 0.4}
    est = mg.estimate(f, Q, 40_000, params=model, wrt=list(model))
    slopes = {
        name: (exact(**model | {name: value + 1e-5}) - exact(**model | {name: value - 1e-5})) / 2e-5
        for name, value in model.items()
    }
    assert np.all(np.abs(est.value - exact(**model)) < 4 * est.stderr)
    for name, slope in slopes.items():
        assert np.all(np.abs(est.grad[name] - slope) < 4 * est.grad_stderr[name] + 1e-9), name


def test_correlated_noise_and_a_rate_of_zero():
    z = np.random.default_rng(1).standard_normal((3, 2))
    arguments = {"mean": np.array([0.1, 0.2]), "volatility": 0.3, "correlation": 0.5}
    still = mg.sde.ou(np.zeros(2), TIMES, z, rate=0.0, **arguments)
    w = mg.paths.brownian(z, TIMES[1:], "sequential", covariance=[[1.0, 0.5], [0.5, 1.0]])
    np.testing.assert_allclose(still[1:], 0.3 * w, rtol=1e-13)
    slow = mg.sde.ou(np.zeros(2), TIMES, z, rate=1e-7, **arguments)
    np.testing.assert_allclose(slow, still, atol=1e-6)


def test_mean_decay_has_all_digits():
    mpmath = pytest.importorskip("mpmath")
    for x in (0.0, 1e-12, 0.0299, -0.0299, 0.0301, -0.5, 3.0):
        exact = 1.0 if x == 0 else float(mpmath.mpf(-mpmath.expm1(-mpmath.mpf(x))) / mpmath.mpf(x))
        assert abs(mean_decay(x) - exact) < 1e-15 * max(exact, 1.0)


# --- the square-root process -----------------------------------------------------------------------------------------
def bond(x0, rate, mean, volatility, t=1.0):  # Cox, Ingersoll and Ross 1985
    h = math.sqrt(rate**2 + 2 * volatility**2)
    below = 2 * h + (rate + h) * math.expm1(h * t)
    a = (2 * h * math.exp(0.5 * (rate + h) * t) / below) ** (2 * rate * mean / volatility**2)
    return a * math.exp(-x0 * 2 * math.expm1(h * t) / below)


@pytest.mark.parametrize("volatility", [0.2, 0.37])  # the second: 4 rate mean / volatility**2 = 1.17
def test_square_root_moments(volatility):
    def f(z, **model):
        last = mg.sde.cir(times=TIMES, z=z, reduce="last", **model)
        return np.stack([last, last**2])

    def exact(x0, rate, mean, volatility):
        decay = math.exp(-rate)
        m = mean + (x0 - mean) * decay
        v = volatility**2 / rate * (x0 * (decay - decay**2) + 0.5 * mean * (1 - decay) ** 2)
        return np.array([m, m**2 + v])

    model = {"x0": 0.05, "rate": 1.0, "mean": 0.04, "volatility": volatility}
    wrt = list(model) if volatility == 0.2 else []  # where gradients have a variance
    est = mg.estimate(f, mg.Normal(np.zeros((3, 2)), 1.0), 40_000, params=model, wrt=wrt or ["mean"])
    assert np.all(np.abs(est.value - exact(**model)) < 4 * est.stderr)
    for name in wrt:
        slope = (exact(**model | {name: model[name] + 1e-5}) - exact(**model | {name: model[name] - 1e-5})) / 2e-5
        assert np.all(np.abs(est.grad[name] - slope) < 4 * est.grad_stderr[name]), name


def test_a_bond_of_square_root_rates():
    times = np.linspace(0.0, 1.0, 25)

    def f(z, **model):
        return np.exp(-mg.sde.cir(times=times, z=z, reduce="integral", **model))

    model = {"x0": 0.05, "rate": 1.0, "mean": 0.04, "volatility": 0.2}
    est = mg.estimate(f, mg.Normal(np.zeros((24, 2)), 1.0), 10_000, params=model, wrt=["x0", "mean"], antithetic=True)
    slopes = {
        name: (bond(**model | {name: model[name] + 1e-5}) - bond(**model | {name: model[name] - 1e-5})) / 2e-5
        for name in ("x0", "mean")
    }
    assert abs(est.value - bond(**model)) < 4 * est.stderr + 1e-5
    for name, slope in slopes.items():
        assert abs(est.grad[name] - slope) < 4 * est.grad_stderr[name] + 1e-3


def test_a_square_root_process_below_the_condition_is_counted():
    def f(z, *, mean):
        return mg.sde.cir(0.05, TIMES, z, rate=1.0, mean=mean, volatility=0.5, reduce="last")

    with pytest.raises(mg.ParameterError, match="4 rate mean > volatility"):
        f(np.zeros((3, 2)), mean=0.04)
    est = mg.estimate(f, mg.Normal(np.zeros((3, 2)), 1.0), 100, params={"mean": 0.04}, wrt="mean", backend="numpy")
    assert est.nonfinite == 100
    assert np.isnan(est.value)
    assert np.isnan(est.grad["mean"])


def test_a_path_as_the_transform_of_a_distribution():
    """Its parameters are those of q; nothing of f knows of them."""
    q = mg.Reparameterized(
        lambda eps, *, vol: mg.sde.gbm(100.0, TIMES, eps, drift=0.05, volatility=vol),
        params={"vol": 0.3},
        noise=mg.noise.normal(3),
    )
    est = mg.estimate(lambda path: np.maximum(path[-1] - 105.0, 0.0), q, 20_000, antithetic=True)
    price, _, vega, _ = call(100.0, 105.0, 0.3, 0.05, paid=0.0)
    assert_close(est, price, {"vol": vega * math.exp(0.05)})


def test_correlated_processes_with_several_rates():
    """The covariance of the noise of a step, as a matrix, for unit normals; and gradients in the rates."""
    rates, vols, rho = np.array([0.5, 2.0, 0.1]), np.array([0.3, 0.2, 0.5]), 0.4
    arguments = {"rate": rates, "mean": 0.0, "volatility": vols, "correlation": rho, "reduce": "last"}
    columns = [mg.sde.ou(np.zeros(3), [0.0, 0.7], unit[None], **arguments) for unit in np.eye(3)]
    sums = rates[:, None] + rates
    correlation = np.eye(3) + rho * (1 - np.eye(3))
    exact = correlation * np.outer(vols, vols) * -np.expm1(-0.7 * sums) / sums
    np.testing.assert_allclose(np.transpose(columns) @ np.array(columns), exact, rtol=1e-12)

    def f(z, *, rates):
        a, b = (mg.sde.ou(np.ones(2), TIMES, z, rate=rates, mean=0.0, volatility=0.5, correlation=rho,
                          reduce="last")[i] for i in range(2))  # fmt: skip
        return a * b

    def product(k):
        return math.exp(-k.sum()) + rho * 0.25 * -math.expm1(-k.sum()) / k.sum()

    est = mg.estimate(f, mg.Normal(np.zeros((3, 2)), 1.0), 20_000, params={"rates": rates[:2]}, antithetic=True)
    h = np.array([1e-6, 0.0])
    slope = (product(rates[:2] + h) - product(rates[:2] - h)) / 2e-6
    assert_close(est, product(rates[:2]), {"rates": slope})
