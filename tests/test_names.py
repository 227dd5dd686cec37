"""Arguments and attributes that other libraries have: refused by name, with what is there instead."""

import pickle

import numpy as np
import pytest

import mcgrad as mg


@pytest.mark.parametrize(
    ("act", "family", "given", "accepted"),
    [
        (lambda: mg.Normal(mu=0.0, sigma=1.0), "Normal", "mu=", "loc, scale"),
        (lambda: mg.Normal(0.0, std=1.0), "Normal", "std=", "loc, scale"),
        (lambda: mg.Normal(0.0, 1.0, 2.0), "Normal", "takes from 1 to 3 positional", "loc, scale"),
        (lambda: mg.Gamma(alpha=1.0, beta=2.0), "Gamma", "alpha=", "concentration, rate"),
        (lambda: mg.Bernoulli(p=0.3), "Bernoulli", "p=", "probs, logits"),
        (lambda: mg.MultivariateNormal(np.zeros(2), cov=np.eye(2)), "MultivariateNormal", "cov=", "covariance_matrix"),
        (lambda: mg.MultivariateNormal(), "MultivariateNormal", "missing 1 required", "loc, scale_tril"),
        (lambda: mg.Joint({"a": mg.Normal()}), "Joint", "takes 1 positional", r"\*\*parts"),
        (lambda: mg.Reparameterized(np.exp, {}), "Reparameterized", "missing .*'noise'", "transform, params, noise"),
    ],
)
def test_arguments_of_families(act, family, given, accepted):
    with pytest.raises(mg.ParameterError, match=rf"^{family}: given .*{given}.*; accepted: .*{accepted}"):
        act()


def test_errors_inside_a_constructor_are_their_own():
    class Broken(mg.Normal):
        def __init__(self, loc):
            super().__init__(loc + None, 1.0)

    with pytest.raises(TypeError, match="unsupported operand"):
        Broken(1.0)


def test_attributes_that_are_not_there_say_what_is():
    q = mg.Joint(a=mg.Normal(0.0, 1.0))
    with pytest.raises(AttributeError, match=r"'Normal' object has no attribute 'loc': there is q\.params\['loc'\]"):
        mg.Normal(0.0, 1.0).loc  # noqa: B018
    with pytest.raises(AttributeError, match=r"no attribute 'rsample': there is .*q\.sample\(n\)"):
        q.rsample((3,))
    assert not hasattr(q, "__array__")
    assert pickle.loads(pickle.dumps(mg.Normal(0.5, 1.0))).params["loc"] == 0.5


@pytest.mark.parametrize(
    "f",
    [
        lambda z: mg.Normal(z[0], 1.0).log_prob(1.0),
        lambda z: np.sum(mg.Bernoulli(logits=np.eye(3) @ z).log_prob(np.ones(3))),
        lambda z: mg.MultivariateNormal(z, np.eye(3)).log_prob(np.ones(3)),
    ],
)
def test_traced_parameters_of_a_distribution(f):
    with pytest.raises(mg.TraceError, match=r"cannot be a traced value; .*mg\.Normal\.log_prob\(x, loc=m") as caught:
        mg.estimate(f, mg.Normal(np.zeros(3), 1.0), 100)
    assert caught.value.filename == __file__


def test_what_the_message_says_to_write():
    y = np.array([0.5, -1.0, 2.0])
    q = mg.Normal(np.zeros(3), 1.0)
    est = mg.estimate(lambda z: mg.Normal.log_prob(y, loc=z, scale=2.0), q, 100, backend="numpy")
    right = np.mean([np.sum(-((y - z) ** 2) / 8 - np.log(2) - 0.5 * np.log(2 * np.pi)) for z in q.sample(100)])
    assert est.value == pytest.approx(right, rel=1e-12)


def test_one_backend_to_verify_may_be_a_name():
    assert [check.backend for check in mg.verify(np.sin, mg.Normal(), 4000, backends="cpu").backends] == ["cpu"]
