"""mg.compare and method="auto": the same draws for all, the most efficient wins, and what is biased never does."""

import numpy as np
import pytest

import mcgrad as mg

Q = mg.Normal(0.0, 1.0)
DIGITAL = np.exp(-(0.3**2) / 2) / np.sqrt(2 * np.pi)  # d P(z > 0.3) / d loc


def digital(z):
    return np.where(z > 0.3, 1.0, 0.0)


def smooth(z):
    return np.sin(z)


def log_joint(z):
    return -0.5 * np.sum((z - 1.0) ** 2)


def test_every_method_sees_the_same_draws():
    found = mg.compare(smooth, mg.Normal(0.3, 1.2), 8000, seed=5, backend="numpy")
    assert [row.method for row in found.rows] == [
        *("pathwise", "score", "measure_valued", "difference", "score+mean", "score+leave_one_out", "score+optimal"),
    ]
    assert found.components == ("loc", "scale")
    exact = np.cos(0.3) * np.exp(-0.72)
    for row in found.rows:
        alone = mg.estimate(smooth, mg.Normal(0.3, 1.2), 8000, method=row.method, seed=5, backend="numpy")
        assert row.estimate.grad["loc"] == pytest.approx(alone.grad["loc"], rel=1e-9)
        assert row.variance[0] == pytest.approx(8000 * row.estimate.grad_stderr["loc"] ** 2)
        assert abs(row.estimate.grad["loc"] - exact) < 5 * row.estimate.grad_stderr["loc"]
        np.testing.assert_allclose(row.efficiency, 1 / (row.variance * row.seconds))
        assert row.seconds > 0
    values = {row.estimate.value for row in found.rows if row.estimate.group == 1}
    assert np.ptp(list(values)) < 1e-12
    assert found.biased == {}
    assert found["score"].overall < found.best.overall


def test_a_table():
    printed = str(mg.compare(smooth, Q, 4000, methods=["pathwise", {"scale": "score+mean"}], backend="numpy"))
    assert "the same 4,000 draws, float64, numpy" in printed
    for word in ("variance", "time/draw", "efficiency", "relative", "gradient", "scale: score+mean", "loc"):
        assert word in printed
    assert "... 3 more components" in str(
        mg.compare(lambda z: np.sum(z**2), mg.Normal(np.zeros(14)), 400, methods=["pathwise"], backend="numpy")
    )


def test_a_plot(tmp_path):
    found = mg.compare(digital, Q, 1000, methods=["score", "measure_valued"], backend="numpy")
    assert len(found.plot(tmp_path / "c.png").axes) == 2
    assert (tmp_path / "c.png").read_bytes()[:4] == b"\x89PNG"


def test_methods_that_do_not_apply_are_named():
    found = mg.compare(lambda z: np.sum(z), mg.MultivariateNormal(np.zeros(2), np.eye(2)), 1600, backend="numpy")
    assert "no measure-valued decomposition" in found.refused["measure_valued"]
    assert "measure_valued does not apply" in str(found)
    with pytest.raises(mg.ParameterError, match="no measure-valued decomposition"):
        mg.compare(np.sum, mg.MultivariateNormal(np.zeros(2), np.eye(2)), 1000, methods=["measure_valued"])
    with pytest.raises(mg.ParameterError, match="methods: given 'auto'"):
        mg.compare(np.sum, mg.Normal(np.zeros(2)), 1000, methods=["auto"])
    with pytest.raises(mg.ParameterError, match="methods: given none"):
        mg.compare(smooth, Q, 1000, methods=[])
    with pytest.raises(mg.ParameterError, match="n: given 12; accepted: at least 16"):
        mg.compare(smooth, Q, 12)


def test_objectives_have_their_own_methods():
    names = [row.method for row in mg.compare(mg.elbo(log_joint, Q), n=1600, backend="numpy").rows]
    assert "stl" in names
    assert "dreg" not in names
    names = [row.method for row in mg.compare(mg.iwae(log_joint, Q, 4), n=6400, backend="numpy").rows]
    assert "dreg" in names
    assert "stl" not in names


# --- a digital option: the pathwise gradient is zero for every draw, and wrong ---------------------------------------
def test_compare_says_what_is_biased():
    found = mg.compare(digital, Q, 16_000, backend="numpy")
    assert set(found.biased) == {"pathwise"}
    assert found.best.method == "measure_valued"
    assert "pathwise is" in str(found)
    assert "standard errors from finite differences" in str(found)


def test_verify_catches_it_and_passes_the_others():
    wrong = mg.verify(digital, Q, 4000, backends=["numpy"])
    assert not wrong.ok
    for method in ("score", "score+mean", "score+leave_one_out", "measure_valued", "auto"):
        found = mg.verify(digital, Q, 4000, method=method, backends=["numpy"])
        assert found.ok, str(found)
    assert found.method == "measure_valued"


def test_a_score_that_is_not_that_of_the_draws_is_refused():
    q = mg.Reparameterized(lambda eps, *, a: a + 2 * eps, {"a": 0.3}, mg.noise.normal(),
                           log_prob=lambda z, *, a: -0.5 * (z - a) ** 2)  # fmt: skip
    with pytest.raises(mg.ParameterError, match=r"^a: .* the mean of .* standard errors from zero"):
        mg.verify(smooth, q, 4000, method="score", backends=["numpy"])


@pytest.mark.parametrize("seed", [0, 1])
def test_auto_never_takes_the_biased_one(seed):
    est = mg.estimate(digital, Q, 40_000, method="auto", seed=seed, backend="numpy")
    assert est.method == "measure_valued"
    assert "pathwise is biased" in est.choice
    assert "pathwise is biased" in str(est)
    assert abs(est.grad["loc"] - DIGITAL) < 5 * est.grad_stderr["loc"]


@pytest.mark.parametrize(
    "f",
    [
        lambda z: np.sign(z - 0.2) * z**2 + z,
        lambda z: np.floor(2 * z),
        lambda z: 20 * (z > 1.0) + np.sin(z),
        lambda z: np.maximum(z, 0) * np.where(z < 1, 1.0, 2.0),
    ],
)
def test_auto_sees_jumps_of_many_kinds(f):
    assert "pathwise" not in mg.Estimator(f, Q, method="auto", backend="numpy").plan.method


def test_auto_takes_pathwise_where_it_is_best():
    estimator = mg.Estimator(lambda z: np.sum(np.sin(z)), mg.Normal(np.zeros(10)), method="auto", backend="numpy")
    assert estimator.plan.method == "pathwise"
    assert "times as efficient as" in estimator.plan.reason
    kink = mg.Estimator(lambda z: np.where(z > 0.3, z - 0.3, 0.0) * 2, Q, method="auto", backend="numpy")
    assert "biased" not in kink.plan.reason  # written with a comparison, but continuous


def test_auto_chooses_for_each_part():
    q = mg.Joint(a=mg.Normal(np.zeros(3), 1.0), b=mg.Bernoulli(np.array([0.3, 0.6])))
    est = mg.estimate(lambda z: np.sum(z["b"]) * np.sum(np.sin(z["a"])), q, 4000, method="auto", backend="numpy")
    assert est.method == {"a.loc": "pathwise", "a.scale": "pathwise", "b.probs": "measure_valued"}
    assert est.choice.startswith("a: ")
    assert "; b: " in est.choice


def test_auto_takes_the_landing_where_q_is_the_target():
    est = mg.estimate(mg.elbo(log_joint, mg.Normal(np.ones(2), np.ones(2))), n=1000, method="auto", backend="numpy")
    assert est.method == "stl"
    assert not est.grad_stderr["loc"].any()


def test_auto_does_not_depend_on_the_seed_or_the_clock():
    plans = [mg.Estimator(smooth, mg.Normal(0.3, 1.2), method="auto", backend="numpy").plan for _ in range(2)]
    assert plans[0] == plans[1]
    one, two = (mg.estimate(smooth, Q, 1000, method="auto", seed=s, backend="numpy").method for s in (0, 1))
    assert one == two


def test_auto_without_a_density():
    transform, noise = (lambda eps, *, a: a + eps), mg.noise.normal()
    plain = mg.Reparameterized(transform, {"a": 0.3}, noise)
    assert mg.Estimator(smooth, plain, method="auto", backend="numpy").plan.method == "pathwise"
    est = mg.estimate(digital, plain, 40_000, method="auto", backend="numpy")
    assert est.method == "difference"
    assert "nothing else applies (pathwise is biased: " in est.choice
    exact = np.exp(-((0.3 - 0.3) ** 2) / 2) / np.sqrt(2 * np.pi)
    assert abs(est.grad["a"] - exact) < 5 * est.grad_stderr["a"]


def test_auto_for_parameters_of_the_integrand_alone():
    est = mg.estimate(lambda z, *, a: a * z, Q, 1000, params={"a": 2.0}, wrt="a", method="auto", backend="numpy")
    assert est.method == "pathwise"


def test_methods_are_compared_at_any_scale_and_what_is_not_finite_is_not_exact():
    run = {"n": 1000, "data": {"s": 1e200}, "backend": "numpy", "methods": ("score", "score+mean")}
    huge = mg.compare(lambda z, *, s: np.maximum(s * (5 + np.sin(z)), -s), mg.Normal(0.3, 1.2), **run)
    assert huge.best.method == "score+mean"
    assert 0 < huge["score+mean"].error < huge["score"].error < np.inf
    spoiled = mg.compare(np.log, mg.Normal(0.3, 1.2), n=1000, backend="numpy", methods=("pathwise", "score"))
    assert str(spoiled).count("not finite") == 2
    assert "exact" not in str(spoiled)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("q", [mg.Normal(np.zeros(2), np.ones(2)), mg.OneHotCategorical(probs=[0.2, 0.3, 0.5])])
def test_groups_whose_gradient_no_draw_changes_are_not_called_biased(q, dtype):
    """Scores of a constant with the mean of others as baseline are zero, and differences of an entropy round."""
    bound = mg.elbo(lambda z: 0.0 * z[0] + 1.0, q)
    assert not mg.compare(
        bound, n=4000, methods=["score+mean", "score+leave_one_out"], dtype=dtype, backend="numpy"
    ).biased
