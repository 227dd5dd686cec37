"""The table of methods: a method, a control variate or a family is stated in one place, which all else reads."""

import copy
import pickle
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.distributions import supports
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.constraints import positive
from mcgrad.distributions.divergence_forms import CrossEntropy, DivergenceForms, positive_line
from mcgrad.engine.auto import candidates
from mcgrad.gradients.method import ControlVariate, Kind, Method
from mcgrad.gradients.methods import METHODS, TABLE
from mcgrad.gradients.pathwise import pathwise
from mcgrad.ir.build import apply, reduce
from mcgrad.ir.vmap import vmap_noise

Q = mg.Normal(0.3, 1.2)


def bend(z):
    return np.sin(z) + 0.1 * z**2


def antithetic(problem, wrt):
    """Of one draw twice, which is the pathwise gradient: a stand-in for a method of a later version."""
    return [apply("multiply", apply("add", x, x), 0.5) for x in pathwise(problem, wrt)]


def centered(problem, wrt, k):
    """The pathwise gradient less a control variate that is zero: the mean of a group less the mean of a group."""
    grads = vmap_noise(pathwise(problem, wrt), k)
    means = [apply("multiply", reduce("sum", x, (0,)), 1 / k) for x in grads]
    return [apply("add", mean, apply("subtract", mean, mean)) for mean in means]


@pytest.fixture
def table(monkeypatch):
    def add(method):
        for one in (method, *method.controlled()):
            monkeypatch.setitem(METHODS, one.name, one)

    return add


def test_a_method_is_a_record_that_estimate_compare_auto_and_verify_read(table):
    control = ControlVariate("centered", centered, grouped=True)
    table(Method("antithetic", antithetic, biased_by="Jumps.", follows_draw=True, controls=(control,)))
    both = [mg.estimate(bend, Q, 4000, method=method, backend="numpy") for method in ("antithetic", "pathwise")]
    assert both[0].method == "antithetic"
    assert both[0].grad["loc"] == pytest.approx(both[1].grad["loc"], rel=1e-12)
    grouped = mg.estimate(bend, Q, 4000, method="antithetic+centered", k=4, backend="numpy")
    assert (grouped.group, grouped.method) == (4, "antithetic+centered")
    found = mg.compare(bend, Q, 1600, backend="numpy")
    assert {"antithetic", "antithetic+centered"} <= {row.method for row in found.rows}
    assert METHODS["antithetic"] in candidates(bend)
    wide = mg.Normal(np.zeros(10), 1.0)
    auto = mg.Estimator(lambda z: np.sum(np.sin(z)), wide, method="auto", backend="numpy").plan
    assert auto.method == "pathwise"  # the first of equals, or the one of less work
    assert "as efficient as antithetic" in auto.reason
    wrong = mg.verify(lambda z: z > 0.3, Q, 4000, method="antithetic", backends=["numpy"])
    assert not wrong.ok
    assert "not that of the expectation. Jumps." in str(wrong)


def test_a_part_of_a_path_is_no_method():
    """Parameters may have the names of methods."""
    q = mg.Joint(score=mg.Normal(0.3, 1.2), stl=mg.Bernoulli(probs=0.4))
    est = mg.estimate(lambda z: np.sin(z["score"]) + z["stl"], q, 4000, method={"stl": "score+mean"}, backend="numpy")
    assert est.method == {"score.loc": "pathwise", "score.scale": "pathwise", "stl.probs": "score+mean"}
    found = mg.verify(lambda z: np.sin(z["score"]) + z["stl"], q, 4000, method=est.method, backends=["numpy"])
    assert found.ok


def test_methods_suit_kinds_of_integrands():
    integrands = {
        Kind.FUNCTION: bend,
        Kind.OBJECTIVE: mg.elbo(bend, Q),
        Kind.BOUND: mg.iwae(bend, Q, 4),
    }
    suited = {kind: {method.name for method in TABLE if method.suits(f)} for kind, f in integrands.items()}
    everywhere = {"pathwise", "score", "difference"}
    assert suited[Kind.FUNCTION] == everywhere | {"measure_valued"}
    assert suited[Kind.OBJECTIVE] == everywhere | {"measure_valued", "stl"}
    assert suited[Kind.BOUND] == everywhere | {"dreg"}


@pytest.mark.parametrize("name", METHODS)
def test_records_are_the_same_wherever_they_come_from(name):
    method = METHODS[name]
    assert pickle.loads(pickle.dumps(method)) is copy.deepcopy(method) is method
    assert method.biased_by
    with pytest.raises(AttributeError):
        method.name = "other"
    assert replace(method) != method  # records compare by identity: there is one of a name


class Waiting(Distribution):
    """The exponential distribution again, with all that is stated of it in one class."""

    constraints: ClassVar = {"rate": positive}
    noise_kind = "uniform"
    support = supports.positive
    decompositions: ClassVar = {"rate": lambda z, u, *, rate: (1.0 / rate, z, z - np.log(u) / rate)}
    divergence_forms = DivergenceForms(
        interval=positive_line,
        moments=lambda q: (1.0 / q["rate"], 1.0 / np.square(q["rate"])),
        cross_entropy=CrossEntropy(("moments",), lambda p, moments: p["rate"] * moments[0] - np.log(p["rate"])),
    )

    def __init__(self, rate=1.0):
        super().__init__(rate=rate)

    @staticmethod
    def transform(eps, *, rate):
        return -np.log(eps) / rate

    @staticmethod
    def log_density(z, *, rate):
        return np.sum(np.log(rate) - rate * z)

    @staticmethod
    def entropy(*, rate):
        return np.sum(1.0 - np.log(rate))


def test_a_family_states_what_methods_and_divergences_need():
    q, ours = Waiting(1.7), mg.Exponential(1.7)
    run = {"n": 4000, "backend": "numpy"}
    both = [mg.estimate(bend, each, method="measure_valued", **run).grad["rate"] for each in (q, ours)]
    assert both[0] == pytest.approx(both[1], rel=1e-12)
    for p in (Waiting(0.4), mg.Exponential(0.4)):
        found = mg.estimate(mg.kl(q, p), **run)
        assert (found.value, found.stderr) == (pytest.approx(np.log(1.7 / 0.4) + 0.4 / 1.7 - 1, rel=1e-12), 0.0)
    assert mg.estimate(mg.kl(q, mg.HalfNormal(1.0)), **run).stderr == 0.0
    assert mg.estimate(mg.kl(q, mg.LogNormal(0.0, 1.0)), **run).stderr > 0.0  # moments of log z are not stated


def test_a_class_with_a_density_of_its_own_has_no_rules_of_its_base():
    class Skewed(mg.Normal):
        @staticmethod
        def log_density(z, *, loc, scale):
            return np.sum(-np.logaddexp(0.0, (z - loc) / scale))

    assert not Skewed(0.3).decompositions
    assert Skewed(0.3).divergence_within(Skewed(0.4)) is None
    with pytest.raises(mg.ParameterError, match="no measure-valued decomposition"):
        mg.estimate(bend, Skewed(0.3), 100, method="measure_valued", backend="numpy")


@pytest.mark.parametrize(
    "noise", [{"noise_kind": "uniform"}, {"noise_of": lambda self, shape: mg.noise.uniform(shape)}]
)
def test_a_class_with_noise_of_its_own_has_no_rules_of_its_base(noise):
    q = type("Flat", (mg.Normal,), noise)(0.3)
    assert not q.decompositions
    assert q.divergence_within(q) is None
    assert mg.estimate(mg.kl(q, mg.Normal(0.0)), n=1000, backend="numpy").stderr > 0
    with pytest.raises(mg.ParameterError, match="no measure-valued decomposition"):
        mg.estimate(bend, q, 100, method="measure_valued", backend="numpy")
