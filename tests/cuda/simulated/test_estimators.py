"""Programs of estimators and families that the GPU's emitter does not know of, in both kinds of its kernels."""

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.backends.numpy import NumpyBackend
from mcgrad.backends.rescaled import powers, rescaled
from mcgrad.codegen.cuda import registers
from mcgrad.ir.program import Program
from tests.cuda import simulator
from tests.cuda.simulated.block_launches import TOLERANCE, agree

X = np.linspace(-1.0, 1.0, 12).reshape(4, 3)
Q = mg.Normal(np.array([0.3, -0.2, 0.5]), 0.7)


def f(z, *, X):
    return np.sum(np.logaddexp(0, X @ z)) + np.where(z[0] > 0.2, 1.0, 0.0)


@pytest.mark.parametrize(
    ("integrand", "method"),
    [
        (f, "score+optimal"),
        (f, "score+leave_one_out"),
        (f, "measure_valued"),
        (mg.iwae(f, Q, 3), "dreg"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_estimators(integrand, method):
    estimator = mg.Estimator(integrand, Q, data={"X": X}, method=method, k=2, backend="numpy", dtype="float32")
    values = estimator.inputs.values({})
    agree(estimator.program, {**values, **estimator.derived.pilots(values, 0)}, 4, 1)


def threshold(z, *, c):
    return np.sum(np.where(z > c, z * z, 1.0))


def levels(z):
    return {"above": np.maximum(np.sum(z) - np.linspace(-1.0, 1.0, 5), 0.0), "moments": np.stack([z[0], z[0] * z[1]])}


def quadratic(z):
    return -0.5 * np.sum(z * z)


LOW, HIGH = np.array([-1.0, 6.0, 1.0, -9.0]), np.array([2.0, 9.0, 1.01, -6.0])
CASES = {  # integrand, q, method, and what else there is
    "difference": (threshold, mg.Normal(np.zeros(3), 0.7), "difference", {"params": {"c": 0.1}}),
    "difference of draws": (np.sin, mg.Gamma(1.5, 2.0), "difference", {}),
    "bernoulli": (lambda z: np.sum(np.sin(z)), mg.Bernoulli([1e-6, 0.3, 0.9]), "score+mean", {}),
    "categorical": (np.sin, mg.Categorical(logits=np.array([0.2, 0.5, -3.0])), "score+mean", {}),
    "poisson": (np.sin, mg.Poisson(2.5), "measure_valued", {}),
    "truncated": (lambda z: np.sum(np.sin(z)), mg.TruncatedNormal(np.zeros(4), 1.0, LOW, HIGH), "pathwise", {}),
    "log odds": (mg.elbo(quadratic, mg.Beta([0.5, 2.0], [0.3, 3.0])), None, "stl", {}),
    "arrays": (levels, mg.Normal(np.zeros(3), 0.7), "pathwise", {"covariance": True}),
    "arrays by scores": (levels, mg.Normal(np.zeros(3), 0.7), "score+mean", {}),
    "antithetic": (
        lambda z: np.sum(np.sin(z) * np.exp(z)),
        mg.Normal(np.zeros(3), 0.7),
        "pathwise",
        {"antithetic": True},
    ),
    "antithetic counts": (np.sin, mg.Poisson(2.5), "score+mean", {"antithetic": True}),
    "standardized": (mg.elbo(quadratic, mg.Normal(1e6, 0.1)), None, "stl", {}),
}


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(registers, "THREADS", 32)
    monkeypatch.setattr(registers, "TURNS", 1)


def agree_a_draw_a_thread(program: Program, inputs, n=24):
    samples = NumpyBackend().compile(program).bind(inputs).samples(7, 100, 100 + n).astype(np.float64)
    found = simulator.sums(program, registers.emit(program), inputs, 7, 100, 100 + n, np.zeros(len(samples)))
    scale = n * np.abs(samples).max(axis=1) + 1e-300
    assert np.all(np.abs(found.sums - samples.sum(axis=1)) <= TOLERANCE[program.dtype] * scale)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", CASES)
def test_both_kinds_of_kernels(name, dtype):
    f, q, method, more = CASES[name]
    estimator = mg.Estimator(f, q, method=method, backend="numpy", dtype=dtype, **more)
    values = estimator.inputs.values({})
    inputs = {**values, **estimator.derived.pilots(values, 0)}
    agree(estimator.program, inputs, 3, 1, n=8)
    if registers.fits(estimator.program):
        agree_a_draw_a_thread(estimator.program, inputs)


def test_outputs_in_powers_of_two():
    estimator = mg.Estimator(np.sin, mg.Normal(0.3, 1.2), backend="numpy")
    program, exponents = rescaled(estimator.program), np.array([40, -30, 20])
    inputs = {**estimator.inputs.values({}), **powers(program, exponents)}
    agree_a_draw_a_thread(program, inputs)
    samples = NumpyBackend().compile(estimator.program).bind(inputs).samples(7, 100, 124)
    found = simulator.sums(program, registers.emit(program), inputs, 7, 100, 124, np.zeros(3))
    np.testing.assert_allclose(np.ldexp(found.sums, -exponents), samples.sum(axis=1), rtol=1e-12)
