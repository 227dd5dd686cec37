"""Pilots of batches: many rows at once have the baselines and the steps of each row alone."""

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.engine.pilot import TILE

B = 2 * TILE + 3
RNG = np.random.default_rng(8)
LOGITS, X, W = RNG.normal(size=(B, 3)), RNG.normal(size=(B, 4)), RNG.normal(size=(4, 3))


def misfit(z, w, x):
    return np.sum(np.square(np.tanh(w @ z) - x))


def logs(z, w, x):  # of a negative number, and so of many draws, in some rows
    return np.stack([np.log(z[0] + x[0]), np.sum(w @ z * x)])


def made(f, method, rows=slice(None), **options):
    q = mg.Normal(LOGITS[rows], 1.0, batch_ndim=1) if f is logs else mg.Bernoulli(logits=LOGITS[rows], batch_ndim=1)
    given = {"params": {"w": W}, "data": {"x": X[rows]}, "batched_data": "x", "backend": "numpy", **options}
    return mg.Estimator(f, q, method=method, **given)


def pilots(estimator, rows, seeds=5, threads=1):
    values, _ = estimator.inputs.rows({})
    return estimator.derived.pilots.of_rows(values, estimator.derived.batch.by_row, rows, seeds, threads)


@pytest.mark.parametrize("f", [misfit, logs])
@pytest.mark.parametrize("method", ["score+mean", "score+optimal"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_baselines_are_those_of_rows_alone(f, method):
    found = pilots(made(f, method, covariance=f is logs), B)
    for row in (0, TILE - 1, TILE, B - 1):
        alone = made(f, method, slice(row, row + 1), covariance=f is logs)
        inputs = alone.derived.batch.first(alone.inputs.values({}))
        for name, x in alone.derived.pilots(inputs, 5).items():
            np.testing.assert_allclose(found[name][row], x, rtol=1e-12, atol=1e-15)
        for name, x in pilots(alone, 1).items():
            np.testing.assert_array_equal(found[name][row], x[0])  # bit by bit


def test_threads_order_and_seeds_change_no_bit():
    found = pilots(made(misfit, "score+mean"), B, threads=3)
    order = RNG.permutation(B)
    for name, x in pilots(made(misfit, "score+mean", order), B).items():
        np.testing.assert_array_equal(x, found[name][order])
    seeds = np.full(B, 5, np.uint64)
    for name, x in pilots(made(misfit, "score+mean"), B, seeds).items():
        np.testing.assert_allclose(x, found[name], rtol=1e-12)


def jumps(z, w, x):
    return np.sum(np.where(w @ z > x, w @ z, 0.3))


@pytest.mark.filterwarnings("ignore::mcgrad.JumpWarning")
@pytest.mark.parametrize(("family", "wrt"), [("normal", ("loc", "w")), ("uniform", ("low", "high"))])
def test_steps_are_those_of_rows_alone(family, wrt):
    """Also where a step that is too large leaves the constraint of some row, or where the ends of an interval meet."""
    rows = TILE + 2
    widths = np.exp(np.linspace(-9.0, 3.0, rows))[:, None] * np.ones(3)

    def estimator(where):
        loc, width, x = LOGITS[:rows][where], widths[where], X[:rows][where]
        batched = {"batch_ndim": 1} if loc.ndim == 2 else {}
        q = mg.Normal(loc, width, **batched) if family == "normal" else mg.Uniform(loc, loc + width, **batched)
        data = {"data": {"x": x}, "batched_data": "x" if batched else ()}
        methods = dict.fromkeys(wrt, "difference")
        return mg.Estimator(jumps, q, params={"w": W}, **data, wrt=wrt, method=methods, backend="numpy")

    found = pilots(estimator(slice(None)), rows, threads=2)
    for row in (0, 3, TILE, rows - 1):
        single = estimator(row)
        for name, x in single.derived.pilots(single.inputs.values({}), 5).items():
            np.testing.assert_array_equal(found[name][row], x)
        for name, x in pilots(estimator(slice(row, row + 1)), 1).items():
            np.testing.assert_array_equal(found[name][row], x[0])


def test_a_row_has_the_same_bits_in_any_batch():
    est = made(misfit, "score+mean")(8, 5)
    some = np.arange(5, 9)
    part = made(misfit, "score+mean", some)(8, 5, rows=some)
    np.testing.assert_array_equal(part.grad["logits"], est.grad["logits"][some])
