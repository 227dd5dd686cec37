"""Points in batches: each row has a shift of its own, and its errors are those of replicates."""

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.jobs.states import from_fields, to_fields
from tests.test_point_sets import LEVEL, LOCS, bump, numbers, of_bump


def batch(backend="numpy", **options):
    q = mg.Normal(LOCS, np.ones((3, 4)), batch_ndim=1)
    return mg.Estimator(bump, q, backend=backend, dtype="float32", sampler="sobol", wrt="loc", **options)


@pytest.mark.parametrize("backend", ["numpy", "cpu"])
def test_rows_have_shifts_of_their_own(backend):
    est = batch(backend)(2**12, seed=2)
    value, gradient = of_bump(LOCS)
    assert (np.abs(est.value - value) < LEVEL * est.stderr).all()
    assert (np.abs(est.grad["loc"] - gradient) < LEVEL * est.grad_stderr["loc"]).all()
    q = mg.Normal(LOCS[0], np.ones(4))
    alone = mg.Estimator(bump, q, backend=backend, dtype="float32", sampler="sobol", wrt="loc")
    assert alone(2**12, seed=2).value == est.value[0]
    turned = batch(backend)(2**12, seed=2, rows=[2, 0, 1])
    again = batch(backend)(2**12, seed=2, rows=[0, 1, 2])
    assert again.value[0] == est.value[0]
    assert turned.value[0] != est.value[0]


def test_sums_over_rows_have_errors_of_their_own():
    estimator = batch(reduce="sum")
    found = [estimator(2**9, seed=seed) for seed in range(40)]
    right = of_bump(LOCS)[0].sum()
    z = np.array([(est.value - right) / est.stderr for est in found])
    assert abs(z.mean()) < 4 * z.std() / np.sqrt(len(z))
    assert 0.6 < z.std() < 1.6


def test_gradients_that_rows_share_have_the_errors_of_replicates():
    def scaled(z, w):
        return bump(w * z)

    q = mg.Normal(LOCS, np.ones((3, 4)), batch_ndim=1)
    options = {"params": {"w": 1.0}, "backend": "numpy", "wrt": ("w",)}
    est = mg.estimate(scaled, q, n=2**12, sampler="sobol", **options)
    plain = mg.estimate(scaled, q, n=2**14, **options)
    assert est.grad_stderr["w"] < plain.grad_stderr["w"] / 2
    assert abs(est.grad["w"] - plain.grad["w"]) < LEVEL * np.hypot(est.grad_stderr["w"], plain.grad_stderr["w"])


def test_batches_of_other_replicates_merge():
    estimator = batch()
    a, b = estimator(2**10), estimator(2**10, first_replicate=16)
    merged = mg.BatchEstimate.from_json(a.to_json()).merge(b)
    assert merged.replicates.numbers == ((0, 32),)
    assert merged.n == 2**11
    assert (merged.moments.counts == 32).all()
    np.testing.assert_allclose(merged.value, (a.value + b.value) / 2, rtol=1e-12)
    with pytest.raises(mg.MergeError, match="over the same replicates"):
        a.merge(estimator(2**10, first=2**10))


@pytest.mark.parametrize("backend", ["numpy", "cpu"])
def test_a_batch_goes_on_after_each_replicate(backend):
    def scaled(z, w):
        return bump(w * z)

    q = mg.Normal(LOCS, np.ones((3, 4)), batch_ndim=1)
    estimator = mg.Estimator(scaled, q, params={"w": 1.0}, backend=backend, sampler="sobol", replicates=4)
    states = []
    whole = estimator.run(2**8, seed=4, watch=states.append)
    assert [state.replicates for state in states] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    for state in states:
        again = estimator.run(2**8, seed=4, resume=from_fields(to_fields(state), 2**8, 3, "float64"))
        for a, b in zip(numbers(whole), numbers(again), strict=True):
            np.testing.assert_array_equal(a, b)
    done = []
    estimator(2**8, seed=4, progress=done.append)
    assert done == [0, 1, 2, 3]


def test_covariances_of_points_in_batches_are_refused():
    q = mg.Normal(np.zeros((3, 2)), np.ones((3, 2)), batch_ndim=1)
    with pytest.raises(mg.ParameterError, match="covariance: given True with sampler 'sobol' and a batch"):
        mg.Estimator(lambda z: z, q, sampler="sobol", covariance=True)


def test_points_of_common_noise_are_refused():
    q = mg.Normal(np.zeros((3, 2)), np.ones((3, 2)), batch_ndim=1)
    with pytest.raises(mg.ParameterError, match="sampler: given 'sobol' with common_noise=True"):
        mg.Estimator(bump, q, sampler="sobol", common_noise=True)
