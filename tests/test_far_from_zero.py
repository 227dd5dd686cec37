"""A mean of a million standard deviations costs no digits of the standard error."""

import numpy as np
import pytest

import mcgrad as mg

N = 100_000


@pytest.mark.parametrize("backend", ["cpu", "numpy"])
def test_mean_a_million_times_the_standard_deviation(backend):
    def f(z):
        return 1e6 * (1 + z) + 0.5 * z**2  # d/dloc = 1e6 + z

    est = mg.estimate(f, mg.Normal(0.0, 1.0), N, wrt="loc", backend=backend)
    reference = mg.estimate(lambda z: 0.5 * z**2, mg.Normal(0.0, 1.0), N, wrt="loc", backend="numpy")
    assert est.grad_stderr["loc"] == pytest.approx(reference.grad_stderr["loc"], rel=1e-8)
    assert est.grad["loc"] - 1e6 == pytest.approx(reference.grad["loc"], abs=1e-9)

    est = mg.estimate(lambda z: 1e6 + z, mg.Normal(0.0, 1.0), N, wrt=(), backend=backend)
    assert est.stderr == pytest.approx(reference.grad_stderr["loc"], rel=1e-8)


@pytest.mark.parametrize("backend", ["cpu", "numpy"])
def test_float32_as_far_as_it_resolves_the_draws(backend):
    est = mg.estimate(lambda z: 1e4 + z, mg.Normal(np.float32(0.0), np.float32(1.0)), N, wrt=(), backend=backend)
    assert est.dtype == "float32"
    assert est.stderr == pytest.approx(1 / np.sqrt(N), rel=5 / np.sqrt(2 * N))
    assert abs(est.value - 1e4) < 5 * est.stderr


def test_the_first_draws_may_be_unlike_the_others():
    """Sums are taken around the mean of the first block, which says nothing about a rare event."""

    def f(u):
        return 1e6 * (u < 1e-3)

    q = mg.Reparameterized(lambda u: u, params={}, noise=mg.noise.uniform())
    ours, reference = (mg.estimate(f, q, N, wrt=(), backend=backend) for backend in ("cpu", "numpy"))
    assert ours.value == pytest.approx(reference.value, rel=1e-12)
    assert ours.stderr == pytest.approx(reference.stderr, rel=1e-10)


@pytest.mark.parametrize("batch", [(), (3,)])
def test_outer_products_in_float32(batch):
    """The gradient in a matrix, whose mean is ten thousand standard deviations from zero."""
    w = np.random.default_rng(0).normal(size=(6, 12))
    q = mg.Normal(np.ones((*batch, 12)), 1e-4, batch_ndim=len(batch))
    ours, reference = (
        mg.estimate(
            lambda z, *, w: 0.5 * np.sum((w @ z) ** 2), q, 600, params={"w": w}, wrt="w", dtype="float32", backend=name
        )
        for name in ("cpu", "numpy")
    )
    np.testing.assert_allclose(ours.grad_stderr["w"], reference.grad_stderr["w"], rtol=1e-3)
    np.testing.assert_allclose(ours.grad["w"], reference.grad["w"], rtol=1e-6)
