"""Mixtures: closed forms of their moments and gradients, and the path against one written out the slow way."""

import numpy as np
import pytest
import scipy.special as sc
import scipy.stats

import mcgrad as mg
from mcgrad.functions.triangular_solve import solve_lower

P = np.array([0.2, 0.5, 0.3])
LOC = np.array([[-1.0, 0.0, 0.5], [0.5, 1.0, -0.3], [1.0, 0.3, 0.2]])
SCALE = np.array([[0.6, 0.8, 1.0], [1.0, 0.7, 0.5], [0.5, 0.9, 0.8]])
TRIL = np.array(
    [
        [[0.6, 0.0, 0.0], [0.3, 0.8, 0.0], [-0.2, 0.1, 0.5]],
        [[1.0, 0.0, 0.0], [-0.5, 0.7, 0.0], [0.3, 0.2, 0.6]],
        [[0.5, 0.0, 0.0], [0.2, 0.9, 0.0], [0.1, -0.4, 0.8]],
    ]
)
A = np.array([0.5, -0.7, 0.9])
MOST = 4.5  # standard errors; some 200 comparisons
RUNS = [("float64", "numpy"), ("float32", "cpu")]
each_run = pytest.mark.parametrize(("dtype", "backend"), RUNS)


def normals():
    return [mg.MultivariateNormal(loc, tril) for loc, tril in zip(LOC, TRIL, strict=True)]


def check(est, value, probs=None, logits=None, **components):
    """Hold value and gradients to closed forms."""
    assert est.nonfinite == 0
    pairs = [(est.value, est.stderr, value)]
    for name, want in {"probs": probs, "logits": logits}.items():
        if want is not None:
            pairs.append((est.grad[name], est.grad_stderr[name], want))
    for name, want in components.items():
        pairs.append((est.grad["components"][name], est.grad_stderr["components"][name], want))
    for got, stderr, want in pairs:
        assert np.shape(got) == np.shape(want)
        assert np.all(np.abs(got - want) <= MOST * np.asarray(stderr) + 1e-6 * np.abs(want)), (got, stderr, want)


@each_run
@pytest.mark.parametrize("power", [1, 2])
def test_moments_of_normals_in_one_dimension(power, dtype, backend):
    loc, scale = LOC[:, 0], SCALE[:, 0]
    q = mg.MixtureSameFamily(mg.Normal(loc, scale), probs=P)
    est = mg.estimate(lambda z: z**power, q, 100_000, dtype=dtype, backend=backend, seed=power)
    each = loc if power == 1 else loc**2 + scale**2
    slopes = {"loc": P * loc ** (power - 1) * power, "scale": P * scale * 2 * (power - 1)}
    check(est, P @ each, probs=each - P @ each, **slopes)


@each_run
def test_cosine_of_normals_with_independent_coordinates(dtype, backend):
    q = mg.MixtureSameFamily(mg.Normal(LOC, SCALE), logits=np.log(P) + 3.0)
    est = mg.estimate(lambda z, *, a: np.cos(a @ z), q, 100_000, data={"a": A}, dtype=dtype, backend=backend)
    damping = np.exp(-np.square(A * SCALE).sum(1) / 2)
    each = np.cos(LOC @ A) * damping
    slopes = {"loc": -np.outer(P * np.sin(LOC @ A) * damping, A), "scale": -(P * each)[:, None] * A**2 * SCALE}
    check(est, P @ each, logits=P * (each - P @ each), **slopes)


@each_run
def test_cosine_of_normals_with_any_covariance(dtype, backend):
    q = mg.MixtureSameFamily(normals(), probs=P)
    est = mg.estimate(lambda z, *, a: np.cos(a @ z), q, 100_000, data={"a": A}, dtype=dtype, backend=backend)
    v = np.einsum("kij,i->kj", TRIL, A)
    damping = np.exp(-np.square(v).sum(1) / 2)
    each = np.cos(LOC @ A) * damping
    slopes = {
        "loc": -np.outer(P * np.sin(LOC @ A) * damping, A),
        "scale_tril": np.tril(-(P * each)[:, None, None] * A[:, None] * v[:, None, :]),
    }
    check(est, P @ each, probs=each - P @ each, **slopes)


EULER = -sc.digamma(1.0)
LOCATION_SCALE = {mg.Logistic: 0.0, mg.Laplace: 0.0, mg.Gumbel: EULER}


@pytest.mark.parametrize("family", LOCATION_SCALE, ids=lambda family: family.__name__)
def test_means_of_other_families(family):
    loc, scale, shift = LOC[:, 1], SCALE[:, 1], LOCATION_SCALE[family]
    est = mg.estimate(lambda z: z, mg.MixtureSameFamily(family(loc, scale), probs=P), 100_000, backend="numpy")
    each = loc + shift * scale
    check(est, P @ each, probs=each - P @ each, loc=P, scale=P * shift)


def test_means_of_positive_families():
    rate = np.array([0.5, 1.0, 2.0])
    est = mg.estimate(lambda z: z, mg.MixtureSameFamily(mg.Exponential(rate), probs=P), 100_000, backend="numpy")
    check(est, P @ (1 / rate), probs=1 / rate - P @ (1 / rate), rate=-P / rate**2)
    mean = np.array([1.0, 2.0, 0.5])
    q = mg.MixtureSameFamily(mg.InverseGaussian(mean, 3.0), probs=P)
    est = mg.estimate(lambda z: z, q, 100_000, backend="numpy")
    check(est, P @ mean, probs=mean - P @ mean, loc=P, concentration=0.0)
    loc, scale = LOC[:, 0], np.array(0.4)
    est = mg.estimate(lambda z: z, mg.MixtureSameFamily(mg.LogNormal(loc, scale), probs=P), 100_000, backend="numpy")
    each = np.exp(loc + 0.08)
    check(est, P @ each, probs=each - P @ each, loc=P * each, scale=0.4 * P @ each)


def conditional(kind):
    """The distributional transform, coordinate by coordinate."""

    def cdf(z, *, components, probs):
        log_weights = np.log(probs / np.sum(probs))
        found = []
        for i in range(3):
            if kind == "normals":
                e = (z[i] - components["loc"][:, i]) / components["scale"][:, i]
                size = components["scale"][:, i]
            else:
                solved = [solve_lower(components["scale_tril"][k], z - components["loc"][k])[i] for k in range(3)]
                e, size = np.stack(solved), components["scale_tril"][:, i, i]
            found.append(np.sum(sc.softmax(log_weights) * sc.ndtr(e)))
            log_weights = log_weights - 0.5 * e**2 - np.log(size)
        return np.stack(found)

    return cdf


@pytest.mark.parametrize("kind", ["normals", "covariances"])
def test_the_path_is_that_of_the_transform_written_out(kind):
    components = mg.Normal(LOC, SCALE) if kind == "normals" else normals()
    q = mg.MixtureSameFamily(components, probs=P)
    slow = mg.Implicit(conditional(kind), q.transform, q.params, q.noise)
    given = {"n": 2000, "data": {"a": A}, "backend": "numpy", "seed": 1}
    est, want = (mg.estimate(lambda z, *, a: np.sin(a @ z) * z[1], x, **given) for x in (q, slow))
    assert est.value == want.value
    np.testing.assert_allclose(est.grad["probs"], want.grad["probs"], rtol=0, atol=1e-12)
    for name in q.params["components"]:
        got, right = est.grad["components"][name], want.grad["components"][name]
        np.testing.assert_allclose(got, np.tril(right) if name == "scale_tril" else right, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_one_component_is_the_family_itself(dtype):
    q = mg.MixtureSameFamily([mg.MultivariateNormal(LOC[0], TRIL[0])], logits=[0.0])
    given = {"n": 2000, "data": {"a": A}, "dtype": dtype, "backend": "numpy"}
    est = mg.estimate(lambda z, *, a: np.sin(a @ z) * z[1], q, **given)
    assert est.grad["logits"] == pytest.approx(0.0, abs=1e-6)
    # component noise is stream 1 here: a Joint has it there, too
    joint = mg.Joint(u=mg.Uniform(), b=mg.MultivariateNormal(LOC[0], TRIL[0]))
    plain = mg.estimate(lambda z, *, a: np.sin(a @ z["b"]) * z["b"][1] + 0.0 * z["u"], joint, **given)
    tolerance = 1e-12 if dtype == "float64" else 3e-6
    for name in ("loc", "scale_tril"):
        got, want = est.grad["components"][name][0], plain.grad["b"][name]
        np.testing.assert_allclose(got, want, rtol=0, atol=tolerance)


def test_far_tails_keep_their_digits():
    """A draw 8 deviations out: dz/dloc is 1 there, though 1 - F is 6e-16."""
    q = mg.Implicit(
        mg.Normal.cdf, lambda eps, *, loc, scale: 8.0 + 0.0 * eps + 0.0 * loc, {"loc": 0.0, "scale": 1.0},
        mg.noise.normal(),
    )  # fmt: skip
    assert mg.estimate(lambda z: z, q, 10, backend="numpy").grad["loc"] == pytest.approx(1.0, rel=1e-12)
    mixture = mg.MixtureSameFamily(mg.Normal([0.0, 0.0], [1.0, 1.0]), probs=[0.5, 0.5])
    for sign in (-1, 1):
        eps = {"choice": np.array(0.3), "draw": np.array(8.0 * sign)}
        moved = mg.Reparameterized(
            lambda u, *, loc, eps=eps: mixture.transform(
                {"choice": u, "draw": eps["draw"] + 0.0 * u, "fine": u},
                probs=P[:2], components={"loc": loc, "scale": np.ones(2)},
            ),
            {"loc": np.zeros(2)}, mg.noise.uniform(),
        )  # fmt: skip
        est = mg.estimate(lambda z: z, moved, 10, backend="numpy")
        np.testing.assert_allclose(est.grad["loc"], P[:2] / P[:2].sum(), rtol=1e-12)


DISTRIBUTIONS = [
    (mg.Normal, {"loc": 0.3, "scale": 1.2}, scipy.stats.norm(0.3, 1.2)),
    (mg.LogNormal, {"loc": 0.3, "scale": 0.7}, scipy.stats.lognorm(0.7, scale=np.exp(0.3))),
    (mg.Logistic, {"loc": 0.3, "scale": 1.2}, scipy.stats.logistic(0.3, 1.2)),
    (mg.Laplace, {"loc": 0.3, "scale": 1.2}, scipy.stats.laplace(0.3, 1.2)),
    (mg.Gumbel, {"loc": 0.3, "scale": 1.2}, scipy.stats.gumbel_r(0.3, 1.2)),
    (mg.Cauchy, {"loc": 0.3, "scale": 1.2}, scipy.stats.cauchy(0.3, 1.2)),
    (mg.Exponential, {"rate": 0.7}, scipy.stats.expon(scale=1 / 0.7)),
]


@pytest.mark.parametrize(("family", "params", "right"), DISTRIBUTIONS, ids=lambda x: getattr(x, "__name__", ""))
def test_distribution_functions_are_scipys(family, params, right):
    z = right.ppf([1e-12, 1e-3, 0.3, 0.5, 0.9])
    np.testing.assert_allclose(family.cdf(z, **params), right.cdf(z), rtol=1e-10)
    z = right.isf([1e-12, 1e-3, 0.3, 0.5, 0.9])
    np.testing.assert_allclose(family.survival(z, **params), right.sf(z), rtol=1e-10)


def test_the_density_is_the_weighted_sum():
    z = np.array([0.3, -0.2, 1.0])
    factors = [scipy.stats.norm(LOC[k], SCALE[k]).pdf(z).prod() for k in range(3)]
    q = mg.MixtureSameFamily(mg.Normal(LOC, SCALE), probs=2 * P)
    assert q.log_prob(z, **q.params) == pytest.approx(np.log(P @ factors), rel=1e-13)
    q = mg.MixtureSameFamily(mg.Normal(LOC, 0.5), logits=np.log(P))
    factors = [scipy.stats.norm(LOC[k], 0.5).pdf(z).prod() for k in range(3)]
    assert q.log_prob(z, **q.params) == pytest.approx(np.log(P @ factors), rel=1e-13)
    q = mg.MixtureSameFamily(normals(), probs=P)
    factors = [scipy.stats.multivariate_normal(m, t @ t.T).pdf(z) for m, t in zip(LOC, TRIL, strict=True)]
    assert q.log_prob(z, **q.params) == pytest.approx(np.log(P @ factors), rel=1e-12)


def test_components_in_a_sequence_are_stacked():
    listed = mg.MixtureSameFamily([mg.Normal(loc, 0.5) for loc in LOC], probs=P)
    assert listed.shapes == {"probs": (3,), "components.loc": (3, 3), "components.scale": (3, 1)}
    stacked = mg.MixtureSameFamily(mg.Normal(LOC, np.full((3, 1), 0.5)), probs=P)
    assert listed.signature == stacked.signature
    one, two = (mg.estimate(lambda z: z @ z, q, 500, backend="numpy") for q in (listed, stacked))
    assert one.value == two.value
    moved = mg.Estimator(lambda z: z @ z, listed, backend="numpy")(500, components={"loc": LOC + 1.0})
    assert moved.value != one.value


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mg.MixtureSameFamily(mg.Normal([0.0, 1.0])), "probs, logits: given neither; accepted: one of the two"),
        (lambda: mg.MixtureSameFamily(mg.Normal([0.0, 1.0]), [0.5, -0.5]), "probs: given -0.5 at [1] of shape (2,)"),
        (
            lambda: mg.MixtureSameFamily(mg.Normal([0.0, 1.0]), [0.2, 0.3, 0.5]),
            "probs: given shape (3,); accepted: shape (2,), one for each component",
        ),
        (lambda: mg.MixtureSameFamily(mg.Normal(0.0), [1.0]), "components: given Normal(loc=0.0, scale=1.0) of event"),
        (
            lambda: mg.MixtureSameFamily(3, [1.0]),
            "components: given 3; accepted: a distribution, or a sequence of them",
        ),
        (
            lambda: mg.MixtureSameFamily(mg.VonMises([0.0, 1.0]), [0.5, 0.5]),
            "components: given VonMises, which has no cdf; accepted: MultivariateNormal, or a family with a cdf",
        ),
        (
            lambda: mg.MixtureSameFamily([mg.Normal(), mg.Laplace()], [0.5, 0.5]),
            "components: given Laplace(loc=0.0, scale=1.0); accepted: a Normal with parameters of the same shapes",
        ),
        (lambda: mg.MixtureSameFamily(normals()[0], [1.0]), "components: given one MultivariateNormal"),
        (
            lambda: mg.MixtureSameFamily(normals(), P).with_params(components={"scale_tril": TRIL - 0.6 * np.eye(3)}),
            "components.scale_tril: given 0.0 at [0, 0, 0] of shape (3, 3, 3)",
        ),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises(mg.ParameterError) as caught:
        make()
    assert str(caught.value).startswith(message)
