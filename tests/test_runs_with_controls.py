"""Control variates in runs: parts merge, files keep them, "auto" chooses among them, job files name them."""

import pickle

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.cli import main
from tests.test_controls import LOC, SCALE, SQUARE, estimate


# --- parts, files, backends ------------------------------------------------------------------------------------------
def test_parts_merge_to_one_run_in_memory_and_from_files():
    run = mg.Estimator(
        lambda z: np.exp(z) * np.sin(z), mg.Normal(0.3, 0.8), backend="numpy", control=["linear", SQUARE]
    )
    whole = run(4000, seed=3)
    early, late = run(1000, seed=3), run(3000, seed=3, first=1000)
    parts = early.merge(mg.Estimate.from_json(late.to_json()))
    assert parts.value == pytest.approx(whole.value, rel=1e-13)
    assert parts.stderr == pytest.approx(whole.stderr, rel=1e-12)
    assert parts.grad["scale"] == pytest.approx(whole.grad["scale"], rel=1e-13)
    again = pickle.loads(pickle.dumps(whole))
    assert (again.value, again.stderr, str(again)) == (whole.value, whole.stderr, str(whole))
    assert pickle.loads(pickle.dumps(run))(4000, seed=3).to_dict()["moments"] == whole.to_dict()["moments"]
    with pytest.raises(mg.MergeError, match="control variates"):
        early.merge(mg.Estimator(lambda z: np.exp(z), mg.Normal(0.3, 0.8), backend="numpy")(100, seed=3, first=1000))


def test_a_run_resumes_with_the_same_bits():
    run = mg.Estimator(lambda z: np.exp(z), mg.Normal(0.3, 0.8), backend="numpy", control="linear")
    states = []
    whole = run.run(200_000, watch=states.append)
    again = run.run(200_000, resume=states[len(states) // 2])
    assert (again.value, again.stderr, again.grad) == (whole.value, whole.stderr, whole.grad)


def test_damaged_fields_are_refused():
    fields = estimate(np.exp, mg.Normal(0.3, 0.8), 100, control="linear").to_dict()
    for name, wrong in [("entries", [[0, 1, 0, 99, 0]]), ("deviation", [1.0]), ("controls", -1), ("coefficients", "x")]:
        with pytest.raises(mg.ParameterError, match=f"control.{name}"):
            mg.Estimate.from_dict({**fields, "control": {**fields["control"], name: wrong}})
    with pytest.raises(mg.ParameterError, match=r"moments\.mean"):
        mg.Estimate.from_dict({**fields, "control": {**fields["control"], "controls": 99}})


def test_kernels_average_what_the_reference_does():
    def f(z):
        return np.sum(z[1:] * np.exp(z[:-1]))

    given = {"control": ["linear", "quadratic"], "dtype": "float64"}
    here, there = (estimate(f, mg.Normal(LOC[:5], SCALE[:5]), 10_000, backend=x, **given) for x in ("numpy", "cpu"))
    assert there.value == pytest.approx(here.value, rel=1e-12)
    np.testing.assert_allclose(there.grad["scale"], here.grad["scale"], rtol=1e-11)
    np.testing.assert_allclose(there.grad_stderr["loc"], here.grad_stderr["loc"], rtol=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"control": "cubic"}, 'control: given \'cubic\'; accepted: None, "auto", "linear"'),
        ({"control": ["linear", "linear"]}, "control: given two of the name 'linear'"),
        ({"control": "linear", "coefficients": "best"}, "coefficients: given 'best'"),
        ({"control": "linear", "nonfinite": "omit"}, "nonfinite: given 'omit' with control variates"),
        ({"control": "linear", "antithetic": True}, "antithetic: given True with control variates"),
        ({"control": "linear", "covariance": True}, "covariance: given True with control variates"),
        ({"control": SQUARE, "method": "difference"}, "control: given Control.square. for the gradient in loc by"),
        ({"control": mg.Control(np.square, mean=[1.0, 2.0])}, r"control: given a mean of shape \(2,\) for"),
    ],
)
def test_what_does_not_go_together_is_refused(options, message):
    with pytest.raises(mg.ParameterError, match=message):
        estimate(np.exp, mg.Normal(0.3, 1.2), 100, **options)


@pytest.mark.parametrize(
    ("mean", "message"),
    [
        (None, "mean: given None; accepted: the mean of h"),
        (np.nan, "mean: given nan; accepted: finite numbers"),
        ("x", "mean: given 'x'; accepted: a number"),
        ({"a": 1.0, "b": [0.0, np.inf]}, r"mean\.b: given inf at \[1\]"),
    ],
)
def test_a_mean_that_is_no_number_is_refused(mean, message):
    with pytest.raises(mg.ParameterError, match=f"^{message}"):
        mg.Control(np.sin, mean=mean)


# --- auto ------------------------------------------------------------------------------------------------------------
def test_auto_takes_the_controls_that_gain_most():
    q = mg.Normal(LOC[:2], 0.1 * SCALE[:2])
    run = mg.Estimator(lambda z: np.exp(z[0]) * np.cos(z[1]), q, control="auto", backend="numpy")
    assert "quadratic" in run.plan.controls
    est = run(2000)
    assert "control variate" in est.choice
    assert est.control.names == run.plan.controls
    again = pickle.loads(pickle.dumps(run))(2000)
    assert again.to_dict()["moments"] == est.to_dict()["moments"]
    assert mg.verify(lambda z: np.exp(z[0]), q, 4000, control="auto", backends="numpy").ok


def test_auto_takes_none_where_none_helps_and_leaves_out_what_does_not_apply():
    none = estimate(lambda z: np.sin(9 * z), mg.Normal(0.3, 1.5), 1000, control="auto")
    assert none.control is None
    assert none.choice == "no control variate gains as much as it costs"
    found = estimate(lambda z: z**2, mg.Gamma(3.0, 1.0), 1000, control="auto", method="auto")
    assert found.control.names == ("linear",)
    assert "efficient as none" in found.choice
    with pytest.raises(mg.ParameterError, match="control: given 'auto'"):
        estimate(np.exp, mg.Normal(0.3, 1.5), 100, control=["auto", "linear"])


# --- comparison, verification, jobs ----------------------------------------------------------------------------------
def test_compare_shows_each_method_with_each_control():
    def f(z):
        return np.exp(0.5 * z[0]) + z[0] * z[1]

    q = mg.Normal(LOC[:2], SCALE[:2])
    found = mg.compare(
        f, q, 8000, methods=["pathwise", "score"], controls=[None, "linear", ["linear", SQUARE]], backend="numpy"
    )
    assert [row.method for row in found.rows] == [
        *("pathwise", "pathwise, linear", "pathwise, linear, square"),
        *("score", "score, linear", "score, linear, square"),
    ]
    assert not found.biased
    assert found["pathwise, linear"].variance.sum() < 0.5 * found["pathwise"].variance.sum()
    both = mg.compare(f, q, 8000, methods=["pathwise", "score"], controls=[None, "quadratic"], backend="numpy")
    assert list(both.refused) == ["score, quadratic"]
    with pytest.raises(mg.ParameterError, match=r"^control: given 'quadratic' for the gradient in loc by 'score'"):
        mg.compare(f, q, 8000, methods=["pathwise", "score"], controls=["quadratic"], backend="numpy")
    assert both["pathwise, quadratic"].variance.sum() < 0.1 * both["pathwise"].variance.sum()


def test_verify_and_explain_take_controls():
    q = mg.Normal(LOC[:2], SCALE[:2])
    found = mg.verify(lambda z: np.exp(z[0]) * z[1], q, 4000, control=["linear", "quadratic"], backends="numpy")
    assert found.ok
    run = mg.Estimator(lambda z: np.exp(z[0]) * z[1], q, control="linear", backend="numpy")
    assert "control variates: linear; coefficients corrected by the same draws; averaged besides:" in run.explain()
    assert "control=(linear)" in repr(run)


def test_a_run_that_stops_at_a_tolerance_looks_at_what_controls_leave():
    q = mg.Normal(0.3, 0.8)
    plain, linear = (mg.Estimator(np.exp, q, backend="numpy", control=c).until(rtol=3e-3) for c in (None, "linear"))
    assert linear.stopping.reached
    assert plain.stopping.reached
    assert linear.n < plain.n


def test_jobs_have_controls_by_name_and_by_reference(tmp_path):
    (tmp_path / "f.py").write_text(
        "import mcgrad as mg\nimport numpy as np\ndef f(z):\n    return np.exp(z)\n"
        "square = mg.Control(lambda z: z**2, mean=lambda loc, scale: loc**2 + scale**2, name='square')\n"
        "wrong = mg.Control(lambda z: z**2, mean=5.0)\n"
    )
    head = 'integrand = "f.py:f"\ndistribution = { family = "Normal", loc = 0.3, scale = 0.8 }\n'
    head += 'n = 1000\nbackend = "numpy"\n'
    job = tmp_path / "job.toml"
    job.write_text(head + 'control = ["linear", "f.py:square"]\ncoefficients = "pilot"\n')
    assert main(["run", str(job)]) == 0
    est = mg.Estimate.from_json((tmp_path / "results" / "job.json").read_bytes())
    assert (est.control.names, est.control.coefficients) == (("linear", "square"), "pilot")
    assert (
        est.value == estimate(np.exp, mg.Normal(0.3, 0.8), 1000, control=["linear", SQUARE], coefficients="pilot").value
    )
    job.write_text(head + 'control = "f.py:f"\n')
    assert main(["run", str(job)]) != 0


def test_replicates_of_points_have_coefficients_of_all_together():
    def h(z):
        return np.exp(0.7 * z[0]) * np.cos(z[1])

    def mean(loc, scale):
        return np.exp(0.7 * loc[0] + 0.245 * scale[0] ** 2 - 0.5 * scale[1] ** 2) * np.cos(loc[1])

    def f(z):
        return h(z) + 0.1 * np.sin(3 * z[0])

    q = mg.Normal(LOC[:2], SCALE[:2])
    run = mg.Estimator(f, q, control=["linear", mg.Control(h, mean=mean)], sampler="sobol", backend="numpy")
    plain = mg.Estimator(f, q, sampler="sobol", backend="numpy")
    damp = 0.1 * np.exp(-4.5 * SCALE[0] ** 2)
    exact = mean(LOC, SCALE) + damp * np.sin(3 * LOC[0])
    slope = 0.7 * mean(LOC, SCALE) + 3 * damp * np.cos(3 * LOC[0])
    est, without = run(2048), plain(2048)
    assert abs(est.value - exact) < 5 * est.stderr < 2.5 * without.stderr
    assert abs(est.grad["loc"][0] - slope) < 5 * est.grad_stderr["loc"][0]
    assert est.confidence_interval().value[0] < exact < est.confidence_interval().value[1]
    assert "variance divided by" in str(est)
    again = mg.Estimate.from_json(est.to_json())
    assert (again.value, again.stderr) == (est.value, est.stderr)
    both = est.merge(run(2048, first=2048))
    assert both.value == pytest.approx(run(4096).value, rel=1e-12)
