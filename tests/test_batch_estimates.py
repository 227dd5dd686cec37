"""Batches: many problems of one integrand, each as an estimate of that problem alone from its own draws."""

import pickle
import re
from pathlib import Path

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.noise.rows import first_of_row
from mcgrad.results.row_moments import RowMoments

B, D, K, N = 4, 3, 2, 40
RNG = np.random.default_rng(7)
LOC, SCALE = RNG.normal(size=(B, D)), np.exp(RNG.normal(size=(B, D)))
X, W = RNG.normal(size=(B, K)), RNG.normal(size=(D, K))


def misfit(z, w, x):
    return np.sum((np.tanh(z @ w) - x) ** 2)


def batch(backend="numpy", n=N, seed=3, **options):
    q = mg.Normal(LOC, SCALE, batch_ndim=1)
    given = {"params": {"w": W}, "data": {"x": X}, "batched_data": "x", "backend": backend}
    rows = options.pop("rows", None)
    return mg.Estimator(misfit, q, **{**given, **options})(n, seed, rows=rows)


def alone(row, number=None, backend="numpy", n=N, seed=3, **options):
    q = mg.Normal(LOC[row], SCALE[row])
    given = {"params": {"w": W}, "data": {"x": X[row]}, "backend": backend}
    first = first_of_row(row if number is None else number, "float64")
    return mg.Estimator(misfit, q, **{**given, **options})(n, seed, first=first)


@pytest.mark.parametrize("backend", ["numpy", "cpu"])
def test_rows_are_the_estimates_of_single_problems(backend):
    est, singles = batch(backend), [alone(row, backend=backend) for row in range(B)]
    assert est.batch_shape == est.value.shape == est.stderr.shape == (B,)
    for row, single in enumerate(singles):
        np.testing.assert_allclose(est.value[row], single.value, rtol=1e-12)
        np.testing.assert_allclose(est.stderr[row], single.stderr, rtol=1e-9)
        for name in ("loc", "scale"):
            np.testing.assert_allclose(est.grad[name][row], single.grad[name], rtol=1e-9)
            np.testing.assert_allclose(est.grad_stderr[name][row], single.grad_stderr[name], rtol=1e-9)
    np.testing.assert_allclose(est.grad["w"], sum(single.grad["w"] for single in singles), rtol=1e-9)
    squares = sum(single.grad_stderr["w"] ** 2 for single in singles)
    np.testing.assert_allclose(est.grad_stderr["w"] ** 2, squares, rtol=1e-9)


def test_reductions_over_rows():
    plain, total, mean, none = (batch(reduce=name) for name in (None, "sum", "mean", "none"))
    assert total.value == pytest.approx(plain.value.sum())
    assert mean.value == pytest.approx(plain.value.mean())
    assert mean.stderr == pytest.approx(np.sqrt((plain.stderr**2).sum()) / B)
    np.testing.assert_allclose(mean.grad["w"], plain.grad["w"] / B)
    np.testing.assert_allclose(mean.grad_stderr["w"], plain.grad_stderr["w"] / B)
    assert none.grad["w"].shape == (B, *W.shape)
    np.testing.assert_allclose(none.grad["w"].sum(axis=0), plain.grad["w"])
    for est in (total, mean, none):
        np.testing.assert_array_equal(est.grad["loc"], plain.grad["loc"])


@pytest.mark.parametrize("backend", ["numpy", "cpu"])
def test_sums_over_rows_may_be_without_standard_errors(backend):
    full, without = (batch(backend, errors=errors, reduce="sum") for errors in (True, False))
    assert np.isnan(without.grad_stderr["w"]).all()
    assert np.isfinite(full.grad_stderr["w"]).all()
    np.testing.assert_array_equal(without.grad["w"], full.grad["w"])
    for name in ("loc", "scale"):
        np.testing.assert_array_equal(without.grad_stderr[name], full.grad_stderr[name])
    assert without.stderr == full.stderr
    assert np.isfinite(batch("numpy", errors=False, common_noise=True).grad_stderr["w"]).all()
    q = mg.Normal(LOC, SCALE, batch_ndim=1)
    program = mg.Estimator(lambda z, w: np.sum(z @ w), q, params={"w": W}, errors=False).program
    assert str(pickle.loads(pickle.dumps(program))) == str(program)
    assert "w = " in str(program)
    assert str(program).endswith(", summed over the rows, without its error")
    with pytest.raises(mg.ParameterError, match=r"^errors: given 'no'; accepted: True or False"):
        batch(errors="no")


def test_the_draws_of_a_row_follow_its_number():
    est = batch(rows=[5, 0, 2**27, 3])
    np.testing.assert_allclose(est.value[1], alone(1, number=0).value, rtol=1e-12)
    np.testing.assert_allclose(est.value[2], alone(2, number=2**27).value, rtol=1e-12)
    with pytest.raises(mg.ParameterError, match=r"^rows: given a number twice"):
        batch(rows=[0, 1, 1, 2])
    same = batch(rows=[0, 1, 1, 2], reduce="none")
    np.testing.assert_allclose(same.value[2], alone(2, number=1).value, rtol=1e-12)
    with pytest.raises(mg.ParameterError, match=r"^rows: given int64 array of shape \(2,\)"):
        batch(rows=[0, 1])


@pytest.mark.parametrize("backend", ["numpy", "cpu"])
def test_a_row_has_the_same_bits_in_any_batch(backend):
    estimator = mg.Estimator(
        misfit,
        mg.Normal(LOC, SCALE, batch_ndim=1),
        params={"w": W},
        data={"x": X},
        batched_data="x",
        backend=backend,
    )
    whole = estimator(N, loc=LOC)
    order = np.array([2, 0, 3])
    some = estimator(N, loc=LOC[order], scale=SCALE[order], x=X[order], rows=order)
    np.testing.assert_array_equal(some.value, whole.value[order])
    np.testing.assert_array_equal(some.grad_stderr["scale"], whole.grad_stderr["scale"][order])
    with pytest.raises(mg.ParameterError, match=r"^scale: given shape \(4, 3\), whose batch shape is \(4,\)"):
        estimator(N, loc=LOC[order])


def test_fewer_axes_are_shared_and_more_are_flattened():
    q = mg.Normal(LOC.reshape(2, 2, D), 0.5, batch_ndim=2)
    assert q.event_shape == (D,)
    est = mg.estimate(lambda z: np.sum(np.sin(z)), q, 200, backend="numpy")
    assert est.value.shape == (2, 2)
    assert est.grad["loc"].shape == (2, 2, D)
    assert isinstance(est.grad["scale"], float)
    exact = (np.sin(LOC) * np.exp(-0.125)).sum(axis=1).reshape(2, 2)
    assert np.abs((est.value - exact) / est.stderr).max() < 4


def test_parameters_of_the_integrand_by_row():
    q = mg.Normal(np.zeros(D), 1.0)
    est = mg.estimate(
        lambda z, a: np.sum(a * z**2), q, 100, params={"a": SCALE}, batched_params="a", backend="numpy", wrt="a"
    )
    single = mg.estimate(lambda z, a: np.sum(a * z**2), q, 100, params={"a": SCALE[0]}, backend="numpy", wrt="a")
    np.testing.assert_allclose(est.grad["a"][0], single.grad["a"])
    assert est.grad["a"].shape == SCALE.shape


@pytest.mark.parametrize("backend", ["numpy", "cpu"])
@pytest.mark.parametrize("rows", [0, 1])
def test_no_rows_and_one(rows, backend):
    q = mg.Normal(LOC[:rows], SCALE[:rows], batch_ndim=1)
    est = mg.estimate(
        misfit, q, 2, params={"w": W}, data={"x": X[:rows]}, batched_data="x", reduce="sum", backend=backend
    )
    assert est.grad["loc"].shape == (rows, D)
    assert est.grad["w"].shape == W.shape
    assert np.isfinite(est.stderr)
    assert (est.grad["w"] == 0).all() == (rows == 0)
    assert f"{rows} rows" in str(est)


def pole(z, a):
    return np.sum(np.where(z > a, np.inf, z))


@pytest.mark.parametrize("backend", ["numpy", "cpu"])
def test_draws_that_are_not_finite_spoil_their_row_alone(backend):
    limits = np.array([100.0, 0.5, 100.0])
    q = mg.Normal(np.zeros((3, 1)), 1.0, batch_ndim=1)
    given = {"params": {"a": limits}, "batched_params": "a", "wrt": "loc", "backend": backend}
    est = mg.estimate(pole, q, 100, **given)
    assert (est.nonfinite[[0, 2]] == 0).all()
    assert est.nonfinite[1] > 10
    assert np.isnan(est.value).tolist() == [False, True, False]
    assert np.isnan(est.grad["loc"][:, 0]).tolist() == [False, True, False]
    left = mg.estimate(pole, q, 100, nonfinite="omit", **given)
    assert np.isfinite(left.value).all()
    assert left.moments.counts.tolist() == [100, 100 - est.nonfinite[1], 100]
    with pytest.raises(mg.NonFiniteError, match="in 1 rows, of which the first is row 1"):
        mg.estimate(pole, q, 100, nonfinite="raise", **given)


def test_the_page_of_batches_runs():
    page = (Path(__file__).parent.parent / "docs" / "batches.md").read_text()
    namespace = {}
    for code in re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        exec(compile(code, "batches.md", "exec"), namespace)


def test_closed_forms_differ_by_row():
    q = mg.Normal(LOC, SCALE, batch_ndim=1)
    p = mg.Normal(np.zeros((B, D)), SCALE, batch_ndim=1)
    est = mg.estimate(mg.kl(q, p), n=2)
    np.testing.assert_allclose(est.value, 0.5 * (LOC**2 / SCALE**2).sum(axis=1))
    assert (est.stderr == 0).all()


def test_merged_rows_are_those_of_all_draws():
    estimator = mg.Estimator(
        misfit, mg.Normal(LOC, SCALE, batch_ndim=1), params={"w": W}, data={"x": X}, batched_data="x", backend="numpy"
    )
    first, rest, whole = estimator(20), estimator(30, first=20), estimator(50)
    both = rest.merge(pickle.loads(pickle.dumps(first)))
    assert both.n == 50
    np.testing.assert_allclose(both.value, whole.value)
    np.testing.assert_allclose(both.stderr, whole.stderr)
    np.testing.assert_allclose(both.grad["w"], whole.grad["w"])
    np.testing.assert_allclose(both.grad_stderr["w"], whole.grad_stderr["w"], rtol=0.5)
    with pytest.raises(mg.MergeError, match="both estimates hold"):
        both.merge(first)
    with pytest.raises(mg.MergeError, match="different problems"):
        first.merge(estimator(30, first=20, w=2 * W))


def test_results_go_into_arrays():
    out = {"value": np.zeros(B, np.float32), "grad": {"loc": np.zeros((B, D))}}
    q = mg.Normal(LOC, SCALE, batch_ndim=1)
    est = mg.estimate(lambda z: np.sum(z**2), q, 20, out=out, backend="numpy")
    np.testing.assert_array_equal(out["value"], est.value.astype(np.float32))
    np.testing.assert_array_equal(out["grad"]["loc"], est.grad["loc"])
    with pytest.raises(mg.ParameterError, match=r"^out\.value: given .*accepted: .* shape \(4,\)"):
        mg.estimate(lambda z: np.sum(z**2), q, 20, out={"value": np.zeros(3)})


def test_intervals_have_the_degrees_of_freedom_of_a_row():
    est = batch(n=3)
    low, high = est.confidence_interval().value
    np.testing.assert_allclose((high - low) / (2 * est.stderr), 4.302653, rtol=1e-6)
    low, high = est.confidence_interval().grad["w"]
    np.testing.assert_allclose((high - low) / (2 * est.grad_stderr["w"]), 2.306004, rtol=1e-6)


@pytest.mark.parametrize(("norms", "degrees"), [((1, 1, 1), 3), ((5, 0, 0), 1), ((3, 4, 0), 625 / 337), ((0, 0, 0), 3)])
def test_sums_of_values_have_the_degrees_of_the_rows_that_vary(norms, degrees):
    none = np.zeros(0)
    moments = RowMoments(np.full(3, 2), np.zeros((3, 1)), np.array(norms, float)[:, None], none, none)
    np.testing.assert_allclose(moments.degrees_of_sums(slice(1)), degrees)


def test_an_interval_of_a_sum_of_which_one_row_has_all_variance():
    est = mg.estimate(np.sin, mg.Normal(np.zeros(9), np.geomspace(1, 1e-40, 9), batch_ndim=1), 2, reduce="sum")
    low, high = est.confidence_interval().value
    assert (high - low) / (2 * est.stderr) == pytest.approx(12.7062, rel=1e-4)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: mg.Normal(0.0, 1.0, batch_ndim=1), "loc, scale: given no parameter with batch axes"),
        (lambda: mg.Normal(LOC, SCALE[:2], batch_ndim=1), r"scale: given shape \(2, 3\), whose batch shape is \(2,\)"),
        (lambda: mg.Normal(LOC, -SCALE, batch_ndim=1), r"scale: given -.* at \[0\].* in row 0"),
        (lambda: mg.Uniform(LOC, LOC + SCALE - 1, batch_ndim=1), "low, high: given .* in row 0; accepted: low < high"),
        (lambda: mg.estimate(np.sum, mg.Normal(), 9, reduce="sum"), "reduce: given 'sum' without a batch"),
        (lambda: mg.estimate(np.sum, mg.Normal(), 9, batched_data="y"), "batched_data: given 'y'"),
        (lambda: batch(backend="auto", output="device"), "output: given 'device' of a batch"),
    ],
)
def test_refusals(act, message):
    with pytest.raises(mg.McgradError, match=message):
        act()


def estimator(**options):
    q = mg.Normal(LOC, SCALE, batch_ndim=1)
    return mg.Estimator(misfit, q, params={"w": W}, data={"x": X}, batched_data="x", **{"backend": "cpu", **options})


def test_threads_and_pickles_change_no_bit():
    q = mg.Normal(np.tile(LOC, (200, 1)), 0.5, batch_ndim=1)
    x = np.tile(X, (200, 1))
    many = [
        mg.estimate(misfit, q, 40, params={"w": W}, data={"x": x}, batched_data="x", backend="cpu", threads=threads)
        for threads in (1, 3)
    ]
    np.testing.assert_array_equal(many[0].value, many[1].value)
    np.testing.assert_array_equal(many[0].grad_stderr["w"], many[1].grad_stderr["w"])
    one = estimator()
    again = pickle.loads(pickle.dumps(one))
    np.testing.assert_array_equal(one(20).grad["w"], again(20).grad["w"])
    assert one.fingerprint == again.fingerprint
    assert one(20).merge(again(20, first=20)).n == 40


def test_progress_counts_rows_and_explain_names_them():
    done = []
    one = estimator(backend="numpy")
    one(20, progress=done.append)
    assert done == [1, 2, 3, 4]
    assert "batch: 4 rows of shape (4,), by row data:x, loc, scale" in one.explain()
    assert "each row:" in one.explain()


def test_few_rows_of_many_draws_have_the_bits_of_single_problems():
    est = mg.estimate(
        misfit,
        mg.Normal(LOC[:2], SCALE[:2], batch_ndim=1),
        3_000_000,
        params={"w": W},
        data={"x": X[:2]},
        batched_data="x",
        backend="cpu",
        dtype="float32",
    )
    single = mg.Estimator(
        misfit, mg.Normal(LOC[1], SCALE[1]), params={"w": W}, data={"x": X[1]}, backend="cpu", dtype="float32"
    )(3_000_000, first=first_of_row(1, "float32"))
    assert est.value[1] == single.value
    np.testing.assert_array_equal(est.grad_stderr["loc"][1], single.grad_stderr["loc"])


def test_integers_by_row_do_not_index_and_the_remedy_does():
    q, given = mg.Normal(LOC, 1.0, batch_ndim=1), {"data": {"i": np.array([1, 0, 2, 2])}, "batched_data": "i"}
    with pytest.raises(mg.TraceError, match=r"i differs by row, where integers are floats; for x\[i\] write"):
        mg.estimate(lambda z, i: z[i], q, 2, backend="numpy", **given)
    chosen = lambda z, i: np.sum(np.where(np.arange(len(z)) == i, z, 0.0))  # noqa: E731
    est = mg.estimate(chosen, q, 2, backend="numpy", **given)
    np.testing.assert_array_equal(est.grad["loc"], np.eye(D)[[1, 0, 2, 2]])
