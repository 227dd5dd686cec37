"""method="auto" holds every method against finite differences, whatever f looks like: what is biased is never taken."""

import numpy as np
import pytest

import mcgrad as mg

Q = mg.Normal(0.2, 1.0)
DENSITY = np.exp(-0.02) / np.sqrt(2 * np.pi)  # of Q at 0
HIDDEN = {  # no comparison, no floor, no sign
    "quotient": (lambda z: z / np.abs(z), 2 * DENSITY),
    "root": (lambda z: z / np.hypot(z, 0.0), 2 * DENSITY),
    "branch": (lambda z: np.arctan2(z, -1.0), None),
    "pole": (lambda z: np.arctan(1 / z), None),
    "tangent": (lambda z: np.tanh(1 / z), None),
    "folds": (lambda z: np.arctan(np.tan(z)), None),
    "ramp": (lambda z: np.clip((z - 0.3) / 1e-6, 0.0, 1.0), np.exp(-0.005) / np.sqrt(2 * np.pi)),
}


def auto(f, q=Q, **options):
    return mg.Estimator(f, q, method="auto", backend="numpy", **options)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", HIDDEN)
def test_jumps_that_no_comparison_shows(name, dtype):
    f, exact = HIDDEN[name]
    estimator = auto(f, dtype=dtype)
    assert "pathwise" not in estimator.plan.method
    assert "pathwise is biased: " in estimator.plan.reason
    if exact is not None:
        est = estimator(40_000)
        assert abs(est.grad["loc"] - exact) < 5 * est.grad_stderr["loc"]


def test_a_rare_jump():
    """Three draws in a thousand, and one in thirty thousand: too few for a mean, and bisected."""
    for threshold in (3.0, 4.2):
        plan = auto(lambda z, at=threshold: np.sin(z) + 2.0 * (z > at)).plan
        assert "pathwise" not in plan.method


def test_functions_of_the_user_and_transforms():
    numba = pytest.importorskip("numba")

    @numba.njit
    def value(z):
        return 1.0 if z[0] > 0.3 else 0.0

    @numba.njit
    def value_and_grad(z, grad):
        grad[0] = 0.0
        return value(z)

    assert auto(mg.Integrand(value=value, value_and_grad=value_and_grad)).plan.method == "measure_valued"
    q = mg.Normal(0.3, 1.0).transformed(lambda x: np.where(x > 0, x + 2.0, x))
    est = mg.estimate(lambda z: z, q, 40_000, method="auto", backend="numpy")
    assert est.method == "difference"
    assert abs(est.grad["loc"] - (1 + 2 * np.exp(-0.045) / np.sqrt(2 * np.pi))) < 5 * est.grad_stderr["loc"]
    floor = mg.Reparameterized(lambda e, *, a: np.floor(a + e) + 0.1 * (a + e), {"a": 0.3}, mg.noise.normal())
    assert auto(lambda z: z, floor).plan.method == "difference"


SMOOTH = {
    "linear": (lambda z: 3 * z, Q),
    "kinks": (lambda z: np.where(z > 0.3, z - 0.3, 0.0) + np.abs(z - 1), Q),
    "heavy": (lambda z: 1 / (1 + z**2), mg.Cauchy(0.3, 0.8)),
    "waves of heavy tails": (np.sin, mg.Cauchy(0.3, 0.8)),
    "steep": (lambda z: np.exp(3 * z), Q),
    "fine": (lambda z: np.sin(200 * z), Q),
    "root": (lambda z: np.sum(z**2), mg.InverseGaussian(1.5, 2.0)),
    "mixture": (lambda z: z**2, mg.VonMises(0.3, 2.0)),
    "constant": (lambda z: 2.0 + 0 * z, Q),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", SMOOTH)
def test_what_is_unbiased_is_not_blamed(name, dtype):
    f, q = SMOOTH[name]
    assert "biased" not in auto(f, q, dtype=dtype).plan.reason


def test_parameters_of_the_integrand():
    est = mg.estimate(lambda z, *, k: np.where(z > k, 1.0, 0.0), mg.Normal(0.0, 1.0), 40_000, params={"k": 0.3},
                      method="auto", backend="numpy")  # fmt: skip
    assert est.method == {"loc": "measure_valued", "scale": "measure_valued", "k": "difference"}
    assert est.choice.startswith("q: ")
    assert "; k: pathwise does not apply: a parameter that the integrand follows in jumps alone" in est.choice
    exact = np.exp(-0.045) / np.sqrt(2 * np.pi)
    assert abs(est.grad["k"] + exact) < 5 * est.grad_stderr["k"]
    for f, method in (
        (lambda z, *, k: k * z + (z > k), "difference"),
        (lambda z, *, k: np.where(z > k, z - k, 0.0), "pathwise"),
        (lambda z, *, k: np.arctan(1 / (z - k)), "difference"),
        (lambda z, *, k: np.sin(k * z), "pathwise"),
    ):
        assert auto(f, params={"k": 0.001}, wrt="k").plan.method == method


def test_compare_says_who_is_off():
    def angle(z):
        return np.arctan2(z[1], z[0])

    found = mg.compare(angle, mg.Normal(np.array([-0.5, 0.2]), np.ones(2)), 16_000, backend="numpy")
    assert set(found.biased) == {"pathwise"}
    assert found.best.method != "pathwise"
    q = mg.Reparameterized(lambda e, *, a: np.floor(a + e) + 0.1 * (a + e), {"a": 0.3}, mg.noise.normal())
    found = mg.compare(lambda z: z, q, 16_000, methods=["pathwise", "difference"], backend="numpy")
    assert set(found.biased) == {"pathwise"}
    only = mg.compare(lambda z: z, q, 16_000, methods=["pathwise"], backend="numpy")
    with pytest.raises(mg.ParameterError, match="methods: given none that is unbiased"):
        _ = only.best


def test_what_float32_rounds_away_is_seen():
    """The differences are in float64, of the same draws: a value that is zero in float32 has a score that is zero."""

    def small(z):
        return ((1.0 + 1e-9 * z) - 1.0) * 1e9 + np.sin(z)

    q = mg.Normal(0.3, 1.2)
    cases = [("score", "float32", False), ("score", "float64", True), ("pathwise", "float32", True)]
    for method, dtype, right in cases:
        found = mg.verify(small, q, 20_000, method=method, dtype=dtype, backends=["numpy"])
        assert found.ok is right, str(found)
        assert f"in {dtype} against central differences in float64" in str(found)
    plan = auto(small, q, dtype="float32").plan
    assert plan.method == "pathwise"
    assert "score+mean is biased" in plan.reason
    compared = mg.compare(small, q, 16_000, methods=["pathwise", "score"], dtype="float32", backend="numpy")
    assert set(compared.biased) == {"score"}
