"""Covariances of values, against exact ones and far from zero; ratios with standard errors by the delta method."""

import numpy as np
import pytest

import mcgrad as mg

NUMPY = {"backend": "numpy"}
ROOT = np.array([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [-0.3, 0.4, 0.5]])


def linear(z, far):
    return ROOT @ z + far


def pairs(z, sign):
    """The sum or the difference of each two."""
    return (ROOT @ z)[:, None] + sign * (ROOT @ z)


@pytest.mark.parametrize("backend", ["numpy", "cpu"])
@pytest.mark.parametrize("far", [0.0, 1e6, np.array([1e9, -3.0, 0.0])], ids=["near zero", "far", "one far"])
def test_the_covariance_is_that_of_the_same_draws(far, backend):
    n, q = 2000, mg.Normal(np.zeros(3), 1.0)
    given = {"wrt": (), "seed": 3, "backend": backend}
    est = mg.estimate(linear, q, n, params={"far": far + np.zeros(3)}, covariance=True, **given)
    sums, gaps = (  # cov(a, b) = (var(a + b) - var(a - b)) / 4, of the same draws about zero
        mg.estimate(lambda z, s=s: pairs(z, s), q, n, wrt=(), seed=3, **NUMPY).stderr ** 2 for s in (1, -1)
    )
    np.testing.assert_allclose(est.covariance, (sums - gaps) / 4, rtol=1e-9, atol=1e-14 + 1e-18 * np.max(np.abs(far)))
    exact = ROOT @ ROOT.T
    z = (est.covariance * n - exact) / np.sqrt((np.outer(*2 * [np.diag(exact)]) + exact**2) / n)
    assert np.abs(z).max() < 4.5


@pytest.mark.parametrize("method", ["pathwise", "score+leave_one_out", "difference"])
def test_covariances_of_dicts_groups_and_float32(method):
    def f(z):
        return {"a": z[0], "b": np.stack([z[0] + 1e3 * z[1], 5.0 + 0.0 * z[1]])}

    est = mg.estimate(f, mg.Normal(np.zeros(2), 1.0), 8000, method=method, dtype="float32", covariance=True, **NUMPY)
    found = est.covariance
    assert isinstance(found["a"]["a"], float)
    assert (found["a"]["b"].shape, found["b"]["a"].shape, found["b"]["b"].shape) == ((2,), (2,), (2, 2))
    assert found["a"]["a"] == pytest.approx(est.stderr["a"] ** 2, rel=1e-5)
    assert found["b"]["b"][0, 0] == pytest.approx(est.stderr["b"][0] ** 2, rel=1e-5)
    assert found["b"]["b"][1, 1] == found["a"]["b"][1] == 0.0
    assert abs(found["a"]["b"][0] * 8000 - 1.0) < 4.5 * np.sqrt((1 + 1e6) / 8000)


def test_a_number_has_a_variance():
    est = mg.estimate(np.sin, mg.Normal(0.3, 1.2), 1000, covariance=True, **NUMPY)
    assert est.covariance == pytest.approx(est.stderr**2, rel=1e-10)
    assert est[()].value == est.value


def weighted(z, mean):
    """Self-normalised importance sampling of N(mean, 1), whose density is known but for a factor."""
    weight = 7.0 * np.exp(-0.5 * (z - mean) ** 2 + 0.5 * (z / 1.5) ** 2)
    return {"moments": np.stack([z, z**2]) * weight, "weight": weight}


def test_ratios_of_weighted_means():
    """Their errors, in standard errors, scatter as standard normal numbers do."""
    estimator = mg.Estimator(weighted, mg.Normal(0.0, 1.5), params={"mean": 0.4}, covariance=True, **NUMPY)
    zs = []
    for seed in range(60):
        est = estimator(2000, seed)
        found = mg.ratio(est["moments"], est["weight"])
        zs.append((found.value - [0.4, 1.16]) / found.stderr)
    assert np.abs(np.mean(zs, axis=0)).max() * np.sqrt(60) < 4.5
    assert np.abs(np.var(zs, axis=0, ddof=1) - 1).max() < 4.5 * np.sqrt(2 / 59)
    step = 1e-4
    sides = [estimator(2000, 59, mean=0.4 + by) for by in (step, -step)]
    up, down = (mg.ratio(side["moments"], side["weight"]).value for side in sides)
    np.testing.assert_allclose(found.grad["mean"], (up - down) / (2 * step), rtol=1e-5)
    one = mg.ratio(est["moments"][1], est["weight"])
    assert (one.value, one.stderr) == (found.value[1], found.stderr[1])
    assert isinstance(one.value, float)
    assert mg.ratio(est["weight"], est["weight"]).stderr < 1e-9


def test_parts_that_are_refused():
    q = mg.Normal(np.zeros(3), 1.0)
    est, other = (mg.estimate(np.exp, q, 100, seed=i, covariance=True, **NUMPY) for i in range(2))
    for a, b, word in ((est[0], other[0], "one estimate"), (est[:2], est, "part"), (est[:2], est[:3], "shape")):
        with pytest.raises(mg.ParameterError, match=word):
            mg.ratio(a, b)
    for wrong in (3, "a", 1.5):
        with pytest.raises(mg.ParameterError, match="name"):
            est[wrong]
    plain = mg.estimate(np.exp, q, 100, **NUMPY)
    with pytest.raises(mg.ParameterError, match="covariance=True"):
        mg.ratio(plain[0], plain[1])
    with pytest.raises(mg.ParameterError, match="covariance=True"):
        _ = plain.covariance
    named = mg.estimate(lambda z: {"a": z[0], "b": {"c": z}}, q, 100, **NUMPY)
    assert named["b.c"].value.shape == (3,)
    with pytest.raises(mg.ParameterError, match=r"'a' or 'b\.c'"):
        named["c"]
    with pytest.raises(mg.ParameterError, match="covariance"):
        mg.estimate(np.exp, q, 100, covariance=1)


def test_iteration_is_that_of_what_f_returns():
    q, n = mg.Normal(np.zeros((2, 3)), 1.0, batch_ndim=1), 100
    est = mg.estimate(lambda z: np.multiply.outer(z, z), mg.Normal(np.zeros(3), 1.0), n, covariance=True, **NUMPY)
    assert [row.value.tolist() for row in est] == est.value.tolist()
    (first, *_), *_ = est
    assert (first.value, mg.ratio(*est[0][:2]).value) == (est.value[0, 0], est.value[0, 0] / est.value[0, 1])
    assert [part.value.shape for part in mg.estimate(np.exp, q, n, **NUMPY)] == [(2,)] * 3
    named = mg.estimate(lambda z: {"a": z[0], "b": {"c": z}}, q, n, **NUMPY)
    assert [*named] == ["a", "b.c"]
    for number in (first, named["a"], mg.estimate(np.sum, q, n, **NUMPY)):
        with pytest.raises(TypeError, match="a number"):
            iter(number)
