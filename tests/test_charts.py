"""Densities come from what a draw was made of: they are right where it rounds to an end of the support."""

import math

import numpy as np
import pytest
import scipy.special as sc

import mcgrad as mg
from mcgrad import tree
from mcgrad.distributions.charts import LOG, LOGIT, REAL, VALUE, Image, about, shifted, total
from tests.families import FAMILIES
from tests.test_families import draw_noise

B = mg.bijections
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
CHARTED = [name for name, row in FAMILIES.items() if row.q.coordinates is not None and row.pathwise]
N = 20_000
MOST_Z = 5.0


def squares(z):
    return np.sum(z * z)


def nothing(z):
    """An integrand of which an ELBO is the entropy; it reads z, as integrands have to."""
    return 0.0 * np.sum(np.arctan(z))


def gradient(value, params):
    """The gradient of value(**params), by differences of fourth order, relative to the parameters."""
    found = {}
    for path, x in params.items():
        grad = np.zeros(np.shape(x))
        for index in np.ndindex(np.shape(x)):
            near = []
            for k in (-2, -1, 1, 2):
                moved = np.array(x, np.float64)
                moved[index] *= 1 + 1e-3 * k
                near.append(float(value(**{**params, path: moved})))
            grad[index] = (8 * (near[2] - near[1]) - (near[3] - near[0])) / (12e-3 * np.array(x)[index])
        found[path] = grad
    return found


def right(est, grads):
    """Whether every component is finite and within its error of the right value."""
    assert est.nonfinite == 0
    rounding = 1e-6 if est.dtype == "float32" else 1e-8
    for path, exact in grads.items():
        got, error = tree.flatten(est.grad)[path], tree.flatten(est.grad_stderr)[path]
        assert np.all(np.abs(got - exact) < MOST_Z * error + rounding * np.abs(exact)), (path, got, error, exact)


@pytest.mark.parametrize("name", CHARTED)
def test_coordinates_are_those_of_the_draw(name):
    """Inside of the support, where nothing rounds: the density at them is that at the value."""
    q, rng = FAMILIES[name].q, np.random.default_rng(3)
    for _ in range(20):
        eps = draw_noise(q, rng)
        z = q.transform(eps, **q.params)
        made = q.log_density(q.coordinates(eps, **q.params), **q.params)
        assert made == pytest.approx(q.log_prob(z), rel=1e-9, abs=1e-9)


def test_a_shifted_coordinate_is_not_added_up():
    x = shifted(np.float32(1e-3), np.float32(1e6))
    assert about(x, np.float32(1e6)) == np.float32(1e-3)
    assert total(x) == np.float32(1e6)


def test_maps_of_real_draws_share_the_charts_of_families():
    normal = mg.Normal(0.3, 1.2)
    assert normal.chart == REAL
    assert normal.transformed(B.Exp()).chart == mg.Gamma(1.0).chart == LOG
    assert normal.transformed(B.Sigmoid()).chart == mg.Beta(1.0, 1.0).chart == LOGIT
    assert normal.transformed(B.Tanh()).chart == mg.Logistic().transformed(B.Tanh()).chart
    assert normal.transformed(B.Affine(1.0, 2.0)).chart == mg.Laplace().transformed(B.Affine(1.0, 2.0)).chart
    assert normal.transformed(B.Affine(1.0, 2.0)).chart != normal.transformed(B.Affine(1.0, 3.0)).chart
    assert mg.Uniform().chart == VALUE
    assert mg.Gamma(1.0).transformed(B.Softplus()).chart == Image(B.Softplus(), LOG)


def kumaraswamy(concentration1, concentration0):
    a, b = concentration1, concentration0
    return b * sc.beta(1 + 2 / a, b)


def beta(concentration1, concentration0):
    a, b = concentration1, concentration0
    return a * (a + 1) / ((a + b) * (a + b + 1))


MOMENTS = [  # q, f, gradients of E f: with mpmath, or of a moment in closed form
    (mg.LogitNormal(3.0, 8.0), squares, {"loc": 0.04753021024193, "scale": -0.01155859510654}),
    (mg.Normal(3.0, 8.0).transformed(B.Sigmoid()), squares, {"loc": 0.04753021024193, "scale": -0.01155859510654}),
    (mg.Normal(1.0, 5.0).transformed(B.Tanh()), squares, {"loc": 0.00596820590658, "scale": 0.02868430902316}),
    (mg.RelaxedBernoulli(0.1, logits=math.log(7 / 3)), squares, {"temperature": -0.234016851, "logits": 0.217298787}),
    (mg.Kumaraswamy(0.1, 0.3), squares, kumaraswamy),
    (mg.Kumaraswamy(3.0, 0.1), squares, kumaraswamy),
    (mg.Beta(2.0, 0.1), squares, beta),
    (mg.Beta(0.05, 0.05), squares, beta),
    (mg.Gamma(0.05, 2.0), lambda z: np.exp(-z), lambda concentration, rate: (1 + 1 / rate) ** -concentration),
    (mg.Weibull(1.5, 0.2), lambda z: np.exp(-((z / 1.5) ** 0.2)), {"scale": -0.2 / 1.5 * 0.25}),
    (mg.Pareto(1.0, 1e5), lambda z: 1e5 * np.log(z), {"alpha": -1e-5}),
]


@DTYPES
@pytest.mark.parametrize("method", ["pathwise", "score+mean"])
@pytest.mark.parametrize(("q", "f", "moment"), MOMENTS, ids=lambda x: repr(x) if isinstance(x, mg.Distribution) else "")
def test_gradients_where_many_draws_round_to_an_end(q, f, moment, method, dtype):
    grads = moment if isinstance(moment, dict) else gradient(moment, q.params)
    if isinstance(q, mg.Pareto) and (method == "pathwise" and dtype == "float32"):
        pytest.skip("f itself reads the draw, which has no digits of log z")
    est = mg.estimate(f, q, N, method=method, dtype=dtype, seed=3, backend="numpy", wrt=list(grads))
    right(est, grads)


def entropy(q):
    return gradient(lambda **params: q.entropy(**params), q.params)


ENTROPIES = [
    (mg.Normal(1.0, 20.0).transformed(B.Tanh()), {"loc": -0.07967347276, "scale": None}),
    (mg.Normal(0.0, 20.0).transformed(B.Tanh()), {"scale": -1.54413206775}),
    (mg.LogitNormal(1.0, 20.0), {"loc": -0.03971515397, "scale": -0.743646750961652}),
    (mg.Normal(1.0, 20.0).transformed(B.Sigmoid()), {"loc": -0.03971515397, "scale": -0.743646750961652}),
    (mg.RelaxedBernoulli(0.05, logits=0.3), {"temperature": 542.683176781, "logits": -2.971746716637}),
    (mg.Kumaraswamy(0.2, 0.2), entropy),
    (mg.Kumaraswamy(4.0, 0.05), entropy),
    (mg.Beta(0.01, 0.01), entropy),
    (mg.Beta(2.0, 0.1), entropy),
    (mg.Gamma([1e-3, 0.01], [3.0, 2.0]), entropy),
    (mg.Chi2([1e-6, 0.01]), entropy),
    (mg.Dirichlet([1e-3, 0.02, 4.0]), entropy),
    (mg.Pareto(2.0, 1e6), lambda q: {"alpha": entropy(q)["alpha"]}),
]


@DTYPES
@pytest.mark.parametrize("method", ["stl", "pathwise"])
@pytest.mark.parametrize(("q", "exact"), ENTROPIES, ids=lambda x: repr(x) if isinstance(x, mg.Distribution) else "")
def test_entropies_by_draws_where_many_draws_round_to_an_end(q, exact, method, dtype):
    """E d(-log q)/dphi along the draw's path; pathwise takes closed forms where there are, and is then exact."""
    grads = {path: x for path, x in (exact(q) if callable(exact) else exact).items() if x is not None}
    if q.entropy is not None and method == "pathwise":
        pytest.skip("in closed form")
    est = mg.estimate(mg.elbo(nothing, q), q, N, method=method, dtype=dtype, seed=4, backend="numpy", wrt=list(grads))
    right(est, grads)


def kl_beta(q, p):
    def value(concentration1, concentration0):
        a, b, c, d = concentration1, concentration0, *p
        return (sc.betaln(c, d) - sc.betaln(a, b) + (a - c) * sc.digamma(a) + (b - d) * sc.digamma(b)
                + (c - a + d - b) * sc.digamma(a + b))  # fmt: skip

    return value, gradient(value, q.params)


@DTYPES
@pytest.mark.parametrize(
    ("ours", "theirs"), [((2.0, 0.1), (1.0, 1.5)), ((0.05, 0.05), (2.0, 2.0)), ((0.01, 0.01), (1.0, 1.0))]
)
def test_divergences_read_both_densities_at_the_coordinates(ours, theirs, dtype):
    q = mg.Beta(*ours)
    value, grads = kl_beta(q, theirs)
    est = mg.estimate(mg.kl(q, mg.Beta(*theirs)), n=N, method="stl", dtype=dtype, seed=2, backend="numpy")
    right(est, grads)
    assert abs(est.value - value(*ours)) < MOST_Z * est.stderr


@DTYPES
@pytest.mark.parametrize(
    ("q", "p"),
    [
        (mg.Weibull(2.0, 0.01), mg.Weibull(3.0, 0.011)),
        (mg.LogNormal(1.0, 200.0), mg.LogNormal(-1.0, 150.0)),
        (mg.InverseGamma(0.01, 2.0), mg.InverseGamma(0.02, 1.0)),
        (mg.Gamma(1e-3, 2.0), mg.Gamma(2e-3, 1.0)),
    ],
    ids=lambda x: type(x).__name__,
)
def test_divergences_where_draws_are_beyond_all_numbers_of_the_dtype(q, p, dtype):
    """By draws they are what the closed form says, though most draws are 0 or infinite."""
    closed = mg.estimate(mg.kl(q, p), n=2, backend="numpy")
    assert closed.stderr == 0
    est = mg.estimate(mg.kl(q, p), n=N, method="stl", dtype=dtype, seed=2, backend="numpy")
    right(est, tree.flatten(closed.grad))
    assert abs(est.value - closed.value) < MOST_Z * est.stderr


@DTYPES
def test_divergences_between_families_of_one_chart(dtype):
    """KL(LogitNormal || Beta), by quadrature over the normal."""

    def exact(loc, scale):
        x, step = np.linspace(-10.0, 10.0, 20_001, retstep=True)
        w = step * np.exp(-0.5 * x**2) / math.sqrt(2 * math.pi)
        odds = loc + scale * x
        log_p = 2.0 * sc.log_expit(odds) + 0.3 * sc.log_expit(-odds) - sc.betaln(2.0, 0.3)
        return np.sum(w * (-0.5 * x**2 - np.log(scale) - 0.5 * math.log(2 * math.pi) - log_p))

    grads = gradient(exact, {"loc": np.array(1.0), "scale": np.array(20.0)})
    for q in (mg.LogitNormal(1.0, 20.0), mg.Normal(1.0, 20.0).transformed(B.Sigmoid())):
        for method in ("stl", "score+mean"):
            est = mg.estimate(mg.kl(q, mg.Beta(2.0, 0.3)), n=N, method=method, dtype=dtype, seed=6, backend="numpy")
            right(est, grads)


@DTYPES
def test_maps_after_maps_keep_the_draw_before_them(dtype):
    """The entropy of 2 tanh(x) - 1 is that of tanh(x) and log 2; of a part of a Joint it is the same."""
    squashed = mg.Normal(0.0, 20.0).transformed(B.Tanh()).transformed(B.Affine(-1.0, 2.0))
    q = mg.Joint(a=mg.Beta(0.3, 0.2), b=squashed)
    objective = mg.elbo(lambda z: 0.0 * (z["a"] + z["b"]), q)
    for method in ("pathwise", "stl"):
        est = mg.estimate(objective, n=N, method=method, dtype=dtype, seed=8, backend="numpy", wrt="b.scale")
        right(est, {"b.scale": -1.54413206775})


@DTYPES
def test_a_map_with_parameters_keeps_the_draw_while_they_are_those_that_made_it(dtype):
    """The entropy of tanh(a x): of tanh of a normal of scale 20, with a = 10 and scale 2."""
    q = mg.Normal(0.0, 2.0).transformed(
        lambda x, *, a: np.tanh(a * x),
        params={"a": 10.0},
        inverse=lambda y, *, a: np.arctanh(y) / a,
        log_det=lambda x, *, a: 2.0 * (math.log(2.0) - a * x - np.logaddexp(0.0, -2.0 * a * x)) + np.log(a),
    )
    est = mg.estimate(mg.elbo(nothing, q), n=N, method="pathwise", dtype=dtype, seed=9, backend="numpy")
    right(est, {"scale": -10 * 1.54413206775, "a": -2 * 1.54413206775})


@DTYPES
def test_mixtures_have_the_coordinates_of_their_components(dtype):
    """Two equal components are one: E z^2 of LogitNormal(3, 8)."""
    q = mg.MixtureSameFamily(mg.LogitNormal([3.0, 3.0], [8.0, 8.0]), probs=[0.3, 0.7])
    est = mg.estimate(squares, q, N, method="score+mean", dtype=dtype, seed=3, backend="numpy")
    assert est.nonfinite == 0
    for path, whole in (("loc", 0.04753021024193), ("scale", -0.01155859510654)):
        got, error = est.grad["components"][path], est.grad_stderr["components"][path]
        assert np.all(np.abs(got - whole * np.array([0.3, 0.7])) < MOST_Z * error)


def test_a_class_with_a_transform_of_its_own_has_not_the_coordinates_of_its_base():
    class Folded(mg.LogNormal):
        @staticmethod
        def transform(eps, *, loc, scale):
            return np.exp(loc - scale * eps)

    assert Folded.coordinates is None
    est = mg.estimate(lambda z: np.log(z), Folded(0.3, 0.5), N, method="score+mean", seed=1, backend="numpy")
    right(est, {"loc": 1.0})


@DTYPES
def test_gammas_of_large_concentration_keep_the_digits_of_their_deviation(dtype):
    """d/da E log z = trigamma(a) by scores, whose size is 1 / sqrt(a) of a deviation that is 1 / sqrt(a) of z."""
    q = mg.Gamma(1e6, 3.0)
    est = mg.estimate(lambda z: 1e3 * (z / 333333.0 - 1.0), q, N, method="score+mean", dtype=dtype, seed=1,
                      backend="numpy")  # fmt: skip
    right(est, {"concentration": 1e3 / 3.0 / 333333.0})
    entropy_by_draws = mg.estimate(mg.elbo(nothing, q), n=N, method="stl", dtype=dtype, seed=1, backend="numpy")
    assert abs(entropy_by_draws.value - q.entropy(**q.params)) < MOST_Z * entropy_by_draws.stderr


def test_kernels_compute_densities_at_coordinates_as_the_reference_does():
    q = mg.Joint(
        beta=mg.Beta(0.05, 2.0),
        gamma=mg.Gamma(1e6, 3.0),
        relaxed=mg.RelaxedBernoulli(0.05, logits=0.3),
        simplex=mg.Dirichlet([0.01, 2.0, 3.0]),
        squashed=mg.Normal(1.0, 20.0).transformed(B.Tanh()),
    )
    objective = mg.elbo(lambda z: sum(np.sum(np.arctan(x)) for x in z.values()), q)
    ours, reference = (
        mg.estimate(objective, n=4000, method="stl", dtype="float32", seed=5, backend=name) for name in ("cpu", "numpy")
    )
    assert ours.nonfinite == 0
    error = tree.flatten(reference.grad_stderr)
    for path, x in tree.flatten(reference.grad).items():
        assert np.all(np.abs(tree.flatten(ours.grad)[path] - x) < 1e-2 * error[path] + 1e-12), path
