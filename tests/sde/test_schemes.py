"""Schemes step by step, against loops by hand."""

import itertools

import numpy as np
import pytest

import mcgrad as mg
from tests.sde.steps import CORRELATION, ROWS, STEPS, TIMES, X0, T, Z, by_hand, diffusion, drift


def test_euler_by_hand():
    found = mg.sde.euler(drift, diffusion, X0, TIMES, Z)
    expected = by_hand(X0, Z, lambda t, dt, x, dw: x + drift(t, x) * dt + diffusion(t, x) * dw)
    np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_heun_by_hand():
    found = mg.sde.heun(drift, diffusion, X0, TIMES, Z)

    def step(t, dt, x, dw):
        end = x + drift(t, x) * dt + diffusion(t, x) * dw
        a = 0.5 * (drift(t, x) + drift(t + dt, end))
        return x + a * dt + 0.5 * (diffusion(t, x) + diffusion(t + dt, end)) * dw

    np.testing.assert_allclose(found, by_hand(X0, Z, step), rtol=1e-14)


NOISES = {
    "scalar": (lambda t, x: 0.2 * x, Z[:, 0], lambda x, dw: 0.2 * x * dw),
    "diagonal": (lambda t, x: 0.2 * x, Z, lambda x, dw: 0.2 * x * dw),
    "one number": (lambda t, x: 0.2, Z, lambda x, dw: 0.2 * dw),
    "general": (lambda t, x: ROWS * x[:, None], Z, lambda x, dw: x * (ROWS @ dw)),
    "one of one motion": (lambda t, x: ROWS[:, :1] * x[:, None], Z[:, :1], lambda x, dw: x * (ROWS[:, :1] @ dw)),
}


@pytest.mark.parametrize("name", NOISES)
@pytest.mark.parametrize("scheme", [mg.sde.euler, mg.sde.heun])
def test_kinds_of_noise(name, scheme):
    function, z, driven = NOISES[name]
    found = scheme(None, function, X0, TIMES, z)

    def step(t, dt, x, dw):
        first = driven(x, dw)
        return x + (first if scheme is mg.sde.euler else 0.5 * (first + driven(x + first, dw)))

    np.testing.assert_allclose(found, by_hand(X0, z, step), rtol=1e-13)


@pytest.mark.parametrize("name", [name for name in NOISES if len(np.shape(NOISES[name][1])) == 2])
def test_correlation_is_that_of_the_motions(name):
    function, z, _ = NOISES[name]
    L = np.linalg.cholesky(CORRELATION[: z.shape[1], : z.shape[1]])
    found = mg.sde.euler(drift, function, X0, TIMES, z, correlation=L @ L.T)
    np.testing.assert_allclose(found, mg.sde.euler(drift, function, X0, TIMES, z @ L.T), rtol=1e-13)
    np.testing.assert_allclose(found, mg.sde.euler(drift, function, X0, TIMES, z, scale_tril=L), rtol=1e-13)


def test_a_nested_state_is_its_numbers():
    """A dict with a number and an array, driven by one array of noise, by nested noise, and as one array."""
    z = np.random.default_rng(4).standard_normal((T, 3))
    x0 = {"b": np.array([1.0, 2.0]), "a": 0.5}

    def nested(t, x):
        return {"a": 0.1 * x["a"] + 0.05 * np.sum(x["b"]), "b": 0.2 * x["b"] * x["a"]}

    def flat(t, x):
        return np.concatenate([[0.1 * x[0] + 0.05 * (x[1] + x[2])], 0.2 * x[1:] * x[0]])

    together = mg.sde.euler(flat, flat, np.array([0.5, 1.0, 2.0]), TIMES, z)
    in_turn = mg.sde.euler(nested, nested, x0, TIMES, z)
    leaf_by_leaf = mg.sde.euler(nested, nested, x0, TIMES, {"a": z[:, 0], "b": z[:, 1:]})
    for found in (in_turn, leaf_by_leaf):
        np.testing.assert_allclose(found["a"], together[:, 0], rtol=1e-13)
        np.testing.assert_allclose(found["b"], together[:, 1:], rtol=1e-13)


def test_reductions_are_those_of_the_path():
    options = {"xs": {"k": np.arange(6.0)}, "observe": lambda t, x: {"sum": np.sum(x), "own": t * x}}
    names = {"a": "last", "b": ("mean", "max"), "c": "min", "d": "integral", "e": "path"}
    found = mg.sde.euler(lambda t, x, d: drift(t, x) + 0.1 * d["k"], lambda t, x, d: 0.3, X0, TIMES, Z, **options,
                         reduce=names)  # fmt: skip
    for part in ("sum", "own"):
        path = found["e"][part]
        assert len(path) == T + 1
        np.testing.assert_allclose(found["a"][part], path[-1])
        np.testing.assert_allclose(found["b"][0][part], path[1:].mean(0))
        np.testing.assert_allclose(found["b"][1][part], path.max(0))
        np.testing.assert_allclose(found["c"][part], path.min(0))
        np.testing.assert_allclose(found["d"][part], np.trapezoid(path, TIMES, axis=0))


def test_data_and_jumps_of_each_step():
    rng = np.random.default_rng(5)
    jumps, data = rng.standard_normal((T, 2)), rng.standard_normal(T)
    arguments = (lambda t, x, k: k * x, lambda t, x, k: 0.1 * k, X0, TIMES, Z)
    for scheme in (mg.sde.euler, mg.sde.milstein):
        found = scheme(*arguments, xs=data, jumps=jumps, jump=lambda t, x, k: t + x * k)
        x = X0
        for t, dt, k, j, z, at in zip(TIMES, STEPS, data, jumps, Z, found[1:], strict=False):
            x = x + (t + x * k) * j + k * x * dt + 0.1 * k * np.sqrt(dt) * z
            np.testing.assert_allclose(at, x, rtol=1e-12)


@pytest.mark.parametrize("scheme", [mg.sde.euler, mg.sde.milstein])
def test_steps_between_the_times(scheme):
    """Six times with four steps between two: names are of the times, the integral and barriers of all steps."""
    fine = np.concatenate([np.linspace(a, b, 4, endpoint=False) for a, b in itertools.pairwise(TIMES)])
    rng = np.random.default_rng(11)
    z, data = rng.standard_normal((24, 2)), rng.standard_normal(24)
    rules = {"survival": mg.sde.Survival(upper=4.0), "integral": "integral", "path": "path"}
    names = {"mean": "mean", "max": "max", "last": "last"}
    for construction in ("sequential", "bridge"):
        arguments = {"xs": data, "construction": construction, "jumps": 0.01 * z}
        functions = lambda t, x, k: drift(t, x) + 0.1 * k, lambda t, x, k: diffusion(t, x)
        found = scheme(*functions, X0, TIMES, z, substeps=4, reduce=rules | names, **arguments)
        every = scheme(*functions, X0, [*fine, TIMES[-1]], z, reduce=rules, **arguments)
        np.testing.assert_allclose(found["path"], every["path"][::4], rtol=1e-12)
        for name in ("survival", "integral"):
            np.testing.assert_allclose(found[name], every[name], rtol=1e-12)
            assert (found[name] > 0).all()
        np.testing.assert_allclose(found["mean"], found["path"][1:].mean(0), rtol=1e-12)
        np.testing.assert_allclose(found["max"], found["path"].max(0), rtol=1e-12)
        np.testing.assert_allclose(found["last"], found["path"][-1], rtol=1e-12)


@pytest.mark.parametrize("construction", ["bridge", "pca"])
@pytest.mark.parametrize("correlation", [None, -0.6])
def test_constructions_make_the_motions(construction, correlation):
    covariance = None if correlation is None else CORRELATION
    w = mg.paths.brownian(Z, TIMES[1:], construction, covariance=covariance)
    found = mg.sde.euler(None, lambda t, x: 1.0, np.zeros(2), TIMES, Z, construction=construction,
                         correlation=correlation)  # fmt: skip
    np.testing.assert_allclose(found[1:], w, atol=1e-12)
    exact = mg.sde.gbm(X0, TIMES, Z, drift=0.1, volatility=0.2, construction=construction, correlation=correlation)
    np.testing.assert_allclose(exact[1:], X0 * np.exp(0.08 * TIMES[1:, None] + 0.2 * w), rtol=1e-12)


# --- orders ----------------------------------------------------------------------------------------------------------
# --- traced ----------------------------------------------------------------------------------------------------------
