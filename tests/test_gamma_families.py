"""Gamma and what is made of it: kernels, extremes of the concentrations, densities, differences on the same draws.

Moments on the numpy backend, refusals by their kind and the like are in `test_families.py`.
"""

import numpy as np
import pytest
import scipy.special as sc
import scipy.stats as st

import mcgrad as mg
from mcgrad import tree
from mcgrad.errors import ParameterError
from mcgrad.functions.gamma import gamma_log_ratio, log_height, log_rising
from tests.families import FAMILIES
from tests.test_distributions import draw_noise
from tests.test_families import close, exact

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
TINY, SMALL, HUGE = 1e-6, 1e-3, 1e6
IN_KERNELS = ["Gamma", "Dirichlet", "MultivariateStudentT"]  # in one Program: compiling takes longer than all draws


@DTYPES
def test_moments_and_their_gradients_in_kernels(dtype):
    """Some 25 components, each within 5 standard errors."""
    rows = {f"part{i}": FAMILIES[name] for i, name in enumerate(IN_KERNELS)}
    q = mg.Joint(**{part: row.q for part, row in rows.items()})
    est = mg.estimate(
        lambda z: sum(row.f(z[part]) for part, row in rows.items()), q, 200_000, seed=5, dtype=dtype, backend="cpu"
    )
    assert est.nonfinite == 0
    assert close(est.value, est.stderr, sum(exact(row.name)[0] for row in rows.values()), dtype)
    for part, row in rows.items():
        for path, right in exact(row.name)[1].items():
            assert close(est.grad[part][path], est.grad_stderr[part][path], right, dtype), (row.name, path)


def extremes():
    """All families at the ends of their parameters; z is bounded or carried to something that is."""
    ends = np.array([TINY, SMALL, 1.0, HUGE])
    return mg.Joint(
        gamma=mg.Gamma(ends, [1.0, 1.0, 1.0, HUGE]),
        beta=mg.Beta(ends, [TINY, HUGE, SMALL, HUGE]),
        dirichlet=mg.Dirichlet([ends, ends[::-1], np.full(4, TINY), np.full(4, HUGE)]),
        chi2=mg.Chi2([TINY, SMALL]),
        student=mg.StudentT([1.0, HUGE]),
    )


def bounded(z):
    return sum(np.sum(np.arctan(leaf)) for leaf in tree.flatten(z).values())


@pytest.mark.filterwarnings("ignore::mcgrad.errors.RareDrawsWarning")
@DTYPES
def test_extreme_concentrations_give_no_nan(dtype):
    q = extremes()
    est = mg.estimate(bounded, q, 4000, seed=1, dtype=dtype, backend="numpy")
    assert est.nonfinite == 0
    found = (*tree.flatten(est.grad).values(), *tree.flatten(est.grad_stderr).values())
    assert all(np.isfinite(x).all() for x in found)
    density = mg.estimate(lambda z: q.log_prob(z, **q.params), q, 4000, seed=1, dtype=dtype, backend="numpy", wrt=())
    assert density.nonfinite == 0
    assert np.isfinite(density.value)


@DTYPES
def test_extreme_concentrations_in_kernels(dtype):
    """No NaN; E z1 = a1/n of the beta variable, whose deviations are 2e-7 in relative terms, and of small gammas."""
    a, rate = np.array([TINY, SMALL, HUGE]), np.array([1.0, 1.0, HUGE])
    q = mg.Joint(gamma=mg.Gamma(a, rate), share=mg.Dirichlet([[HUGE, 3 * HUGE], [TINY, TINY]]))
    est = mg.estimate(
        lambda z: np.sum(z["gamma"]) + z["share"][0, 0] + z["share"][1, 0],
        q,
        1_000_000,
        seed=4,
        dtype=dtype,
        backend="cpu",
    )
    rounding = 3e-7 if dtype == "float32" else 1e-12  # a share rounds to 2**-26, and the mean of roundings is not zero
    gamma, errors = est.grad["gamma"], est.grad_stderr["gamma"]
    assert est.nonfinite == 0
    assert abs(est.value - (TINY + SMALL + 1 + 0.25 + 0.5)) < 5 * est.stderr + rounding
    assert (np.abs(gamma["concentration"] - 1 / rate) < 5 * errors["concentration"] + 1e-7 / rate).all()
    assert (np.abs(gamma["rate"] + a / rate**2) < 5 * errors["rate"] + 1e-7 * a / rate**2).all()
    share, errors = est.grad["share"]["concentration"], est.grad_stderr["share"]["concentration"]
    right = np.array([[3 / 16 / HUGE, -1 / 16 / HUGE], [0.25 / TINY, -0.25 / TINY]])
    assert (np.abs(share - right) < 5 * errors + 1e-6 * np.abs(right)).all()


def test_draws_of_a_tiny_concentration_have_the_right_logarithm():
    """Where z itself is the smallest float, gamma_log_ratio is what may be used: a log z has mean a digamma(a)."""
    q = mg.Reparameterized(lambda e, *, a: a * gamma_log_ratio(a, e), {"a": [TINY, SMALL, 0.3]}, mg.noise.normal(3))
    a = np.array([TINY, SMALL, 0.3])
    est = mg.estimate(np.sum, q, 20_000, seed=2, backend="numpy")
    right = a * (sc.digamma(a) - np.log1p(a))
    slope = sc.digamma(a) + a * sc.polygamma(1, a) - np.log1p(a) - a / (1 + a)
    assert abs(est.value - right.sum()) < 5 * est.stderr
    assert (np.abs(est.grad["a"] - slope) < 5 * est.grad_stderr["a"] + 1e-5).all()  # of 1e6 less 1e6


def test_a_concentration_may_depend_on_the_draw():
    """Given x, z is Gamma(exp(loc + x/2)): E z = exp(loc + 1/8)."""

    def transform(eps, *, loc):
        a = np.exp(loc + 0.5 * eps["x"])
        return np.exp(gamma_log_ratio(a, eps["z"])) * (1.0 + a)

    q = mg.Reparameterized(transform, {"loc": 0.2}, {"x": mg.noise.normal(), "z": mg.noise.normal()})
    est = mg.estimate(lambda z: z, q, 200_000, seed=6, backend="cpu")
    right = np.exp(0.2 + 0.125)
    assert abs(est.value - right) < 5 * est.stderr
    assert abs(est.grad["loc"] - right) < 5 * est.grad_stderr["loc"]


def test_differences_on_the_same_draws_are_the_gradient():
    assert mg.verify(lambda z: np.sum(np.arctan(z)), mg.Beta([0.4, 30.0], 2.0), n=2000).ok


@DTYPES
def test_points_of_the_simplex_sum_to_one(dtype):
    rng = np.random.default_rng(0)
    for concentration in ([0.3, 1.0, 5.0], [TINY] * 4, [HUGE] * 3, [TINY, 1.0, HUGE]):
        q = mg.Dirichlet(np.array(concentration, dtype))
        z = np.array([q.transform(draw_noise(q, rng, dtype), **q.params) for _ in range(200)])
        assert (z > 0).all()
        np.testing.assert_allclose(z.sum(-1), 1.0, rtol=4 * np.finfo(dtype).eps)


TORCH = [  # log_prob by torch.distributions 2.13 in float64; of Gamma(1e6, 3), where that loses digits, by mpmath
    (mg.Gamma([0.3, 24.0], [0.7, 2.0]), [1e-5, 11.0], 5.036688387516294),
    (mg.Gamma(1e6, 3.0), 333_000.0, -7.22741469005195),
    (mg.Chi2([0.5, 40.0]), [0.2, 35.0], -3.505445515612034),
    (mg.InverseGamma([5.5, 30.0], [0.7, 2.0]), [0.2, 0.05], 3.4468972013439614),
    (mg.Beta([0.3, 24.0], [0.7, 2.0]), [1e-9, 0.95], 15.371072455561233),
    (mg.Dirichlet([0.2, 1.0, 30.0]), [0.01, 0.04, 0.95], 4.757972714728524),
    (mg.StudentT([0.8, 40.0], [0.3, -0.5], [0.6, 1.1]), [5.0, -0.7], -5.635288154659148),
    (mg.FisherSnedecor([3.0, 0.6], [14.0, 40.0]), [1.2, 0.01], 0.6844556228567111),
]


@pytest.mark.parametrize(("q", "z", "right"), TORCH, ids=lambda x: type(x).__name__)
def test_log_prob_is_torchs(q, z, right):
    assert q.log_prob(np.array(z), **q.params) == pytest.approx(right, rel=1e-12)


@pytest.mark.parametrize(
    ("q", "z", "right"),
    [
        (mg.Gamma(HUGE, 3.0), 333_000.0, -7.22741469005195),
        (mg.Beta(HUGE, 2 * HUGE), 0.3334, st.beta(HUGE, 2 * HUGE).logpdf(np.float64(np.float32(0.3334)))),
        (mg.StudentT(HUGE), 1.5, st.t(HUGE).logpdf(1.5)),
        (mg.FisherSnedecor(HUGE, HUGE), 1.0, st.f(HUGE, HUGE).logpdf(1.0)),
    ],
    ids=lambda x: type(x).__name__,
)
def test_densities_of_large_concentrations_keep_their_digits_in_float32(q, z, right):
    """Differences of gammaln would be off by 1 here."""
    narrow = q.with_params(**tree.map(np.float32, q.params))
    got = narrow.log_prob(np.float32(z), **narrow.params)
    assert got.dtype == np.float32
    assert got == pytest.approx(right, abs=2e-2)


def test_pieces_of_densities():
    a, c = 10 ** np.linspace(-6, 6, 200), np.array([[0.5], [1.0], [7.5]])
    np.testing.assert_allclose(log_height(a[:160]), (a * np.log(a) - a - sc.gammaln(a))[:160], rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(log_rising(a, c), np.log(sc.poch(a, c)), rtol=1e-9, atol=1e-9)


REFUSED = [
    (lambda: mg.Gamma(0.0, 1.0), "concentration", "0.0", "> 0"),
    (lambda: mg.Gamma(1.0, [1.0, -2.0]), "rate", "-2.0 at [1]", "> 0"),
    (lambda: mg.Beta(1.0, np.nan), "concentration0", "nan", "> 0"),
    (lambda: mg.Dirichlet(2.0), "concentration", "shape ()", "K of 2 or more"),
    (lambda: mg.Dirichlet([2.0]), "concentration", "shape (1,)", "K of 2 or more"),
    (lambda: mg.StudentT(-1.0), "df", "-1.0", "> 0"),
    (lambda: mg.FisherSnedecor(1.0, np.inf), "df2", "inf", "> 0"),
    (lambda: mg.MultivariateStudentT([1.0, 2.0], np.zeros(2), np.eye(2)), "df", "shape (2,)", "one number"),
    (lambda: mg.MultivariateStudentT(3.0, np.zeros(3), np.eye(2)), "loc", "shape (3,)", "shape (2,)"),
]


@pytest.mark.parametrize(("make", "parameter", "given", "accepted"), REFUSED)
def test_refusals_name_the_parameter(make, parameter, given, accepted):
    with pytest.raises(ParameterError) as caught:
        make()
    assert caught.value.parameter == parameter
    assert given in caught.value.given
    assert accepted in caught.value.accepted
