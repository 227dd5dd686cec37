"""Kinks that make no comparison are not differentiated twice along draws, whether draws see them or not."""

from __future__ import annotations

import functools
import warnings

import numpy as np
import pytest
from scipy.special import gamma, log_softmax, logsumexp, softmax
from scipy.stats import norm

import mcgrad as mg

MATRICES = {
    "singular values": lambda z: np.linalg.norm(np.diag(np.stack([z, 1.0 + 0.0 * z])), "nuc"),
    "factor": lambda z: np.linalg.cholesky(np.diag(np.stack([z**2, 1.0 + 0.0 * z])))[0, 0],
    "determinant": lambda z: np.exp(np.linalg.slogdet(np.diag(np.stack([z, 1.0 + 0.0 * z])))[1]),
}


@pytest.mark.parametrize("name", MATRICES)
def test_a_kink_of_functions_of_matrices_is_found_in_draws(name):
    with pytest.raises(mg.ParameterError, match=r"^hessian_method: .* from differences of that gradient|draws cross"):
        mg.Estimator(MATRICES[name], mg.Normal(0.3, 1.2), hessian=["loc"], hessian_method="pathwise", backend="numpy")


def rooted(z):
    """Steps of a loop, each of which has a root."""
    return mg.scan(lambda x, e: (np.sqrt((x + e) ** 2 + 0.0 * e), None), z, np.array([0.5, 0.1]))[0]


UNSEEN = {  # kinks without a comparison, also where draws hardly see them
    "a root": lambda z: np.sqrt(z**2),
    "a small one": lambda z: z**2 + 0.01 * np.sqrt((z - 1.0) ** 2),
    "a far one": lambda z: z**2 + np.sqrt((z - 9.0) ** 2),
    "hypot": lambda z: np.hypot(z, 0.0),
    "one number": lambda z: np.sqrt(z**2 + (2 * z) ** 2),
    "power": lambda z: (z * z) ** 0.5,
    "cube root": lambda z: np.cbrt(z**3),
    "logarithm": lambda z: np.exp(0.5 * np.log(z**2)),
    "a pole": lambda z: z * np.arctan(1 / z),
    "a power with a pole": lambda z: z * np.arctan(z**-1.0),
    "arc sine": lambda z: np.arcsin(np.sin(z)),
    "arc tangent": lambda z: np.arctan2(np.sin(z), np.cos(z)) ** 2,
    "a loop": rooted,
    "a standard deviation": lambda z: np.std(np.stack([z, -z])),
}


@pytest.mark.parametrize("name", UNSEEN)
def test_a_kink_without_a_comparison_is_found_by_ranges(name):
    chosen = mg.Estimator(UNSEEN[name], mg.Normal(0.3, 1.2), hessian=["loc"], backend="numpy")
    assert chosen.derived.components.second.method == "score, then pathwise"
    (reason,) = chosen.plan.second.reasons
    assert "test_unseen_kinks.py" in reason
    assert "may have a kink" in reason


@pytest.mark.parametrize("name", ["a root", "hypot", "power", "logarithm", "a pole"])
def test_draws_refuse_what_is_asked_for(name):
    with pytest.raises(mg.ParameterError, match=r"^hessian_method: .* from differences of that gradient|draws cross"):
        mg.Estimator(UNSEEN[name], mg.Normal(0.3, 1.2), hessian=["loc"], hessian_method="pathwise", backend="numpy")


def test_what_ranges_cannot_prove_may_be_asked_for():
    """A variance that stays positive by a cancellation (Milstein's implicit scheme)."""
    f = lambda z, *, v: np.sqrt((np.sqrt(v) + 0.1 * z) ** 2 - v + (v + 0.01))  # noqa: E731
    given = {"params": {"v": 0.5}, "wrt": "v", "hessian": "full", "backend": "numpy"}
    chosen = mg.Estimator(f, mg.Normal(0.0, 1.0), **given).derived.components.second.method
    asked = mg.Estimator(f, mg.Normal(0.0, 1.0), hessian_method="pathwise", **given).derived.components.second.method
    assert (chosen, asked) == ("pathwise, then difference", "pathwise twice")


def test_a_small_kink_without_a_comparison_is_in_the_second_derivative():
    est = mg.estimate(
        lambda z: z**2 + 0.1 * np.sqrt((z - 1.0) ** 2), mg.Normal(0.0, 1.0), 400_000, hessian=["loc"], backend="numpy"
    )
    found, error = est.hessian["loc"]["loc"], est.hessian_stderr["loc"]["loc"]
    assert abs(found - 2.0 - 0.2 * norm.pdf(1.0)) < 4.5 * error
    assert found - 2.0 > 6 * error


def test_powers_between_one_and_two_have_their_second_derivative():
    moment = lambda p: 2 ** (p / 2) * gamma((p + 1) / 2) / np.sqrt(np.pi)  # noqa: E731
    est = mg.estimate(lambda z: np.abs(z) ** 1.5, mg.Normal(0.0, 1.0), 400_000, hessian=["loc"], backend="numpy")
    assert est.hessian_method == "score, then pathwise"
    assert abs(est.hessian["loc"]["loc"] - moment(3.5) + moment(1.5)) < 4.5 * est.hessian_stderr["loc"]["loc"]


SMOOTH = {
    "a root": (lambda z, *, s: np.sqrt(1 + s * z[0] ** 2), 1.0),
    "a quotient": (lambda z, *, s: np.log(1 + z[0] ** 2) / (2 + np.sin(s * z[0])), 1.0),
    "a price": (lambda z, *, s: np.log(s * np.exp(z[0]) / 105.0) / np.sqrt(s), 100.0),
    "a logistic regression": (lambda z, *, s: np.sum(np.log(1 - 1 / (1 + np.exp(-s * z)))), 0.5),
    "exponents": (lambda z, *, s: (1 + s * np.exp(z[0])) ** z[1], 0.5),
    "a softmax": (lambda z, *, s: np.exp(s * z[0]) / np.sum(np.exp(s * z)), 0.5),
    "a loop": (lambda z, *, s: mg.scan(lambda x, e: (np.sqrt(x) * np.exp(s * e), None), s, z)[0], 0.5),
    "a norm": (lambda z, *, s: np.linalg.norm(s * z), 0.5),
    "hypot": (lambda z, *, s: np.hypot(s * z[0], z[1]), 0.5),
    "a root that the parameter does not move": (lambda z, *, s: s**2 * z[0] + np.sqrt((z[1] - z[0]) ** 2), 0.5),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_what_ranges_prove_smooth_is_differentiated_twice_along_draws(name):
    f, s = SMOOTH[name]
    q = mg.Normal(np.array([0.1, 0.2, -0.4]), 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimator = mg.Estimator(f, q, params={"s": s}, wrt="s", hessian="full", backend="numpy")
    assert estimator.derived.components.second.method == "pathwise twice"


def test_logarithms_of_the_diagonal_of_a_factor_are_smooth():
    """The likelihood of a Gaussian process by a Cholesky factor has the second derivatives of that by slogdet."""
    x = np.linspace(0.0, 1.0, 6)
    y = np.sin(6.0 * x)

    def covariance(z):
        return np.exp(-0.5 * ((x[:, None] - x) / np.exp(z[0])) ** 2) + np.exp(2.0 * z[1]) * np.eye(len(x))

    def by_factor(z):
        factor = np.linalg.cholesky(covariance(z))
        white = np.linalg.solve(factor, y)
        return -0.5 * white @ white - np.sum(np.log(np.diagonal(factor)))

    def by_determinant(z):
        cov = covariance(z)
        return -0.5 * y @ np.linalg.solve(cov, y) - 0.5 * np.linalg.slogdet(cov)[1]

    q = mg.Normal(np.array([-1.0, -1.5]), 0.05)
    found, other = (
        mg.estimate(f, q, 200, wrt="loc", hessian="full", backend="numpy") for f in (by_factor, by_determinant)
    )
    assert found.hessian_method == other.hessian_method == "pathwise twice"
    assert np.allclose(found.hessian["loc"]["loc"], other.hessian["loc"]["loc"], rtol=1e-8)


def test_kinks_of_a_function_without_lines_are_found_in_objectives():
    knots = np.linspace(-3.0, 3.0, 7)
    tent = functools.partial(np.interp, xp=knots, fp=-np.abs(knots))
    q = mg.Normal(0.3, 1.0)
    est = mg.estimate(mg.elbo(tent, q), n=20_000, wrt="loc", hessian="full", backend="numpy")
    assert est.hessian_method == "score, then pathwise"
    exact = -2 * norm.pdf(0.0, 0.3) + norm.pdf(3.0, 0.3) + norm.pdf(-3.0, 0.3)
    assert abs(est.hessian["loc"]["loc"] - exact) < 4.5 * est.hessian_stderr["loc"]["loc"]


PLAIN = {
    logsumexp: lambda z: np.log(np.sum(np.exp(z))),
    log_softmax: lambda z: z - np.log(np.sum(np.exp(z))),
    softmax: lambda z: np.exp(z) / np.sum(np.exp(z)),
}


@pytest.mark.parametrize("function", PLAIN)
def test_functions_that_subtract_a_maximum_are_smooth(function):
    q = mg.Normal(np.array([0.1, 1.2, -0.4]), 0.7)
    found, other = (
        mg.estimate(f, q, 200, wrt="loc", hessian="full", backend="numpy")
        for f in (lambda z: function(z), PLAIN[function])
    )
    assert found.hessian_method == other.hessian_method == "pathwise twice"
    assert np.allclose(found.hessian["loc"]["loc"], other.hessian["loc"]["loc"], rtol=1e-9, atol=1e-12)


def test_a_norm_has_its_second_derivative_where_it_is_infinite_at_one_point():
    """Of |z| in three dimensions: the Laplacian is 2 / |z|, of mean 2 sqrt(2 / pi)."""
    q = mg.Normal(np.zeros(3), 1.0)
    est = mg.estimate(lambda z: np.linalg.norm(z), q, 200_000, hessian=["loc"], backend="numpy")
    assert est.hessian_method == "pathwise twice"
    found, error = np.diagonal(est.hessian["loc"]["loc"]), np.diagonal(est.hessian_stderr["loc"]["loc"])
    assert np.all(np.abs(found - 2 / 3 * np.sqrt(2 / np.pi)) < 4.5 * error)


def test_kinks_without_a_comparison_are_found_in_transforms_and_objectives():
    q = mg.Reparameterized(lambda eps, *, a: np.sqrt((a + eps) ** 2), params={"a": 0.5}, noise=mg.noise.normal())
    transformed = mg.Estimator(np.exp, q, hessian="full", backend="numpy")
    q = mg.Normal(0.3, 1.2)
    objective = mg.Estimator(mg.elbo(lambda z: -np.sqrt(z**2), q), hessian=["loc"], backend="numpy")
    for estimator in (transformed, objective):
        assert estimator.derived.components.second.method != "pathwise twice"
        assert any("sqrt at" in reason and "test_unseen_kinks.py" in reason for reason in estimator.plan.second.reasons)
