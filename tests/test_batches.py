"""Draws of a distribution, and its density at many values: as an estimate sees them, and as one by one."""

import numpy as np
import pytest
import scipy.stats as st

import mcgrad as mg
from mcgrad import tree

from .families import FAMILIES, total

N = 1000
DENSE = {name: row for name, row in FAMILIES.items() if name not in ("Implicit", "Reparameterized")}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FAMILIES)
def test_draws_are_those_that_an_estimate_sees(name, dtype):
    q = FAMILIES[name].q
    z = q.sample(N, seed=11, first=7, dtype=dtype)
    for path, x in tree.flatten(z).items():
        assert (x.shape, x.dtype) == ((N, *tree.flatten(q.event_shape)[path]), dtype)
    run = mg.Estimator(total, q, wrt=(), dtype=dtype, backend="numpy")
    sums = [total(tree.map(lambda x, i=i: x[i], z)) for i in range(N)]
    rounded = 1e-4 if dtype == "float32" else 1e-10
    est = run(N, seed=11, first=7)
    np.testing.assert_allclose(est.value, np.mean(sums), rtol=rounded, atol=rounded * np.std(sums))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", DENSE)
def test_densities_along_leading_axes(name, dtype):
    q = FAMILIES[name].q
    z = q.sample(6, seed=3, dtype=dtype)
    one_by_one = [q.log_prob(tree.map(lambda x, i=i: x[i].astype(float), z)) for i in range(6)]
    assert all(np.ndim(x) == 0 for x in one_by_one)
    got = q.log_prob(z)
    assert got.shape == (6,)
    np.testing.assert_allclose(got, one_by_one, rtol=1e-6 if dtype == "float32" else 1e-10, atol=1e-10)
    grid = q.log_prob(tree.map(lambda x: x.reshape(2, 3, *x.shape[1:]), z))
    np.testing.assert_array_equal(grid, got.reshape(2, 3))


def test_the_density_at_one_value_is_a_number():
    for q, z in ((mg.Normal(0.0, 1.0), 0.5), (mg.Gamma(2.0, 1.0), 0.5), (mg.Bernoulli(0.3), 1), (mg.Poisson(2.0), -1)):
        assert isinstance(q.log_prob(z), np.floating)
        assert isinstance(type(q).log_prob(z, **q.params), np.floating)


def test_more_draws_than_a_block_and_ranges_of_them():
    q = mg.MultivariateNormal(np.zeros(3), np.eye(3))
    z = q.sample(200_001, seed=5)
    np.testing.assert_array_equal(q.sample(9, seed=5, first=199_990), z[199_990:199_999])
    assert np.all(np.abs(z.mean(0)) * np.sqrt(len(z)) < 5)
    right = st.multivariate_normal(np.zeros(3), np.eye(3)).logpdf(z)
    np.testing.assert_allclose(q.log_prob(z), right, rtol=1e-12)


def test_the_dtype_is_the_distributions():
    narrow = mg.Normal(np.zeros(2, np.float32), np.float32(1.0))
    assert narrow.sample(3).dtype == np.float32
    assert narrow.log_prob(narrow.sample(3)).dtype == np.float32
    assert narrow.log_prob(narrow.sample(3).astype(float)).dtype == np.float64
    assert narrow.sample(3, dtype="float64").dtype == np.float64


def test_inside_an_integrand_as_outside():
    """A prior over the rows of a matrix, with parameters that are traced, and of data."""
    prior = mg.MultivariateNormal(np.ones(2), np.array([[1.0, 0.0], [0.3, 0.8]]))
    scalar = mg.Normal(0.5, 2.0)
    y = np.linspace(-1.0, 1.0, 5)

    def f(z, *, tau):
        rows = np.sum(prior.log_prob(z))
        own = np.sum(scalar.log_prob(z) * np.arange(6.0).reshape(3, 2))
        given = np.sum(scalar.log_prob(y, loc=z[0, 0], scale=tau) * np.arange(5.0))
        return rows + own + given

    q = mg.Normal(np.zeros((3, 2)), 1.0)
    est = mg.estimate(f, q, 50, params={"tau": 1.5}, backend="numpy", seed=2)
    exact = np.mean([f(z, tau=1.5) for z in q.sample(50, seed=2)])
    assert est.value == pytest.approx(exact, rel=1e-12)
    assert mg.verify(f, q, 4000, params={"tau": 1.5}, backends=["numpy"]).ok


def test_joints_batch_all_parts_together():
    q = mg.Joint(a=mg.Normal(np.zeros(2), 1.0), b=mg.Exponential(3.0))
    a, b = np.ones((4, 1, 2)), np.array([0.1, 0.2, 0.3])
    right = 2 * st.norm.logpdf(1.0) + st.expon(scale=1 / 3).logpdf(b)
    np.testing.assert_allclose(q.log_prob({"b": b, "a": a}), np.broadcast_to(right, (4, 3)), rtol=1e-14)


@pytest.mark.parametrize(
    ("act", "name", "given", "accepted"),
    [
        (lambda q: q.log_prob(np.zeros(3)), "z", r"shape \(3,\)", r"shape \(..., 2\)"),
        (lambda q: q.log_prob({"a": 1.0}), "z", "a", "one array"),
        (lambda q: mg.Joint(a=q, b=q).log_prob({"a": np.ones(2)}), "z", "a", "a, b"),
        (lambda q: mg.Joint(a=q, b=q).log_prob({"a": np.ones(2), "b": np.ones(3)}), r"z\.b", "shape", "2"),
        (lambda q: mg.Joint(a=q, b=q).log_prob({"a": np.ones((3, 2)), "b": np.ones((4, 2))}), "z", "a.*b", "broadcast"),
        (lambda q: q.log_prob(np.ma.masked_array([1.0, 9.0], [0, 1])), "z", "masked", "without a mask"),
        (lambda q: mg.Joint(a=q).log_prob({"a": [np.ma.masked, 1.0]}), "z", "masked", "without a mask"),
        (lambda q: q.log_prob(1.0, loc=np.ma.masked_array([1.0], [1]), scale=1.0), "loc", "masked", "without a mask"),
        (lambda q: q.log_prob("1.0"), "z", "'1.0'", "number"),
        (lambda q: q.log_prob(["1.0", "2.0"]), "z", "'1.0'", "number"),
        (lambda q: q.log_prob([[1.0, 2.0], [3.0]]), "z", "3.0", "number"),
        (lambda q: q.log_prob(None), "z", "None", "number"),
        (lambda q: q.log_prob(np.array([1.0, None])), "z", "object", "number"),
        (lambda q: q.log_prob(1j), "z", "1j", "number"),
        (lambda q: q.sample(0), "n", "0", "at least 1"),
        (lambda q: q.sample(2.5), "n", "2.5", "whole"),
        (lambda q: q.sample(3, seed=-1), "seed", "-1", "whole"),
        (lambda q: q.sample(3, first=-1), "first", "-1", "whole"),
        (lambda q: q.sample(3, dtype="int64"), "dtype", "int64", "float32"),
    ],
)
def test_refused_by_name(act, name, given, accepted):
    with pytest.raises(mg.ParameterError, match=rf"^{name}: given .*{given}.*; accepted: .*{accepted}"):
        act(mg.Normal(np.zeros(2), 1.0))


def test_a_density_that_takes_one_value_at_a_time():
    """What a user writes with sums over everything is vectorised, too."""
    params = {"a": np.array([0.4, 0.1])}
    density = lambda z, *, a: np.sum(-0.5 * (z - a) ** 2 - 0.5 * np.log(2 * np.pi))  # noqa: E731
    q = mg.Reparameterized(lambda eps, *, a: a + eps, params, mg.noise.normal((2,)), log_prob=density)
    z = q.sample(7)
    np.testing.assert_allclose(q.log_prob(z), st.norm(params["a"]).logpdf(z).sum(1), rtol=1e-13)
