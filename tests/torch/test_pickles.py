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
