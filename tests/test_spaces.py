"""Inputs are distinguished by their space, whatever their paths: parameters, data, baselines, powers of outputs."""

import pickle

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.ir.spaces import Input, Space, named, of_space, param


def test_parameters_of_q_and_of_the_reference_have_the_same_paths():
    est = mg.Estimator(mg.kl(mg.Normal(0.1, 1.0), mg.Normal(0.3, 2.0)), backend="numpy")
    values = est.inputs.values({})
    assert of_space(values, Space.PARAM) == {"loc": 0.1, "scale": 1.0}
    assert of_space(values, Space.REFERENCE) == {"loc": 0.3, "scale": 2.0}


@pytest.mark.parametrize("backend", ["cpu", "numpy"])
def test_a_parameter_may_be_called_value(backend):
    """Its gradient and the value are outputs with one path; each has powers of its own where squares overflow."""

    def f(z, *, value):
        return 1e25 * np.sum(value * z)

    given = {"params": {"value": np.arange(1.0, 4.0)}, "dtype": "float32"}
    est = mg.estimate(f, mg.Normal(np.zeros(3), 1.0), 4096, **given, backend=backend)
    assert 0.9e25 < est.grad_stderr["value"].min() * 64 < est.grad_stderr["value"].max() * 64 < 1.1e25
    assert est.stderr * 64 == pytest.approx(1e25 * np.sqrt(14), rel=0.05)


def test_baselines_of_all_parameters_and_of_each():
    q = mg.Joint(a=mg.Normal(0.1, 1.0), b=mg.Normal(0.2, 1.0))
    est = mg.Estimator(lambda z: z["a"] * z["b"] + 3.0, q, method={"a": "score+mean", "b": "score+optimal"})
    found = est.derived.pilots(est.inputs.values({}), 0)
    assert set(of_space(found, Space.BASELINE)) == {"", "b.loc", "b.scale"}
    assert set(found) == {Input(Space.BASELINE, path) for path in ("", "b.loc", "b.scale")}


def test_a_program_prints_plain_names():
    est = mg.Estimator(lambda z, *, w, x: w * z * x, mg.Normal(0.1, 1.0), params={"w": 0.5}, data={"x": 2.0})
    text = str(est.program)
    assert "input(loc)" in text
    assert "input(w)" in text
    assert "input(data:x)" in text


def test_names_are_one_after_a_pickle():
    inputs = named({"a": 1, "b.c": 2}, Space.DATA)
    there = pickle.loads(pickle.dumps(inputs))
    assert there == inputs
    assert all(name.space is Space.DATA for name in there)
    assert param("a") not in there
