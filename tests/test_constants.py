"""What no draw changes is computed in float64, in float32 estimates too, and rounded once."""

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.backends.host_values import HostValues, computed_roots
from mcgrad.ir import build
from mcgrad.ir.spaces import named
from tests.cuda import machines

# Entropies and their derivatives in the first component of a parameter, by mpmath.
ENTROPIES = {
    "Gamma": (mg.Gamma(1e6, 2.0), 7.633546298411774, "concentration", 5.000003326927072e-07),
    "InverseGamma": (mg.InverseGamma(1e6, 2.0), -18.611179456396712, "concentration", -1.5000006676757494e-06),
    "Beta": (mg.Beta(1e6, 1e6), -6.528537765145302, "concentration1", -2.499998750238319e-07),
    "Dirichlet": (mg.Dirichlet([1e6, 1e6, 2e6]), -14.096796307712793, "concentration", -1.2499975099444782e-07),
}
EXTREMES = [
    mg.Normal(0.1, 1e-30),
    mg.LogNormal(50.1, 1e-3),
    mg.Laplace(0.1, 1e-20),
    mg.Cauchy(0.1, 1e20),
    mg.Gamma(1e-3, 2.0),
    mg.Beta(1e5, 3e5),
    mg.Dirichlet([1e5, 2e5, 1.0]),
    mg.Weibull(1e3, 2.0),
    mg.Gumbel(0.1, 1e-10),
    mg.Chi2(1e6),
    mg.Exponential(1e-20),
    mg.Pareto(1e-10, 1e5),
    mg.Kumaraswamy(1e3, 1e3),
    mg.VonMises(0.1, 1e5),
    mg.MultivariateNormal(np.zeros(3), np.diag([1e-10, 1.0, 1e10])),
    mg.GeneralizedPareto(0.0, 1.0, 1e-6),
]
BACKENDS = ["cpu", "numpy"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ENTROPIES)
def test_entropies_of_large_concentrations(name, dtype):
    q, entropy, path, slope = ENTROPIES[name]
    est = mg.estimate(mg.elbo(lambda z: 0.0 * np.sum(z), q), n=100, dtype=dtype, backend="numpy")
    tolerance = 2e-7 if dtype == "float32" else 1e-9
    assert est.value == pytest.approx(entropy, rel=tolerance)
    assert np.ravel(est.grad[path])[0] == pytest.approx(slope, rel=tolerance)


@pytest.mark.parametrize("q", EXTREMES, ids=lambda q: type(q).__name__)
def test_entropies_at_the_ends_of_parameters(q):
    """What float32 rounds is the parameter, where it is read in each draw: not what the entropy is computed from."""
    wide, narrow = (
        mg.estimate(mg.elbo(lambda z: 0.0 * np.sum(z), q), n=64, dtype=dtype, backend="numpy", seed=3)
        for dtype in ("float64", "float32")
    )
    assert (wide.stderr, narrow.stderr) == (0.0, 0.0)
    assert narrow.value == pytest.approx(wide.value, rel=2e-7)
    for path, slope in wide.grad.items():
        np.testing.assert_allclose(narrow.grad[path], slope, rtol=2e-7, atol=1e-30)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_constant_output_is_not_rounded_at_all(backend):
    est = mg.estimate(mg.kl(mg.Normal(0.1, 1.0), mg.Normal(0.0, 1.0)), n=100, dtype="float32", backend=backend)
    assert est.value == pytest.approx(0.005, rel=1e-14)
    assert est.grad["loc"] == pytest.approx(0.1, rel=1e-14)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("given", [np.float32, np.float64])
def test_arithmetic_on_data_cancels_without_loss(given, backend):
    """The variance of data far from zero, by the difference of two large numbers."""
    x = (10_000.0 + np.arange(-8, 9) / 4).astype(given)  # variance 1.5, squares of 27 bits

    def factor(z, *, x):
        return z * (np.mean(x**2) - np.mean(x) ** 2)

    def inside(z, *, x):  # where the kernel reads it
        return np.maximum(np.mean(x**2) - np.mean(x) ** 2, -np.abs(z))

    run = {"data": {"x": x}, "dtype": "float32", "backend": backend}
    assert mg.estimate(factor, mg.Normal(1.0, 1.0), 100, **run).grad["loc"] == pytest.approx(1.5, rel=1e-7)
    assert mg.estimate(inside, mg.Normal(1.0, 1.0), 100, wrt=(), **run).value == pytest.approx(1.5, rel=1e-7)


def test_arithmetic_on_arrays_on_a_device(monkeypatch):
    machine = machines.machine(monkeypatch)
    scale = machine.cupy.asarray(np.full(3, 1e4 + 1 / 3))
    q = mg.Normal(np.zeros(3), scale)

    def f(z, *, c):
        return np.sum(z) * (c**2 - 100_000_000.0)

    est = mg.estimate(f, q, 200, params={"c": 10_000.0001}, dtype="float32", backend="cuda")
    assert est.dtype == "float32"
    assert est.grad["loc"] == pytest.approx([10_000.0001**2 - 1e8] * 3, rel=1e-14)


def test_data_that_are_only_passed_on_are_not_copied():
    x = build.input_("x", (4, 3))
    values = np.arange(12, dtype=np.float32).reshape(4, 3)
    turned = build.transpose(x, (1, 0))
    found = HostValues([turned, x], "float32")(named({"x": values}))
    assert all(np.shares_memory(value, values) for value in found)
    total = build.reduce("sum", x, (0,))
    assert computed_roots([turned, total, x]) == [total]
    found = HostValues([turned, total, x], "float32")(named({"x": values}))
    assert [value.dtype for value in found] == [np.float32] * 3
    assert [value.shape for value in found] == [(3, 4), (3,), (4, 3)]
    assert np.shares_memory(found[0], values)


def test_equal_numbers_are_one_problem_in_whatever_dtype_they_were_given():
    parts = [
        mg.Estimator(np.sin, mg.Normal(kind(0.5), kind(2.0)), dtype="float32", backend="numpy")
        for kind in (np.float32, np.float64)
    ]
    merged = parts[0](100).merge(parts[1](100, first=100))
    assert merged.value == pytest.approx(parts[0](200).value, rel=1e-12)
    other = mg.Estimator(np.sin, mg.Normal(0.5 + 1e-12, 2.0), dtype="float32", backend="numpy")
    with pytest.raises(mg.MergeError, match="problems"):
        parts[0](100).merge(other(100, first=100))


def test_the_next_number_is_the_next_of_the_dtype_that_runs():
    for dtype in ("float32", "float64"):
        est = mg.estimate(
            lambda z, *, c: np.maximum(np.nextafter(2.0 * c, np.inf), -np.abs(z)),
            mg.Normal(0.0, 1.0), 10, data={"c": 1.0}, wrt=(), dtype=dtype, backend="numpy",
        )  # fmt: skip
        assert est.value == 2.0 + 2 * np.finfo(dtype).eps
