"""Runs on an executor have the bits of runs in threads, whatever is averaged."""

import pickle

import numba
import numpy as np
import pytest

import mcgrad as mg
from tests.estimators import estimator
from tests.tasks.executors import Serial, numbers

pytestmark = pytest.mark.usefixtures("short_chunks")


KINDS = [("scalar", "float32", "cpu"), ("vector", "float32", "cpu"), ("scalar", "float64", "numpy")]


@pytest.mark.parametrize(("name", "dtype", "backend"), KINDS)
def test_the_same_bits_as_in_threads(name, dtype, backend):
    run, serial = estimator(name, dtype, backend), Serial(workers=1)
    n = 150 * max(run._kernel.block, int(3e4 / run.program.work()))
    right = numbers(run(n, 3, first=77))
    assert numbers(run(n, 3, first=77, executor=serial)) == right
    chunks = len(list(run._kernel.chunks(77, n)))
    assert chunks > 100
    assert 3 < len(serial.tasks) < chunks / 2
    assert any(piece.level for done in serial.done for piece in done.pieces)


def of_data(z, X):
    return np.sum(np.sin(X * z))


def two(z, a):
    return {"s": a * np.sin(z[0]), "c": np.cos(z[1:])}


def wave(z, a):
    return a * np.sum(np.sin(z) * np.exp(-(z**2) / 10))


@numba.njit
def square(z):
    return z[0] ** 2


@numba.njit
def square_and_grad(z, grad):
    grad[0] = 2.0 * z[0]
    return z[0] ** 2


Q, LOC = mg.Normal(0.3, 1.2), np.random.default_rng(0).normal(size=(400, 3))
NUMPY, CPU = {"backend": "numpy"}, {"backend": "cpu", "dtype": "float32"}
ROWS = {"f": wave, "params": {"a": 1.5}}


def rows(count):
    return {**ROWS, "q": mg.Normal(LOC[:count], 0.7, batch_ndim=1)}


SINGLE = {
    "groups": {"f": np.sin, "q": Q, "method": "score", "baseline": "leave_one_out", "k": 4, **CPU},
    "pairs": {"f": np.exp, "q": Q, "antithetic": True, **NUMPY},
    "not finite": {"f": np.log, "q": mg.Normal(2.0, 1.0), "nonfinite": "omit", **NUMPY},
    "not finite, counted": {"f": np.log, "q": mg.Normal(2.0, 1.0), **NUMPY},
    "far from zero": {"f": lambda z: 1e6 + z, "q": Q, **CPU},
    "controls": {"f": np.exp, "q": Q, "control": "linear", **NUMPY},
    "a covariance": {
        "f": two,
        "q": mg.Normal(LOC[0], 1.0),
        "params": {"a": 1.5},
        "covariance": True,
        **NUMPY,
    },
    "weights": {"f": np.square, "q": Q, "proposal": mg.Normal(0.5, 1.5), **NUMPY},
    "an objective": {"f": mg.elbo(lambda z: -0.5 * z**2, Q), **NUMPY},
    "data": {"f": of_data, "q": Q, "data": {"X": LOC[:4]}, **NUMPY},
    "functions as code": {
        "f": mg.Integrand(value=square, value_and_grad=square_and_grad),
        "q": mg.Normal([0.5], 1.0),
        "backend": "cpu",
    },
    "points": {"f": np.sin, "q": Q, "sampler": "sobol", "replicates": 16, **NUMPY},
    "few draws of many rows": {**rows(400), **CPU},
    "rows one by one": {**rows(20), **NUMPY},
    "rows with groups": {**rows(20), "method": "score+leave_one_out", **NUMPY},
    "rows with baselines": {**rows(20), "method": "score+mean", **NUMPY},
    "rows with data": {
        "f": of_data,
        "q": mg.Normal(np.zeros(20), 0.7, batch_ndim=1),
        "data": {"X": LOC[:20]},
        "batched_data": "X",
        **NUMPY,
    },
    "summed rows": {**rows(400), "reduce": "sum", **CPU},
    "long rows": {**rows(3), **CPU},
    "points of rows": {**rows(20), "sampler": "sobol", "replicates": 4, **CPU},
    "common noise": {**rows(4), "common_noise": True, **NUMPY},
}
DRAWS = {
    "few draws of many rows": 64,
    "summed rows": 64,
    "long rows": 40_000,
    "points of rows": 256,
}


def draws(name, run):
    """As many as make some chunks, or ranges of rows."""
    if name in DRAWS:
        return DRAWS[name]
    step = max(run._kernel.block, int(3e4 / run.program.work())) * run.group
    return run.derived.whole(320 if "rows" in name else 8192 if "points" in name else 12 * step)


@pytest.mark.parametrize("name", SINGLE)
def test_whatever_is_averaged(name):
    given, serial = dict(SINGLE[name]), Serial()
    f, q = given.pop("f"), given.pop("q", None)
    run = mg.Estimator(f, q, **given, threads=1)
    n = draws(name, run)
    right = run(n, 5)
    found = run(n, 5, executor=serial)
    assert numbers(found) == numbers(right)
    assert len(serial.tasks) >= 2
    assert max(map(len, serial.tasks)) < 10_000
    assert not serial.closed  # it was given as an adapter
    states = []
    run.run(n, 5, watch=states.append)
    elsewhere = []
    assert numbers(run.run(n, 5, watch=elsewhere.append, executor=serial)) == numbers(right)
    for state, executor in ((elsewhere[len(elsewhere) // 2], None), (states[len(states) // 2], serial)):
        state = pickle.loads(pickle.dumps(state))
        assert numbers(run.run(n, 5, resume=state, executor=executor)) == numbers(right)
