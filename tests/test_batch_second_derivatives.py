"""Second derivatives of batches: closed forms row by row, sums over rows with their errors, and the same bits alone."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm

import mcgrad as mg
from mcgrad import tree
from mcgrad.cli import main
from mcgrad.errors import ToleranceWarning
from mcgrad.results.files import is_whole, save
from mcgrad.results.interval import quantile
from mcgrad.validate.agreement import agreement

RNG = np.random.default_rng(7)
ROWS = 6
LOC, SCALE = RNG.normal(size=(ROWS, 2)), np.array([0.4, 0.7]) * np.ones((ROWS, 2))
W, X = np.array([0.5, -0.3]), RNG.normal(size=(ROWS, 2))
V = {"loc": RNG.normal(size=(ROWS, 2)), "w": np.array([1.0, -2.0])}  # that Hessians are multiplied with


def wave(z, w, x):
    """A smooth function of a draw, a parameter that rows share, and data by row."""
    return np.exp(np.sum(w * z)) + np.sum(x * z) ** 2


def batch(rows=None, f=wave, backend="numpy", **options):
    """The batch, or some rows of it."""
    rows = np.arange(ROWS) if rows is None else rows
    q = mg.Normal(LOC[rows], SCALE[rows], batch_ndim=1)
    given = {"params": {"w": W}, "data": {"x": X[rows]}, "batched_data": "x", "backend": backend}
    return mg.Estimator(f, q, **given, **options)


def exact(row):
    """The Hessian of the expectation of one row in (loc, scale, w), by E exp(w z) = exp(w loc + (w scale)^2 / 2)."""
    mean, s, w, x = LOC[row], SCALE[row], W, X[row]
    value = np.exp(np.sum(w * mean + 0.5 * (w * s) ** 2))
    slope = {"loc": w, "scale": w**2 * s, "w": mean + w * s**2}
    bend = {
        ("loc", "loc"): np.zeros(2), ("loc", "scale"): np.zeros(2), ("loc", "w"): np.ones(2),
        ("scale", "scale"): w**2, ("scale", "w"): 2 * w * s, ("w", "w"): s**2,
    }  # fmt: skip
    square = {("loc", "loc"): 2 * np.outer(x, x), ("scale", "scale"): 2 * np.diag(x**2)}
    found = {}
    for (a, b), own in bend.items():
        block = value * (np.outer(slope[a], slope[b]) + np.diag(own)) + square.get((a, b), 0.0)
        found.setdefault(a, {})[b], found.setdefault(b, {})[a] = block, block.T
    return found


EXACT = [exact(row) for row in range(ROWS)]


def flat(x):
    return tree.flatten(x)


def z_scores(found, want, error):
    found, want, error = flat(found), flat(want), flat(error)
    assert found.keys() == want.keys()
    return max(np.max(np.abs(found[path] - want[path]) / (error[path] + 1e-12)) for path in found)


def same(one, other):
    """Whether two trees have the same bits."""
    one, other = flat(one), flat(other)
    return list(one) == list(other) and all(np.array_equal(one[path], other[path], equal_nan=True) for path in one)


# --- by row, and over the rows ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("reduce", [None, "sum", "mean", "none"])
def test_blocks_are_by_row_where_a_parameter_is_and_over_the_rows_where_none_is(reduce):
    est = batch(hessian="full", reduce=reduce)(20_000)
    want = {a: {b: np.stack([row[a][b] for row in EXACT]) for b in EXACT[0]} for a in EXACT[0]}
    over = {"mean": np.mean, "none": lambda x, axis: x}.get(reduce, np.sum)
    want["w"]["w"] = over(want["w"]["w"], axis=0)
    assert [*flat(est.hessian)] == [*flat(want)]
    assert z_scores(est.hessian, want, est.hessian_stderr) < 4.5
    diagonal = batch(hessian="diag", reduce=reduce)(20_000)
    for path, x in diagonal.hessian.items():
        assert np.allclose(x, np.einsum("...ii->...i", est.hessian[path][path]), rtol=1e-12)


@pytest.mark.parametrize("reduce", [None, "mean", "none"])
def test_a_product_is_that_of_the_hessian_of_the_sum_over_the_rows(reduce):
    blocks = batch(hessian="full", reduce="none")(200).hessian
    by_row = {
        a: np.einsum("bij,bj->bi", blocks[a]["loc"], V["loc"]) + np.einsum("bij,j->bi", blocks[a]["w"], V["w"])
        for a in ("loc", "scale", "w")
    }
    by_row["w"] = {"mean": by_row["w"].mean(0), "none": by_row["w"]}.get(reduce, by_row["w"].sum(0))
    estimator = batch(hvp=V, reduce=reduce)
    est = estimator(200)
    for path, want in by_row.items():
        assert np.allclose(est.hvp[path], want, rtol=1e-10, atol=1e-12)
    doubled = estimator(200, hvp={"loc": 2 * V["loc"]})  # of a parameter without a name zero
    assert np.allclose(doubled.hvp["loc"], 2 * np.einsum("bij,bj->bi", blocks["loc"]["loc"], V["loc"]))


@pytest.mark.parametrize(
    ("backend", "option"),
    [("numpy", {"hessian": "full"}), ("numpy", {"hvp": V}), ("cpu", {"hvp": {"loc": V["loc"]}, "wrt": ["loc"]})],
)
def test_a_row_has_the_same_bits_alone(backend, option):
    whole, some = batch(backend=backend, **option), [4, 1]
    est = whole(64, 3)
    changes = {"loc": LOC[some], "scale": SCALE[some], "x": X[some]}
    if "hvp" in option:
        changes["hvp"] = {**option["hvp"], "loc": V["loc"][some]}
    part = whole(64, 3, rows=some, **changes)
    for name in ("hessian", "hessian_stderr") if "hessian" in option else ("hvp", "hvp_stderr"):
        for path, x in flat(getattr(est, name)).items():
            if path not in ("w", "w.w"):
                assert np.array_equal(x[some], flat(getattr(part, name))[path])


def test_errors_of_sums_add_up_over_independent_rows_and_are_of_draws_with_common_noise():
    apart, alone = batch(hessian=["w"])(4000), batch(hessian=["w"], reduce="none")(4000)
    assert np.allclose(apart.hessian["w"]["w"], alone.hessian["w"]["w"].sum(0))
    assert np.allclose(apart.hessian_stderr["w"]["w"], np.sqrt(np.square(alone.hessian_stderr["w"]["w"]).sum(0)))
    same_rows = mg.Estimator(  # all rows are equal, so with common noise the sum is a multiple of one row
        lambda z, w: np.exp(w * z), mg.Normal(np.zeros(5), 1.0, batch_ndim=1), params={"w": 0.5}, common_noise=True,
        hessian=["w"], backend="numpy",
    )  # fmt: skip
    est, row = same_rows(4000), batch_of_one(4000)
    assert est.hessian["w"]["w"] == pytest.approx(5 * row.hessian["w"]["w"])
    assert est.hessian_stderr["w"]["w"] == pytest.approx(5 * row.hessian_stderr["w"]["w"])


def batch_of_one(n):
    q = mg.Normal(np.zeros(1), 1.0, batch_ndim=1)
    return mg.estimate(lambda z, w: np.exp(w * z), q, n, params={"w": 0.5}, hessian=["w"], backend="numpy")


def test_intervals_have_the_degrees_of_a_row_and_of_all_rows():
    est = batch(hessian="full")(8)
    low, high = est.confidence_interval(0.9).second["loc"]["w"]
    assert np.allclose(high - low, 2 * quantile(0.9, 7) * est.hessian_stderr["loc"]["w"])
    low, high = est.confidence_interval(0.9).second["w"]["w"]
    assert np.allclose(high - low, 2 * quantile(0.9, 7 * ROWS) * est.hessian_stderr["w"]["w"])


# --- ways ------------------------------------------------------------------------------------------------------------
def test_kinks_are_differentiated_by_scores_and_by_differences_in_each_row():
    loc, strike = np.array([0.1, 0.4, -0.3]), np.array([0.1, 0.5, 0.2])
    q = mg.Normal(loc, 0.8, batch_ndim=1)
    est = mg.estimate(
        lambda z, k, c: np.maximum(c * z - k, 0.0),
        *(q, 100_000),
        params={"k": strike, "c": 1.0},
        batched_params="k",
        wrt=["loc", "k", "c"],
        hessian="full",
    )
    density = norm.pdf(strike, loc, 0.8)
    assert est.hessian_method["loc, loc"] == "score, then pathwise"
    assert est.hessian_method["k, k"] == "pathwise, then difference"
    found, error = est.hessian, est.hessian_stderr
    for (a, b), want in {
        ("loc", "loc"): density, ("loc", "k"): -density, ("k", "k"): density, ("c", "c"): np.sum(strike**2 * density),
        ("k", "c"): -strike * density,
    }.items():  # fmt: skip
        assert np.max(np.abs(found[a][b] - want) / error[a][b]) < 4.5, (a, b)


def test_discrete_draws_by_row():
    rate = np.array([0.5, 2.0, 6.0])
    est = mg.estimate(lambda z: z**2, mg.Poisson(rate, batch_ndim=1), 50_000, method="score", hessian="full")
    assert np.max(np.abs(est.hessian["rate"]["rate"] - 2.0) / est.hessian_stderr["rate"]["rate"]) < 4.5


@pytest.mark.parametrize("f", [lambda z, x: x * np.abs(z), lambda z, x: x * np.sqrt(z**2)])
def test_a_kink_that_the_first_row_does_not_have_is_found(f):
    x = np.where(np.arange(40) == 3, 1.0, 0.0)
    given = {"data": {"x": x}, "batched_data": "x", "backend": "numpy"}
    q = mg.Normal(np.full(40, 0.3), 1.2, batch_ndim=1)
    est = mg.Estimator(f, q, hessian=["loc"], **given)
    assert est.derived.components.second.method == "score, then pathwise"
    found = est(50_000)
    z = (found.hessian["loc"]["loc"] - 2 * x * norm.pdf(0.0, 0.3, 1.2))[3] / found.hessian_stderr["loc"]["loc"][3]
    assert abs(z) < 4.5
    with pytest.raises(mg.ParameterError, match=r"^hessian_method: given 'pathwise'"):
        mg.Estimator(f, q, hessian=["loc"], hessian_method="pathwise", **given)


# --- values of several numbers ---------------------------------------------------------------------------------------
def test_arrays_and_dicts_have_their_axes_after_those_of_the_batch():
    def both(z, w, x):
        return {"a": np.exp(w * z), "b": np.sum(x * z) ** 2}

    est = batch(f=both, hessian="full")(20_000)
    assert est.hessian["loc"]["scale"]["a"].shape == (ROWS, 2, 2, 2)
    assert est.hessian["w"]["w"]["b"].shape == (2, 2)
    want = 2 * X[:, :, None] * X[:, None, :]
    assert np.allclose(est.hessian["loc"]["loc"]["b"], want)
    value = np.exp(W * LOC + 0.5 * (W * SCALE) ** 2)
    second = value * ((LOC + W * SCALE**2) ** 2 + SCALE**2)
    for i in range(2):
        found, error = (x["w"]["w"]["a"][i, i, i] for x in (est.hessian, est.hessian_stderr))
        assert abs(found - second[:, i].sum()) < 4.5 * error
    weights = {"a": RNG.normal(size=(ROWS, 2)), "b": RNG.normal(size=ROWS)}  # each row has its own
    one = batch(f=both, hessian="full", cotangent=weights)(200)
    apart = batch(f=both, hessian="full", reduce="none")(200).hessian
    for a, b in (("loc", "scale"), ("loc", "w"), ("w", "w")):
        want = np.einsum("bi,bijk->bjk", weights["a"], apart[a][b]["a"])
        want += np.einsum("b,bjk->bjk", weights["b"], apart[a][b]["b"])
        assert np.allclose(one.hessian[a][b], want.sum(0) if (a, b) == ("w", "w") else want)


# --- with all else ---------------------------------------------------------------------------------------------------
OPTIONS = {
    "antithetic": {"antithetic": True},
    "controls": {"control": "linear"},
    "points": {"sampler": "sobol", "replicates": 8},
    "proposal": {"proposal": mg.Normal(np.zeros(2), 1.5)},
    "common noise": {"common_noise": True},
    "covariance": {"covariance": True},
    "leave one out": {"method": "score+leave_one_out", "k": 4},
    "float32": {"dtype": "float32"},
}


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.filterwarnings("ignore::mcgrad.errors.WeightsWarning")
def test_with_other_options(name):
    f, method = wave, OPTIONS[name].get("method")
    est = batch(f=f, hessian="full", **OPTIONS[name])(8192 if not method else 40_000)
    want = {a: {b: np.stack([row[a][b] for row in EXACT]) for b in EXACT[0]} for a in EXACT[0]}
    want["w"]["w"] = want["w"]["w"].sum(0)
    error = flat(est.hessian_stderr)
    for path, x in flat(want).items():
        gap, own = np.abs(flat(est.hessian)[path] - x), error[path] + (1e-5 if name == "float32" else 1e-9)
        assert np.max(gap / own) < (8 if name == "points" else 4.8), path  # of 8 replicates errors are themselves noisy
    assert same(mg.BatchEstimate.from_json(est.to_json()).hessian, est.hessian)


@pytest.mark.parametrize(("dtype", "n"), [("float32", 4), ("float64", 500)])
def test_kernels_agree_with_the_reference(dtype, n):
    """Of few draws lanes carry rows, of many they carry draws."""
    given = {"hessian": ["w", ("loc", "w")], "wrt": ["loc", "w"], "dtype": dtype}
    of, compiled = (batch(backend=name, **given) for name in ("numpy", "cpu"))
    check = agreement(of(n), compiled(n))
    assert check.ok, check


def test_results_merge_travel_and_print(tmp_path):
    estimator = batch(hessian="full")
    whole, merged = estimator(60), estimator(20).merge(estimator(40, first=20))
    for path, x in flat(whole.hessian).items():
        assert np.allclose(flat(merged.hessian)[path], x)
    read = mg.BatchEstimate.from_json(whole.to_json())
    again, copied = pickle.loads(pickle.dumps(estimator))(60), pickle.loads(pickle.dumps(whole))
    for other in (read, again, copied):
        assert same(other.hessian, whole.hessian)
        assert same(other.hessian_stderr, whole.hessian_stderr)
        assert other.hessian_method == "pathwise twice"
    assert whole.to_dict()["hessian"]["w"]["w"] == whole.hessian["w"]["w"].tolist()
    save(whole, tmp_path / "blocks")
    assert is_whole(tmp_path / "blocks")
    assert np.array_equal(np.load(tmp_path / "blocks.npz")["hessian.loc.w"], whole.hessian["loc"]["w"])
    assert "second derivatives by pathwise twice" in str(whole)
    assert f"hessian.loc.w ({ROWS}, 2, 2): " in str(whole)
    with pytest.raises(mg.MergeError, match="second derivatives"):
        whole.merge(batch(hessian="diag")(40, first=60))
    product = batch(hvp=V)
    with pytest.raises(mg.MergeError, match="different problems"):
        product(60).merge(product(40, first=60, hvp={"w": V["w"]}))
    with pytest.raises(mg.ParameterError, match=r"^second.entries: given .* paths among"):
        mg.BatchEstimate.from_dict({**whole.to_dict(), "shared": {}, "order": ["loc", "scale"]})


def test_results_are_written_into_arrays_of_the_user():
    estimator = batch(hessian="full")
    arrays = {"hessian": {"loc": {"w": np.zeros((ROWS, 2, 2))}, "w": {"w": np.zeros((2, 2))}}}
    est = estimator(50, out=arrays)
    assert np.array_equal(arrays["hessian"]["loc"]["w"], est.hessian["loc"]["w"])
    assert np.array_equal(arrays["hessian"]["w"]["w"], est.hessian["w"]["w"])
    with pytest.raises(mg.ParameterError, match=r"^out.hessian.w.w: .* of shape \(2, 2\)"):
        estimator(50, out={"hessian": {"w": {"w": np.zeros((ROWS, 2, 2))}}})


def test_a_run_stops_at_a_tolerance_in_each_row_and_in_sums():
    est = batch(hessian="full").until(rtol=0.5, of="hessian", start=64, max_draws=1 << 14)
    assert est.stopping.reached
    assert est.stopping.part.startswith("hessian of row ")
    shared = batch(hessian=["w"])
    with pytest.warns(ToleranceWarning):
        assert shared.until(rtol=1e-6, of="hessian", start=64, max_draws=64).stopping.part == "hessian"
    with pytest.raises(mg.ParameterError, match=r"^of: given 'hessian', whose sums over the rows have no errors"):
        batch(hessian=["w"], errors=False).until(of="hessian")
    assert np.isnan(batch(hessian=["w"], errors=False)(64).hessian_stderr["w"]["w"]).all()


def test_an_executor_has_the_bits_of_threads():
    loc = np.linspace(-1.0, 1.0, 300)
    q, v = mg.Normal(loc, 1.0, batch_ndim=1), {"loc": loc, "w": 1.0}
    estimator = mg.Estimator(lambda z, w: np.exp(w * z), q, params={"w": 0.4}, hvp=v, backend="numpy")
    with ThreadPoolExecutor(2) as pool:
        found = estimator(64, executor=pool)
    assert found.to_dict()["moments"] == estimator(64).to_dict()["moments"]


def test_a_job_has_second_derivatives_of_a_batch(tmp_path, capsys):
    (tmp_path / "model.py").write_text("import numpy as np\nf = lambda z, *, w: np.exp(w * z)\n")
    np.savez(tmp_path / "data.npz", loc=LOC[:, 0], v=V["loc"][:, 0])
    (tmp_path / "job.toml").write_text(
        'integrand = "model.py:f"\nparams = { w = 0.7 }\nhvp = { loc = "data.npz:v", w = 1.0 }\nn = 400\n'
        'backend = "numpy"\ndistribution = { family = "Normal", loc = "data.npz:loc", scale = 0.5, batch_ndim = 1 }\n'
        'out = "results/rows"\n'
    )
    assert main(["run", str(tmp_path / "job.toml")]) == 0
    est = mg.BatchEstimate.from_json((tmp_path / "results/rows.json").read_bytes())
    q = mg.Normal(LOC[:, 0], 0.5, batch_ndim=1)
    right = mg.estimate(
        lambda z, *, w: np.exp(w * z), q, 400, params={"w": 0.7}, hvp={"loc": V["loc"][:, 0], "w": 1.0}, backend="numpy"
    )
    assert same(est.hvp, right.hvp)
    assert "hvp.loc (6,)" in capsys.readouterr().out


def test_draws_that_are_not_finite_spoil_their_row_and_the_sums():
    logs = lambda z, w: w**2 * np.log(z)  # noqa: E731  of two rows the second has draws below zero
    q = mg.Normal(np.array([8.0, 0.1]), 0.5, batch_ndim=1)
    with np.errstate(all="ignore"):
        est = mg.Estimator(logs, q, params={"w": 1.5}, hessian="full", backend="numpy")(200)
        left = mg.Estimator(logs, q, params={"w": 1.5}, hessian="full", backend="numpy", nonfinite="omit")(200)
    assert np.array_equal(np.isfinite(est.hessian["loc"]["w"]), [True, False])
    assert np.isnan(est.hessian["w"]["w"])
    assert np.isfinite(left.hessian["loc"]["w"]).all()
    assert np.isfinite(left.hessian["w"]["w"])


def test_several_batch_axes_one_row_and_none():
    loc = RNG.normal(size=(2, 3, 2))
    est = mg.Estimator(lambda z: np.prod(z) ** 2, mg.Normal(loc, 0.5, batch_ndim=2), hessian="full", backend="numpy")(
        50
    )
    assert est.hessian["loc"]["loc"].shape == (2, 3, 2, 2)
    assert np.shape(est.hessian["scale"]["scale"]) == ()  # which all rows share
    one = mg.Estimator(
        lambda z: np.prod(z) ** 2, mg.Normal(loc[:1, 0], 0.5, batch_ndim=1), hessian="full", backend="numpy"
    )(50)
    assert np.array_equal(one.hessian["loc"]["loc"][0], est.hessian["loc"]["loc"][0, 0])
    none = batch(rows=np.arange(0), hessian="full")(50)
    assert none.hessian["loc"]["w"].shape == (0, 2, 2)
    assert np.array_equal(none.hessian["w"]["w"], np.zeros((2, 2)))
    none = batch(rows=np.arange(0), hvp={**V, "loc": V["loc"][:0]})(50)
    assert none.hvp["loc"].shape == (0, 2)


def test_vectors_have_the_batch_axes_of_their_parameters():
    with pytest.raises(mg.ParameterError, match=r"^hvp.loc: given shape \(2,\); accepted: \(6, 2\), the parameter's"):
        batch(hvp={"loc": np.ones(2)})
    estimator = batch(hvp=V)
    with pytest.raises(mg.ParameterError, match=r"^hvp.loc: given shape \(2,\)"):
        estimator(50, hvp={"loc": np.ones(2)})
    with pytest.raises(
        mg.ParameterError, match=r"^hvp.loc: .* whose batch shape is \(6,\); accepted: batch shape \(2,\)"
    ):
        estimator(50, loc=LOC[:2], scale=SCALE[:2], x=X[:2])
    with pytest.raises(mg.ParameterError, match=r"^output: given 'device' of a batch"):
        batch(hessian="full", output="device", backend="auto")


# --- what it is for --------------------------------------------------------------------------------------------------
def test_newton_steps_find_the_best_normal_of_each_of_many_logistic_regressions():
    """Of a variational bound in loc, where E f and its derivatives are one-dimensional integrals."""
    rows, nodes = 30, np.polynomial.hermite_e.hermegauss(40)
    t, y, s = RNG.normal(size=(rows, 5)), RNG.integers(0, 2, (rows, 5)), 0.5

    def log_joint(z, t, y):
        return np.sum(y * t * z - np.logaddexp(0.0, t * z)) - 0.5 * z**2

    estimator = mg.Estimator(
        log_joint, mg.Normal(np.zeros(rows), s, batch_ndim=1), data={"t": t, "y": y.astype(float)},
        batched_data=["t", "y"], wrt="loc", hessian="diag", backend="cpu",
    )  # fmt: skip
    loc = np.zeros(rows)
    for step in range(6):
        est = estimator(4000, step, loc=loc)
        loc = loc - est.grad["loc"] / est.hessian["loc"]
    eta = t[:, :, None] * (loc[:, None] + s * nodes[0])[:, None, :]
    weights = nodes[1] / np.sqrt(2 * np.pi)
    slope = np.sum(t * ((y[:, :, None] - expit(eta)) @ weights), axis=1) - loc
    bend = -np.sum(t**2 * ((expit(eta) * expit(-eta)) @ weights), axis=1) - 1
    assert np.max(np.abs(est.hessian["loc"] - bend) / (est.hessian_stderr["loc"] + 1e-3)) < 5
    assert np.max(np.abs(slope / est.grad_stderr["loc"])) < 5  # what the last step left is its noise


# --- verify and compare ----------------------------------------------------------------------------------------------
def test_verify_and_compare_look_at_rows():
    q = mg.Normal(LOC, SCALE, batch_ndim=1)
    given = {"params": {"w": W}, "data": {"x": X}, "batched_data": "x"}
    for options in ({"hessian": [("loc", "w"), "w"]}, {"hvp": V}, {"hessian": "diag", "common_noise": True}):
        found = mg.verify(wave, q, 400, rows=2, backends="numpy", components=8, **given, **options)
        assert found.ok, str(found)
        assert {check.component.split(", ")[-1] for check in found.second} == {"row 0", "row 5"}
        if "hvp" in options:
            assert found.second_components == 2 * 6
    few = {"methods": ["pathwise", "score"], "hessian_methods": ["pathwise"], "backend": "numpy"}
    ranked = mg.compare(wave, q, 400, hessian=["w", ("loc", "w")], **few, **given)
    assert not ranked.biased
    row = ranked.rows[0]
    by_row = np.square(row.estimate.hessian_stderr["loc"]["w"]).sum(0)
    assert np.allclose(
        row.variance, 400 * np.r_[np.ravel(by_row), np.ravel(row.estimate.hessian_stderr["w"]["w"] ** 2)]
    )
    assert ranked.components[0] == "d2 / d loc[0] d w[0]"
    assert ranked.components[-1] == "d2 / d w[1]^2"


def test_verify_finds_a_fault_in_one_row():
    def bends_in_the_last(z, x):
        return z**2 + np.where(np.abs(x - 5.0) < 0.1, np.where(z > 0.2, 10 * (z - 0.2), 0.0), 0.0)

    x = np.where(np.arange(30) == 28, 5.0, np.arange(30) // 15 * 10.0)  # a row in which no kink was looked for
    q = mg.Normal(np.zeros(30), 1.0, batch_ndim=1)
    found = mg.verify(
        bends_in_the_last, q, 4000, data={"x": x}, batched_data="x", hessian=["loc"], rows=30, backends="numpy"
    )
    assert {check.component for check in found.second if not check.ok} == {"d2 / d loc^2, row 28"}
