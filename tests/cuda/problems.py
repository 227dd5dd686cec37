"""What tests of the CUDA backend on the stand-in for CuPy share: machines, Estimators, comparisons of estimates."""

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.backends.cuda import kernel as cuda_kernel
from mcgrad.codegen.cuda import registers
from tests.cuda import machines

X = np.random.default_rng(0).standard_normal((5, 3))


def wave(z, *, c):
    return np.sum(np.sin(z) * c)


def regression(z, *, tau, X):
    return -np.sum(np.logaddexp(0, X @ z)) - 0.5 * tau * np.sum(z**2)


LONG = np.random.default_rng(1).standard_normal((40, 6))
NORMAL = mg.Normal(np.array([0.1, -0.2, 0.3]), np.array([1.0, 0.5, 2.0]))
CASES = {
    "wave": (wave, NORMAL, {"params": {"c": 0.5}}),
    "scalar": (lambda z: z**2, mg.Normal(0.3, 1.2), {}),
    "regression": (regression, NORMAL, {"params": {"tau": 0.7}, "data": {"X": X}}),
    "blocks": (regression, mg.Normal(np.zeros(6), 0.5), {"params": {"tau": 0.7}, "data": {"X": LONG}}),
    "joint": (lambda z: z["a"] * np.exp(z["b"]), mg.Joint(a=mg.Normal(1.0, 1.0), b=mg.Uniform(0.0, 2.0)), {}),
    "full": (
        lambda z: np.sum(np.cos(z)),
        mg.MultivariateNormal(np.zeros(2), np.array([[1.0, 0.0], [0.5, 2.0]])),
        {},
    ),
}


@pytest.fixture
def machine(monkeypatch):
    """One device; chunks are a few draws, and slabs a few chunks."""
    small(monkeypatch)
    return machines.machine(monkeypatch)


@pytest.fixture
def two(monkeypatch):
    small(monkeypatch)
    return machines.machine(monkeypatch, devices=2)


def small(monkeypatch):
    monkeypatch.setattr(registers, "THREADS", 32)
    monkeypatch.setattr(registers, "TURNS", 1)
    monkeypatch.setattr(cuda_kernel, "FILL", 1)
    monkeypatch.setattr(cuda_kernel, "AT_ONCE", 1e5)
    monkeypatch.setattr(cuda_kernel, "SLAB", cuda_kernel.Cut(most=1e5, least=1e4, chunks=8))


def build(name, backend="cuda", dtype="float64", **more):
    f, q, inputs = CASES[name]
    return mg.Estimator(f, q, backend=backend, dtype=dtype, **{**inputs, **more})


def leaves(estimate):
    both = [*mg.tree.flatten(estimate.grad).values(), *mg.tree.flatten(estimate.grad_stderr).values()]
    return np.concatenate([np.ravel(x) for x in (estimate.value, estimate.stderr, *both)])


def agree(a, b, tolerance=1e-12):
    np.testing.assert_allclose(leaves(a), leaves(b), rtol=tolerance, atol=tolerance)


def identical(a, b):
    assert leaves(a).tobytes() == leaves(b).tobytes()
