"""Importance sampling: draws of a proposal with weights, against closed forms; what is refused, and what may be."""

import pickle
import re
import warnings

import numpy as np
import pytest
from scipy import stats

import mcgrad as mg
from mcgrad.cli import main
from tests.families import FAMILIES, gradient, moment
from tests.job_files import job_folder, read

N, MOST_Z = 40_000, 4.5  # one of 150,000 unbiased components has a larger z
NUMPY = {"backend": "numpy", "seed": 3}
NORMAL, HIGH = mg.Normal(0.0, 1.0), mg.Normal(6.0, 1.0)
TAIL = {"value": stats.norm.sf(6.0), "loc": stats.norm.pdf(6.0), "scale": 6.0 * stats.norm.pdf(6.0)}


def beyond(z):
    return np.where(z > 6.0, 1.0, 0.0)


def held_to(est, value, grad):
    """Hold an estimate to what is exact, by z-scores."""
    pairs = [(est.value, est.stderr, value), *((est.grad[k], est.grad_stderr[k], x) for k, x in grad.items())]
    for found, error, exact in pairs:
        assert np.max(np.abs(np.asarray(found) - exact) / error) < MOST_Z


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("backend", ["numpy", "cpu"])
def test_a_rare_event_and_its_gradient_to_one_percent(backend, dtype):
    est = mg.estimate(beyond, NORMAL, 100_000, proposal=HIGH, backend=backend, dtype=dtype, seed=1)
    held_to(est, TAIL["value"], {k: TAIL[k] for k in ("loc", "scale")})
    assert max(est.stderr / est.value, *(est.grad_stderr[k] / est.grad[k] for k in est.grad)) < 0.01


SHIFTED = mg.Exponential(6.0).transformed(mg.bijections.Affine(6.0, 1.0))


@pytest.mark.parametrize("proposal", [mg.TruncatedNormal(6.0, 0.4, low=6.0), SHIFTED])
def test_a_proposal_may_leave_out_where_f_is_zero(proposal):
    held_to(mg.estimate(beyond, NORMAL, N, proposal=proposal, **NUMPY), TAIL["value"], {"loc": TAIL["loc"]})


def test_weights_are_those_of_any_two_families():
    q = mg.Gamma(1.5, 2.0)
    for p in (mg.Gamma(1.2, 1.5), mg.LogNormal(0.0, 1.0), mg.Exponential(1.2), mg.StudentT(3.0, 1.0, 1.0)):
        est = mg.estimate(lambda z: z, q, N, proposal=p, **NUMPY)
        held_to(est, 0.75, {"concentration": 0.5, "rate": -0.375})
    est = mg.estimate(lambda z: z, mg.Poisson(2.0), N, proposal=mg.Geometric(0.3), **NUMPY)
    held_to(est, 2.0, {"rate": 1.0})
    est = mg.estimate(lambda z: np.log(z), mg.Exponential(2.0), N, proposal=mg.Normal(0.5, 1.0), **NUMPY)
    held_to(est, -0.5772156649 - np.log(2.0), {"rate": -0.5})  # f is NaN where q has no density


@pytest.mark.parametrize(
    "name",
    ["Gumbel", "Kumaraswamy", "Dirichlet", "VonMisesFisher", "LogisticNormal", "MultivariateStudentT", "Binomial"],
)
def test_weights_within_a_family_are_those_of_its_coordinates(name):
    row = FAMILIES[name]
    other = {path: 1.06 * x for path, x in row.q.flat_params.items()}
    est = mg.estimate(row.f, row.q, 10_000, proposal=row.q.with_params(**other), **NUMPY)
    errors = {path: np.where(np.asarray(x) > 0, x, 1e-9) for path, x in est.grad_stderr.items()}  # of entries not free
    for path, exact in gradient(row).items():
        assert np.max(np.abs(est.grad[path] - exact) / errors[path]) < MOST_Z
    assert abs(est.value - moment(row)) < MOST_Z * est.stderr


def test_every_method_that_applies_is_of_one_mean():
    p = mg.Normal([0.3, -0.2], [1.4, 1.5])
    q = mg.Normal([0.1, 0.0], [1.0, 1.2])
    exact = {"loc": [0.2, 0.0], "scale": [2.0, 2.4]}
    f = lambda z: np.sum(z**2)  # noqa: E731
    for method in ("pathwise", "score", "score+mean", "score+leave_one_out", "score+optimal", "difference", "auto"):
        held_to(mg.estimate(f, q, N, proposal=p, method=method, **NUMPY), 2.45, exact)
    plain, controlled = (mg.estimate(f, q, N, proposal=p, method=m, **NUMPY) for m in ("score", "score+mean"))
    assert (controlled.grad_stderr["scale"] < plain.grad_stderr["scale"]).all()
    for method, why in {
        "measure_valued": "with proposal=Normal",
        "stl": "for an integrand without log q inside",
    }.items():
        with pytest.raises(mg.ParameterError, match=rf"^method: given '{method}' {why}"):
            mg.estimate(f, q, N, proposal=p, method=method, **NUMPY)


def test_parameters_of_f_and_data_are_as_without():
    def f(z, *, c, w, x):
        return np.where(z > c, w * x, 0.0)

    given = {"params": {"c": 6.0, "w": 2.0}, "data": {"x": 1.5}, "method": {"c": "difference"}}
    est = mg.estimate(f, NORMAL, N, proposal=HIGH, **given, **NUMPY)
    held_to(est, 3 * TAIL["value"], {"c": -3 * TAIL["loc"], "w": 1.5 * TAIL["value"], "loc": 3 * TAIL["loc"]})


def test_indicators_warn_of_jumps_only_where_these_move():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mg.Estimator(beyond, NORMAL, proposal=HIGH, backend="numpy")
    with pytest.raises(mg.ParameterError, match=r"^c: given a parameter that the integrand follows in jumps alone"):
        mg.Estimator(lambda z, *, c: np.where(z > c, 1.0, 0.0), NORMAL, proposal=HIGH, params={"c": 6.0})


def test_a_defensive_mixture_bounds_the_weights():
    mixture = mg.MixtureSameFamily(mg.Normal(np.array([0.0, 4.0]), 1.0), probs=np.array([0.5, 0.5]))
    f = lambda z: np.stack([np.where(z > 4.0, 1.0, 0.0), z**2])  # noqa: E731
    est = mg.estimate(f, NORMAL, N, proposal=mixture, **NUMPY)
    sf, pdf = stats.norm.sf(4.0), stats.norm.pdf(4.0)
    held_to(est, [sf, 1.0], {"loc": [pdf, 0.0], "scale": [4 * pdf, 2.0]})


def test_the_self_normalised_estimate_is_a_ratio():
    f = lambda z: {"above": z**2, "below": 1.0 + 0.0 * z}  # noqa: E731
    est = mg.estimate(f, NORMAL, N, proposal=mg.Normal(0.5, 1.3), covariance=True, **NUMPY)
    found = mg.ratio(est["above"], est["below"])
    assert abs(found.value - 1.0) < MOST_Z * found.stderr
    assert abs(est["below"].value - 1.0) < MOST_Z * est["below"].stderr


def test_a_joint_and_shared_names():
    q = mg.Joint(a=mg.Normal(0.0, 1.0), b=mg.Gamma(2.0, 1.0))
    p = mg.Joint(a=mg.Normal(0.5, 1.5), b=mg.Gamma(2.2, 0.8))
    est = mg.estimate(lambda z, *, t: t * z["a"] ** 2 * z["b"], q, N, proposal=p, params={"t": 3.0}, **NUMPY)
    for path, exact in {"a.scale": 12.0, "b.rate": -6.0, "b.concentration": 3.0, "t": 2.0}.items():
        (found,), (error,) = est.flat([path])[1:], est.flat([path], errors=True)[1:]
        assert abs(found - exact) < MOST_Z * error, path


@pytest.mark.parametrize("backend", ["numpy", "cpu"])
def test_a_batch_has_one_proposal_or_one_a_row(backend):
    q = mg.Normal(np.array([0.0, 0.5]), 1.0, batch_ndim=1)
    ends = np.array([6.0, 5.5])
    for p in (HIGH, mg.Normal(np.array([6.0, 6.5]), 1.0, batch_ndim=1)):
        est = mg.estimate(beyond, q, N, proposal=p, backend=backend, seed=5)
        held_to(est, stats.norm.sf(ends), {"loc": stats.norm.pdf(ends), "scale": np.sum(ends * stats.norm.pdf(ends))})


@pytest.mark.parametrize(
    "options",
    [
        {"method": "score", "baseline": "mean"},
        {"control": mg.Control(lambda z: z[:2] ** 2, mean=lambda loc, scale: loc[:2] ** 2 + scale**2)},
    ],
)
def test_tails_are_looked_for_in_rows_whose_pilots_compute_inputs(options):
    loc = np.array([[0.1, 0.2, 0.0], [0.0, -0.3, 0.4]])
    est = mg.estimate(
        lambda z: np.sum(np.exp(0.3 * z)),
        mg.Normal(loc, 1.0, batch_ndim=1),
        4096,
        proposal=mg.Normal(loc, 1.3, batch_ndim=1),
        wrt="loc",
        **options,
        **NUMPY,
    )
    means = np.exp(0.3 * loc + 0.045)
    held_to(est, means.sum(axis=1), {"loc": 0.3 * means})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("backend", ["numpy", "cpu"])
def test_what_overflows_where_q_has_no_density_is_zero(backend, dtype):
    given = {"proposal": mg.Cauchy(0.0, 1.0), "backend": backend, "dtype": dtype}
    est = mg.estimate(lambda z: np.exp(0.3 * z), NORMAL, 2**17, **given)  # draws reach 1e5, exp(3e4) is infinite
    mean = np.exp(0.045)
    held_to(est, mean, {"loc": 0.3 * mean, "scale": 0.09 * mean})
    assert est.nonfinite == 0


def test_what_has_no_weights_is_refused():
    with pytest.raises(mg.ParameterError, match=r"^proposal: given 3; accepted: a distribution"):
        mg.estimate(beyond, NORMAL, N, proposal=3)
    with pytest.raises(mg.ParameterError, match=r"^proposal: given event shape \(2,\); accepted: event shape \(\)"):
        mg.estimate(beyond, NORMAL, N, proposal=mg.Normal([0.0, 1.0], 1.0))
    with pytest.raises(mg.ParameterError, match=r"^proposal: given Poisson, whose draws are: z a whole number"):
        mg.estimate(beyond, NORMAL, N, proposal=mg.Poisson(3.0))
    with pytest.raises(mg.ParameterError, match=r"^proposal: given Normal.* for elbo\("):
        mg.estimate(mg.elbo(lambda z: -(z**2), NORMAL), n=N, proposal=HIGH)
    rows = mg.Normal(np.zeros(3), 1.0, batch_ndim=1)
    with pytest.raises(mg.ParameterError, match=r"^proposal: given batch shape \(3,\)"):
        mg.estimate(beyond, mg.Normal(np.zeros(2), 1.0, batch_ndim=1), N, proposal=rows)
    with pytest.raises(mg.ParameterError, match=r"^control: given 'quadratic' with a proposal"):
        mg.estimate(lambda z: z**2, NORMAL, N, proposal=HIGH, control="quadratic")
    with pytest.raises(mg.ParameterError, match=r"^nonfinite: given 'omit' with a proposal"):
        mg.estimate(beyond, NORMAL, N, proposal=HIGH, nonfinite="omit")
    with pytest.raises(mg.ParameterError, match=r"^high: given a parameter of Uniform that moves an end"):
        mg.estimate(lambda z: z, mg.Uniform(0.0, 1.0), N, proposal=NORMAL, wrt="high")
    est = mg.estimate(lambda z: z, mg.Uniform(0.0, 1.0), N, proposal=NORMAL, method="difference", **NUMPY)
    held_to(est, 0.5, {"low": 0.5, "high": 0.5})


@pytest.mark.parametrize(
    ("q", "p"),
    [
        (NORMAL, mg.Exponential(1.0)),
        (NORMAL, mg.TruncatedNormal(0.0, 1.0, low=-5.0, high=5.0)),  # 6e-7 of q is outside, which no few draws show
        (mg.Uniform(0.0, 2.0), mg.Uniform(0.0, 1.0)),
        (mg.Normal([0.0, 0.0], 1.0), mg.TruncatedNormal([0.0, 0.0], 1.0, low=[-9.0, -3.0], high=9.0)),
        (mg.Poisson(3.0), mg.Binomial(5, 0.5)),
    ],
)
def test_a_proposal_that_leaves_a_part_out_is_refused(q, p):
    with pytest.raises(mg.ParameterError, match=rf"^proposal: given {type(p).__name__} .*whose density is 0 at z="):
        mg.estimate(lambda z: 1.0 + np.sum(z) ** 2, q, N, proposal=p)


def test_calls_change_q_and_not_the_proposal():
    estimator = mg.Estimator(beyond, NORMAL, proposal=HIGH, backend="numpy")
    held_to(estimator(N, loc=0.5), stats.norm.sf(5.5), {"loc": stats.norm.pdf(5.5)})
    other = mg.Estimator(beyond, NORMAL, proposal=mg.Normal(6.0, 1.1), backend="numpy")
    assert estimator.fingerprint != other.fingerprint
    assert "proposal=Normal(loc=6.0, scale=1.0)" in repr(estimator)
    assert "draws: from Normal(loc=6.0, scale=1.0), with the weights q / proposal" in estimator.explain()
    again = pickle.loads(pickle.dumps(estimator))
    assert again(100).value == estimator(100).value
    assert (again.fingerprint, repr(again)) == (estimator.fingerprint, repr(estimator))
    first, second = estimator(200, 7), estimator(100, 7, first=200)
    assert first.merge(second).moments.count == 300
    with pytest.raises(mg.MergeError):
        first.merge(other(100, 7, first=200))


def test_it_is_verified_and_compared():
    f = lambda z: np.where(z > 2.0, z, 0.0)  # noqa: E731
    given = {"proposal": mg.Normal(2.0, 1.2), "backends": "numpy"}
    assert mg.verify(f, NORMAL, 8000, **given).ok
    assert not mg.verify(f, NORMAL, 8000, backends="numpy").ok  # the jump, without the weights
    found = mg.compare(
        f, NORMAL, 8000, methods=["pathwise", "score+optimal"], proposal=given["proposal"], backend="numpy"
    )
    assert found.biased == {}


def test_the_effective_sample_size_is_that_of_the_weights():
    p = mg.Normal(0.5, 1.3)
    z = p.sample(N, 3)
    w = np.exp(NORMAL.log_prob(z) - p.log_prob(z))
    exact = np.sum(w) ** 2 / np.sum(w**2)
    est = mg.estimate(lambda z: z**2, NORMAL, N, proposal=p, **NUMPY)
    assert est.effective_sample_size == pytest.approx(exact, rel=1e-12)
    grouped = mg.estimate(lambda z: z**2, NORMAL, N, proposal=p, method="score+leave_one_out", **NUMPY)
    assert grouped.effective_sample_size == pytest.approx(exact, rel=0.03)  # by the means of groups of 8
    narrow = mg.estimate(lambda z: z**2, NORMAL, N, proposal=p, backend="cpu", dtype="float32", seed=3)
    assert narrow.effective_sample_size == pytest.approx(exact, rel=0.02)
    rows = mg.Normal(np.array([0.0, 0.4]), 1.0, batch_ndim=1)
    for options in ({}, {"common_noise": True}, {"reduce": "sum"}):
        found = mg.estimate(lambda z: z**2, rows, N, proposal=p, **options, **NUMPY).effective_sample_size
        assert found.shape == (2,)
        assert found[0] == pytest.approx(exact, rel=0.02)
    for est in (mg.estimate(np.sin, NORMAL, 100, **NUMPY), mg.estimate(np.sin, rows, 100, **NUMPY)):
        with pytest.raises(mg.ParameterError, match=r"^effective_sample_size: given an estimate without weights"):
            _ = est.effective_sample_size


def test_a_heavy_tail_is_warned_of():
    light = mg.Normal(0.5, 0.3)  # weights have no mean square
    with pytest.warns(mg.WeightsWarning, match=r"Pareto k of \d\.\d\d or more, above 0\.7: few draws decide") as found:
        est = mg.estimate(lambda z: z**2, NORMAL, N, proposal=light, **NUMPY)
    assert found[0].filename == __file__
    assert est.pareto_k > 0.7
    assert f"{est.pareto_k:.2f}, above 0.5: intervals are too short; effective" in str(est)
    with pytest.warns(mg.WeightsWarning, match=r"^value: .* is zero but for fewer than five draws"):
        est = mg.estimate(beyond, NORMAL, N, proposal=light, **NUMPY)
    assert est.pareto_k == np.inf
    rows = mg.Normal(np.array([0.5, 4.0]), 1.0, batch_ndim=1)
    with pytest.warns(mg.WeightsWarning, match=r"^\S+ of row 1: .* Pareto k"):
        mg.estimate(lambda z: z**2, rows, N, proposal=mg.Normal(0.5, 0.9), wrt=(), **NUMPY)


def test_the_tail_of_what_is_averaged_counts_and_not_that_of_the_weights():
    estimator = mg.Estimator(beyond, NORMAL, proposal=HIGH, backend="numpy")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        est, later = estimator(N, 3), estimator(N, 3)
    assert est.effective_sample_size < 100  # of other functions
    assert est.pareto_k < 0
    assert later.pareto_k == est.pareto_k  # found when it is asked for
    assert estimator(N, 3, loc=0.2).pareto_k != est.pareto_k
    with pytest.warns(mg.WeightsWarning, match=r"^(loc|scale): "):
        mg.estimate(beyond, NORMAL, N, proposal=HIGH, method="score+mean", **NUMPY)  # the weights times a constant
    assert np.isnan(estimator(20).pareto_k)
    with pytest.raises(mg.ParameterError, match=r"^pareto_k: given an estimate without weights"):
        _ = mg.estimate(np.sin, NORMAL, 100, **NUMPY).pareto_k


def test_files_pickles_and_merges_keep_both():
    estimator = mg.Estimator(lambda z: z**2, NORMAL, proposal=mg.Normal(0.5, 1.3), backend="numpy")
    first, second = estimator(3000, 7), estimator(4000, 7, first=3000)
    both = first.merge(second)
    assert both.pareto_k == second.merge(first).pareto_k == first.pareto_k != second.pareto_k
    assert both.effective_sample_size == pytest.approx(estimator(7000, 7).effective_sample_size, rel=1e-12)
    for again in (mg.Estimate.from_json(both.to_json()), pickle.loads(pickle.dumps(both))):
        assert (again.pareto_k, again.effective_sample_size) == (both.pareto_k, both.effective_sample_size)
        assert str(again) == str(both)
    assert f"Pareto k of the weighted draws {both.pareto_k:.2f}; effective sample size" in str(both)
    few = estimator(20)
    assert np.isnan(mg.Estimate.from_json(few.to_json()).pareto_k)
    rows = mg.estimate(np.sin, mg.Normal(np.zeros(2), 1.0, batch_ndim=1), 100, proposal=mg.Normal(0.0, 1.1), **NUMPY)
    again = mg.BatchEstimate.from_json(rows.to_json())
    assert (again.effective_sample_size == rows.effective_sample_size).all()
    with pytest.raises(mg.ParameterError, match=r"^pareto_k: given 'much'"):
        mg.Estimate.from_dict({**both.to_dict(), "pareto_k": "much"})


def test_controls_are_weighted_too():
    f = lambda z: np.where(z > 4.0, 1.0, 0.0) + np.sin(z) ** 2  # noqa: E731
    mixture = mg.MixtureSameFamily(mg.Normal(np.array([0.0, 4.0]), 1.0), probs=np.array([0.5, 0.5]))
    weight = mg.Control(lambda z: 1.0 + 0.0 * z, mean=lambda loc: 1.0 + 0.0 * loc)
    moments = mg.Control(
        lambda z: np.stack([z, z**2]), mean=lambda loc, scale: np.stack([loc, loc**2 + scale**2]), name="z"
    )
    value = stats.norm.sf(4.0) + (1.0 - np.exp(-2.0)) / 2.0
    grad = {"loc": stats.norm.pdf(4.0), "scale": 4.0 * stats.norm.pdf(4.0) + 2.0 * np.exp(-2.0)}
    plain = mg.estimate(f, NORMAL, N, proposal=mixture, **NUMPY)
    for control, gain in ((weight, 1.5), ([weight, moments], 2.5), ("linear", 1.5)):
        est = mg.estimate(f, NORMAL, N, proposal=mixture, control=control, **NUMPY)
        held_to(est, value, grad)
        assert plain.stderr**2 > gain * est.stderr**2
        assert est.effective_sample_size == plain.effective_sample_size
    gains = plain.finished.stderr[:3] ** 2 / est.finished.stderr[:3] ** 2  # of value and gradient, not of the weight
    low, high = map(float, re.search(r"by ([\d.]+) to ([\d.]+) \(gradient\)", str(est)).groups())
    assert np.allclose([low, high], [gains[1:].min(), gains[1:].max()], rtol=0.2)


def test_points_of_a_proposal():
    est = mg.estimate(beyond, NORMAL, 2**15, proposal=HIGH, sampler="sobol", **NUMPY)
    held_to(est, TAIL["value"], {k: TAIL[k] for k in ("loc", "scale")})
    assert est.stderr < 1e-4 * est.value
    assert est.pareto_k < 0.7
    assert 5 < est.effective_sample_size < 50


@pytest.mark.parametrize("loc", [0.3, np.array([0.3, -0.2])])
def test_bounded_weights_of_points_are_worth_nearly_all_draws(loc):
    q, n = mg.Normal(loc, 1.0, batch_ndim=np.ndim(loc)), 2**10
    with_points = mg.estimate(np.sin, q, n, proposal=mg.Normal(0.0, 1.5), sampler="sobol", **NUMPY)
    plain = mg.estimate(np.sin, q, n, proposal=mg.Normal(0.0, 1.5), **NUMPY)
    assert np.all(with_points.effective_sample_size > 0.99 * n)
    assert np.all(plain.effective_sample_size < 0.9 * n)


def test_pairs_and_runs_that_stop():
    p = mg.Normal(0.5, 1.3)
    est = mg.estimate(lambda z: z**2, NORMAL, N, proposal=p, antithetic=True, covariance=True, **NUMPY)
    held_to(est, 1.0, {"loc": 0.0, "scale": 2.0})
    assert est.effective_sample_size > 0.7 * N
    stopped = mg.Estimator(beyond, NORMAL, proposal=HIGH, backend="numpy").until(rtol=0.03, of="value", seed=2)
    assert stopped.stopping.reached
    held_to(stopped, TAIL["value"], {"loc": TAIL["loc"]})


JOB = """
integrand = "model.py:jump"
distribution = {family = "Normal", loc = -4.0, scale = 1.0}
proposal = {family = "Joint"}
n = 20000
backend = "numpy"
method = "pathwise"
"""


def test_a_job_has_a_proposal(tmp_path, monkeypatch, capsys):
    folder, job = job_folder(tmp_path, monkeypatch), "job.toml"
    (folder / job).write_text(JOB.replace('family = "Joint"', 'family = "Normal", loc = 0.2, scale = 1.0'))
    assert main(["run", job, "--verify"]) == 0
    est = read(folder / "results" / "job.json")
    held_to(est, stats.norm.sf(4.2), {"loc": stats.norm.pdf(4.2), "scale": 4.2 * stats.norm.pdf(4.2)})
    assert est.pareto_k < 0.7
    with np.load(folder / "results" / "job.npz") as arrays:
        assert arrays["effective_sample_size"] == est.effective_sample_size
    assert f"Pareto k of the weighted draws {est.pareto_k:.2f}" in capsys.readouterr().out
    other = JOB.replace('family = "Joint"', 'family = "Normal", loc = 0.3, scale = 1.0')
    (folder / job).write_text(other)
    assert main(["run", job, "--resume"]) == 0
    assert "runs again" in capsys.readouterr().out  # as that result is of another problem
    for given, said in {
        'family = "Poisson", rate = 1.0': "proposal: given Poisson, whose draws",
        "": "proposal.family",
    }.items():
        (folder / job).write_text(JOB.replace('family = "Joint"', given))
        assert main(["run", job, "--force"]) != 0
        assert f"job.toml, {said}" in capsys.readouterr().err
