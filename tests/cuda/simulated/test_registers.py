"""Small Programs, whose draws live in registers, against the NumPy reference on the same draws."""

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.codegen.cuda import registers
from tests.cuda import simulator

N, FIRST, SEED = 300, 1234, 2**40 + 7


def wave(z):
    return np.sin(z) * np.exp(-(z**2) / 10)


def rosenbrock(z):
    return -np.sum((z[1:] - z[:-1] ** 2) ** 2 + 0.01 * (1 - z[:-1]) ** 2)


def pole(z):
    return np.log(z)


def mixed(z, *, A, a):
    x = A @ z
    y = np.concatenate([np.cumsum(x), np.flip(x)[1:]]) * a
    return np.max(np.tanh(y)) + np.prod(np.where(x > 0, x, 0.5)) + np.cumprod(x)[-1] + np.einsum("i,j->", z, x)


NORMAL = mg.Normal(0.3, 1.2)
CASES = {
    "scalar": (wave, NORMAL, {}),
    "vector": (rosenbrock, mg.Normal(np.linspace(-0.5, 0.5, 4), np.linspace(0.3, 0.8, 4)), {}),
    "uniform": (wave, mg.Uniform(-1.0, 2.0), {}),
    "joint": (lambda z: z["a"] ** 2 * np.exp(z["b"]), mg.Joint(a=NORMAL, b=mg.Uniform(0.0, 2.0)), {}),
    "mixed": (
        mixed,
        mg.Normal(np.array([0.1, 0.2, 0.3]), 0.5),
        {"params": {"a": 0.7}, "data": {"A": np.arange(9.0).reshape(3, 3) / 9}},
    ),
}


def estimator(name, dtype):
    f, q, more = CASES[name]
    return mg.Estimator(f, q, backend="numpy", dtype=dtype, **more)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(registers, "THREADS", 32)
    monkeypatch.setattr(registers, "TURNS", 2)


def reference(est, first, n):
    values = est.inputs.values({})
    return est._kernel.bind(values).samples(SEED, first, first + n).astype(np.float64), values


@pytest.mark.parametrize("checked", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_sums_agree_with_the_reference(name, dtype, checked):
    est = estimator(name, dtype)
    emitted = registers.emit(est.program, checked)
    samples, values = reference(est, FIRST, N)
    shift = samples.mean(axis=1).astype(dtype)
    found = simulator.sums(est.program, emitted, values, SEED, FIRST, FIRST + N, shift)
    d = samples - shift[:, None]
    tolerance = (3e-5 if dtype == "float32" else 1e-12) * np.abs(samples).max(axis=1)
    assert found.chunks > 1
    assert np.all(np.abs(found.sums - d.sum(axis=1)) < N * tolerance)
    assert np.all(np.abs(found.squares - (d**2).sum(axis=1)) < N * tolerance * np.abs(d).max(axis=1) * 2)
    if checked:
        assert found.counts == [N, 0]


def test_a_partial_depends_on_its_draws_alone_not_on_the_grid():
    est = estimator("vector", "float32")
    emitted = registers.emit(est.program)
    values = est.inputs.values({})
    one, three = (simulator.sums(est.program, emitted, values, SEED, 100, 900, grid=grid) for grid in (1, 3))
    assert one.partials.tobytes() == three.partials.tobytes()


@pytest.mark.parametrize("omit", [False, True])
def test_draws_that_are_not_finite_are_counted_and_left_out_if_told(omit):
    est = mg.Estimator(pole, mg.Normal(0.5, 1.0), backend="numpy", dtype="float64")
    emitted = registers.emit(est.program, checked=True)
    samples, values = reference(est, 3, 500)
    good = np.isfinite(samples).all(axis=0)
    found = simulator.sums(est.program, emitted, values, SEED, 3, 503, omit=omit)
    assert 0 < (~good).sum() < 500
    assert found.counts == [int(good.sum()) if omit else 500, int((~good).sum())]
    if omit:
        np.testing.assert_allclose(found.sums, samples[:, good].sum(axis=1), rtol=1e-12)
    else:
        assert np.isnan(found.sums[0])
