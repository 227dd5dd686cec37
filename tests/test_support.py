"""Supports: where densities are positive, what moves their ends, and who is refused there."""

import pickle

import numpy as np
import pytest

import mcgrad as mg
from mcgrad import tree
from mcgrad.distributions import bijections, supports
from tests.families import FAMILIES
from tests.test_distributions import draw_noise

MOST_Z = 5.0

ROWS = {name: row.q for name, row in FAMILIES.items()} | {
    "Normal": mg.Normal([0.3, -0.5], [0.6, 1.1]),
    "LogNormal": mg.LogNormal(0.3, 0.6),
    "MultivariateNormal": mg.MultivariateNormal([0.3, -0.5], [[0.7, 0.0], [-0.4, 1.3]]),
    "Uniform": mg.Uniform([-0.5, 0.0], [1.7, 0.3]),
    "Mixture": mg.MixtureSameFamily(mg.Weibull([0.6, 1.1], [1.4, 2.5]), probs=[0.3, 0.7]),
    "Joint": mg.Joint(a=mg.Uniform(-0.5, 1.7), b=mg.Joint(c=mg.Pareto(0.6, 5.0), d=mg.Bernoulli(0.3))),
    "Sigmoid": mg.Normal([0.3, -0.5], [0.6, 1.1]).transformed(bijections.Sigmoid()),
    "StickBreaking": mg.Normal([0.3, -0.5], [0.6, 1.1]).transformed(bijections.StickBreaking()),
    "Tanh of Exp of Uniform": mg.Uniform(0.1, 0.9).transformed(bijections.Exp()).transformed(bijections.Tanh()),
}
each = pytest.mark.parametrize("name", ROWS)


@each
def test_the_support_is_where_the_density_is_positive(name):
    q, rng = ROWS[name], np.random.default_rng(3)
    draws = [q.transform(draw_noise(q, rng), **q.params) for _ in range(10)]
    beside = 0.0 if q.support.discrete else 0.21  # at an end itself log_prob is the limit there
    others = [tree.map(lambda z, k=k: k - z, z) for k, z in enumerate(draws)] + [
        tree.map(lambda z: np.round(3 * z) + beside, z) for z in draws
    ]
    if q.support is supports.simplex:  # densities there do not look at the sum
        others = [-z for z in draws]
    for z in draws + others:
        with np.errstate(all="ignore"):
            positive = bool(q.log_prob(z, **q.params) > -np.inf)
        assert bool(np.all(q.support.inside(z, **q.params))) == positive
    for z in draws:
        assert np.all(q.support.inside(z, **q.params))


@each
def test_draws_come_near_the_ends_and_stay_between(name):
    q, rng = ROWS[name], np.random.default_rng(4)
    if q.support.ends is None:
        assert name in ("Joint", "Mixture", "StickBreaking") or q.support.discrete or isinstance(q.event_shape, tuple)
        return
    low, high = q.support.ends(**q.params)
    z = np.stack([q.transform(draw_noise(q, rng), **q.params) for _ in range(200)])
    assert np.all((z >= low) & (z <= high))
    assert set(q.support.moving) <= set(q.flat_params) | {"low", "high"}  # a TruncatedNormal may lack one


def test_supports_print_and_come_back_from_pickles():
    assert supports.interval("low", "high", closed=True).describe == "low <= z <= high"
    assert supports.interval(0.0).describe == "0 < z"
    assert supports.interval(high="high").inside(1.0, high=2.0)
    assert mg.Binomial(7, 0.3).support.describe == "z a whole number from 0 to 7"
    assert ROWS["Joint"].support.describe == "a: low <= z <= high; b: c: scale <= z; d: z a whole number from 0 to 1"
    assert ROWS["Joint"].support.moving == ("a.low", "a.high", "b.c.scale")
    for q in (ROWS["Joint"], ROWS["Mixture"], ROWS["Sigmoid"], mg.Categorical([0.2, 0.8])):
        assert q.support.describe
        assert pickle.loads(pickle.dumps(q)).support.describe == q.support.describe


def scaled(base, **options):
    return base.transformed(
        lambda x, *, a: a * x, params={"a": 2.0}, inverse=lambda y, *, a: y / a,
        log_det=lambda x, *, a: np.sum(np.log(a) + 0.0 * x), **options,
    )  # fmt: skip


def shifted(base):
    return base.transformed(
        lambda x, *, a: a + x, params={"a": 0.5}, inverse=lambda y, *, a: y - a, log_det=lambda x, *, a: 0.0 * np.sum(x)
    )


def bounded(base):
    return base.transformed(
        lambda x, *, a: a * np.tanh(x), params={"a": 2.0}, inverse=lambda y, *, a: np.arctanh(y / a),
        log_det=lambda x, *, a: np.sum(np.log(a) + np.log1p(-np.square(np.tanh(x)))),
    )  # fmt: skip


def sheared(base):
    return base.transformed(
        lambda x, *, a: np.stack([x[0], x[1] + a * x[0]]), params={"a": 0.7},
        inverse=lambda y, *, a: np.stack([y[0], y[1] - a * y[0]]), log_det=lambda x, *, a: 0.0 * a,
    )  # fmt: skip


def tilted(base):
    return base.transformed(
        lambda x, *, a: np.exp(a * x), params={"a": 0.5}, inverse=lambda y, *, a: np.log(y) / a,
        log_det=lambda x, *, a: np.sum(np.log(a) + a * x),
    )  # fmt: skip


MAPS = [
    (shifted(mg.Exponential(1.0)), ["a"]),
    (shifted(mg.HalfNormal([1.0, 2.0])), ["a"]),
    (shifted(mg.Normal(0.0, 1.0)), []),
    (shifted(mg.Poisson(3.0)), ["a"]),  # all of its values move
    (scaled(mg.Uniform(0.0, 1.0)), ["a", "high", "low"]),
    (scaled(mg.Exponential(1.0)), []),
    (scaled(mg.Beta(2.0, 3.0)), ["a"]),
    (scaled(mg.Normal(0.0, 1.0)), []),
    (scaled(mg.Bernoulli(0.3)), ["a"]),
    (scaled(mg.Pareto(1.0, 5.0)), ["a", "scale"]),
    (bounded(mg.Logistic(0.0, 0.5)), ["a"]),
    (tilted(mg.Normal(0.0, 1.0)), []),
    (tilted(mg.HalfNormal(1.0)), []),
    (tilted(mg.Uniform(0.0, 1.0)), ["a", "high", "low"]),
    (sheared(mg.Normal([0.0, 0.0], 1.0)), []),
    (scaled(mg.Normal(0.0, 1.0).transformed(bijections.Sigmoid())), ["a"]),
    (scaled(mg.Normal(0.0, 1.0).transformed(bijections.Exp())), []),
    (shifted(mg.Exponential(1.0).transformed(bijections.Affine(0.0, -3.0))), ["a"]),
    (shifted(mg.Exponential(1.0)).transformed(bijections.Exp()), ["a"]),
    (mg.Uniform(0.2, 1.0).transformed(bijections.Exp()), ["high", "low"]),
    (mg.VonMises(0.3, 1.0).transformed(bijections.Exp()), ["loc"]),
]


@pytest.mark.parametrize(("q", "moving"), MAPS, ids=[f"{i}-{row[0].base!r}" for i, row in enumerate(MAPS)])
def test_what_a_map_makes_of_the_ends(q, moving):
    assert sorted(q.support.moving) == moving


def test_ends_are_carried_along():
    q = shifted(mg.HalfNormal(np.ones(2))).transformed(bijections.Affine(1.0, -2.0))
    low, high = q.support.ends(**q.params)
    np.testing.assert_array_equal(low, [-np.inf, -np.inf])
    np.testing.assert_array_equal(high, [0.0, 0.0])


def square(z):
    return -0.5 * np.square(z)


VALUES = [  # the exact gradient of an ELBO, whose entropy may be taken from the draws
    (mg.Uniform(-0.5, 1.7), square, {"low": -0.571212, "high": -0.028788}),
    (mg.Pareto(1.0, 5.0), lambda z: -6.0 * np.log(z), {"scale": -5.0}),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("q", "f", "grad"), VALUES, ids=["Uniform", "Pareto"])
def test_the_pathwise_gradient_has_what_happens_at_the_ends(q, f, grad, dtype):
    for method in ("pathwise", "auto"):
        est = mg.estimate(mg.elbo(f, q), n=20_000, method=method, dtype=dtype, backend="numpy", wrt=list(grad))
        assert est.method in ("pathwise", "measure_valued")
        for name, right in grad.items():
            assert abs(est.grad[name] - right) < MOST_Z * est.grad_stderr[name] + 1e-5


SCORES = ["score", "score+mean", "score+optimal", "score+leave_one_out"]
REFUSED = [
    (mg.Uniform(-0.5, 1.7), ["low", "high"]),
    (mg.TruncatedNormal(0.0, 1.0, -0.5, 1.0), ["low", "high"]),
    (mg.Triangular(-0.5, 1.7, 0.3), ["low", "high"]),
    (mg.Triangular([-0.5, 0.0], [1.7, 1.0], [0.3, 1.0]), ["peak"]),  # one peak at an end, where the density jumps
    (mg.Pareto(1.0, 5.0), ["scale"]),
    (mg.GeneralizedPareto(0.0, 1.0, 0.2), ["loc", "scale", "concentration"]),
    (mg.VonMises(0.3, 0.5), ["loc"]),
    (shifted(mg.HalfNormal(1.0)), ["a"]),
    (mg.Joint(a=scaled(mg.Uniform(0.0, 1.0)), b=mg.Normal()), ["a.a", "a.low"]),
]


@pytest.mark.parametrize(("q", "paths"), REFUSED, ids=lambda x: type(x).__name__)
def test_refused_by_name_where_the_mean_of_the_score_is_not_zero(q, paths):
    def f(z):
        return sum(np.sum(square(x)) for x in tree.flatten(z).values())

    methods = [(method, f) for method in SCORES]
    methods += [("stl", mg.elbo(f, q)), ("stl", mg.kl(q, q)), ("dreg", mg.elbo(f, q)), ("dreg", mg.iwae(f, q, 4))]
    for path in paths:
        for method, objective in methods:
            with pytest.raises(mg.ParameterError, match="moves an end of its support") as caught:
                mg.estimate(objective, q, 1000, method={path: method}, wrt=path, backend="numpy")
            assert caught.value.parameter == path
            assert 'method="pathwise"' in caught.value.accepted


@pytest.mark.parametrize(("q", "paths"), [row for row in REFUSED if row[1] != ["peak"]], ids=lambda x: type(x).__name__)
def test_pathwise_bounds_are_right_in_those(q, paths):
    """Against differences of the bound: log q, normalizer included, is differentiated in full."""

    def f(z):
        return sum(np.sum(square(x)) for x in tree.flatten(z).values())

    for objective, n in ((mg.elbo(f, q), 2000), (mg.iwae(f, q, 2), 800)):
        each = [
            mg.estimate(objective, n=n, wrt=paths, method=method, dtype="float64", backend="numpy")
            for method in ("pathwise", "difference")
        ]
        grads, errors = ([tree.flatten(getattr(x, name)) for x in each] for name in ("grad", "grad_stderr"))
        for path in paths:
            far = MOST_Z * np.hypot(errors[0][path], errors[1][path]) + 1e-6
            assert np.all(np.abs(grads[0][path] - grads[1][path]) < far), path


def test_others_of_the_same_family_are_not_refused():
    q = mg.TruncatedNormal(0.0, 1.0, -0.5, 1.0)
    exact = mg.estimate(mg.elbo(square, q), n=20_000, wrt=["loc", "scale"], backend="numpy")
    for method in ("stl", "score+mean"):
        est = mg.estimate(mg.elbo(square, q), n=20_000, wrt=["loc", "scale"], method=method, backend="numpy")
        for name in ("loc", "scale"):
            error = np.hypot(est.grad_stderr[name], exact.grad_stderr[name])
            assert abs(est.grad[name] - exact.grad[name]) < MOST_Z * error


def test_mixtures_have_their_components_moving_parameters():
    class Ramp(mg.Distribution):
        """Uniform on (0, end), with what mixtures need."""

        support = supports.interval(0.0, "end")
        noise_kind = "uniform"

        def __init__(self, end):
            super().__init__(end=end)

        transform = staticmethod(lambda eps, *, end: end * eps)
        log_density = staticmethod(lambda z, *, end: np.sum(np.where((z > 0) & (z < end), -np.log(end), -np.inf)))
        cdf = staticmethod(lambda z, *, end: np.clip(z / end, 0.0, 1.0))

    q = mg.MixtureSameFamily(Ramp([1.0, 2.0]), probs=[0.5, 0.5])
    with pytest.raises(mg.ParameterError, match=r"^components\.end: .*moves an end"):
        mg.estimate(square, q, 1000, method="score", backend="numpy")
    assert mg.estimate(square, q, 1000, method="score", wrt="probs", backend="numpy").grad["probs"].shape == (2,)


def test_compare_and_auto_pass_over_what_is_refused():
    q = shifted(mg.HalfNormal(1.0))
    found = mg.compare(square, q, 1000, wrt=["a"], backend="numpy")
    assert set(found.refused) >= set(SCORES)
    assert mg.estimate(square, q, 1000, wrt=["a"], method="auto", backend="numpy").method == "pathwise"


DENSITY_AT_1 = [(k, np.exp(k * np.cos(0.7)) / (2 * np.pi * i0)) for k, i0 in ((0.1, 1.0025015629), (2.0, 2.2795853023))]
MOVED_JUMPS = [  # q, threshold, the parameter that moves the support, d P(z > threshold) of it
    (shifted(mg.HalfNormal(1.0)), 0.7, "a", 2 * np.exp(-0.02) / np.sqrt(2 * np.pi)),
    (scaled(mg.Uniform(0.0, 1.0)), 0.7, "a", 0.175),
    *((mg.VonMises(0.3, k), 1.0, "loc", right) for k, right in DENSITY_AT_1),
]


@pytest.mark.parametrize(("q", "threshold", "path", "right"), MOVED_JUMPS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_auto_has_the_gradient_of_a_probability_where_the_support_moves(q, threshold, path, right, dtype):
    """Pathwise leaves the jump out and the score the end of the support: only differences have both."""
    est = mg.estimate(
        lambda z: np.where(z > threshold, 1.0, 0.0), q, 100_000, wrt=path, method="auto", dtype=dtype, backend="numpy"
    )
    assert est.method == "difference"
    assert "pathwise is biased" in est.choice
    assert abs(est.grad[path] - right) < 5 * est.grad_stderr[path] < 0.2 * right
