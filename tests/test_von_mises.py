"""Von Mises and von Mises-Fisher: quantiles and derivatives against mpmath's, moments against Bessel functions."""

from pathlib import Path

import numpy as np
import pytest
import scipy.special as sc
import scipy.stats

import mcgrad as mg
from mcgrad.differentiate.modes import jvp
from mcgrad.distributions.vmf_quantiles import Angle, angle, angle_quantiles
from mcgrad.ir.build import const, input_
from mcgrad.ir.interpret import interpret
from mcgrad.trace.trace import trace

TABLE = np.genfromtxt(Path(__file__).parent / "data/von_mises_fisher.csv", delimiter=",", names=True)
TOLERANCE = {"float64": 1e-11, "float32": 1e-6}
MOST = 4.5  # standard errors; some 60 comparisons
MEAN = np.array([1.0, -2.0, 0.5, 0.3, -0.1]) / np.sqrt(5.35)
each_dtype = pytest.mark.parametrize("dtype", ["float64", "float32"])
each_backend = pytest.mark.parametrize("backend", ["numpy", "cpu"])


def angles(n, kappa, d, dtype):
    """Angles and their derivatives in the concentration, as a Program of this dtype computes them."""
    at = {input_("n", n.shape): n, input_("kappa", ()): np.array(kappa)}
    normals, concentration = at
    theta = trace(lambda n, *, kappa: angle(n, kappa, d - 2), (normals,), {"kappa": concentration})
    leaves = {var: value.astype(dtype)[..., None] for var, value in at.items()}
    return [x[:, 0] for x in interpret([theta, jvp(theta, concentration, const(1.0))], leaves, dtype)]


@each_dtype
@pytest.mark.parametrize("d", [2, 3, 5, 10, 100])
def test_quantiles_and_implicit_derivatives_are_mpmaths(d, dtype):
    for kappa in np.unique(TABLE["kappa"]):
        rows = TABLE[(TABLE["d"] == d) & (TABLE["kappa"] == kappa)]
        theta, slope = angles(rows["n"], kappa, d, dtype)
        assert (theta.dtype, slope.dtype) == (dtype, dtype)
        rounded = float(np.dtype(dtype).type(kappa))  # of 1e-6, float32 has another one
        shift = (rounded - kappa) * -rows["rate"]
        np.testing.assert_allclose(theta, rows["theta"] + shift, rtol=TOLERANCE[dtype])
        # the derivative is as good as an angle can be: where it is steep in theta, theta's own rounding shows
        allowed = TOLERANCE[dtype] * np.maximum(rows["rate"], np.abs(rows["slope"] * rows["theta"]))
        assert np.all(np.abs(slope + rows["rate"]) <= allowed), (kappa, np.abs(slope + rows["rate"]) / allowed)


@pytest.mark.parametrize("m", [0, 1, 2, 30])
def test_pieces_agree_with_the_solver_everywhere(m):
    """For any normal that can be drawn; concentrations about 10 are the hardest."""
    n = np.linspace(0.01 if m == 0 else -8.66, 8.66, 500)
    below, above = (sc.erf(n / 2**0.5), sc.erfc(n / 2**0.5)) if m == 0 else (sc.ndtr(n), sc.ndtr(-n))
    for kappa in (0.0, 0.3, 2.0, 5.0, 9.0, 14.0, 22.0, 30.0, 41.0, 1e3):
        r, far, rate = Angle(kappa, m).quantiles(below, above)
        rows = angle_quantiles(kappa, m)
        piece = rows[np.searchsorted(rows[:, 1], n)]
        y = (n - piece[:, 2]) * piece[:, 3]
        theta, quotient = (
            np.polynomial.polynomial.polyval(y, c.T, tensor=False) for c in (piece[:, 4:18], piece[:, 18:])
        )
        assert np.abs(theta * (n if m == 0 else 1.0) - np.where(far, np.pi - r, r)).max() < 1e-11
        assert np.abs(quotient * np.sin(r) / rate - 1).max() < 1e-11


def test_von_mises_fisher_in_five_dimensions():
    est = mg.estimate(
        lambda z, *, mean: mean @ z, mg.VonMisesFisher(MEAN, 2.0), 200_000, data={"mean": MEAN}, backend="numpy"
    )
    ratio = sc.iv(2.5, 2.0) / sc.iv(1.5, 2.0)
    assert abs(est.value - ratio) < MOST * est.stderr
    assert abs(est.grad["concentration"] - 0.1473886868) < MOST * est.grad_stderr["concentration"]
    assert est.grad_stderr["concentration"] < 7e-4
    assert np.all(np.abs(est.grad["mean_direction"]) < MOST * est.grad_stderr["mean_direction"])


@pytest.mark.parametrize(("dtype", "backend"), [("float64", "numpy"), ("float32", "cpu")])
def test_von_mises_fisher_turns_with_its_mean(dtype, backend):
    """E a.z = A a.mean; in ambient coordinates the gradient is A (a - mean a.mean) / length."""
    a = np.array([0.2, 1.0, 0.0, 0.5, -1.0])
    given = {"data": {"a": a}, "dtype": dtype, "backend": backend, "seed": 5}
    est = mg.estimate(lambda z, *, a: a @ z + np.sum(z * z), mg.VonMisesFisher(-3.0 * MEAN, 7.0), 100_000, **given)
    ratio = sc.ive(2.5, 7.0) / sc.ive(1.5, 7.0)
    want = ratio * (a - MEAN * (MEAN @ a)) / 3.0
    assert abs(est.value - 1 + ratio * (MEAN @ a)) < MOST * est.stderr
    assert np.all(np.abs(est.grad["mean_direction"] - want) < MOST * est.grad_stderr["mean_direction"])
    assert abs(est.grad["mean_direction"] @ MEAN) < 1e-5


@each_backend
@each_dtype
def test_von_mises_has_the_moments_of_bessel_functions(dtype, backend):
    loc, kappa = np.array([0.3, -2.0, 1.0]), np.array([1e-3, 2.0, 300.0])
    given = {"n": 100_000, "dtype": dtype, "backend": backend}
    est = mg.estimate(lambda z, *, w: np.sum(w * np.cos(z)), mg.VonMises(loc, kappa), data={"w": np.ones(3)}, **given)
    mean = sc.i1e(kappa) / sc.i0e(kappa)
    slope = 1 - mean * (mean + 1 / kappa)
    assert abs(est.value - np.sum(mean * np.cos(loc))) < MOST * est.stderr
    for name, want in {"loc": -mean * np.sin(loc), "concentration": slope * np.cos(loc)}.items():
        assert np.all(np.abs(est.grad[name] - want) < MOST * est.grad_stderr[name]), name


@each_dtype
def test_densities_and_entropies_are_scipys(dtype):
    z = np.array([0.1, 2.9, -1.0], dtype)
    tolerance = {"float64": 1e-13, "float32": 3e-6}[dtype]
    for kappa in (1e-3, 1.0, 30.0, 1e4):
        params = {"loc": np.array(0.5, dtype), "concentration": np.array(kappa, dtype)}
        right = scipy.stats.vonmises(kappa, loc=0.5)
        assert mg.VonMises.log_prob(z, **params) == pytest.approx(right.logpdf(z).sum(), rel=tolerance)
        assert mg.VonMises.entropy(**params) == pytest.approx(right.entropy(), rel=10 * tolerance, abs=10 * tolerance)
        params = {"mean_direction": MEAN.astype(dtype), "concentration": np.array(kappa, dtype)}
        x = np.array([0.6, 0.0, 0.0, -0.8, 0.0], dtype)
        right = scipy.stats.vonmises_fisher(MEAN, kappa)
        assert mg.VonMisesFisher.log_prob(x, **params) == pytest.approx(right.logpdf(x.astype(float)), rel=tolerance)
        want = pytest.approx(right.entropy(), rel=1e-6, abs=10 * tolerance)
        assert mg.VonMisesFisher.entropy(**params) == want


def test_score_of_the_density_in_the_concentration():
    """E z of log_prob's gradient is zero, and of cos times it the derivative of E cos: tables differentiate."""
    kappa = input_("kappa", ())
    value = trace(lambda z, *, kappa: mg.VonMises.log_prob(z, loc=0.0, concentration=kappa), (0.7,), {"kappa": kappa})
    (got,) = interpret([jvp(value, kappa, const(1.0))], {kappa: np.array([3.0])}, "float64")
    assert got[0] == pytest.approx(np.cos(0.7) - sc.i1(3.0) / sc.i0(3.0), rel=1e-13)


@each_dtype
@pytest.mark.parametrize("kappa", [0.0, 1e-30, 1e12, 1e30])
def test_any_concentration_ends_and_gives_numbers(kappa, dtype):
    for q in (mg.VonMises(0.5, kappa), mg.VonMisesFisher(MEAN, kappa), mg.VonMisesFisher(np.ones(1000), kappa)):
        est = mg.estimate(lambda z: np.sum(np.cos(z)), q, 500, dtype=dtype, backend="numpy")
        assert est.nonfinite == 0
        assert np.all(np.isfinite(np.atleast_1d(est.grad["concentration"])))
        assert abs(est.grad["concentration"]) < 1.0


@pytest.mark.parametrize("q", [mg.VonMises([0.5, 1.0], [0.1, 9.0]), mg.VonMisesFisher([0.3, -1.0, 2.0], 4.0)], ids=repr)
def test_central_differences_on_the_same_draws(q):
    """The draws are continuous in every parameter."""
    estimator = mg.Estimator(lambda z: np.sum(np.sin(z) * np.arange(1.0, 1.0 + z.size)), q, backend="numpy")
    est = estimator(300)
    for name, value in q.params.items():
        for index in np.ndindex(value.shape):
            step = np.zeros(value.shape)
            step[index] = 1e-5
            up, down = (estimator(300, **{name: value + by}).value for by in (step, -step))
            assert (up - down) / 2e-5 == pytest.approx(np.asarray(est.grad[name])[index], rel=1e-8, abs=1e-9)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mg.VonMises(0.0, -1.0), "concentration: given -1.0; accepted: finite and >= 0"),
        (lambda: mg.VonMisesFisher([0.0, 0.0]), "mean_direction: given zeros; accepted: a vector that is not zero"),
        (lambda: mg.VonMisesFisher([1.0]), "mean_direction: given shape (1,); accepted: shape (d,) with d >= 2"),
        (lambda: mg.VonMisesFisher([1.0, 0.0], [1.0, 2.0]), "concentration: given shape (2,); accepted: one number"),
    ],
)
def test_parameters_that_are_refused(make, message):
    with pytest.raises(mg.ParameterError) as caught:
        make()
    assert str(caught.value) == message
