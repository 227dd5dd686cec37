"""Distributions: right densities, right draws, parameters that are refused by name."""

import pickle
import re

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, strategies as st

from mcgrad import noise, tree
from mcgrad.distributions import (
    Distribution,
    Joint,
    LogNormal,
    MultivariateNormal,
    Normal,
    Reparameterized,
    Uniform,
    constraints,
)
from mcgrad.errors import ParameterError

TRIL = np.array([[0.7, 0.0, 0.0], [-0.4, 1.3, 0.0], [0.2, 0.9, 0.5]])
LOC, SCALE = np.array([0.3, -1.0, 2.0]), np.array([0.5, 1.5, 1.0])

# the family, and the mean and covariance of its flattened draw
FAMILIES = {
    "normal": (Normal(LOC, SCALE), LOC, np.diag(SCALE**2)),
    "normal, scalar": (Normal(0.3, 1.2), [0.3], [[1.44]]),
    "normal, broadcast": (Normal([[0.0], [1.0]], [1.0, 2.0]), [0, 0, 1, 1], np.diag([1.0, 4.0, 1.0, 4.0])),
    "lognormal": (
        LogNormal(LOC, 0.5),
        np.exp(LOC + 0.125),
        np.diag(np.expm1(0.25) * np.exp(2 * LOC + 0.25)),
    ),
    "uniform": (Uniform([-1.0, 0.0], 2.0), [0.5, 1.0], np.diag([9 / 12, 4 / 12])),
    "multivariate normal": (MultivariateNormal(LOC, TRIL), LOC, TRIL @ TRIL.T),
    "reparameterized": (
        Reparameterized(lambda eps, *, a, b: a + b * eps, {"a": LOC, "b": 2.0}, noise.normal(3)),
        LOC,
        4 * np.eye(3),
    ),
    "joint": (Joint(a=Normal(LOC, SCALE), b=Uniform(1.0, 3.0)), [*LOC, 2.0], np.diag([*(SCALE**2), 4 / 12])),
}
each_family = pytest.mark.parametrize("family", FAMILIES)


def draw_noise(q, rng, dtype=np.float64):
    def one(source):
        x = rng.standard_normal(source.shape) if source.kind == "normal" else rng.uniform(size=source.shape)
        return np.asarray(x, dtype)

    return tree.map(one, q.noise)


def flat_draw(z):
    return np.concatenate([np.ravel(leaf) for leaf in tree.flatten(z).values()])


@each_family
def test_transform_gives_draws_of_the_right_mean_and_covariance(family):
    q, mean, covariance = FAMILIES[family]
    rng = np.random.default_rng(1)
    x = np.array([flat_draw(q.transform(draw_noise(q, rng), **q.params)) for _ in range(20_000)])
    for sample, exact in [(x, np.asarray(mean)), *zip_outer(x - mean, np.asarray(covariance))]:
        z = (sample.mean(axis=0) - exact) / (sample.std(axis=0, ddof=1) / np.sqrt(len(sample)))
        assert np.abs(z).max() < 4.5  # about 60 comparisons in all: false alarm below 5e-4


def zip_outer(deviations, covariance):
    return [(deviations[:, [i]] * deviations, row) for i, row in enumerate(covariance)]


@each_family
def test_draws_have_the_event_shape(family):
    q, _, _ = FAMILIES[family]
    z = q.transform(draw_noise(q, np.random.default_rng(0)), **q.params)
    assert tree.map(np.shape, z) == q.event_shape


@each_family
def test_float32_stays_float32(family):
    q, _, _ = FAMILIES[family]
    q = q.with_params(**tree.map(np.float32, q.params))
    assert q.dtype == np.float32
    z = q.transform(draw_noise(q, np.random.default_rng(0), np.float32), **q.params)
    assert {leaf.dtype for leaf in tree.flatten(z).values()} == {np.dtype(np.float32)}
    if family != "reparameterized":
        assert q.log_prob(z, **q.params).dtype == np.float32


@pytest.mark.parametrize(
    ("q", "exact"),
    [
        (Normal(LOC, SCALE), lambda z: scipy.stats.norm(LOC, SCALE).logpdf(z).sum()),
        (Normal(0.3, [[1.0], [2.0]]), lambda z: scipy.stats.norm(0.3, [[1.0], [2.0]]).logpdf(z).sum()),
        (LogNormal(LOC, SCALE), lambda z: scipy.stats.lognorm(SCALE, scale=np.exp(LOC)).logpdf(z).sum()),
        (Uniform([-1.0, 0.0], 2.0), lambda z: scipy.stats.uniform([-1.0, 0.0], [3.0, 2.0]).logpdf(z).sum()),
        (MultivariateNormal(LOC, TRIL), scipy.stats.multivariate_normal(LOC, TRIL @ TRIL.T).logpdf),
        (MultivariateNormal([2.0], [[3.0]]), lambda z: scipy.stats.norm(2.0, 3.0).logpdf(z[0])),
    ],
    ids=lambda case: repr(case) if isinstance(case, Distribution) else "",
)
def test_log_prob_agrees_with_scipy(q, exact):
    rng = np.random.default_rng(2)
    for _ in range(20):
        z = q.transform(draw_noise(q, rng), **q.params)
        assert q.log_prob(z, **q.params) == pytest.approx(exact(z), rel=1e-12, abs=1e-12)


def test_log_prob_is_minus_infinity_off_the_support():
    assert LogNormal.log_prob(np.array([1.0, -1.0]), loc=0.0, scale=1.0) == -np.inf
    assert LogNormal.log_prob(0.0, loc=0.0, scale=1.0) == -np.inf
    assert Uniform.log_prob(2.5, low=0.0, high=2.0) == -np.inf
    assert Uniform.log_prob(-0.5, low=0.0, high=2.0) == -np.inf


def test_joint_log_prob_is_the_sum():
    q, z = Joint(a=Normal(0.0, 2.0), c=Joint(b=Uniform(0.0, 4.0))), {"a": 0.7, "c": {"b": 1.0}}
    expected = scipy.stats.norm(0.0, 2.0).logpdf(0.7) + np.log(0.25)
    assert q.log_prob(z, **q.params) == pytest.approx(expected, rel=1e-14)


@given(st.floats(-(2.0**99), 2.0**99, width=32), st.floats(-(2.0**99), 2.0**99, width=32))
def test_no_uniform_draw_rounds_off_its_own_support(a, b):
    if a == b:
        return
    low, high = np.float32(min(a, b)), np.float32(max(a, b))
    for u in (np.nextafter(np.float32(1), np.float32(0)), np.float32(2) ** -32):
        z = Uniform.transform(u, low=low, high=high)
        assert z.dtype == np.float32
        assert np.isfinite(Uniform.log_prob(z, low=low, high=high))


def test_forward_substitution_is_as_accurate_as_lapack_when_ill_conditioned():
    d = 50
    rng = np.random.default_rng(3)
    tril = np.tril(rng.standard_normal((d, d)), -1) + np.diag(rng.uniform(0.5, 1.5, d))
    eps = rng.standard_normal(d)
    exact = scipy.stats.norm.logpdf(eps).sum() - np.log(np.diagonal(tril)).sum()
    z = tril @ eps
    reference = scipy.linalg.solve_triangular(tril, z, lower=True)
    ours = MultivariateNormal.log_prob(z, loc=np.zeros(d), scale_tril=tril)
    lapack = scipy.stats.norm.logpdf(reference).sum() - np.log(np.diagonal(tril)).sum()
    assert abs(ours - exact) <= 10 * abs(lapack - exact) + 1e-10 * abs(exact)


REAL = "a real number or an array of float32, float64 or integers, not empty"
REFUSED = {
    "zero scale": (lambda: Normal(0.0, 0.0), "scale: given 0.0; accepted: finite and > 0"),
    "worst entry": (
        lambda: Normal(0.0, [1.0, -2.0, -3.0]),
        "scale: given -2.0 at [1] of shape (3,) (2 such entries); accepted: finite and > 0",
    ),
    "NaN": (lambda: Normal([0.0, np.nan]), "loc: given nan at [1] of shape (2,); accepted: finite"),
    "infinite loc": (lambda: Normal(-np.inf), "loc: given -inf; accepted: finite"),
    "infinite scale": (lambda: LogNormal(0.0, np.inf), "scale: given inf; accepted: finite and > 0"),
    "no broadcast": (
        lambda: Normal(np.zeros(3), np.ones(2)),
        "loc, scale: given shapes loc (3,) and scale (2,); accepted: shapes that broadcast",
    ),
    "complex": (lambda: Normal(1j), f"loc: given 1j; accepted: {REAL}"),
    "bool": (lambda: Normal(0.0, True), f"scale: given True; accepted: {REAL}"),
    "bools": (lambda: Normal(np.ones(2, bool)), f"loc: given bool array of shape (2,); accepted: {REAL}"),
    "string": (lambda: Normal("0.3"), f"loc: given '0.3'; accepted: {REAL}"),
    "None": (lambda: Normal(None), f"loc: given None; accepted: {REAL}"),
    "objects": (lambda: Normal(np.array([1, None])), f"loc: given object array of shape (2,); accepted: {REAL}"),
    "ragged": (lambda: Normal([1.0, [2.0]]), f"loc: given [1.0, [2.0]]; accepted: {REAL}"),
    "masked": (lambda: Normal(np.ma.array([1.0], mask=[True])), "loc: given a masked array; accepted: an array"),
    "float16": (lambda: Normal(np.zeros(2, np.float16)), f"loc: given float16 array of shape (2,); accepted: {REAL}"),
    "empty": (lambda: Normal(np.zeros((0, 2))), f"loc: given float64 array of shape (0, 2); accepted: {REAL}"),
    "low >= high": (
        lambda: Uniform([0.0, 2.0], 1.0),
        "low, high: given low = 2.0 and high = 1.0 at [1]; accepted: low < high",
    ),
    "low = high": (lambda: Uniform(1.0, 1.0), "low, high: given low = 1.0 and high = 1.0; accepted: low < high"),
    "above the diagonal": (
        lambda: MultivariateNormal(np.zeros(2), [[1.0, 2.0], [3.0, 4.0]]),
        "scale_tril: given 2.0 at [0, 1] of shape (2, 2); accepted: a square matrix, finite, > 0 on the diagonal and "
        "0 above it",
    ),
    "diagonal": (
        lambda: MultivariateNormal(np.zeros(2), [[1.0, 0.0], [3.0, -4.0]]),
        "scale_tril: given -4.0 at [1, 1] of shape (2, 2); accepted: a square matrix",
    ),
    "not square": (
        lambda: MultivariateNormal(np.zeros(2), np.ones((2, 3))),
        "scale_tril: given shape (2, 3); accepted: a square matrix",
    ),
    "mean of another size": (
        lambda: MultivariateNormal(np.zeros(3), np.eye(2)),
        "loc: given shape (3,) with scale_tril of shape (2, 2); accepted: shape (2,)",
    ),
    "part of a joint": (lambda: Joint(a=Normal(), b=3), "b: given 3; accepted: a distribution"),
    "empty joint": (lambda: Joint(), "parts: given none; accepted: at least one distribution"),
    "dot in a name": (lambda: Joint(**{"a.b": Normal()}), "name: given 'a.b'; accepted: a string that is not empty"),
    "not a transform": (
        lambda: Reparameterized(3, {}, noise.normal()),
        "transform: given 3; accepted: a function",
    ),
    "other names": (
        lambda: Reparameterized(lambda eps, *, a: a * eps, {"b": 1.0}, noise.normal()),
        "params: given b (missing a required ",  # the rest is Python's, and changed in 3.12
    ),
    "not noise": (
        lambda: Reparameterized(lambda eps: eps, {}, "normal"),
        "noise: given 'normal'; accepted: noise.normal(shape) or noise.uniform(shape)",
    ),
    "integer draws": (
        lambda: Reparameterized(lambda eps: eps > 0, {}, noise.normal(2)),
        "transform: given one that returns bool array of shape (2,); accepted: one that returns floats",
    ),
    "constraint on nothing": (
        lambda: Reparameterized(lambda eps: eps, {}, noise.normal(), constraints={"a": constraints.positive}),
        "constraints['a']: given no parameter's name",
    ),
    "constraint given": (
        lambda: Reparameterized(
            lambda eps, a: a * eps, {"a": -1.0}, noise.normal(), constraints={"a": constraints.positive}
        ),
        "a: given -1.0; accepted: finite and > 0",
    ),
    "unknown name": (lambda: Normal().with_params(mu=1.0), "mu: given no parameter's name; accepted: loc, scale"),
    "another shape": (
        lambda: Normal(np.zeros(3)).with_params(loc=np.zeros(2)),
        "loc: given shape (2,); accepted: shape (3,), as at first",
    ),
    "new value": (lambda: Normal().with_params(scale=-1), "scale: given -1.0; accepted: finite and > 0"),
    "new value in a joint": (
        lambda: Joint(a=Uniform()).with_params(a={"low": 3.0}),
        "a: low, high: given low = 3.0 and high = 1.0; accepted: low < high",
    ),
    "a part as a number": (
        lambda: Joint(a=Uniform()).with_params(a=3.0),
        "a: given no parameter's name; accepted: a.low, a.high",
    ),
    "zero in float32": (
        lambda: Normal(0.0, 1e-60).validate({}, dtype=np.float32),
        "scale: given 0.0 in float32; accepted: finite and > 0",
    ),
    "infinite in float32": (
        lambda: Normal().validate({"loc": 1e300}, dtype="float32"),
        "loc: given inf in float32; accepted: finite",
    ),
    "no density": (
        lambda: Reparameterized(lambda eps: eps, {}, noise.normal()).log_prob(0.0),
        "log_prob: given none; accepted: Reparameterized(..., log_prob=...)",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    make, message = REFUSED[case]
    with pytest.raises(ParameterError, match=f"^{re.escape(message)}"):
        make()


@pytest.mark.parametrize(
    ("constraint", "good", "bad"),
    [
        (constraints.real, [-1e300, 0.0, 1e300], [np.nan, np.inf, -np.inf]),
        (constraints.positive, [5e-324, 1.0], [0.0, -1.0, np.nan, np.inf]),
        (constraints.nonnegative, [0.0, -0.0, 1.0], [-5e-324, np.nan, np.inf]),
        (constraints.unit_interval, [0.0, 0.5, 1.0], [-5e-324, np.nextafter(1.0, 2.0), np.nan]),
    ],
)
def test_interval_constraints_at_their_ends(constraint, good, bad):
    assert constraint.check(np.array(good))
    for value in bad:
        for array in (np.array(value), np.array([*good, value]), np.array([[value]])):
            assert not constraint.check(array)
            assert constraint.wrong(array).sum() == 1


def test_only_the_lower_triangle_is_free():
    assert Normal(LOC, SCALE).free == {}
    q = Joint(a=MultivariateNormal(LOC, TRIL), b=Normal())
    assert list(q.free) == ["a.scale_tril"]
    np.testing.assert_array_equal(q.free["a.scale_tril"], np.tri(3, dtype=bool))


def test_params_are_copies_that_cannot_be_written():
    loc = np.zeros(3)
    q = Normal(loc, 2)
    loc[0] = 9.0
    assert q.params["loc"][0] == 0.0
    assert q.params["scale"].dtype == np.float64
    with pytest.raises(ValueError, match="read-only"):
        q.params["loc"][0] = 1.0
    q.params["loc"] = None
    assert q.params["loc"] is not None
    with pytest.raises(AttributeError, match="use with_params"):
        q.event_shape = ()


def test_dtype_is_float32_only_if_every_parameter_is():
    one = np.ones(2, np.float32)
    assert Normal(one, one).dtype == np.float32
    assert Normal(one, 1.0).dtype == np.float64
    assert Joint(a=Normal(one, one), b=Normal()).dtype == np.float64
    assert Normal(one.astype(">f4"), one).dtype == np.float32


def test_with_params_changes_a_subset_and_leaves_the_old_alone():
    q = Joint(a=Normal(LOC, SCALE), b=Uniform(0.0, 1.0))
    new = q.with_params(a={"loc": LOC + 1}, b={"low": 0.5})
    np.testing.assert_array_equal(new.params["a"]["loc"], LOC + 1)
    np.testing.assert_array_equal(new.params["a"]["scale"], SCALE)
    assert new.params["b"]["low"] == new.parts["b"].params["low"] == 0.5
    np.testing.assert_array_equal(q.params["a"]["loc"], LOC)
    assert list(new.validate({"b": {"high": 2}})) == ["a.loc", "a.scale", "b.low", "b.high"]
    with pytest.raises(ValueError, match="read-only"):
        Normal(LOC).with_params(loc=LOC + 1).params["loc"][0] = 1.0


def test_both_ends_may_move_past_the_old_ones_together():
    assert Uniform(0.0, 1.0).with_params(low=5.0, high=6.0).params["low"] == 5.0


def test_signature_ignores_values_only():
    assert Normal(0.0, 1.0).signature == Normal(5.0, 2.0).signature
    assert hash(Joint(a=Normal(0.0)).signature) == hash(Joint(a=Normal(1.0)).signature)
    others = [Normal(LOC), LogNormal(), Joint(a=Normal()), Joint(b=Normal())]
    assert len({q.signature for q in [Normal(), *others]}) == 5

    def g(eps, a):
        return a * eps

    first, second = (Reparameterized(g, {"a": a}, noise.normal()) for a in (1.0, 2.0))
    assert first.signature == second.signature
    assert first.signature != Reparameterized(g, {"a": 1.0}, noise.uniform()).signature


def test_reparameterized_takes_trees_of_noise_parameters_and_draws():
    def g(eps, *, a, tau):
        return {"x": a["loc"] + eps["e"], "y": tau * eps["u"][:2]}

    q = Reparameterized(g, {"a": {"loc": LOC}, "tau": 2}, {"e": noise.normal(3), "u": noise.uniform(4)})
    assert q.event_shape == {"x": (3,), "y": (2,)}
    assert q.shapes == {"a.loc": (3,), "tau": ()}
    half = {"e": np.zeros(3), "u": np.full(4, 0.5)}
    np.testing.assert_array_equal(q.with_params(tau=4.0).transform(half, **q.with_params(tau=4.0).params)["y"], [2, 2])


def test_a_part_without_parameters():
    q = Joint(a=Reparameterized(lambda eps: np.exp(eps), {}, noise.normal()), b=Normal())
    assert q.params == {"b": {"loc": 0.0, "scale": 1.0}}
    assert q.transform({"a": 0.0, "b": 0.5}, **q.params) == {"a": 1.0, "b": 0.5}


def test_a_new_family_takes_a_few_lines():
    class Exponential(Distribution):
        constraints = {"rate": constraints.positive}  # noqa: RUF012
        noise_kind = "uniform"

        def __init__(self, rate=1.0):
            super().__init__(rate=rate)

        @staticmethod
        def transform(eps, *, rate):
            return -np.log(eps) / rate

    q = Exponential([1.0, 2.0])
    assert q.event_shape == (2,)
    assert q.noise == noise.uniform(2)
    np.testing.assert_allclose(q.transform(np.exp([-1.0, -1.0]), **q.params), [1.0, 0.5])


def test_repr_and_pickle():
    q = Joint(a=Normal(0.3, 1.2), b=MultivariateNormal(LOC, TRIL))
    assert repr(q) == (
        "Joint(a=Normal(loc=0.3, scale=1.2), b=MultivariateNormal(loc=<float64 (3,)>, scale_tril=<float64 (3, 3)>))"
    )
    again = pickle.loads(pickle.dumps(q))
    assert again.signature == q.signature
    np.testing.assert_array_equal(again.params["b"]["scale_tril"], TRIL)
