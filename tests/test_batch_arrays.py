"""Integrands that return arrays, in batches: each row as alone, and what is taken over the rows."""

import pickle
import warnings

import numpy as np
import pytest
import scipy.stats as st

import mcgrad as mg
from mcgrad import tree
from mcgrad.noise.rows import first_of_row

B, D = 3, 2
RNG = np.random.default_rng(5)
LOC, SCALE, X = RNG.normal(size=(B, D)), np.exp(0.3 * RNG.normal(size=(B, D))), RNG.normal(size=(B, D))
W, WEIGHTS = np.array([0.7, -1.2]), RNG.normal(size=(B, 3))
NUMPY = {"backend": "numpy"}


def numbers(z, w, x):
    return np.stack([np.sum(w * z), np.sum(np.sin(z) * x), z[0] * z[1] + w[0]])


def nested(z, w, x):
    found = numbers(z, w, x)
    return {"first": found[0], "inside": {"others": found[1:]}}


def batch(f=numbers, rows=slice(None), **options):
    q = mg.Normal(LOC[rows], SCALE[rows], batch_ndim=1)
    return mg.Estimator(f, q, params={"w": W}, data={"x": X[rows]}, batched_data="x", **options)


def alone(row, n, seed=3, f=numbers, **options):
    made = mg.Estimator(f, mg.Normal(LOC[row], SCALE[row]), params={"w": W}, data={"x": X[row]}, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mg.JumpWarning)
        return made(n, seed, first=made.group * first_of_row(row, made.dtype))


def assert_rows(est, singles, rtol=1e-9):
    """Every number of each row is that of the row alone; those of shared parameters are sums over the rows."""
    for name in ("value", "stderr", "grad", "grad_stderr"):
        flat, right = tree.flatten(getattr(est, name)), [tree.flatten(getattr(one, name)) for one in singles]
        assert flat.keys() == right[0].keys()
        for path, x in flat.items():
            each = np.stack([one[path] for one in right])
            if name.startswith("grad") and path.split(".")[0] in est.shared:
                each = np.hypot.reduce(each) if name == "grad_stderr" else each.sum(axis=0)
            np.testing.assert_allclose(x, each, rtol=rtol, atol=1e-12, err_msg=f"{name} {path}")


@pytest.mark.parametrize(("backend", "n"), [("numpy", 40), ("cpu", 2), ("cpu", 8), ("cpu", 3000)])
def test_rows_are_the_estimates_of_single_problems(backend, n):
    est, singles = batch(backend=backend)(n, 3), [alone(row, n, **NUMPY) for row in range(B)]
    assert est.value.shape == est.stderr.shape == (B, 3)
    assert (est.grad["loc"].shape, est.grad["w"].shape) == ((B, 3, D), (3, D))
    assert_rows(est, singles, 1e-7)


@pytest.mark.parametrize("method", ["score+mean", "score+optimal", "score+leave_one_out", "measure_valued"])
def test_methods_number_by_number(method):
    options = {"method": {"loc": method}, "wrt": ("loc", "w"), **NUMPY}
    assert_rows(batch(nested, **options)(64, 3), [alone(row, 64, f=nested, **options) for row in range(B)], 1e-7)


def test_differences_number_by_number():
    options = {"method": {"loc": "difference"}, "wrt": "loc", **NUMPY}
    assert_rows(batch(**options)(30, 3), [alone(row, 30, **options) for row in range(B)], 1e-6)


def test_dicts_nest_as_the_integrand_does():
    flat, est = batch(**NUMPY)(30), batch(nested, **NUMPY)(30)
    np.testing.assert_allclose(est.value["first"], flat.value[:, 0])
    np.testing.assert_allclose(est.grad["scale"]["inside"]["others"], flat.grad["scale"][:, 1:])
    np.testing.assert_allclose(est.grad_stderr["w"]["first"], flat.grad_stderr["w"][0])
    assert est.grad["w"]["inside"]["others"].shape == (2, D)
    low, high = est.confidence_interval().value["inside"]["others"]
    np.testing.assert_allclose((high - low) / (2 * flat.stderr[:, 1:]), 2.0452296)
    assert repr(est).startswith("BatchEstimate(value of shape first: (), inside.others: (2,), batch_shape=(3,)")
    assert "value.inside.others (3, 2): " in str(est)


def test_reductions_over_rows():
    plain, total, mean, none = (
        batch(reduce=name, covariance=True, **NUMPY)(30) for name in (None, "sum", "mean", "none")
    )
    np.testing.assert_allclose(total.value, plain.value.sum(axis=0))
    np.testing.assert_allclose(mean.stderr, np.sqrt((plain.stderr**2).sum(axis=0)) / B)
    np.testing.assert_allclose(mean.grad["w"], plain.grad["w"] / B)
    np.testing.assert_allclose(none.grad["w"].sum(axis=0), plain.grad["w"])
    np.testing.assert_allclose(np.hypot.reduce(none.grad_stderr["w"]), plain.grad_stderr["w"])
    np.testing.assert_allclose(total.covariance, plain.covariance.sum(axis=0))
    np.testing.assert_allclose(np.diagonal(mean.covariance), mean.stderr**2)
    low, high = total.confidence_interval().value
    degrees = 29 / np.square(plain.stderr**2 / total.stderr**2).sum(axis=0)  # at most 87
    np.testing.assert_allclose((high - low) / (2 * total.stderr), st.t.ppf(0.975, degrees))


@pytest.mark.parametrize("rows", [0, 1])
@pytest.mark.parametrize("reduce", [None, "mean"])
def test_no_rows_and_one(rows, reduce):
    est = batch(nested, slice(rows), reduce=reduce, covariance=True, **NUMPY)(2)
    lead = () if reduce else (rows,)
    assert np.shape(est.value["inside"]["others"]) == np.shape(est.stderr["inside"]["others"]) == (*lead, 2)
    assert est.covariance["first"]["inside"]["others"].shape == (*lead, 2)
    assert (est.grad["loc"]["first"].shape, est.grad["w"]["first"].shape) == ((rows, D), (D,))
    assert mg.BatchEstimate.from_json(est.to_json()).to_json() == est.to_json()


def test_cotangents_of_no_rows():
    run = mg.Estimator(np.square, mg.Normal(LOC[:0], batch_ndim=1), cotangent=LOC[:0], **NUMPY)
    assert run(2).grad["loc"].shape == LOC[:0].shape
    np.testing.assert_allclose(run(2, loc=LOC, cotangent=LOC, scale=1e-9).grad["loc"], 2 * LOC**2)
    with pytest.raises(mg.ParameterError, match=r"^cotangent: given shape \(0, .*batch shape \(3,\), as loc has"):
        run(2, loc=LOC, cotangent=LOC[:0])


# Common noise


@pytest.mark.parametrize("backend", ["numpy", "cpu"])
def test_common_noise_takes_sums_and_differences_in_each_draw(backend):
    n = 50
    given = {"common_noise": True, "covariance": True}
    est, total = batch(**given, backend=backend)(n, 4), batch(nested, reduce="sum", **given, **NUMPY)(n, 4)
    z = LOC[:, None] + SCALE[:, None] * mg.Normal(np.zeros(D), 1.0).sample(n, seed=4)
    draws = np.array([[numbers(z[row, i], W, X[row]) for i in range(n)] for row in range(B)])
    np.testing.assert_allclose(est.value, draws.mean(axis=1))
    for row in range(B):
        np.testing.assert_allclose(est.covariance[row], np.cov(draws[row].T) / n, atol=1e-15)
    np.testing.assert_allclose(total.covariance["inside"]["others"]["first"], (np.cov(draws.sum(0).T) / n)[1:, 0])
    np.testing.assert_allclose(total.stderr["inside"]["others"], draws.sum(0).std(0, ddof=1)[1:] / np.sqrt(n))
    apart = draws[2] - draws[0]
    found = est.difference(2, 0)
    np.testing.assert_allclose(found.value, apart.mean(axis=0))
    np.testing.assert_allclose(found.stderr, apart.std(axis=0, ddof=1) / np.sqrt(n))
    low, high = total.confidence_interval().value["first"]
    assert (high - low) / (2 * total.stderr["first"]) == pytest.approx(2.0095752)  # 49 degrees of freedom
    low, high = est.confidence_interval().grad["w"]
    np.testing.assert_allclose((high - low) / (2 * est.grad_stderr["w"] + 1e-300), 2.0095752 * (low != high))


def test_differences_are_of_rows():
    est = batch(nested, **NUMPY)(30)
    assert set(est.difference(0, 1).value) == {"first", "inside"}
    assert est.difference(1, 1).stderr["first"] == 0.0
    for wrong in (True, np.True_, 1.0, 3):
        with pytest.raises(mg.ParameterError, match=r"^second: given .*accepted: the place of a row"):
            est.difference(0, wrong)


# Cotangents


@pytest.mark.parametrize(("backend", "shared"), [("numpy", True), ("numpy", False), ("cpu", False)])
def test_cotangents_of_all_rows_and_by_row(backend, shared):
    weights = WEIGHTS[0] if shared else WEIGHTS
    whole, made = batch(reduce="none", **NUMPY)(20), batch(cotangent=weights, backend=backend)
    est, each = made(20), np.broadcast_to(weights, (B, 3))
    np.testing.assert_allclose(est.value, whole.value)
    np.testing.assert_allclose(est.grad["loc"], np.einsum("bk,bkd->bd", each, whole.grad["loc"]))
    np.testing.assert_allclose(est.grad["w"], np.einsum("bk,bkd->d", each, whole.grad["w"]))
    np.testing.assert_allclose(made(20, cotangent=2 * weights).grad["w"], 2 * est.grad["w"])
    order = np.array([2, 0])
    changes = {"loc": LOC[order], "scale": SCALE[order], "x": X[order], "rows": order}
    if not shared:
        with pytest.raises(mg.ParameterError, match=r"^cotangent: given shape \(3, 3\), whose batch shape is \(3,\)"):
            made(20, **changes)
        changes["cotangent"] = weights[order]
    some = pickle.loads(pickle.dumps(made))(20, **changes)
    np.testing.assert_array_equal(some.grad["loc"], est.grad["loc"][order])


def test_cotangents_of_dicts_numbers_and_those_that_do_not_fit():
    weights = {"first": 2.0, "inside": {"others": WEIGHTS[:, 1:]}}  # the same for all rows, and by row
    est, whole = batch(nested, cotangent=weights, **NUMPY)(20), batch(reduce="none", **NUMPY)(20)
    right = 2.0 * whole.grad["loc"][:, 0] + np.einsum("bk,bkd->bd", WEIGHTS[:, 1:], whole.grad["loc"][:, 1:])
    np.testing.assert_allclose(est.grad["loc"], right)
    common = batch(nested, cotangent=weights, common_noise=True, **NUMPY)(20)
    assert common.grad["w"].shape == (D,)
    one = mg.Estimator(lambda z: np.sum(z), mg.Normal(LOC, 1.0, batch_ndim=1), cotangent=np.arange(3.0), **NUMPY)(9)
    np.testing.assert_allclose(one.grad["loc"], np.arange(3.0)[:, None] * np.ones(D))
    for wrong in (WEIGHTS[:2], WEIGHTS[:, :2], 1.0, {"first": 1.0}):
        with pytest.raises(
            mg.ParameterError, match=r"^cotangent: .*shape \(3,\), as f .*or with the batch axes \(3,\)"
        ):
            batch(cotangent=wrong, **NUMPY)
    with pytest.raises(mg.ParameterError, match=r"^cotangent: given shape \(2,\); accepted: shape \(3,\), as at first"):
        batch(cotangent=WEIGHTS[0], **NUMPY)(20, cotangent=WEIGHTS[0, :2])


# Covariances and ratios


def test_ratios_by_row_and_of_sums():
    options = {"covariance": True, "wrt": ("loc", "w")}
    est = batch(nested, **options, **NUMPY)(40, 3)
    found = mg.ratio(est["inside.others"], est["first"])
    assert set(found.grad) == {"loc"}  # gradients in w are sums over the rows
    for row in range(B):
        one = alone(row, 40, f=nested, **options, **NUMPY)
        np.testing.assert_allclose(
            est.covariance["first"]["inside"]["others"][row], one.covariance["first"]["inside"]["others"]
        )
        right = mg.ratio(one["inside.others"], one["first"])
        np.testing.assert_allclose(found.value[row], right.value)
        np.testing.assert_allclose(found.stderr[row], right.stderr)
        np.testing.assert_allclose(found.grad["loc"][row], right.grad["loc"])
    assert est["inside.others"][1].value.shape == (B,)
    each = batch(reduce="none", **options, **NUMPY)(40, 3)
    assert mg.ratio(each[1:], each[0]).grad["w"].shape == (B, 2, D)


def test_a_ratio_of_sums_has_the_gradient_of_the_ratio():
    made = batch(reduce="mean", covariance=True, **NUMPY)
    ratio = lambda **changes: (lambda est: mg.ratio(est[0], est[2]))(made(200, **changes))  # noqa: E731
    found, h = ratio(), 1e-5
    assert isinstance(found.value, float)
    for i in np.ndindex(B, D):
        step = np.zeros((B, D))
        step[i] = h
        slope = (ratio(loc=LOC + step).value - ratio(loc=LOC - step).value) / (2 * h)
        assert found.grad["loc"][i] == pytest.approx(slope, rel=1e-5, abs=1e-8)
    step = np.array([h, 0.0])
    slope = (ratio(w=W + step).value - ratio(w=W - step).value) / (2 * h)
    assert found.grad["w"][0] == pytest.approx(slope, rel=1e-5)


# Draws that are not finite


def pole(z, a):
    return np.stack([np.where(z[0] > a, np.inf, z[0]), z[1], z[0] + z[1]])


@pytest.mark.parametrize(("backend", "common"), [("numpy", False), ("cpu", False), ("numpy", True)])
def test_a_number_that_is_not_finite_spoils_its_own_gradient_in_its_row(backend, common):
    q = mg.Normal(np.zeros((3, 2)), 1.0, batch_ndim=1)
    given = {"params": {"a": np.array([100.0, 0.5, 100.0])}, "batched_params": "a", "wrt": ("loc", "scale")}
    given |= {"backend": backend, "common_noise": common}
    est = mg.estimate(pole, q, 100, covariance=True, **given)
    spoiled = np.zeros((3, 3), bool)
    spoiled[1, 0] = True
    np.testing.assert_array_equal(np.isnan(est.value), spoiled)
    np.testing.assert_array_equal(np.isnan(est.grad["loc"]).all(axis=2), spoiled)
    np.testing.assert_array_equal(np.isnan(est.grad["loc"]).any(axis=2), spoiled)
    assert np.isnan(est.grad["scale"]).tolist() == [True, False, False]  # sums over the rows
    assert np.isnan(est.covariance[1, 0]).all()
    assert np.isfinite(est.covariance[[0, 2]]).all()
    left = mg.estimate(pole, q, 100, covariance=True, nonfinite="omit", **given)
    assert np.isfinite([*left.value.flat, *left.grad["scale"].flat]).all()
    assert (est.nonfinite > 0).tolist() == [common, True, common]


# Files


@pytest.mark.parametrize("options", [{}, {"common_noise": True}, {"reduce": "sum"}, {"cotangent": WEIGHTS[0]}])
def test_merged_read_back_and_written_into_arrays(options):
    made = batch(covariance=True, **options, **NUMPY)
    shape = () if options.get("reduce") else (B,)
    out = {"value": np.zeros((*shape, 3)), "grad": {"w": np.zeros((D,) if "cotangent" in options else (3, D))}}
    first, rest, whole = made(20), made(30, first=20), made(50, out=out)
    np.testing.assert_array_equal(out["value"], whole.value)
    np.testing.assert_array_equal(out["grad"]["w"], whole.grad["w"])
    again = mg.BatchEstimate.from_json(first.to_json())
    assert (again.to_json(), str(again)) == (first.to_json(), str(first))
    both = rest.merge(pickle.loads(pickle.dumps(again)))
    np.testing.assert_allclose(both.value, whole.value)
    np.testing.assert_allclose(both.grad["loc"], whole.grad["loc"])
    np.testing.assert_allclose(both.grad_stderr["loc"], whole.grad_stderr["loc"])
    np.testing.assert_allclose(both.covariance, whole.covariance, rtol=1e-9 if not options.get("reduce") else 0.5)
    with pytest.raises(mg.MergeError, match=r"shapes of the value|kinds of gradients|covariances"):
        first.merge(batch(nested, **{**options, "cotangent": None}, **NUMPY)(30, first=20))
    with pytest.raises(mg.ParameterError, match=r"^out\.value: given "):
        made(20, out={"value": np.zeros(5)})
