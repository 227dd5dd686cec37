"""Shards of a run merge to the bits of the whole run, whatever is estimated and how many shards there are."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, strategies as st

import mcgrad as mg
from mcgrad.backends.chunks import Chunks
from mcgrad.engine.shard import Shard
from mcgrad.engine.shard_merge import merged
from mcgrad.errors import BackendError, ParameterError
from mcgrad.results.strict_json import strict

LOC = np.linspace(-1.0, 1.0, 5)
POINTS = {"sampler": "sobol", "replicates": 8}


def wave(z):
    return np.sum(np.sin(z) * np.exp(-(z**2) / 10))


def scaled(z, *, tau=1.5):
    return tau * np.sum(np.cos(z))


def of_row(z, *, w, x):
    return w * np.sin(x * z)


def logs(z):
    return np.log(z + 1.5)


CASES = {
    "one problem": lambda: (mg.Estimator(wave, mg.Normal(LOC, 0.7)), 300_000),
    "float32": lambda: (mg.Estimator(wave, mg.Normal(LOC, 0.7), dtype="float32"), 300_000),
    "constants and factors": lambda: (
        mg.Estimator(scaled, mg.Normal(LOC, 0.7), params={"tau": 1.5}, backend="numpy"),
        200_000,
    ),
    "numpy": lambda: (mg.Estimator(wave, mg.Normal(LOC, 0.7), backend="numpy"), 100_000),
    "leave one out": lambda: (
        mg.Estimator(wave, mg.Normal(LOC, 0.7), method="score", baseline="leave_one_out", k=4, backend="numpy"),
        200_000,
    ),
    "pilot": lambda: (mg.Estimator(wave, mg.Normal(LOC, 0.7), method="score+mean", backend="numpy"), 200_000),
    "controls": lambda: (mg.Estimator(wave, mg.Normal(LOC, 0.7), control="linear", backend="numpy"), 200_000),
    "antithetic": lambda: (mg.Estimator(wave, mg.Normal(LOC, 0.7), antithetic=True, backend="numpy"), 200_000),
    "second derivatives": lambda: (
        mg.Estimator(np.abs, mg.Normal(0.3, 0.7), hessian="full", backend="numpy"),
        200_000,
    ),
    "covariance": lambda: (
        mg.Estimator(lambda z: z * z, mg.Normal(LOC, 0.7), covariance=True, backend="numpy"),
        200_000,
    ),
    "proposal": lambda: (
        mg.Estimator(wave, mg.Normal(LOC, 0.7), proposal=mg.Normal(LOC, 0.9), backend="numpy"),
        200_000,
    ),
    "not finite": lambda: (mg.Estimator(logs, mg.Normal(0.3, 1.2), backend="numpy"), 200_000),
    "omitted": lambda: (mg.Estimator(logs, mg.Normal(0.3, 1.2), nonfinite="omit"), 200_000),
    "points": lambda: (
        mg.Estimator(wave, mg.Normal(LOC, 0.7), **POINTS, control="linear", backend="numpy"),
        8 << 12,
    ),
    "weighted points": lambda: (
        mg.Estimator(wave, mg.Normal(LOC, 0.7), **POINTS, proposal=mg.Normal(LOC, 0.9), backend="numpy"),
        8 << 10,
    ),
    "batch": lambda: (batch(), 400),
    "batch row by row": lambda: (batch(rows=200, backend="numpy"), 400),
    "batch of long rows": lambda: (batch(rows=6), 3_000_000),
    "batch over points": lambda: (batch(**POINTS, rows=20, backend="numpy"), 8 << 6),
    "summed batch": lambda: (batch(reduce="sum"), 400),
    "batch with common noise": lambda: (batch(common_noise=True, rows=5), 200_000),
    "second derivatives of a batch": lambda: (batch(rows=200, hessian="full", backend="numpy"), 400),
    "second derivatives with common noise": lambda: (
        batch(hvp={"w": 1.0}, common_noise=True, rows=5, backend="numpy"),
        200_000,
    ),
    "omitted in a batch": lambda: (
        mg.Estimator(logs, mg.Normal(np.linspace(-0.5, 1.0, 5000), 1.2, batch_ndim=1), nonfinite="omit"),
        400,
    ),
}


def batch(rows=2000, **options):
    loc, x = np.linspace(-1.0, 1.0, rows), np.linspace(0.5, 2.0, rows)
    return mg.Estimator(
        of_row, mg.Normal(loc, 0.7, batch_ndim=1), params={"w": 1.3}, data={"x": x}, batched_data=["x"], **options
    )


def fields(estimate):
    return strict({**estimate.to_dict(), "seconds": 0.0})


@pytest.fixture(scope="module", params=CASES)
def whole(request):
    estimator, n = CASES[request.param]()
    return estimator, n, estimator.run(n, 7)


def run_shards(estimator, n, count, **options):
    runs = [estimator.run_shard(Shard(k, count), n, 7, **options) for k in range(1, count + 1)]
    numbers = estimator.row_numbers()
    shape = () if numbers is None else numbers.shape
    states, estimates = [run.state for run in runs], [run.estimate for run in runs]
    return runs, merged(states, estimates, runs[0].outline, estimator.fingerprint, shape)


@pytest.mark.filterwarnings("ignore::mcgrad.errors.RareDrawsWarning")
@pytest.mark.parametrize("count", [1, 2, 7])
def test_shards_merge_to_the_bits_of_the_whole_run(whole, count):
    estimator, n, right = whole
    runs, found = run_shards(estimator, n, count)
    assert fields(found) == fields(right)
    assert type(found) is type(right)
    if count == 2:
        assert all(run.estimate is not None for run in runs)  # each has a part


@pytest.mark.parametrize("options", [{}, {"reduce": "sum"}, POINTS])
def test_shards_of_no_rows(options):
    estimator = batch(rows=0, backend="numpy", **options)
    _, found = run_shards(estimator, 8 << 6, 3)
    assert {**fields(found), "kinds": []} == {**fields(estimator.run(8 << 6, 7)), "kinds": []}


@given(
    first=st.integers(0, 10**6),
    n=st.integers(2, 10**15),
    block=st.sampled_from([1, 4, 512]),
    steps=st.integers(1, 1000),
    count=st.integers(1, 200),
)
def test_shards_are_all_draws_each_once_in_few_pieces(first, n, block, steps, count):
    step = block * steps
    chunks = Chunks(first, first + n, min((first // block + 1) * block, first + n), step, block)
    ends = [Shard(k, count).of_chunks(chunks) for k in range(1, count + 1)]
    assert ends[0][0] == first
    assert ends[-1][1] == first + n
    assert ends[0][1] > first  # the first chunk, which makes the shift, is the first shard's
    assert all(before[1] == after[0] for before, after in pairwise(ends))
    assert all(chunks.ends_at(stop) for _, stop in ends)
    for start, stop in ends[:: max(count // 3, 1)]:
        assert len(list(chunks.spans(start, stop))) < 400
        if n > 200 * step * count:
            assert abs(stop - start - n / count) < 0.02 * n / count


@pytest.mark.parametrize("count", [1, 3, 9])
def test_shards_of_listed_chunks_and_ranges(count):
    listed = [(0, 3), (3, 7), (7, 8), (8, 20)]
    ends = [Shard(k, count).of_chunks(listed) for k in range(1, count + 1)]
    assert (ends[0][0], ends[-1][1]) == (0, 20)
    assert all(before[1] == after[0] for before, after in pairwise(ends))
    assert ends[0][1] > 0
    ranges = [Shard(k, count).of_ranges(listed) for k in range(1, count + 1)]
    assert [each for part in ranges for each in part] == listed


def test_a_backend_that_fails_under_auto_is_followed_by_the_next(monkeypatch):
    """The shard then has the chunks of the backend that ran."""
    estimator = mg.Estimator(wave, mg.Normal(LOC, 0.7))
    right = mg.Estimator(wave, mg.Normal(LOC, 0.7), backend="numpy").run_shard(Shard(2, 3), 400_000)
    running, failed = estimator._runner.dispatched.running, []

    def bind(inputs):
        failed.append(1)
        raise BackendError("out of memory")

    monkeypatch.setattr(running.kernel, "bind", bind, raising=False)
    with pytest.warns(mg.BackendWarning, match="out of memory"):
        found = estimator.run_shard(Shard(2, 3), 400_000)
    assert failed
    assert found.state.backend == "numpy"
    assert fields(found.estimate) == fields(right.estimate)
    assert (found.state.start, found.state.stop) == (right.state.start, right.state.stop)


def test_a_shard_does_not_go_on_from_a_state_of_another():
    estimator, states = mg.Estimator(wave, mg.Normal(LOC, 0.7)), []
    estimator.run_shard(Shard(2, 3), 3_000_000, watch=states.append)
    found = estimator.run_shard(Shard(2, 3), 3_000_000, resume=states[0])
    assert fields(found.estimate) == fields(estimator.run_shard(Shard(2, 3), 3_000_000).estimate)
    for shard in (Shard(1, 3), Shard(2, 4)):
        with pytest.raises(ParameterError, match="resume: given draw"):
            estimator.run_shard(shard, 3_000_000, resume=states[0])
    with pytest.raises(ParameterError, match="resume: given draw"):
        estimator.run_shard(Shard(2, 3), 3_000_000, resume=replace(states[0], pieces=states[-1].pieces))


def test_a_shard_with_a_draw_that_is_not_finite_raises():
    estimator = mg.Estimator(logs, mg.Normal(0.3, 1.2), nonfinite="raise")
    with pytest.raises(mg.NonFiniteError):
        estimator.run_shard(Shard(2, 3), 400_000)
