"""Divergences in closed form: by quadrature, near and extreme pairs against mpmath, gradients by differences."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import integrate

import mcgrad as mg
from mcgrad import tree
from mcgrad.distributions.divergence import closed_form

QS = [
    mg.Gamma(2.5, 1.5), mg.Exponential(0.7), mg.Chi2(3.0), mg.Weibull(1.3, 1.7), mg.HalfNormal(0.8),
    mg.InverseGamma(3.5, 2.0), mg.LogNormal(0.2, 0.4), mg.Pareto(0.8, 3.5), mg.Normal(0.3, 0.7), mg.Laplace(0.2, 0.6),
    mg.Logistic(0.1, 0.5), mg.Gumbel(0.2, 0.6), mg.Uniform(0.2, 0.9), mg.Triangular(0.1, 0.8, 0.3), mg.Beta(2.0, 1.5),
    mg.Kumaraswamy(2.0, 1.5), mg.HalfCauchy(0.6), mg.InverseGaussian(1.2, 2.0), mg.LogitNormal(0.2, 0.8),
]  # fmt: skip
PS = [
    mg.Gamma(1.7, 1.1), mg.Exponential(1.3), mg.Chi2(2.2), mg.Weibull(0.9, 1.2), mg.HalfNormal(1.3),
    mg.InverseGamma(1.5, 1.2), mg.LogNormal(-0.1, 0.9), mg.Pareto(0.15, 2.5), mg.Normal(-0.1, 1.2),
    mg.Laplace(-0.2, 1.1), mg.Gumbel(-0.2, 1.1), mg.Uniform(-0.1, 1.2), mg.Beta(1.4, 1.2), mg.HalfCauchy(1.1),
    mg.InverseGaussian(0.9, 1.3), mg.LogitNormal(-0.2, 1.3),
]  # fmt: skip


def quadrature(q, p):
    """KL(q || p) by integration of the two densities."""

    def difference(x):
        log_q = q.log_prob(np.array(x), **q.params)
        return np.exp(log_q) * (log_q - p.log_prob(np.array(x), **p.params)) if log_q > -np.inf else 0.0

    low, high = (np.clip(end, -40, 1e6) for end in q.divergence_forms.interval(q.params))
    inner = [x for x in (-4, -1, 0, 0.05, 0.3, 0.7, 1, 2, 5, 20, 100, 1e3, 1e4) if low < x < high]
    ends = [low, *inner, high]
    return sum(integrate.quad(difference, a, b, epsabs=1e-10)[0] for a, b in pairwise(ends))


@pytest.mark.parametrize("q", QS, ids=lambda q: type(q).__name__)
def test_a_closed_form_is_the_integral_and_so_is_its_gradient(q):
    found = 0
    for p in PS:
        form = closed_form(q, p)
        if form is None or np.isinf(value := form(q.params, p.params)):
            continue
        found += 1
        name = f"{q} || {p}"
        assert value == pytest.approx(quadrature(q, p), rel=1e-5), name
        est, narrow = (mg.estimate(mg.kl(q, p), n=2, backend="numpy", dtype=dtype) for dtype in ("float64", "float32"))
        assert est.stderr == 0, name
        assert est.value == pytest.approx(value, rel=1e-12), name
        assert narrow.value == pytest.approx(value, rel=1e-4), name
        for path, x in q.params.items():
            h = 1e-5
            up, down = (form({**q.params, path: x + step}, p.params) for step in (h, -h))
            assert est.grad[path] == pytest.approx((up - down) / (2 * h), rel=1e-6, abs=1e-8), f"{name}: {path}"
            assert narrow.grad[path] == pytest.approx(est.grad[path], rel=1e-4, abs=1e-5), f"{name}: {path}"
    assert found > 0


def test_what_leaves_the_support_is_infinitely_far():
    q = mg.Normal(0.3, 0.5)
    for p in (mg.Uniform(-10.0, 10.0), mg.Gamma(1.0, 1.0), mg.Beta(2.0, 2.0), mg.Pareto(1.0, 2.0), mg.LogNormal()):
        assert closed_form(q, p)(q.params, p.params) == np.inf
    q = mg.Uniform(-0.1, 0.5)
    for p in (mg.Beta(2.0, 2.0), mg.Exponential(1.0), mg.Uniform(0.0, 1.0)):
        assert closed_form(q, p)(q.params, p.params) == np.inf
    q, p = mg.InverseGamma(0.5, 1.0), mg.Gamma(2.0, 1.0)  # no mean
    assert closed_form(q, p)(q.params, p.params) == np.inf


NEAR = 1e-12 * (1 + 1e-6)
EXTREMES = [  # value, and the derivative in the first element of the first parameter, by mpmath at 60 digits
    (mg.Gamma(1e6, 2.0), mg.Gamma(1e6 + 1, 2.0), 5.0000008333333333e-7, -1.0000005000001667e-6),
    (mg.Gamma(1e-6, 1.0), mg.Gamma(2e-6, 3.0), 0.30685262221629982, -999998.00000164498),
    (mg.Gamma(1e-6, 1.0), mg.Exponential(1.0), 999985.76170346205, -999999000001.64502),
    (mg.Gamma(1e6, 1.0), mg.Gamma(1e3, 1e-3), 2.9544608062382907, 4.9950016650002082e-7),
    (mg.InverseGamma(1e6, 2.0), mg.InverseGamma(1e6 + 1, 2.0), 5.0000008333333333e-7, -1.0000005000001667e-6),
    (mg.Beta(0.01, 0.01), mg.Beta(1.0, 1.0), 93.73371513189107, -4948.4407273731311),
    (mg.Beta(1e6, 1e6), mg.Beta(1e6, 1e6 + 10), 2.4999893750590621e-5, 5.0000012500002083e-6),
    (mg.Beta(1e6, 2.0), mg.Beta(1e3, 1.0), 5.3325401130801885, 9.9799950200083033e-7),
    (mg.Dirichlet([1e-6, 2.0, 1e6]), mg.Dirichlet([2e-6, 1.0, 1e5]), 1.2322263526966093, -1000000.900001295),
    (mg.Weibull(1.0, 2.0), mg.Weibull(1.0000001, 2.0), 1.9999996690021798e-14, -3.999999402335548e-7),
    (mg.Weibull(1.0, 0.01), mg.Weibull(3.0, 0.02), 0.86257550157329208, 0.019130695429166847),
    (mg.Bernoulli(1e-12), mg.Bernoulli(NEAR), 4.9999966663883675e-25, -9.9999949997275342e-7),
    (mg.Geometric(1e-9), mg.Geometric(2e-9), 0.30685281994005469, -1000000001.4999999),
    (mg.Poisson(1e6, 1e6), mg.Poisson(1e6 - 1, 1e6), 5.0000033333358333e-7, 1.0000005000003333e-6),
]


@pytest.mark.parametrize(("q", "p", "value", "slope"), EXTREMES, ids=lambda x: type(x).__name__)
def test_near_pairs_and_the_ends_of_the_ranges(q, p, value, slope):
    est = mg.estimate(mg.kl(q, p), n=2, backend="numpy")
    assert est.value == pytest.approx(value, rel=1e-8)
    assert np.ravel(next(iter(est.grad.values())))[0] == pytest.approx(slope, rel=1e-8)


D = 3
TRIL = np.array([[1.2, 0.0, 0.0], [0.4, 0.7, 0.0], [-0.3, 0.2, 0.9]])
NORMALS = [
    mg.Normal([0.3, -0.2, 0.5], [0.7, 1.1, 0.6]), mg.Normal([0.1, 0.2, -0.3], 1.3),
    mg.MultivariateNormal(np.ones(D), TRIL),
    mg.MultivariateNormal(np.zeros(D), TRIL @ TRIL[::-1, ::-1].T @ np.diag([1.0, 0, 0]) + np.diag([0.2, 1.0, 2.0])),
    mg.LowRankMultivariateNormal([0.2, 0.1, 0.0], TRIL[:, :2], [0.5, 0.2, 0.8]),
    mg.LowRankMultivariateNormal([0.0, 0.4, 0.1], TRIL[:, :1] + 0.3, [0.3, 0.9, 0.4]),
]  # fmt: skip


def covariance(q):
    x = q.params
    if "scale" in x:
        return np.diag(np.broadcast_to(np.square(x["scale"]), D))
    if "scale_tril" in x:
        return x["scale_tril"] @ x["scale_tril"].T
    return x["cov_factor"] @ x["cov_factor"].T + np.diag(x["cov_diag"])


def of_normals(mean, ours, theirs):
    spread = np.trace(np.linalg.solve(theirs, ours)) + mean @ np.linalg.solve(theirs, mean) - len(mean)
    return 0.5 * (spread - np.linalg.slogdet(ours)[1] + np.linalg.slogdet(theirs)[1])


@pytest.mark.parametrize("q", NORMALS, ids=lambda q: type(q).__name__)
def test_normals_of_any_covariance(q):
    for p in NORMALS:
        exact = of_normals(q.params["loc"] - p.params["loc"], covariance(q), covariance(p))
        est, narrow = (mg.estimate(mg.kl(q, p), n=2, backend="numpy", dtype=dtype) for dtype in ("float64", "float32"))
        assert est.value == pytest.approx(exact, rel=1e-12, abs=1e-13), repr(p)
        assert narrow.value == pytest.approx(exact, rel=1e-5, abs=1e-5), repr(p)
        assert q is p or mg.verify(mg.kl(q, p), n=4000, backends=["numpy"]).ok, repr(p)


def test_matrix_normals():
    rows, columns = TRIL[:2, :2], TRIL
    q = mg.MatrixNormal(np.ones((2, 3)), rows, columns)
    p = mg.MatrixNormal(0.5 * np.arange(6.0).reshape(2, 3), 1.5 * np.eye(2), columns + 0.3 * np.eye(3))
    ours, theirs = (np.kron(x.params["scale_row"], x.params["scale_column"]) for x in (q, p))
    exact = of_normals((q.params["loc"] - p.params["loc"]).ravel(), ours @ ours.T, theirs @ theirs.T)
    assert mg.estimate(mg.kl(q, p), n=2, backend="numpy").value == pytest.approx(exact, rel=1e-12)
    assert mg.verify(mg.kl(q, p), n=4000, backends=["numpy"]).ok


@pytest.mark.parametrize("q", [*QS, *NORMALS, *(q for q, *_ in EXTREMES)], ids=lambda q: type(q).__name__)
def test_nothing_is_far_from_itself(q):
    if closed_form(q, q) is not None and not isinstance(q, mg.Uniform | mg.Pareto):  # their slopes are one-sided
        est = mg.estimate(mg.kl(q, q), n=2, backend="numpy")
        assert abs(est.value) < 1e-12
        for path, slope in tree.flatten(est.grad).items():
            assert np.all(np.abs(slope * q.params[path]) < 1e-8), path


def test_one_bijection_of_both_changes_nothing():
    q, p = (mg.Normal(loc, 0.8).transformed(mg.bijections.Tanh()) for loc in (0.2, 0.5))
    assert mg.estimate(mg.kl(q, p), n=2, backend="numpy").value == pytest.approx(0.3**2 / 0.8**2 / 2, rel=1e-14)
    other = mg.Normal(0.5, 0.8).transformed(mg.bijections.Sigmoid())
    assert closed_form(q, other) is None
