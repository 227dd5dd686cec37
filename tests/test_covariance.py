"""A normal distribution by its covariance or its inverse: the draws are the factor's, the gradient in what is given."""

import numpy as np
import pytest
import scipy.stats as st

import mcgrad as mg

LOC = np.array([0.3, -0.7, 1.1])
A = np.array([[1.2, 0.3, -0.4], [0.0, 0.9, 0.5], [0.2, 0.1, 0.7]])
C = A @ A.T
P = np.linalg.inv(C)
P = 0.5 * (P + P.T)
W = np.array([[1.0, 0.2, -0.3], [0.2, 0.5, 0.4], [-0.3, 0.4, -0.8]])
N = 20_000
TRIL = mg.MultivariateNormal(LOC, np.linalg.cholesky(C))
BOTH = pytest.mark.parametrize("name", ["covariance_matrix", "precision_matrix"])


def build(name, dtype=np.float64, loc=LOC, **matrix):
    given = matrix or {name: {"covariance_matrix": C, "precision_matrix": P}[name]}
    return mg.MultivariateNormal(loc.astype(dtype), **{key: x.astype(dtype) for key, x in given.items()})


def square(z):
    return z @ W @ z


@BOTH
def test_draws_and_densities_are_those_of_the_factor(name):
    q = build(name)
    np.testing.assert_allclose(q.sample(50), TRIL.sample(50), rtol=1e-12, atol=1e-12)
    z = TRIL.sample(20, seed=1)
    np.testing.assert_allclose(q.log_prob(z), st.multivariate_normal(LOC, C).logpdf(z), rtol=1e-12)
    np.testing.assert_allclose(q.entropy(**q.params), st.multivariate_normal(LOC, C).entropy(), rtol=1e-12)


@BOTH
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("method", ["pathwise", "score+mean"])
def test_gradients(name, dtype, method):
    """E z^T W z = loc^T W loc + tr(W C): dC is W, and dP is -C W C."""
    est = mg.estimate(square, build(name, dtype), N, method=method, backend="numpy")
    right = W if name == "covariance_matrix" else -C @ W @ C
    assert np.all(np.abs(est.grad[name] - right) < 5 * est.grad_stderr[name])
    np.testing.assert_allclose(est.grad[name], est.grad[name].T, rtol=1e-3 if dtype == np.float32 else 1e-9)
    assert np.all(np.abs(est.grad["loc"] - 2 * W @ LOC) < 5 * est.grad_stderr["loc"])


@BOTH
def test_backends_and_differences_agree(name):
    assert mg.verify(lambda z: np.sum(np.sin(z)) + z[0] * z[1], build(name), 4000).ok


@BOTH
def test_divergences_in_closed_form(name):
    """d/dC KL(q || p) = (P_p - P_q) / 2, and by dP = -P dC P."""
    other = mg.MultivariateNormal(np.zeros(3), np.diag([1.0, 2.0, 0.5]))
    theirs = np.diag([1.0, 0.25, 4.0])
    q = build(name)
    est = mg.estimate(mg.kl(q, other), n=10, backend="numpy")
    by_tril = mg.estimate(mg.kl(TRIL, other), n=10, backend="numpy")
    assert (est.value, est.stderr) == (pytest.approx(by_tril.value, rel=1e-12), 0.0)
    right = 0.5 * (theirs - P)
    np.testing.assert_allclose(est.grad[name], right if name == "covariance_matrix" else -C @ right @ C, atol=1e-12)
    back = mg.estimate(mg.kl(other, q), n=10, backend="numpy")
    assert back.value == pytest.approx(mg.estimate(mg.kl(other, TRIL), n=10, backend="numpy").value, rel=1e-12)
    mean_field = mg.Normal(np.zeros(3), 1.0)
    assert mg.estimate(mg.kl(q, mean_field), n=10, backend="numpy").stderr == 0


def test_an_estimator_takes_other_covariances_and_a_step_keeps_them_symmetric():
    run = mg.Estimator(square, build("covariance_matrix"), backend="numpy")
    moved = C + 0.1 * run(100).grad["covariance_matrix"]
    np.testing.assert_allclose(moved, moved.T, rtol=1e-12)
    want = mg.Estimator(square, mg.MultivariateNormal(LOC, np.linalg.cholesky(moved)), backend="numpy")(100, seed=1)
    assert run(100, seed=1, covariance_matrix=moved).value == pytest.approx(want.value, rel=1e-12)
    with pytest.raises(mg.ParameterError, match=r"covariance_matrix: .*positive definite"):
        run(100, covariance_matrix=-C)


LOPSIDED = C + np.array([[0, 0.1, 0], [0, 0, 0], [0, 0, 0]])


@pytest.mark.parametrize(
    ("given", "name", "words"),
    [
        ({}, "scale_tril, covariance_matrix, precision_matrix", "none; accepted: one of them"),
        ({"covariance_matrix": C, "precision_matrix": P}, "scale_tril", "covariance_matrix and precision_matrix"),
        ({"covariance_matrix": LOPSIDED}, "covariance_matrix", r"\[0, 1\].*symmetric"),
        ({"precision_matrix": LOPSIDED.tolist()}, "precision_matrix", r"\[0, 1\].*symmetric"),
        ({"covariance_matrix": np.diag([1.0, -1.0, 1.0])}, "covariance_matrix", "positive definite"),
        ({"covariance_matrix": np.full((3, 3), np.nan)}, "covariance_matrix", "positive definite"),
        ({"covariance_matrix": np.ones((2, 3))}, "covariance_matrix", r"shape \(2, 3\)"),
        ({"covariance_matrix": np.eye(2)}, "loc", r"shape \(3,\) with covariance_matrix of shape \(2, 2\)"),
    ],
)
def test_refused(given, name, words):
    with pytest.raises(mg.ParameterError, match=rf"^{name}.*: given .*{words}"):
        mg.MultivariateNormal(LOC, **given)


def test_a_mixture_takes_factors():
    with pytest.raises(mg.ParameterError, match=r"components: .*; accepted: .*scale_tril=np\.linalg\.cholesky"):
        mg.MixtureSameFamily([build("covariance_matrix")] * 2, probs=[0.5, 0.5])
