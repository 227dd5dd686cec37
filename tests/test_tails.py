"""Transforms far out in the tails: finite in both dtypes, and float32 next to float64 at the same noise."""

import numpy as np
import pytest
import scipy.special

import mcgrad as mg
from mcgrad import tree
from mcgrad.differentiate.modes import reverse
from mcgrad.ir.build import input_
from mcgrad.ir.interpret import interpret
from mcgrad.trace.trace import trace

NOISE = {  # up to the ends of what float32 draws
    "normal": [-6.5, -5.0, -3.0, -1.0, -0.3, -1e-3, 1e-3, 0.3, 1.0, 3.0, 5.0, 6.5],
    "uniform": [2**-25, 2**-24, 1e-6, 1e-3, 0.1, 0.4999, 0.5, 0.5001, 0.9, 0.999, 1 - 2**-20, 1 - 2**-24],
}
CASES = {
    "exponential": mg.Exponential(0.7),
    "laplace": mg.Laplace(0.0, 1.3),
    "logistic": mg.Logistic(0.0, 1.3),
    "gumbel": mg.Gumbel(0.0, 1.3),
    "cauchy": mg.Cauchy(0.0, 1.3),
    "half-cauchy": mg.HalfCauchy(1.3),
    "weibull, heavy": mg.Weibull(1.3, 0.3),
    "weibull, narrow": mg.Weibull(1.3, 30.0),
    "pareto": mg.Pareto(1.3, 0.4),
    "generalized pareto": mg.GeneralizedPareto(0.0, 1.0, 0.3),
    "generalized pareto, bounded": mg.GeneralizedPareto(0.0, 1.0, -0.3),
    "generalized pareto, nearly exponential": mg.GeneralizedPareto(0.0, 1.0, 1e-3),
    "generalized pareto, exponential": mg.GeneralizedPareto(0.0, 1.0, 0.0),
    "kumaraswamy": mg.Kumaraswamy(30.0, 20.0),
    "kumaraswamy, at 0": mg.Kumaraswamy(0.3, 200.0),
    "kumaraswamy, at both ends": mg.Kumaraswamy(0.3, 0.2),
    "logit-normal": mg.LogitNormal(0.3, 4.0),
    "sinh-arcsinh": mg.SinhArcsinh(0.0, 1.0, 0.5, 1.5),
    "triangular": mg.Triangular(0.0, 1.0, 0.3),
    "triangular, one side": mg.Triangular(0.0, 1.0, 0.0),
    "truncated at 8": mg.TruncatedNormal(0.0, 1.0, low=8.0),
    "truncated to 8 ... 9": mg.TruncatedNormal(0.0, 1.0, 8.0, 9.0),
    "truncated at -9": mg.TruncatedNormal(0.0, 1.0, high=-9.0),
    "truncated at 30": mg.TruncatedNormal(0.0, 1.0, low=30.0),
    "hardly truncated": mg.TruncatedNormal(0.0, 1.0, -30.0, 30.0),
    "truncated to a sliver": mg.TruncatedNormal(0.0, 1.0, 0.5, 0.501),
    "relaxed bernoulli, cold": mg.RelaxedBernoulli(1e-3, logits=0.3),
    "relaxed bernoulli, hot": mg.RelaxedBernoulli(30.0, probs=1e-6),
}


def draw_and_gradient(q, eps, dtype):
    """Return z and dz/dphi for each parameter, for an array of noises."""
    params = {path: input_(path, x.shape) for path, x in q.flat_params.items()}
    noise = input_("eps", ())
    z = trace(q.transform, (noise,), tree.unflatten(params))
    leaves = {params[path]: x.astype(dtype)[..., None] for path, x in q.flat_params.items()}
    leaves[noise] = np.array(eps, np.float32).astype(dtype)
    return [np.broadcast_to(x, len(eps)) for x in interpret([z, *reverse(z, list(params.values()))], leaves, dtype)]


@pytest.mark.parametrize("name", CASES)
def test_float32_is_right_to_the_ends_of_the_noise(name):
    q = CASES[name]
    eps = NOISE[q.noise.kind]
    narrow, wide = (draw_and_gradient(q, eps, dtype) for dtype in ("float32", "float64"))
    for got, right in zip(narrow, wide, strict=True):
        assert np.isfinite(got).all()
        assert np.isfinite(right).all()
        unit = max(np.abs(right).max(), 4.0 * isinstance(q, mg.TruncatedNormal))  # dz/dloc is 1 less nearly 1
        np.testing.assert_allclose(got, right, rtol=1e-5, atol=1e-6 * unit + 1e-30)


def test_derivatives_of_a_truncated_normal_far_out():
    """By mpmath, 40 digits: the mean of a standard normal above 8, above 30 and between 8 and 8.5, and its slopes."""
    exact = {
        (8.0, None): (8.12136811224, {"loc": 0.014324883, "scale": 0.23596718, "low": 0.98567512}),
        (30.0, None): (30.0332596674, {"loc": 0.0011037715, "scale": 0.066372813, "low": 0.99889623}),
        (8.0, 8.5): (8.1137359895, {"loc": 0.01052574, "scale": 0.17219724, "low": 0.93798491}),
    }
    for (low, high), (mean, slopes) in exact.items():
        for dtype in ("float32", "float64"):
            q = mg.TruncatedNormal(0.0, 1.0, low, high)
            est = mg.estimate(lambda z: z, q, 100_000, dtype=dtype, backend="numpy", seed=3)
            assert abs(est.value - mean) < 5 * est.stderr
            for path, slope in slopes.items():
                assert abs(est.grad[path] - slope) < 5 * est.grad_stderr[path]


def test_verify_takes_steps_that_heavy_tails_do_not_widen():
    assert mg.verify(lambda z: np.sum(np.cos(z)), mg.Cauchy([0.3, -0.5], [0.6, 1.1]), 4000, backends=["numpy"]).ok


def test_infinite_bounds_are_none():
    q = mg.TruncatedNormal(0.3, 1.2, -np.inf, np.inf)
    assert list(q.params) == ["loc", "scale"]
    np.testing.assert_allclose(q.transform(np.array(1.7), **q.params), 0.3 + 1.2 * 1.7)
    assert q.log_prob(np.array(0.4), **q.params) == pytest.approx(mg.Normal.log_prob(0.4, loc=0.3, scale=1.2))


@pytest.mark.parametrize("phi", [1e-3, 0.1, 1.0, 30.0, 1e4])
def test_the_inverse_gaussians_derivative_is_that_of_its_quantile(phi):
    """dw/dphi at a draw w is -(dF/dphi) / p, by mpmath; the choice between the roots does not matter."""
    mp = pytest.importorskip("mpmath").mp.clone()
    mp.dps = 60

    def cdf(w, phi):
        root = mp.sqrt(phi / w)
        return mp.ncdf(root * (w - 1)) + mp.exp(2 * phi) * mp.ncdf(-root * (w + 1))

    q = mg.InverseGaussian(1.0, phi)
    params = {path: input_(path, ()) for path in q.params}
    noise = {name: input_(name, ()) for name in ("root", "choice")}
    z = trace(q.transform, (noise,), params)
    (slope,) = reverse(z, [params["concentration"]])
    for root, choice in ((0.3, 0.1), (0.3, 0.9), (-2.0, 0.1), (1.5, 0.97), (1e-3, 0.5)):
        leaves = {params["loc"]: 1.0, params["concentration"]: phi, noise["root"]: root, noise["choice"]: choice}
        leaves = {var: np.array([x]) for var, x in leaves.items()}
        (w,), (got,) = interpret([z, slope], leaves, "float64")
        exact = -mp.diff(lambda x, w=w: cdf(mp.mpf(w), x), phi) / mp.diff(lambda x: cdf(x, mp.mpf(phi)), mp.mpf(w))
        assert got == pytest.approx(float(exact), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_derivative_of_erfcx_far_out(dtype):
    """-1 / (sqrt(pi) x^2) (1 - 3 / (2 x^2) + 15 / (4 x^4) - ...): its two terms cancel."""
    x = np.array([3.0, 4.99, 5.01, 8.0, 1e2, 1e4, 1e8])
    exact = [
        -0.054372260007172871, -0.021413829965709128, -0.021252201304526948, -0.0086165078814177303,
        -5.6410497625993185e-5, -5.6418957508491275e-9, -5.641895835477562e-17,
    ]  # fmt: skip
    var = input_("x", (7,))
    value = trace(lambda x: np.sum(scipy.special.erfcx(x)), (var,), {})
    (slope,) = interpret([reverse(value, [var])[0]], {var: x.astype(dtype)[:, None]}, dtype)
    np.testing.assert_allclose(slope[:, 0], exact, rtol=6e-6 if dtype == "float32" else 4e-12)
