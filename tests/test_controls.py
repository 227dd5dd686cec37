"""Control variates: what they leave has the variance and the mean that theory says."""

import warnings

import numpy as np
import pytest
from scipy.special import ndtr

import mcgrad as mg

LOC, SCALE = np.array([0.3, -0.1, 0.2, 0.5, 0.1, -0.4]), np.array([1.2, 0.8, 0.5, 1.0, 0.7, 0.9])
SQUARE = mg.Control(lambda z: z**2, mean=lambda loc, scale: loc**2 + scale**2, name="square")


def estimate(f, q, n=4096, **options):
    return mg.estimate(f, q, n, **{"backend": "numpy", **options})


def gains(est):
    return est.control.gains(est.finished)


# --- linear ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("dtype", "gain"), [("float64", 1e25), ("float32", 1e10)])
@pytest.mark.parametrize("coefficients", ["sample", "pilot"])
def test_linear_functions_of_normal_draws_have_no_variance_left(coefficients, dtype, gain):
    w = np.arange(1.0, 7.0)
    given = {"control": "linear", "coefficients": coefficients, "dtype": dtype}
    est = estimate(lambda z: np.sum(w * z), mg.Normal(LOC, SCALE), **given)
    assert est.value == pytest.approx(np.sum(w * LOC), rel=1e-6)
    np.testing.assert_allclose(est.grad["scale"], 0.0, atol=1e-5)
    np.testing.assert_array_equal(est.grad["loc"], w)  # no draw changes it, so it has no control
    assert np.nanmin(gains(est)) > gain


def test_a_gradient_in_a_matrix_has_products_of_two_noises():
    tril = np.array([[1.0, 0, 0], [0.3, 0.8, 0], [-0.2, 0.1, 0.5]])
    w = np.array([1.0, -2.0, 0.5])
    q = mg.MultivariateNormal(np.zeros(3), scale_tril=tril)
    squares = estimate(lambda z: np.sum(w * z) ** 2, q, control="linear")
    grad = np.tril(2 * np.outer(w, w @ tril))
    assert np.all(np.abs(squares.grad["scale_tril"] - grad) <= 5 * squares.grad_stderr["scale_tril"] + 1e-12)
    np.testing.assert_array_equal(np.triu(squares.grad["scale_tril"], 1), 0.0)
    linear = estimate(lambda z: np.sum(w * z), q, control="linear")
    assert np.all(linear.grad_stderr["scale_tril"] < 1e-14)
    own = estimate(lambda z: z[0] * z[1], q, control="linear")
    plain = estimate(lambda z: z[0] * z[1], q)
    assert np.all(own.grad_stderr["scale_tril"] <= 1.05 * plain.grad_stderr["scale_tril"])


def test_uniform_noise_is_centered_and_scaled():
    est = estimate(lambda z: z**2, mg.Uniform(0.5, 2.0), control="linear")
    assert est.value == pytest.approx((8.0 - 0.125) / 4.5, rel=1e-12)
    assert est.stderr < 1e-14
    assert np.nanmax([est.grad_stderr["low"], est.grad_stderr["high"]]) < 1e-14


def test_a_joint_has_controls_by_part():
    q = mg.Joint(a=mg.Normal(LOC, SCALE), b=mg.Gamma(2.0, 1.0))
    est = estimate(lambda z: np.sum(z["a"] ** 2) + z["b"], q, control="linear", n=20_000)
    assert np.all(est.grad_stderr["a"]["loc"] < 1e-14)
    assert np.all(est.grad_stderr["a"]["scale"] < 1e-14)
    assert abs(est.value - np.sum(LOC**2 + SCALE**2) - 2.0) < 5 * est.stderr < 0.02


@pytest.mark.parametrize("method", ["score+leave_one_out", "score+mean", "measure_valued", "difference"])
def test_other_methods_have_linear_controls(method):
    q = mg.Normal(LOC, SCALE)
    est = estimate(lambda z: np.sum(np.exp(0.5 * z)), q, 16_000, control="linear", method=method)
    plain = estimate(lambda z: np.sum(np.exp(0.5 * z)), q, 16_000, method=method)
    terms = np.exp(0.5 * LOC + SCALE**2 / 8)
    for grad, error, before, exact in (
        (est.grad["loc"], est.grad_stderr["loc"], plain.grad_stderr["loc"], 0.5 * terms),
        (est.grad["scale"], est.grad_stderr["scale"], plain.grad_stderr["scale"], 0.25 * SCALE * terms),
    ):
        assert np.all(np.abs(grad - exact) < 5 * error)
        assert np.all(error < 1.02 * before)
    assert est.stderr < 0.5 * plain.stderr


def test_bounds_of_several_draws_have_linear_controls():
    q = mg.Normal(LOC[:2], SCALE[:2])
    objective = mg.iwae(lambda z: -0.5 * np.sum((z - 1.0) ** 2), q, 4)
    est, plain = estimate(objective, None, control="linear"), estimate(objective, None)
    assert est.group == 4
    assert abs(est.value - plain.value) < 5 * np.hypot(est.stderr, plain.stderr)
    assert est.stderr < 0.9 * plain.stderr


# --- quadratic -------------------------------------------------------------------------------------------------------
ROOT = np.array([[1.0, 0, 0], [0.3, 0.8, 0], [-0.2, 0.1, 0.5]])
MATRIX = np.array([[1.0, 0.5, -0.3], [0.2, -2.0, 0.1], [0.4, 0.6, 0.7]])


@pytest.mark.parametrize(
    "q",
    [
        mg.Normal(LOC[:3], SCALE[:3]),
        mg.Normal(LOC[:3], 0.7),
        mg.MultivariateNormal(LOC[:3], scale_tril=ROOT),
        mg.MultivariateNormal(LOC[:3], covariance_matrix=ROOT @ ROOT.T),
    ],
    ids=["scales", "scale", "scale_tril", "covariance_matrix"],
)
def test_quadratic_functions_of_normal_draws_have_no_variance_left(q):
    est, plain = (estimate(lambda z: z @ MATRIX @ z + np.sum(z), q, 2048, control=c) for c in ("quadratic", None))
    assert est.stderr < 1e-14
    assert abs(est.value - plain.value) < 5 * plain.stderr
    for path, before in plain.grad.items():
        assert np.max(est.grad_stderr[path]) < 1e-13
        assert np.all(np.abs(est.grad[path] - before) <= 5 * plain.grad_stderr[path])


def test_quadratic_controls_of_an_elbo_of_several_parts():
    q = mg.Joint(a=mg.Normal(LOC[:2], 0.5), b=mg.MultivariateNormal(LOC[:2], scale_tril=ROOT[:2, :2]))

    def log_joint(z, *, tau):
        return -0.5 * tau * np.sum(z["a"] ** 2) - np.exp(0.5 * z["b"][0]) + z["a"][0] * z["b"][1]

    given = {"params": {"tau": 1.3}, "dtype": "float32"}
    est = estimate(mg.elbo(log_joint, q), None, 8192, control="quadratic", **given)
    plain = estimate(mg.elbo(log_joint, q), None, 8192, **given)
    mean = np.exp(0.5 * LOC[0] + 0.125)
    assert abs(est.grad["b"]["loc"][0] + 0.5 * mean) < 5 * est.grad_stderr["b"]["loc"][0]
    assert abs(est.grad["b"]["scale_tril"][0, 0] - 1.0 + 0.25 * mean) < 5 * est.grad_stderr["b"]["scale_tril"][0, 0]
    assert est.stderr < 0.2 * plain.stderr
    assert est.grad_stderr["b"]["loc"][0] < 0.5 * plain.grad_stderr["b"]["loc"][0]
    assert est.grad["tau"] == plain.grad["tau"]  # f's own parameters have no control


def test_a_model_that_is_not_finite_at_the_mean_costs_nothing():
    q = mg.Normal(np.zeros(2), 1.0)
    both, linear = (
        estimate(lambda z: np.sum(np.sqrt(np.abs(z))), q, control=c) for c in (["linear", "quadratic"], "linear")
    )
    assert both.value == pytest.approx(linear.value, rel=1e-12)
    assert both.stderr == pytest.approx(linear.stderr, rel=1e-12)


@pytest.mark.parametrize(
    ("f", "q", "options", "message"),
    [
        (np.exp, mg.Gamma(2.0, 1.0), {}, "'quadratic' with draws of Gamma; accepted: draws of Normal or Multivar"),
        (np.exp, mg.Normal(0.3, 1.2), {"method": "score"}, "'quadratic' for the gradient in loc by 'score'"),
        (lambda z: z, mg.Normal(LOC, SCALE), {}, "'quadratic' for an integrand that returns 6 numbers"),
        (mg.iwae(lambda z: -z * z, mg.Normal(0.3, 1.2), 3), None, {}, "'quadratic' for an integrand of 3 draws"),
    ],
)
def test_quadratic_controls_are_refused_by_name(f, q, options, message):
    with pytest.raises(mg.ParameterError, match=f"control: given {message}"):
        estimate(f, q, 100, control="quadratic", **options)


# --- a known mean ----------------------------------------------------------------------------------------------------
def test_a_control_serves_the_value_and_the_gradient():
    q = mg.Normal(0.3, 1.2)
    est = estimate(lambda z: 2.0 * z**2 + 0.01 * np.sin(z), q, control=SQUARE)
    plain = estimate(lambda z: 2.0 * z**2 + 0.01 * np.sin(z), q)
    damp = 0.01 * np.exp(-0.72)
    exact = {"loc": 1.2 + damp * np.cos(0.3), "scale": 4.8 - 1.2 * damp * np.sin(0.3)}
    assert abs(est.value - 2 * (0.09 + 1.44) - damp * np.sin(0.3)) < 5 * est.stderr < 0.02 * plain.stderr
    for path, x in exact.items():
        assert abs(est.grad[path] - x) < 5 * est.grad_stderr[path] < 0.05 * plain.grad_stderr[path]


def test_the_geometric_asian_option_is_a_control_of_the_arithmetic_one():
    m, strike, rate = 8, 100.0, 0.05
    times = np.arange(1, m + 1) / m

    def path(z, spot, sigma):
        return spot * np.exp(np.cumsum((rate - 0.5 * sigma**2) / m + sigma * np.sqrt(1 / m) * z))

    def arithmetic(z, *, spot, sigma):
        return np.exp(-rate) * np.maximum(np.mean(path(z, spot, sigma)) - strike, 0)

    def geometric(z, spot, sigma):
        return np.exp(-rate) * np.maximum(np.exp(np.mean(np.log(path(z, spot, sigma)))) - strike, 0)

    def price(spot, sigma):
        mean = np.log(spot) + (rate - 0.5 * sigma**2) * times.mean()
        deviation = sigma * np.sqrt(np.minimum(times[:, None], times).mean())
        d = (mean - np.log(strike)) / deviation + deviation
        return np.exp(-rate) * (np.exp(mean + deviation**2 / 2) * ndtr(d) - strike * ndtr(d - deviation))

    given = {"params": {"spot": 100.0, "sigma": 0.2}, "wrt": ["spot", "sigma"]}
    q = mg.Normal(np.zeros(m), 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", mg.ControlWarning)
        est = estimate(arithmetic, q, 8192, control=mg.Control(geometric, mean=price), **given)
    plain = estimate(arithmetic, q, 400_000, **given)
    assert abs(est.value - plain.value) < 5 * plain.stderr
    assert abs(est.grad["sigma"] - plain.grad["sigma"]) < 5 * plain.grad_stderr["sigma"]
    assert gains(est)[0] > 300
    assert gains(est).min() > 20
    assert "control variate geometric, coefficients of the same draws: variance divided by" in str(est)


def test_a_wrong_mean_warns_and_names_the_control():
    q = mg.Normal(0.3, 1.2)
    wrong = mg.Control(lambda z: z**2, mean=2.0, name="square")
    with pytest.warns(mg.ControlWarning, match="'square': its mean over 4,096 draws is .* standard errors"):
        estimate(np.exp, q, control=wrong)
    wrong = mg.Control(lambda z: z**2, mean=lambda loc, scale: loc**2 + 1.44 + 0 * scale)
    with pytest.warns(mg.ControlWarning, match="derivative of its mean in scale"):
        estimate(np.exp, q, control=wrong, coefficients="pilot")


def test_a_number_for_a_mean_serves_the_value_alone():
    est, plain = (estimate(np.exp, mg.Normal(0.3, 1.2), control=c) for c in (mg.Control(np.square, mean=1.53), None))
    assert est.stderr < 0.8 * plain.stderr
    assert est.grad == plain.grad


def test_functions_get_the_arguments_that_they_name():
    def f(z, *, tau, X):
        return np.sum(X * z) * tau

    def h(z, X):
        return np.sum(X * z)

    given = {"params": {"tau": 2.0}, "data": {"X": np.array([1.0, 2.0])}, "wrt": ["loc", "tau"]}
    control = mg.Control(h, mean=lambda q_or_loc=None, *, loc, X: np.sum(loc * X))
    est = estimate(f, mg.Normal([0.1, 0.2], 1.0), control=control, **given)
    assert est.value == pytest.approx(1.0, rel=1e-9)
    assert est.stderr < 1e-12
    with pytest.raises(mg.ParameterError, match=r"control: given a mean of .* with an argument 'mu'; accepted: arg"):
        estimate(f, mg.Normal([0.1, 0.2], 1.0), control=mg.Control(h, mean=lambda mu: mu), **given)


# --- what is left ----------------------------------------------------------------------------------------------------
def test_useless_and_collinear_controls_cost_next_to_nothing():
    q = mg.Normal(LOC, SCALE)
    noise = mg.Control(
        lambda z: np.sin(7 * z[5]), mean=lambda loc, scale: np.exp(-24.5 * scale[5] ** 2) * np.sin(7 * loc[5])
    )
    same = mg.Control(lambda z: z[0], mean=lambda loc: loc[0])
    constant = mg.Control(lambda z: 0.0 * z[0] + 3.0, mean=3.0, name="constant")

    def f(z):
        return np.cos(z[0]) * np.cos(z[1])

    plain = estimate(f, q)
    useless = estimate(f, q, control=noise)
    assert useless.stderr == pytest.approx(plain.stderr, rel=2e-3)
    for dtype in ("float32", "float64"):
        linear = estimate(f, q, control="linear", dtype=dtype)
        both = estimate(f, q, control=["linear", same, constant], dtype=dtype)
        assert both.stderr == pytest.approx(linear.stderr, rel=1e-3)
        assert np.isfinite(both.grad["scale"]).all()


@pytest.mark.parametrize("coefficients", ["sample", "pilot"])
def test_a_float32_control_may_take_all_but_a_millionth_of_the_variance(coefficients):
    given = {"control": "linear", "dtype": "float32", "coefficients": coefficients}
    est = estimate(lambda z: z + 1e-3 * np.sin(3 * z), mg.Normal(1.0, 1.0), 200_000, **given)
    exact = 1.0 + 1e-3 * np.exp(-4.5) * np.sin(3.0)
    assert 1e5 < gains(est)[0] < 1e7
    assert abs(est.value - exact) < 4 * est.stderr
    assert est.stderr * np.sqrt(est.n) == pytest.approx(7e-4, rel=0.1)


def test_intervals_cover_and_the_bias_is_below_a_tenth_of_the_standard_error():
    seeds, n = 400, 256
    runs = {
        kind: mg.Estimator(
            lambda z: np.sin(z), mg.Normal(0.3, 0.8), backend="numpy", control="linear", coefficients=kind
        )
        for kind in ("sample", "pilot")
    }
    exact = np.exp(-0.32) * np.array([np.sin(0.3), np.cos(0.3), -0.8 * np.sin(0.3)])
    means, errors = {}, {}
    for kind, run in runs.items():
        found = [run(n, seed=seed) for seed in range(seeds)]
        means[kind] = np.array([[x.value, x.grad["loc"], x.grad["scale"]] for x in found])
        errors[kind] = np.array([[x.stderr, x.grad_stderr["loc"], x.grad_stderr["scale"]] for x in found])
        covered = np.mean(np.abs(means[kind] - exact) < 1.97 * errors[kind], axis=0)
        assert covered.min() > 0.91  # 4.8 standard deviations below 0.95 would be 0.898; skewness takes some
        spread = means[kind].std(axis=0)
        assert np.all(np.abs(means[kind].mean(axis=0) - exact) < 4 * spread / np.sqrt(seeds))
    # the pilot's are unbiased, from the same draws: the difference of the two has the bias and little noise
    bias = (means["sample"] - means["pilot"]).mean(axis=0)
    assert np.all(np.abs(bias) < 0.1 * errors["sample"].mean(axis=0))


def test_few_draws_keep_the_coefficients_of_the_pilot():
    few = [
        estimate(np.exp, mg.Normal(0.3, 0.8), 8, control="linear", coefficients=kind) for kind in ("sample", "pilot")
    ]
    assert few[0].value == pytest.approx(few[1].value, abs=0.1 * few[1].stderr)
    assert few[0].stderr == pytest.approx(few[1].stderr, rel=0.1)
