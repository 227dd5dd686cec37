"""Rows with common noise: each has the draws of row 0, and sums and differences are taken in each draw."""

import numpy as np
import pytest

import mcgrad as mg

B, N = 4, 400
RNG = np.random.default_rng(2)
LOC, W = RNG.normal(size=(B, 3)), np.array([0.5, -1.0, 2.0])
X = RNG.normal(size=(B, 3))


def f(z, w, x):
    return np.sum(w * np.sin(z)) + np.sum(x * z)


def batch(backend="numpy", rows=slice(None), **options):
    q = mg.Normal(LOC[rows], 0.7, batch_ndim=1)
    given = {"params": {"w": W}, "data": {"x": X[rows]}, "batched_data": "x", "backend": backend}
    return mg.estimate(f, q, N, common_noise=True, seed=4, **given, **options)


def samples():
    """The values and gradients of each draw, by row: from the draws themselves."""
    eps = mg.Normal(np.zeros(3), 1.0).sample(N, seed=4)
    z = LOC[:, None] + 0.7 * eps
    slope = W * np.cos(z) + X[:, None]
    return (W * np.sin(z) + X[:, None] * z).sum(axis=-1), slope, (slope * eps).sum(axis=-1), np.sin(z)


def of(x):
    """Mean and standard error over the draws, the second axis from the front of what has rows or the first."""
    return x.mean(axis=0), x.std(axis=0, ddof=1) / np.sqrt(N)


@pytest.mark.parametrize("backend", ["numpy", "cpu"])
def test_sums_over_rows_are_taken_in_each_draw(backend):
    values, loc, scale, w = samples()
    est = batch(backend)
    for row in range(B):
        np.testing.assert_allclose((est.value[row], est.stderr[row]), of(values[row]), rtol=1e-9)
        np.testing.assert_allclose((est.grad["loc"][row], est.grad_stderr["loc"][row]), of(loc[row]), rtol=1e-9)
    np.testing.assert_allclose((est.grad["w"], est.grad_stderr["w"]), of(w.sum(axis=0)), rtol=1e-9)
    np.testing.assert_allclose((est.grad["scale"], est.grad_stderr["scale"]), of(scale.sum(axis=0)), rtol=1e-9)
    mean = batch(backend, reduce="mean")
    np.testing.assert_allclose((mean.value, mean.stderr), of(values.mean(axis=0)), rtol=1e-9)
    np.testing.assert_allclose((mean.grad["w"], mean.grad_stderr["w"]), of(w.mean(axis=0)), rtol=1e-9)


def test_differences_between_rows():
    values, *_ = samples()
    est = batch()
    for i, j in ((0, 1), (3, 1), (2, 2)):
        np.testing.assert_allclose(est.difference(i, j), of(values[i] - values[j]), rtol=1e-9, atol=1e-12)
    apart = mg.estimate(lambda z: np.sum(np.sin(z)), mg.Normal(LOC, 0.7, batch_ndim=1), N, backend="numpy")
    assert apart.difference(0, 1).stderr == pytest.approx(np.hypot(*apart.stderr[:2]))
    with pytest.raises(mg.ParameterError, match=r"^first: given 4; accepted: the place of a row in a batch of shape"):
        est.difference(4, 0)


def test_of_many_rows_each_is_compared_with_the_first():
    q = mg.Normal(np.linspace(0, 1, 40), 1.0, batch_ndim=1)
    est = mg.estimate(lambda z: z**2, q, 100, common_noise=True, backend="numpy")
    found = est.difference(7, 0)
    assert found.value == pytest.approx(est.value[7] - est.value[0])
    assert found.stderr < 0.5 * np.hypot(est.stderr[7], est.stderr[0])
    assert est.difference(0, 7) == (-found.value, found.stderr)
    with pytest.raises(mg.ParameterError, match="accepted: row 0 and another"):
        est.difference(3, 7)


@pytest.mark.parametrize("method", ["score+leave_one_out", "score+mean", "measure_valued", "difference"])
def test_other_methods(method):
    q = mg.Normal(LOC[:, 0], 1.0, batch_ndim=1)
    est = mg.estimate(lambda z: np.cos(z), q, 4000, common_noise=True, method=method, wrt="loc", backend="numpy")
    exact = -np.sin(LOC[:, 0]) * np.exp(-0.5)
    assert (np.abs(est.grad["loc"] - exact) / est.grad_stderr["loc"]).max() < 4.5
    assert (est.grad_stderr["loc"] > 0).all()


def test_rare_draws_in_a_row_are_named():
    q = mg.Joint(a=mg.Bernoulli(np.array([0.5, 1e-9]), batch_ndim=1), b=mg.Normal())
    with pytest.warns(mg.RareDrawsWarning, match=r"^a\.probs in row 1 of 2: the gradient is zero"):
        mg.estimate(lambda z: z["a"] * z["b"], q, 50, common_noise=True, method={"a": "score"}, backend="numpy")


def test_one_row_and_merged_ranges():
    est = batch(rows=slice(0, 1))
    assert est.value.shape == (1,)
    estimator = mg.Estimator(
        f, mg.Normal(LOC, 0.7, batch_ndim=1), params={"w": W}, data={"x": X}, batched_data="x", common_noise=True,
        backend="numpy",
    )  # fmt: skip
    whole, both = estimator(60), estimator(20).merge(estimator(40, first=20))
    np.testing.assert_allclose(both.difference(0, 2), whole.difference(0, 2))
    np.testing.assert_allclose(both.stderr, whole.stderr)
    with pytest.raises(mg.ParameterError, match=r"^rows: given .* with common noise"):
        estimator(20, rows=[0, 1, 2, 3])
    with pytest.raises(mg.ParameterError, match=r"^common_noise: given a batch of shape \(2,\)"):
        estimator(20, loc=LOC[:2], x=X[:2])


def test_draws_that_are_not_finite():
    q = mg.Normal(np.array([0.0, 100.0]), 1.0, batch_ndim=1)
    pole = lambda z: np.where(z > 50.0, np.inf, z)  # noqa: E731
    est = mg.estimate(pole, q, 50, common_noise=True, backend="numpy", wrt="loc")
    assert np.isnan(est.value).tolist() == np.isnan(est.grad["loc"]).tolist() == [False, True]
    assert est.nonfinite.tolist() == [50, 50]
    with pytest.raises(mg.ParameterError, match="common_noise: given True without a batch"):
        mg.estimate(pole, mg.Normal(), 50, common_noise=True)
    with pytest.raises(mg.ParameterError, match="common_noise: given True of a batch without rows"):
        mg.estimate(pole, mg.Normal(np.zeros(0), 1.0, batch_ndim=1), 50, common_noise=True)


def test_the_covariance_of_a_sum_of_weighted_draws():
    q, p = mg.Normal(np.zeros((2, 3)), 0.8, batch_ndim=1), mg.Normal(np.zeros(3), 1.0)
    given = {"n": N, "covariance": True, "backend": "numpy", "proposal": p}
    est = mg.estimate(lambda z: z, q, common_noise=True, reduce="sum", **given)
    one = mg.estimate(lambda z: 2 * z, mg.Normal(np.zeros(3), 0.8), **given)
    np.testing.assert_allclose(est.covariance, one.covariance, rtol=1e-12)
    assert str(mg.BatchEstimate.from_json(est.to_json()).to_dict()) == str(est.to_dict())
