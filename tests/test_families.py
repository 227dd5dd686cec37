"""Every family of `families/`: draws, densities and gradients against what is known of them."""

import inspect
from functools import cache

import numpy as np
import pytest

import mcgrad as mg
from mcgrad import distributions, tree
from mcgrad.differentiate.modes import reverse
from mcgrad.ir.build import const, input_
from mcgrad.ir.interpret import interpret
from mcgrad.trace.trace import trace
from tests.families import FAMILIES, gradient, moment
from tests.test_distributions import draw_noise

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
each = pytest.mark.parametrize("name", FAMILIES)
PATHWISE = [name for name, row in FAMILIES.items() if row.pathwise]
DRAWS = {"float32": 25_000, "float64": 100_000}  # the first for its rounding, the second for the moment, too
MOST = 5.0  # some 500 components in all: a false alarm in 3,000 runs, were the seeds not fixed
ROUNDING = {"float32": 2e-5, "float64": 1e-9}


@cache
def exact(name):
    return moment(FAMILIES[name]), gradient(FAMILIES[name]) if FAMILIES[name].pathwise else {}


def close(value, stderr, right, dtype):
    assert np.shape(value) == np.shape(stderr) == np.shape(right)
    return np.all(np.abs(value - right) < MOST * np.asarray(stderr) + ROUNDING[dtype] * (1 + np.abs(right)))


def test_every_family_has_a_row():
    """But those of test_distributions.py and test_mixture.py, and those that the user's functions make."""
    others = "Distribution Implicit Joint LogNormal MixtureSameFamily MultivariateNormal Normal Reparameterized Uniform"
    listed = {name for name in distributions.__all__ if inspect.isclass(getattr(distributions, name))}
    assert {type(row.q).__name__ for row in FAMILIES.values()} == listed - {*others.split()}


@DTYPES
@each
def test_moments_and_their_gradients(name, dtype):
    row = FAMILIES[name]
    wrt = None if row.pathwise else ()
    est = mg.estimate(row.f, row.q, DRAWS[dtype], seed=3, dtype=dtype, backend="numpy", wrt=wrt)
    value, grad = exact(name)
    assert (est.dtype, est.nonfinite) == (dtype, 0)
    assert 0 < est.stderr < 0.1 * (1 + abs(value))
    assert close(est.value, est.stderr, value, dtype)
    assert set(est.grad) == set(grad)
    for path, right in grad.items():
        assert close(est.grad[path], est.grad_stderr[path], right, dtype), path


KERNELS = {  # what has most in it, in one Program for each dtype: compiling takes longer than all draws
    "float32": ["Cauchy", "TruncatedNormal", "RelaxedOneHotCategorical", "OneHotCategorical", "Binomial"],
    "float64": ["TruncatedNormal, below", "GeneralizedPareto", "InverseGaussian", "LogisticNormal of 3", "Poisson"],
}


@DTYPES
def test_kernels(dtype):
    rows = [FAMILIES[name] for name in KERNELS[dtype]]
    q = mg.Joint(**{f"part{i}": row.q for i, row in enumerate(rows)})
    wrt = [f"part{i}.{path}" for i, row in enumerate(rows) if row.pathwise for path in row.q.flat_params]
    est = mg.estimate(
        lambda z: sum(row.f(z[f"part{i}"]) for i, row in enumerate(rows)),
        q, 200_000, seed=5, dtype=dtype, backend="cpu", wrt=wrt,
    )  # fmt: skip
    assert est.nonfinite == 0
    assert close(est.value, est.stderr, sum(exact(row.name)[0] for row in rows), dtype)
    for i, row in enumerate(rows):
        for path, right in exact(row.name)[1].items():
            grad, stderr = est.grad[f"part{i}"][path], est.grad_stderr[f"part{i}"][path]
            assert close(grad, stderr, right, dtype), (row.name, path)


@each
def test_shapes_and_dtypes(name):
    q = FAMILIES[name].q
    narrow = q.with_params(**tree.map(np.float32, q.params))
    assert narrow.dtype == np.float32
    z = narrow.transform(draw_noise(narrow, np.random.default_rng(0), np.float32), **narrow.params)
    assert np.shape(z) == q.event_shape
    density = narrow.log_prob(z, **narrow.params)
    assert (z.dtype, density.dtype, density.shape) == (np.float32, np.float32, ())
    assert q.signature == q.with_params(**q.params).signature


@pytest.mark.parametrize("name", [name for name, row in FAMILIES.items() if row.scipy])
def test_log_prob_is_scipys(name):
    row, rng = FAMILIES[name], np.random.default_rng(2)
    reference = row.scipy(**row.q.params)
    density = getattr(reference, "logpdf", None) if row.pathwise else reference.logpmf
    for _ in range(20):
        z = row.q.transform(draw_noise(row.q, rng), **row.q.params)
        assert row.q.log_prob(z, **row.q.params) == pytest.approx(np.sum(density(z)), rel=1e-10, abs=1e-10)


TOGETHER = ("OneHot", "Matrix", "Dirichlet", "VonMisesFisher")  # families whose components depend on each other
ALONE = [
    name
    for name in PATHWISE
    if getattr(FAMILIES[name].q.noise, "shape", None) == FAMILIES[name].q.event_shape
    and not any(word in name for word in TOGETHER)
]


@pytest.mark.parametrize("name", ALONE)
def test_the_density_is_that_of_the_transform(name):
    """Element by element, p(g(eps)) g'(eps) is the density of the noise; twice that where signs fold."""
    q, rng = FAMILIES[name].q, np.random.default_rng(4)
    for _ in range(20):
        eps = draw_noise(q, rng)
        h = 1e-4 * np.minimum(1.0, np.minimum(np.abs(eps), np.abs(1 - eps)))
        z = [q.transform(eps + k * h, **q.params) for k in (-2, -1, 1, 2)]
        slope = np.abs(8 * (z[2] - z[1]) - (z[3] - z[0])) / (12 * h)
        noise = -0.5 * eps**2 - 0.5 * np.log(2 * np.pi) if q.noise.kind == "normal" else np.zeros(eps.shape)
        right = np.sum(noise - np.log(slope)) + ("Half" in name) * eps.size * np.log(2)
        assert q.log_prob(q.transform(eps, **q.params), **q.params) == pytest.approx(right, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("name", ["LogisticNormal of 3", "SoftmaxNormal", "LogisticNormal"])
def test_densities_on_the_simplex_are_of_all_components_but_the_last(name):
    q, rng = FAMILIES[name].q, np.random.default_rng(4)
    eps = rng.standard_normal(q.noise.shape)
    h = 1e-5
    moved = [
        (q.transform(eps + h * e, **q.params) - q.transform(eps - h * e, **q.params))[:-1] for e in np.eye(len(eps))
    ]
    right = np.sum(-0.5 * eps**2 - 0.5 * np.log(2 * np.pi)) - np.linalg.slogdet(np.array(moved) / (2 * h))[1]
    assert q.log_prob(q.transform(eps, **q.params), **q.params) == pytest.approx(right, rel=1e-8)


TORCH = [  # log_prob by torch.distributions 2.13, in float64
    (mg.Kumaraswamy([0.8, 2.0], [1.5, 0.7]), [0.25, 0.9], 0.988764527993256),
    (mg.RelaxedBernoulli(0.5, probs=[0.3, 0.8]), [0.25, 0.99], 1.9074034037810295),
    (mg.RelaxedBernoulli(1.5, logits=[-0.5, 3.0]), [0.25, 0.001], -5.66555447176936),
    (mg.RelaxedOneHotCategorical(0.7, probs=[0.3, 0.8, 1.5]), [0.2, 0.3, 0.5], -0.038520776112394),
    (
        mg.RelaxedOneHotCategorical(0.3, logits=[[0.1, -0.4], [0.5, 0.6]]),
        [[0.2, 0.8], [0.999, 0.001]],
        2.3564842392583243,
    ),
    (mg.LogisticNormal([0.4, -0.3], [0.9, 0.5]), [0.2, 0.3, 0.5], 1.640657369259376),
    (
        mg.LowRankMultivariateNormal([0.3, -0.5, 0.2], [[0.5, -0.2], [0.1, 0.7], [-0.6, 0.3]], [0.5, 0.9, 1.2]),
        [1.0, 0.5, -0.7],
        -3.8782058843868494,
    ),
    (mg.Weibull([0.6, 1.1], [1.4, 2.5]), [0.5, 2.0], -2.740137114929252),
    (mg.Pareto([0.6, 1.1], [5.0, 9.0]), [0.7, 2.0], -2.681096152787769),
    (mg.GeneralizedPareto([0.3, -0.5], [0.6, 1.1], [0.15, -0.4]), [1.0, 0.5], -1.498851373223191),
    (mg.HalfCauchy([0.6, 1.1]), [0.5, 20.0], -6.818869513727274),
    (mg.Geometric(probs=[0.3, 0.8]), [4.0, 0.0], -2.8538161313950754),
    (mg.Binomial(40, probs=[0.1, 0.6]), [3.0, 30.0], -5.537511806449359),
    (mg.Categorical(probs=[1.0, 2.0, 3.0]), 1.0, -1.0986122886681098),
    (mg.OneHotCategorical(logits=[0.1, 0.5, -0.3]), [0.0, 0.0, 1.0], -1.5512505137284942),
]


@pytest.mark.parametrize(("q", "z", "right"), TORCH, ids=lambda x: type(x).__name__)
def test_log_prob_is_torchs(q, z, right):
    assert np.shape(z) == q.event_shape
    assert q.log_prob(np.array(z), **q.params) == pytest.approx(right, rel=1e-12)


OFF = {
    "Exponential": -0.1, "HalfNormal": -0.1, "HalfCauchy": -0.1, "Weibull": -0.1, "Pareto": 0.1, "Kumaraswamy": 1.5,
    "GeneralizedPareto": -0.6, "InverseGaussian": -0.1, "LogitNormal": 1.5, "Triangular": 1.6, "Transformed": -0.1,
    "TruncatedNormal": 1.1, "TruncatedNormal, below": -0.5, "TruncatedNormal, above": 0.5, "LogisticNormal": 1.5,
    "SoftmaxNormal": -0.5, "Gamma": -0.1, "Chi2": -0.1, "InverseGamma": -0.1, "Beta": 1.5, "FisherSnedecor": -0.1,
    "Dirichlet": -0.1, "RelaxedBernoulli": -0.1, "RelaxedOneHotCategorical": 1.1, "Bernoulli": 0.5,
    "Geometric": 1.5, "Binomial": 41.0, "Poisson": -1.0, "Categorical": 3.0, "OneHotCategorical": 2.0,
}  # fmt: skip


@pytest.mark.parametrize("name", OFF)
def test_log_prob_is_minus_infinity_off_the_support_and_its_gradient_finite(name):
    q = FAMILIES[name].q
    z = np.full(q.event_shape, OFF[name])
    assert q.log_prob(z, **q.params) == -np.inf
    params = {path: input_(path, np.shape(x)) for path, x in q.params.items()}
    traced = trace(q.log_prob, (const(z),), params)
    found = interpret(
        reverse(traced, list(params.values())), {params[p]: x[..., None] for p, x in q.params.items()}, "float64"
    )
    assert all(np.isfinite(x).all() for x in found)


DISTRIBUTED = [name for name, row in FAMILIES.items() if row.q.cdf is not None and "Transformed" not in name]


@pytest.mark.parametrize("name", DISTRIBUTED)
def test_the_distribution_function_integrates_the_density(name):
    """Its slope, and that of 1 - survival, element by element."""
    q, rng = FAMILIES[name].q, np.random.default_rng(6)
    for _ in range(10):
        z = q.transform(draw_noise(q, rng), **q.params)
        h = 1e-4 * np.minimum(np.abs(z), np.abs(1 - z))
        for function in (q.cdf, q.survival):
            y = [function(z + k * h, **q.params) for k in (-2, -1, 1, 2)]
            slope = np.abs(8 * (y[2] - y[1]) - (y[3] - y[0])) / (12 * h)
            assert np.sum(np.log(slope)) == pytest.approx(q.log_prob(z, **q.params), rel=1e-5, abs=1e-5)
        np.testing.assert_allclose(q.cdf(z, **q.params) + q.survival(z, **q.params), 1.0, rtol=1e-13)


ENTROPIES = [name for name, row in FAMILIES.items() if row.q.entropy is not None]


@pytest.mark.parametrize("name", ENTROPIES)
def test_entropy_is_the_mean_of_minus_log_prob(name):
    q = FAMILIES[name].q
    est = mg.estimate(lambda z: -q.log_prob(z, **q.params), q, 50_000, wrt=(), backend="numpy")
    assert close(est.value, est.stderr, q.entropy(**q.params), "float64")


REFUSED = [
    (lambda: mg.Exponential(0.0), "rate", "0.0", "> 0"),
    (lambda: mg.Laplace(0.0, [1.0, -1.0]), "scale", "-1.0 at [1]", "> 0"),
    (lambda: mg.Weibull(1.0, 0.0), "concentration", "0.0", "> 0"),
    (lambda: mg.Pareto(1.0, np.nan), "alpha", "nan", "> 0"),
    (lambda: mg.GeneralizedPareto(0.0, 1.0, np.inf), "concentration", "inf", "finite"),
    (lambda: mg.Triangular(0.0, 1.0, 1.5), "low, high, peak", "peak = 1.5", "low <= peak <= high"),
    (
        lambda: mg.Triangular([0.0, 1.0], 1.0, 1.0),
        "low, high, peak",
        "low = 1.0, high = 1.0 and peak = 1.0 at [1]",
        "low < high",
    ),
    (lambda: mg.TruncatedNormal(0.0, 1.0, 2.0, 1.0), "low, high", "low = 2.0 and high = 1.0", "low < high"),
    (lambda: mg.TruncatedNormal(0.0, 1.0, [0.0, -np.inf]), "low", "-inf at [1]", "finite"),
    (lambda: mg.LowRankMultivariateNormal(np.zeros(3), np.ones(3), np.ones(3)), "cov_factor", "(3,)", "(d, r)"),
    (lambda: mg.LowRankMultivariateNormal(np.zeros(2), np.ones((3, 1)), np.ones(3)), "loc", "(2,)", "(3,)"),
    (lambda: mg.MatrixNormal(np.zeros((2, 3)), np.eye(3), np.eye(2)), "loc", "(2, 3)", "(3, 2)"),
    (lambda: mg.MatrixNormal(np.zeros((2, 2)), np.eye(2), np.ones((2, 2))), "scale_column", "1.0 at [0, 1]", "0 above"),
    (lambda: mg.LogisticNormal(0.0, 1.0), "loc, scale", "()", "(..., K - 1)"),
    (lambda: mg.RelaxedBernoulli(1.0), "probs, logits", "neither", "one of the two"),
    (lambda: mg.RelaxedBernoulli(1.0, 0.5, 0.0), "probs, logits", "both", "one of the two"),
    (lambda: mg.RelaxedBernoulli(1.0, 1.0), "probs", "1.0", "neither of them"),
    (lambda: mg.RelaxedOneHotCategorical([1.0, 2.0], [1.0, 2.0]), "temperature", "(2,)", "one number"),
    (lambda: mg.RelaxedOneHotCategorical(1.0, [1.0]), "probs", "(1,)", "two categories"),
    (lambda: mg.Bernoulli(probs=[0.5, 1.5]), "probs", "1.5 at [1]", "between 0 and 1"),
    (lambda: mg.Categorical([1.0, 0.0]), "probs", "0.0 at [1]", "> 0"),
    (lambda: mg.Binomial(0, 0.5), "total_count", "0", "whole number from 1"),
    (lambda: mg.Binomial(2.5, 0.5), "total_count", "2.5", "whole number from 1"),
    (lambda: mg.Poisson(2e6), "rate", "2000000.0", "1,000,000"),
    (lambda: mg.Poisson(3.0).with_params(rate=100.0), "rate", "100.0", "max_rate=..."),
    (lambda: mg.Poisson(3.0, max_rate=-1), "max_rate", "-1", "> 0"),
]


@pytest.mark.parametrize(
    ("make", "name", "given", "accepted"), REFUSED, ids=[f"{row[1]}-{i}" for i, row in enumerate(REFUSED)]
)
def test_refused_by_name(make, name, given, accepted):
    with pytest.raises(mg.ParameterError) as caught:
        make()
    assert caught.value.parameter == name
    assert given in caught.value.given
    assert accepted in caught.value.accepted


def test_joints_of_families():
    q = mg.Joint(a=mg.Laplace(0.3, 0.7), b=mg.Bernoulli(0.3))
    est = mg.estimate(lambda z: z["a"] * (1 + z["b"]), q, 50_000, wrt="a", backend="numpy")
    assert close(est.grad["a"]["loc"], est.grad_stderr["a"]["loc"], 1.3, "float64")
