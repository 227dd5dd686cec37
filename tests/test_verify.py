import math
from types import SimpleNamespace

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.backends import registry
from mcgrad.backends.base import Partial
from mcgrad.backends.numpy import NumpyBackend, NumpyKernel
from mcgrad.moments import Moments
from mcgrad.validate.agreement import agreement


def smooth(z):
    return np.sin(z) * np.exp(-(z**2) / 10)


def check(f, q, **more):
    return mg.verify(f, q, 4000, backends=["numpy"], **more)


@pytest.mark.parametrize(
    ("f", "q", "more"),
    [
        (smooth, mg.Normal(0.3, 1.2), {}),
        (lambda z: np.maximum(z - 0.2, 0), mg.Normal(0.3, 1.2), {}),  # a kink is no jump
        (lambda z: np.sin(200 * z), mg.Normal(1e4, 1.2), {}),  # needs a smaller step than the draws suggest
        (lambda z: np.sum(z**2), mg.Normal(np.full(3, 1e3), np.array([1e-3, 1.0, 1e2])), {}),
        (lambda z: z[0] * z[1] ** 2, mg.MultivariateNormal(np.ones(2), np.array([[1.0, 0.0], [-0.4, 0.6]])), {}),
        (lambda z: np.log(z), mg.Uniform(0.5, 2.0), {}),
        (
            lambda z, *, tau, y: -tau * np.sum((z - y) ** 2),
            mg.Normal(0.0, 1.0),
            {"params": {"tau": 3.0}, "data": {"y": np.arange(3.0)}},
        ),
        (lambda z: z["a"] * z["b"], mg.Joint(a=mg.Normal(1.0, 0.1), b=mg.LogNormal(0.0, 0.5)), {"wrt": "a"}),
        (lambda z: 3.0 * z, mg.Normal(2.0, 1.0), {}),  # a gradient that no draw changes
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_right_gradients_are_ok(f, q, more, dtype):
    found = check(f, q, dtype=dtype, **more)
    assert found.ok, str(found)
    assert len(found.gradient) == found.components > 0


@pytest.mark.parametrize(
    "f",
    [
        lambda z: np.where(z > 0.2, 1.0, 0.0),
        lambda z: np.sign(z - 0.2) * z**2 + z,  # a jump of a twelfth
        lambda z: np.floor(2 * z),
    ],
)
def test_biased_gradients_are_not(f):
    found = check(f, mg.Normal(0.3, 1.2))
    assert not found.ok
    assert not found.gradient[0].ok
    assert "NOT OK" in str(found)
    assert "jumps" in str(found)


def test_draws_that_are_not_finite_are_not_ok():
    found = check(np.log, mg.Normal(0.3, 1.2))
    assert not found.ok
    assert math.isinf(found.gradient[0].z)
    assert "not finite" in str(found)


def test_steps_stay_where_parameters_are_accepted():
    found = check(np.log, mg.Uniform(1.0, 1.001))
    assert found.ok, str(found)
    found = check(smooth, mg.Reparameterized(lambda eps, *, a: a * eps, {"a": 2.0}, mg.noise.uniform()))
    assert found.ok, str(found)


def test_a_subset_of_many_components():
    found = check(lambda z: np.sum(z**2), mg.Normal(np.zeros(50), 1.0), components=5, seed=3)
    assert len(found.gradient) == 5
    assert found.components == 51
    assert "5 of 51 components" in str(found)
    again = check(lambda z: np.sum(z**2), mg.Normal(np.zeros(50), 1.0), components=5, seed=3)
    assert [c.component for c in again.gradient] == [c.component for c in found.gradient]


def test_value_alone():
    found = check(smooth, mg.Normal(), wrt=())
    assert found.ok
    assert found.gradient == ()


def test_cpu_agrees_with_numpy():
    found = mg.verify(smooth, mg.Normal(0.3, 1.2), 2000)
    assert found.ok, str(found)
    assert [c.backend for c in found.backends if c.unavailable is None] == ["cpu"]


class Wrong(NumpyBackend):
    """Off by a thousandth of a standard deviation: much less than the standard error."""

    name = "wrong"

    def compile(self, program):
        right = NumpyKernel(program)

        def bound(inputs):
            first, other = right.bind(inputs).shift, right.bind(inputs).partial
            return SimpleNamespace(
                shift=lambda *args: (first(*args)[0], self.shifted(first(*args)[1])),
                partial=lambda *args: self.shifted(other(*args)),
            )

        return SimpleNamespace(
            **{name: getattr(right, name) for name in ("block", "chunks", "workers", "limits")},
            bind=bound,
            source=lambda: "",
        )

    def shifted(self, partial):
        moments = partial.moments
        sd = np.sqrt(moments.m2 / moments.count)
        return Partial(Moments(moments.count, moments.mean + 1e-3 * sd, moments.m2), partial.nonfinite)


class Missing(NumpyBackend):
    name = "missing"

    def unavailable(self):
        return "there is no such device"


def test_a_backend_that_is_a_little_off_is_found(monkeypatch):
    monkeypatch.setitem(registry.BACKENDS, "wrong", Wrong())
    found = mg.verify(smooth, mg.Normal(0.3, 1.2), 2000, backends=["wrong"])
    assert not found.ok
    assert not found.backends[0].ok
    assert found.backends[0].z == pytest.approx(1e-3 * math.sqrt(2000), rel=0.01)


def test_a_backend_that_cannot_run(monkeypatch):
    others = {name: backend for name, backend in registry.BACKENDS.items() if name != "cpu"}
    monkeypatch.setattr(registry, "BACKENDS", others | {"missing": Missing()})
    found = mg.verify(smooth, mg.Normal(), 2000)
    assert found.ok
    assert "no such device" in str(found)
    with pytest.raises(mg.BackendError, match="no such device"):
        mg.verify(smooth, mg.Normal(), 2000, backends=["missing"])


def test_nan_is_read_as_agreement_only_where_both_have_it():
    right = mg.estimate(np.log, mg.Normal(0.3, 1.2), 100, backend="numpy")
    assert agreement(right, right).ok
    fine = mg.estimate(np.log, mg.Normal(0.3, 1.2), 100, backend="numpy", nonfinite="omit")
    assert not agreement(right, fine).ok


@pytest.mark.parametrize(
    ("keyword", "value"), [("step", 0), ("step", "big"), ("step", 1.5), ("components", 0), ("n", 1), ("seed", -1)]
)
def test_refusals(keyword, value):
    with pytest.raises(mg.ParameterError, match=f"^{keyword}: "):
        mg.verify(smooth, mg.Normal(), **{"n": 100, keyword: value})
