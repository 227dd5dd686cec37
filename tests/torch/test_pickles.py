"""Modules that hold Estimators pickle and copy."""

import copy
import io
import pickle

import numpy as np
import pytest

import mcgrad as mg

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")


def saved(module):
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


TRIPS = {"pickle": lambda x: pickle.loads(pickle.dumps(x)), "copy": copy.copy, "deepcopy": copy.deepcopy, "save": saved}


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 3)
        self.estimator = mg.Estimator(lambda z: np.sum(np.sin(z)), mg.Normal(np.zeros(3), 1.0), backend="numpy")


@pytest.mark.parametrize("trip", TRIPS)
def test_a_module_with_an_estimator(trip):
    model = Model()
    there = TRIPS[trip](model)
    assert there.estimator(100, 1).value == model.estimator(100, 1).value
    assert torch.equal(there.layer.weight, model.layer.weight)


LAYER = torch.nn.Linear(3, 1).double()


def by_name(z):
    return LAYER(z).sum()


def gradient(f):
    q = mg.Normal(np.ones(3), 1.0)
    return mg.estimate(f, q, 100, params=f.params, backend="numpy", seed=1).grad["net"]["weight"]


@pytest.mark.parametrize("trip", TRIPS)
def test_a_function_arrives_with_the_modules_that_it_calls(trip):
    """As a copy of them it would have derivatives of zero."""
    f = mg.from_torch(by_name, net=LAYER)
    there = TRIPS[trip](f)
    assert np.any(gradient(there))
    assert np.array_equal(gradient(there), gradient(f))
    with torch.no_grad():
        there.modules["net"].weight += 1.0
    x = torch.ones(3, dtype=torch.float64)
    assert there(x) == there.modules["net"](x).sum()
    assert (there.modules["net"] is LAYER) == ("copy" in trip)


def test_modules_that_a_function_does_not_call_are_refused():
    other = copy.deepcopy(LAYER)
    f = mg.from_torch(by_name, net=LAYER, other=other)
    with pytest.raises(mg.ParameterError, match=r"^other: given a module whose parameters do not reach the value of f"):
        gradient(f)


def test_a_module_that_is_an_integrand_is_copied():
    class Sum(torch.nn.Linear):
        def forward(self, z):
            return super().forward(z).sum()

    f = mg.from_torch(Sum(3, 1).double())
    there = copy.deepcopy(f)
    assert there.function is not f.function
    assert there(np.ones(3)) == f(np.ones(3))
