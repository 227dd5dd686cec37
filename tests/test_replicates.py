"""Replicates of points: merged, in files, and in runs that go on from their states."""

import pickle

import numpy as np
import pytest

import mcgrad as mg
from tests.test_point_sets import LOCS, bump, gaussian, numbers


def test_replicates_are_what_a_run_of_their_own_has():
    whole = gaussian()(2**10, seed=7)
    later = gaussian(replicates=2)(2**7, seed=7, first_replicate=5)
    np.testing.assert_array_equal(whole.replicates.means[5:7], later.replicates.means)


def test_more_points_of_the_same_replicates_merge():
    estimator = gaussian()
    a, b, c = estimator(2**10), estimator(2**10, first=2**10), estimator(2**11, first=2**11)
    merged, whole = c.merge(b.merge(a)), estimator(2**12)
    for x, y in zip(numbers(merged), numbers(whole), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-6)
    assert merged.ranges == whole.ranges == ((0, 2**12),)
    assert merged.n == 2**12


def test_more_replicates_of_the_same_points_merge():
    estimator = gaussian()
    a, b = estimator(2**10), estimator(2**10, first_replicate=16)
    merged, whole = b.merge(a), gaussian(replicates=32)(2**11)
    for x, y in zip(numbers(merged), numbers(whole), strict=True):
        np.testing.assert_array_equal(x, y)
    assert merged.ranges == whole.ranges
    assert merged.replicates.numbers == ((0, 32),)
    assert merged.moments.count == 32


@pytest.mark.parametrize(
    ("call", "why"),
    [
        ({"n": 2**10, "first": 2**10, "first_replicate": 16}, "with different points"),
        ({"n": 2**10, "first_replicate": 8}, "some are in both"),
        ({"n": 2**10}, "both estimates hold the draws 0 to 1023"),
    ],
)
def test_what_does_not_merge_is_refused(call, why):
    estimator = gaussian()
    with pytest.raises(mg.MergeError, match=why):
        estimator(2**10).merge(estimator(**call))


def test_plain_draws_and_points_do_not_merge():
    with pytest.raises(mg.MergeError, match="samplers: independent draws and Sobol' points with a matrix scramble"):
        gaussian(sampler="philox")(2**10).merge(gaussian()(2**10, first=2**10))
    with pytest.raises(mg.MergeError, match="a matrix scramble and Sobol' points with Owen's scramble"):
        gaussian()(2**10).merge(gaussian(scramble="owen")(2**10, first=2**10))


def test_files_and_pickles_keep_the_replicates():
    estimator = gaussian()
    est = estimator(2**10)
    for copy in (mg.Estimate.from_json(est.to_json()), pickle.loads(pickle.dumps(est))):
        assert numbers(copy.merge(estimator(2**10, first=2**10)))[0] == estimator(2**11).value
        np.testing.assert_array_equal(copy.replicates.means, est.replicates.means)
    again = pickle.loads(pickle.dumps(estimator))(2**10)
    assert again.value == est.value
    assert "16 replicates of 64 draws" in str(est)
    assert "sampler: sobol, 16 replicates, scramble='matrix'" in estimator.explain()


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"replicates": {}}, "replicates"),
        ({"numbers": [[0, 3]]}, "replicates.counts"),
        ({"counts": [-1] * 16}, "replicates.counts"),
        ({"means": [[0.0]] * 16}, "replicates.means"),
        ({"generator": 3}, "replicates.generator"),
    ],
)
def test_wrong_fields_of_replicates_are_named(change, name):
    fields = gaussian()(2**10).to_dict()
    whole = "replicates" in change
    fields |= change if whole else {"replicates": fields["replicates"] | change}
    with pytest.raises(mg.ParameterError, match=name):
        mg.Estimate.from_dict(fields)


def test_a_run_goes_on_from_its_states():
    estimator = gaussian()
    states = []
    whole = estimator.run(2**12, seed=4, watch=states.append)
    assert [state.rows for state in states] == sorted(state.rows for state in states)
    for state in states[:: max(len(states) // 3, 1)]:
        again = estimator.run(2**12, seed=4, resume=state)
        for a, b in zip(numbers(whole), numbers(again), strict=True):
            np.testing.assert_array_equal(a, b)


def test_progress_counts_draws():
    done = []
    gaussian()(2**12, progress=done.append)
    assert done == sorted(done)
    assert done[-1] == 2**12


@pytest.mark.parametrize("backend", ["numpy", "cpu"])
def test_short_replicates_go_on_from_the_states_of_a_run(backend):
    estimator = mg.Estimator(bump, mg.Normal(LOCS[0], 1.0), sampler="sobol", replicates=64, backend=backend, threads=1)
    states, n = [], 64 * 2**9
    whole = estimator.run(n, 4, watch=states.append)
    assert states
    for state in states[:: max(len(states) // 3, 1)]:
        assert state.row is None
        assert estimator.resumes(state, n)
        assert estimator.run(n, 4, resume=state).value == whole.value
