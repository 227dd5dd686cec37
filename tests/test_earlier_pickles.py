"""Pickles that earlier versions made, without the fields that came later: they load, and are whole."""

import pickle

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.engine.derivation import Derivation
from mcgrad.engine.values import Inputs
from mcgrad.results.components import Components

Q = mg.Normal(np.array([0.3, -0.2]), 1.0)


class Old:
    """Is pickled as an object of some class with the fields that it had."""

    def __init__(self, kind, state, **changes):
        self.kind, self.state = kind, {**state, **changes}

    def __reduce__(self):
        return object.__new__, (self.kind,), self.state


def loaded(old):
    return pickle.loads(pickle.dumps(old))


def test_results_of_one_number_from_before_values_could_be_arrays():
    estimator = mg.Estimator(lambda z: np.sum(np.sin(z)), Q, backend="numpy")
    est = estimator(100)
    components = Old(Components, {"shapes": {"loc": (2,), "scale": ()}, "slices": "what was cached"})
    old = loaded(Old(mg.Estimate, est.__getstate__(), components=components))
    assert (old.value, old.grad["scale"], str(old)) == (est.value, est.grad["scale"], str(est))
    assert old.to_json() == est.to_json()
    assert old.merge(estimator(100, first=100)).n == 200
    with pytest.raises(mg.ParameterError, match=r"^covariance: given an estimate without it"):
        _ = old.covariance


def test_results_of_batches_from_before_values_could_be_arrays():
    est = mg.estimate(lambda z: np.sum(np.sin(z)), mg.Normal(np.zeros((3, 2)), 1.0, batch_ndim=1), 20, backend="numpy")
    components = Old(Components, {"shapes": dict(est.components.shapes)})
    moments = Old(
        type(est.moments), {name: getattr(est.moments, name) for name in ("counts", "means", "norms", "totals")}
    )
    moments.state["variances"] = est.moments.variances
    old = loaded(Old(mg.BatchEstimate, est.__getstate__(), components=components, moments=moments))
    assert old.to_json() == est.to_json()
    np.testing.assert_array_equal(old.confidence_interval().value, est.confidence_interval().value)


def test_estimators_from_before_there_were_batches():
    made = mg.Estimator(lambda z, a: a * np.sum(np.sin(z)), Q, params={"a": 2.0}, backend="numpy")
    derived = {name: x for name, x in vars(made.derived).items() if name != "batch"}
    inputs = {name: x for name, x in made.inputs.__getstate__().items() if name != "batch"}
    components = Old(Components, {"shapes": dict(made.derived.components.shapes)})
    function, (kind, _, *rest), _ = made.__reduce__()
    old = Old(Derivation, derived, inputs=Old(Inputs, inputs), components=components)
    again = function(kind, loaded(old), *rest)
    assert again(50, a=3.0).value == made(50, a=3.0).value
