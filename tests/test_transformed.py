"""Transformed distributions: densities through the inverse, gradients through the map, refusals by name."""

import math

import numpy as np
import pytest
import scipy.stats as st

import mcgrad as mg
from mcgrad.distributions import bijections, constraints

LOC, SCALE = np.array([0.3, -0.5]), np.array([0.6, 1.1])
NORMAL = mg.Normal(LOC, SCALE)
EACH = [
    bijections.Exp(),
    bijections.Sigmoid(),
    bijections.Softplus(),
    bijections.Tanh(),
    bijections.Affine([1.0, 2.0], [-0.5, 3.0]),
    bijections.StickBreaking(),
    bijections.SoftmaxCentered(),
]


@pytest.mark.parametrize("fn", EACH, ids=repr)
def test_a_bijection_is_inverted_and_its_determinant_right(fn):
    rng = np.random.default_rng(0)
    for x in (*rng.normal(size=(5, 2)), np.array([12.0, -3.0])):
        y = fn.forward(x)
        np.testing.assert_allclose(fn.inverse(y), x, rtol=1e-6 if max(x) > 9 else 1e-12)
        h = 1e-5
        jacobian = np.array([fn.forward(x + h * e) - fn.forward(x - h * e) for e in np.eye(2)])[:, :2] / (2 * h)
        if max(x) < 9:
            assert fn.log_det(x) == pytest.approx(np.linalg.slogdet(jacobian)[1], rel=1e-7, abs=1e-7)
        assert np.all(fn.image.inside(y))


@pytest.mark.parametrize("fn", EACH, ids=repr)
def test_maps_of_batches_and_of_float32(fn):
    x = np.linspace(-1, 1, 6, dtype=np.float32).reshape(3, 2)
    y = fn.forward(x)
    assert (y.dtype, fn.inverse(y).dtype, fn.log_det(x).dtype) == (np.float32,) * 3
    np.testing.assert_allclose(y[1], fn.forward(x[1]))
    assert fn.log_det(x) == pytest.approx(sum(fn.log_det(row) for row in x), rel=1e-5)


def test_torchs_stick_breaking():
    """torch 2.13: StickBreakingTransform of [0.3, -0.2]."""
    x = np.array([0.3, -0.2])
    right = [0.4029599111828766, 0.26876715022700765, 0.3282729385901158]
    np.testing.assert_allclose(bijections.StickBreaking().forward(x), right, rtol=1e-14)
    assert bijections.StickBreaking().log_det(x) == pytest.approx(-3.336737971512876, rel=1e-13)


def test_densities():
    z = np.array([0.7, 2.0])
    params = NORMAL.params
    exp = NORMAL.transformed(bijections.Exp())
    assert exp.log_prob(z, **params) == pytest.approx(st.lognorm(SCALE, scale=np.exp(LOC)).logpdf(z).sum(), rel=1e-13)
    assert exp.log_prob(-z, **params) == -np.inf
    affine = exp.transformed(bijections.Affine(1.0, -2.0))
    right = st.lognorm(SCALE, scale=np.exp(LOC)).logpdf(z).sum() - 2 * math.log(2)
    assert affine.log_prob(1.0 - 2.0 * z, **params) == pytest.approx(right, rel=1e-13)
    square = mg.HalfNormal([1.0, 2.0]).transformed(np.square, inverse=np.sqrt, log_det=lambda x: np.sum(np.log(2 * x)))
    right = st.gamma(0.5, scale=[2.0, 8.0]).logpdf(z).sum()
    assert square.log_prob(z, **square.params) == pytest.approx(right, rel=1e-13)


def test_a_flow_of_two_layers_with_parameters_of_their_own():
    """z = (x, y + a x), then exp(b z) elementwise: a log-normal of known covariance."""

    def shear(z, *, a):
        return np.stack([z[0], z[1] + a * z[0]])

    q = (
        mg.Normal([0.1, 0.2], [0.5, 0.4])
        .transformed(shear, params={"a": 0.7}, inverse=lambda y, *, a: np.stack([y[0], y[1] - a * y[0]]),
                     log_det=lambda x, *, a: 0.0 * a)
        .transformed(lambda z, *, b: np.exp(b * z), params={"b": 1.2}, constraints={"b": constraints.positive})
    )  # fmt: skip
    assert list(q.params) == ["loc", "scale", "a", "b"]
    assert q.event_shape == (2,)
    est = mg.estimate(lambda z: z[1], q, 100_000, backend="numpy")
    mean, variance = 0.2 + 0.7 * 0.1, 0.4**2 + (0.7 * 0.5) ** 2
    value = math.exp(1.2 * mean + 0.72 * variance)
    assert abs(est.value - value) < 5 * est.stderr
    assert abs(est.grad["a"] - value * (0.12 + 1.44 * 0.7 * 0.25)) < 5 * est.grad_stderr["a"]
    assert abs(est.grad["b"] - value * (mean + 1.2 * variance)) < 5 * est.grad_stderr["b"]
    with pytest.raises(mg.ParameterError, match=r"^inverse: given none; accepted: transformed\(fn, inverse=...\)"):
        q.log_prob(np.ones(2), **q.params)
    with pytest.raises(mg.ParameterError, match=r"^b: given -1"):
        q.with_params(b=-1.0)


def test_elbo_of_a_transformed_normal():
    """KL from a log-normal to itself with another location; the map cancels."""
    q = mg.Normal(0.3, 0.8).transformed(bijections.Exp())

    def log_joint(z):
        return -0.5 * np.square(np.log(z)) - np.log(z) - 0.5 * math.log(2 * math.pi)

    est = mg.estimate(mg.elbo(log_joint, q), q, 50_000, backend="numpy")
    right = -(0.5 * (0.8**2 + 0.3**2 - 1) - math.log(0.8))
    assert abs(est.value - right) < 5 * est.stderr
    assert abs(est.grad["loc"] + 0.3) < 5 * est.grad_stderr["loc"]


def test_copies_and_parameters_that_change():
    q = NORMAL.transformed(bijections.Exp())
    moved = q.with_params(loc=LOC + 1)
    np.testing.assert_array_equal(moved.base.params["loc"], LOC + 1)
    assert moved.signature == q.signature
    assert q.reparameterized
    assert not mg.Joint(a=q, b=mg.Poisson(3.0).transformed(np.sqrt)).reparameterized
    assert repr(mg.Normal(0.0, 1.0).transformed(bijections.Exp())) == "Normal(loc=0.0, scale=1.0).transformed(Exp())"


REFUSED = [
    (lambda: NORMAL.transformed(3), "fn", "3"),
    (lambda: NORMAL.transformed(bijections.Exp), "fn", "Exp"),
    (lambda: NORMAL.transformed(np.exp, params={"loc": 1.0}), "loc", "parameter of the base"),
    (lambda: NORMAL.transformed(np.exp, inverse=3), "inverse", "3"),
    (lambda: NORMAL.transformed(bijections.Exp(), inverse=np.log), "inverse", "log"),
    (lambda: NORMAL.transformed(np.exp, constraints={"a": constraints.positive}), "constraints['a']", "no parameter"),
    (
        lambda: NORMAL.transformed(lambda z, *, a: a * z, params={"a": 1.0}, constraints={"a": "positive"}),
        "constraints['a']",
        "'positive'",
    ),
    (lambda: NORMAL.transformed(np.exp, constraints=["a"]), "constraints", "['a']"),
    (lambda: NORMAL.transformed(lambda x: x > 0), "fn", "bool"),
    (lambda: mg.Joint(a=NORMAL).transformed(bijections.Exp()), "fn", "Exp()"),
    (lambda: bijections.Affine(0.0, 0.0), "scale", "0.0"),
    (lambda: bijections.Affine(np.nan), "loc", "nan"),
    (lambda: NORMAL.transformed(np.exp).log_prob(LOC, **NORMAL.params), "inverse", "none"),
    (lambda: NORMAL.transformed(np.exp, inverse=np.log).log_prob(LOC, **NORMAL.params), "log_det", "none"),
]


@pytest.mark.parametrize(("make", "name", "given"), REFUSED, ids=range(len(REFUSED)))
def test_refused_by_name(make, name, given):
    with pytest.raises(mg.ParameterError) as caught:
        make()
    assert caught.value.parameter == name
    assert given in caught.value.given
