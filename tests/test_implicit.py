"""Implicit reparameterization: the derivative of a draw from its distribution function, however it was drawn."""

import numpy as np
import pytest
import scipy.special

import mcgrad as mg
from mcgrad.functions import implicit_derivative
from mcgrad.functions.triangular_solve import solve_lower

LOC, SCALE = np.array([0.3, -1.0]), np.array([0.5, 1.5])
TRIL = np.array([[0.7, 0.0, 0.0], [-0.4, 1.3, 0.0], [0.2, 0.9, 0.5]])
ROUNDING = {"float64": 1e-14, "float32": 1e-6}
each_backend = pytest.mark.parametrize("backend", ["numpy", "cpu"])
each_dtype = pytest.mark.parametrize("dtype", ["float64", "float32"])


def normal_cdf(z, *, loc, scale):
    return scipy.special.ndtr((z - loc) / scale)


def normal(cdf=normal_cdf):
    return mg.Implicit(cdf, lambda eps, *, loc, scale: loc + scale * eps, {"loc": LOC, "scale": SCALE},
                       mg.noise.normal(2))  # fmt: skip


@each_backend
@each_dtype
def test_a_normal_by_its_distribution_function_has_the_explicit_gradient_on_the_same_draws(dtype, backend):
    given = {"n": 5000, "seed": 3, "dtype": dtype, "backend": backend}
    explicit = mg.estimate(lambda z: np.sum(z * np.sin(z)), mg.Normal(LOC, SCALE), **given)
    est = mg.estimate(lambda z: np.sum(z * np.sin(z)), normal(), **given)
    assert est.value == explicit.value
    for name in ("loc", "scale"):
        np.testing.assert_allclose(est.grad[name], explicit.grad[name], rtol=0, atol=ROUNDING[dtype])
        np.testing.assert_allclose(est.grad_stderr[name], explicit.grad_stderr[name], rtol=10 * ROUNDING[dtype])


@each_dtype
def test_dependent_components_go_by_the_triangular_jacobian(dtype):
    def cdf(z, *, loc, scale_tril):
        return scipy.special.ndtr(solve_lower(scale_tril, z - loc))

    params = {"loc": np.array([0.3, -1.0, 2.0]), "scale_tril": TRIL}
    q = mg.Implicit(cdf, mg.MultivariateNormal.transform, params, mg.noise.normal(3))
    given = {"n": 3000, "dtype": dtype}
    explicit = mg.estimate(lambda z: np.sum(np.sin(z)) * z[0] * z[2], mg.MultivariateNormal(**params), **given)
    est = mg.estimate(lambda z: np.sum(np.sin(z)) * z[0] * z[2], q, **given)
    np.testing.assert_allclose(est.grad["loc"], explicit.grad["loc"], rtol=0, atol=10 * ROUNDING[dtype])
    tril = np.tril(est.grad["scale_tril"])  # the solver does not read what is above the diagonal
    np.testing.assert_allclose(tril, explicit.grad["scale_tril"], rtol=0, atol=10 * ROUNDING[dtype])


@each_backend
def test_rejection_leaves_no_bias(backend):
    """A half normal tail z > a, by the first of 12 exponential proposals that is accepted."""

    def sampler(eps, *, a):
        z = a - np.log(eps["proposal"]) / 2.0
        accepted = eps["accept"] < np.exp(-0.5 * (z - 2.0) ** 2)
        first = accepted & (np.cumsum(1.0 * accepted) < 1.5)
        return np.sum(np.where(first, z, 0.0))

    def cdf(z, *, a):
        return 1.0 - scipy.special.erfc(z / np.sqrt(2.0)) / scipy.special.erfc(a / np.sqrt(2.0))

    noise = {"proposal": mg.noise.uniform(12), "accept": mg.noise.uniform(12)}
    q = mg.Implicit(cdf, sampler, {"a": 1.5}, noise)
    est = mg.estimate(lambda z: z, q, n=100_000, backend=backend)
    hazard = scipy.stats.norm.pdf(1.5) / scipy.stats.norm.sf(1.5)
    assert abs(est.value - hazard) < 4 * est.stderr
    assert abs(est.grad["a"] - hazard * (hazard - 1.5)) < 4 * est.grad_stderr["a"]


def test_plain_arrays_come_back_as_they_are():
    z = np.array([0.1, 0.7])
    assert implicit_derivative.stop(z) is z
    assert implicit_derivative.implicit(z, z, z) is z
    assert implicit_derivative.follow(z, lambda z: 1 / 0) is z
    assert implicit_derivative.stop(0.5) == 0.5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: normal(3), "cdf: given 3; accepted: a function"),
        (lambda: normal(lambda z, *, loc: z), "params: given loc, scale (got an unexpected keyword argument 'scale')"),
        (lambda: normal(lambda z, *, loc, scale: np.sum(z)), "cdf: given one that returns shape () for z of"),
        (
            lambda: normal(lambda z, *, loc, scale: scipy.special.ndtr(z + z[::-1])),
            "cdf: given one whose component 0 depends on component 1; accepted: each component's distribution function "
            "given those before it alone",
        ),
        (
            lambda: mg.Implicit(lambda z: z, lambda eps: {"a": eps}, {}, mg.noise.normal()),
            "sampler: given one that returns a dict; accepted: one that returns an array",
        ),
        (
            lambda: mg.estimate(lambda z: z @ z, normal(lambda z, *, loc, scale: np.floor(loc + 0.0 * z)), n=9),
            "cdf: given one that has no derivative in z",
        ),
    ],
)
def test_what_is_wrong_is_refused_by_name(make, message):
    with pytest.raises(mg.ParameterError) as caught:
        make()
    assert message in str(caught.value)
