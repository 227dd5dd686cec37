"""Arrays on a device as parameters, data and results of the CUDA backend, on the stand-in for CuPy."""

import copy
import pickle

import numpy as np
import pytest

import mcgrad as mg
from tests.cuda.problems import (
    CASES,
    LONG,
    X,
    agree,
    build,
    identical,
    machine as machine,
    regression,
    two as two,
)

# Arrays on a device


class Tensor:
    """Of another library: memory on the device, and how to take it over."""

    def __init__(self, machine, value):
        self._array = machine.cupy.asarray(value)
        self.on_the_device = self._array._host

    def __dlpack_device__(self):
        return (2, 0)

    def __dlpack__(self, **options):
        raise AssertionError("only CuPy may ask for this")


def on_device(machine, value, kind):
    return machine.cupy.asarray(value) if kind == "cupy" else Tensor(machine, value)


@pytest.mark.parametrize("kind", ["cupy", "dlpack"])
@pytest.mark.parametrize("name", ["wave", "regression", "full", "blocks"])
def test_inputs_on_the_device_stay_there(machine, name, kind):
    f, q, inputs = CASES[name]
    there = {part: {key: on_device(machine, x, kind) for key, x in inputs[part].items()} for part in inputs}
    mine = type(q)(**{key: on_device(machine, x, kind) for key, x in q.params.items()})
    estimator = mg.Estimator(f, mine, backend="cuda", dtype="float64", **there)
    agree(estimator(1000), build(name, "numpy")(1000), 1e-10)
    changed = {"loc": on_device(machine, np.asarray(q.params["loc"]) + 0.5, kind)}
    machine.transfers = 0
    estimate = estimator(2000, seed=1, **changed)
    assert machine.transfers <= 2  # whether they are accepted; factors behind the mean
    agree(estimate, build(name, "numpy")(2000, seed=1, loc=np.asarray(q.params["loc"]) + 0.5), 1e-10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_differences_in_parameters_on_the_device(machine, dtype):
    """Steps are chosen on the host; the places of the parameters are moved to the device, beside the parameters."""
    q = mg.Normal(np.array([0.3, -0.2]), 0.7)
    given = {"params": {"c": 0.1}, "method": "difference", "dtype": dtype}
    ours, theirs = (
        mg.Estimator(lambda z, *, c: np.sum(np.where(z > c, z * z, 1.0)), q, backend=backend, **given)
        for backend in ("cuda", "numpy")
    )
    changes = {"loc": np.array([0.4, -0.1]), "c": np.array(0.2)}
    there = {name: machine.cupy.asarray(value) for name, value in changes.items()}
    agree(ours(500, **there), theirs(500, **changes), 1e-5 if dtype == "float32" else 1e-11)


def test_inputs_of_both_kinds(two):
    estimator = build("regression", data={"X": two.cupy.asarray(X)})
    agree(estimator(20_000), build("regression", "numpy")(20_000), 1e-10)
    assert {device for device, _ in two.launches} == {0, 1}
    agree(estimator(500, scale=two.cupy.asarray(np.ones(3))), build("regression", "numpy")(500, scale=np.ones(3)), 1e-9)


@pytest.mark.parametrize("backend", ["cpu", "numpy"])
def test_other_backends_fetch_them(machine, backend):
    agree(build("wave", backend, params={"c": machine.cupy.asarray(0.5)})(1000), build("wave", "numpy")(1000), 1e-10)


def test_auto_prefers_the_device_of_the_inputs(machine):
    estimator = build("wave", "auto", params={"c": machine.cupy.asarray(0.5)}, draws=100)
    assert estimator.backend == "cuda"
    assert "where the inputs are" in estimator.explain()


def test_a_pickle_holds_arrays_of_the_host_and_a_copy_stays_on_the_device(machine):
    there = machine.cupy.asarray
    q = mg.Normal(there(np.array([0.1, -0.2, 0.3])), 1.5)
    estimator = mg.Estimator(regression, q, params={"tau": there(0.7)}, data={"X": there(X)}, dtype="float64")
    copied, content = copy.deepcopy(estimator), pickle.dumps(estimator)
    assert copied.backend == estimator.backend == "cuda"
    assert isinstance(copied.q.flat_params["loc"], machine.cupy.ndarray)
    arrived = pickle.loads(content)
    assert type(arrived.q.flat_params["loc"]) is np.ndarray
    assert arrived.fingerprint == estimator.fingerprint
    for other in (copied, arrived):
        identical(other(2000), estimator(2000))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scale": [1.0, -1.0, 1.0]}, r"scale: given -1.0 at \[1\].*> 0"),
        ({"loc": [np.nan, 0.0, 0.0]}, r"loc: given nan at \[0\].*finite"),
        ({"loc": [0.0, 0.0]}, r"loc: given shape \(2,\).*\(3,\)"),
        ({"c": np.inf}, "c: given inf.*finite"),
    ],
)
def test_what_is_wrong_on_the_device_is_refused(machine, changes, message):
    estimator = build("wave")
    with pytest.raises(mg.ParameterError, match=message):
        estimator(100, **{name: machine.cupy.asarray(value) for name, value in changes.items()})


def test_constraints_of_matrices_and_pairs(machine):
    cupy = machine.cupy
    with pytest.raises(mg.ParameterError, match="scale_tril"):
        mg.MultivariateNormal(cupy.asarray(np.zeros(2)), cupy.asarray(np.array([[1.0, 0.5], [0.0, 1.0]])))
    with pytest.raises(mg.ParameterError, match="low < high"):
        mg.Uniform(cupy.asarray(1.0), 0.5)
    assert mg.estimate(lambda z: z, mg.Uniform(cupy.asarray(1.0), 1.5), 100, backend="cuda").n == 100


def test_values_that_change_in_place_are_read_again(machine):
    estimator = build("wave")
    loc = machine.cupy.asarray(np.zeros(3))
    before = estimator(500, loc=loc)
    loc[:] = np.array(1.0)[()]
    agree(estimator(500, loc=loc), build("wave", "numpy")(500, loc=np.ones(3)))
    host = np.zeros(3)
    identical(estimator(500, loc=host), estimator(500, loc=np.zeros(3)))
    host += 1.0
    agree(estimator(500, loc=host), build("wave", "numpy")(500, loc=np.ones(3)))
    assert (
        before.merge(estimator(500, first=500, loc=np.zeros(3))).n == 1000
    )  # by the values of `loc` at the time of the call


def test_fixed_data_are_copied_once(machine):
    estimator, theirs = build("blocks"), build("blocks", "numpy")
    assert estimator._kernel.fast.emitted.matrices
    assert not estimator._kernel.fast.emitted.by_value
    agree(estimator(5000), theirs(5000), 1e-10)
    assert max(machine.copies) >= LONG.nbytes
    machine.copies.clear()
    agree(estimator(5000, loc=np.ones(6)), theirs(5000, loc=np.ones(6)), 1e-10)
    assert max(machine.copies) < LONG.nbytes


@pytest.mark.parametrize("name", ["regression", "blocks"])
@pytest.mark.parametrize("there", [True, False])
def test_data_are_the_estimators_own_and_may_change_for_a_call(machine, name, there):
    """In registers and in blocks, from the host and on the device; filled again in place, too."""
    f, q, inputs = CASES[name]
    mine = inputs["data"]["X"].copy()
    put = machine.cupy.asarray if there else np.array
    given = put(mine)
    ours = mg.Estimator(f, q, params=inputs["params"], data={"X": given}, backend="cuda")
    before, theirs = ours(3000), build(name, "numpy")
    given[:] = put(0.5 * mine)
    identical(ours(3000), before)
    agree(before, theirs(3000), 1e-10)
    batch = put(mine)
    for factor in (2.0, 3.0):
        batch[:] = put(factor * mine)
        changed = ours(3000, X=batch)
        agree(changed, theirs(3000, X=factor * mine), 1e-10)
        identical(ours(3000), before)
        with pytest.raises(mg.MergeError, match="data"):
            changed.merge(ours(3000, first=3000))
    late = ours(3000, first=3000, X=batch)
    batch[:] = put(0.0 * mine)
    assert changed.merge(late).n == 6000  # by the data at the time of the call


def test_parameters_in_matrices_are_copied_when_they_change(machine):
    tril = np.tri(6) + np.eye(6)
    q = mg.MultivariateNormal(np.zeros(6), tril)
    ours, theirs = (
        mg.Estimator(regression, q, params={"tau": 0.7}, data={"X": LONG}, backend=b) for b in ("cuda", "numpy")
    )
    assert len(ours._kernel.fast.emitted.matrices) >= 2
    for factor in (1.0, 0.5, 1.0):
        agree(ours(3000, scale_tril=factor * tril), theirs(3000, scale_tril=factor * tril), 1e-10)


# Results on a device


def test_gradients_stay_on_the_device(machine):
    estimator = build("regression", output="device")
    estimate, host = estimator(1000), build("regression")(1000)
    for path, leaf in mg.tree.flatten(estimate.grad).items():
        assert isinstance(leaf, machine.cupy.ndarray)
        assert leaf.shape == np.shape(mg.tree.flatten(host.grad)[path])
        np.testing.assert_array_equal(leaf.get(), mg.tree.flatten(host.grad)[path])
    assert isinstance(estimate.value, float)
    identical(estimate.to_host(), host)
    later = estimator(500, first=1000)
    merged = estimate.merge(later)
    assert isinstance(merged.grad["loc"], machine.cupy.ndarray)
    identical(merged.to_host(), host.merge(build("regression")(500, first=1000)))
    identical(mg.Estimate.from_json(estimate.to_json()), host)
    assert str(estimate).splitlines()[:3] == str(host).splitlines()[:3]


@pytest.mark.parametrize("weighed", [False, True])
def test_jacobians_stay_on_the_device(machine, weighed):
    def f(z):
        return {"a": np.sum(z) * np.linspace(1.0, 2.0, 5), "b": {"c": z[0] ** 2}}

    q = mg.Normal(machine.cupy.asarray(np.linspace(-0.5, 0.5, 3)), 0.7)
    weights = {"a": machine.cupy.asarray(np.linspace(0.0, 1.0, 5)), "b": {"c": 2.0}} if weighed else None
    given = {"cotangent": weights, "covariance": True}
    estimate = mg.Estimator(f, q, backend="cuda", output="device", **given)(1000)
    host = mg.Estimator(f, mg.Normal(np.linspace(-0.5, 0.5, 3), 0.7), backend="numpy", **given)(1000)
    for path, leaf in mg.tree.flatten(estimate.grad).items():
        assert isinstance(leaf, machine.cupy.ndarray)
        np.testing.assert_allclose(leaf.get(), mg.tree.flatten(host.grad)[path], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(estimate.value["a"], host.value["a"], rtol=1e-10)
    np.testing.assert_allclose(estimate.covariance["a"]["b"]["c"], host.covariance["a"]["b"]["c"], rtol=1e-8)


@pytest.mark.parametrize("option", ["hessian", "hvp"])
def test_second_derivatives_stay_on_the_device(machine, option):
    def f(z, s):
        return s * np.exp(np.sum(np.sin(z)))

    loc, v = np.linspace(-0.5, 0.5, 2), {"loc": np.array([1.0, 2.0]), "s": 0.5}
    there = {**v, "loc": machine.cupy.asarray(v["loc"])}
    given = {"params": {"s": 1.5}, "wrt": ["loc", "s"]}
    estimator = mg.Estimator(
        *(f, mg.Normal(machine.cupy.asarray(loc), 0.7)),
        backend="cuda",
        output="device",
        **given,
        **({"hessian": "full"} if option == "hessian" else {"hvp": there}),
    )
    estimate = estimator(1000)
    asked = {"hessian": "full"} if option == "hessian" else {"hvp": v}
    host = mg.Estimator(f, mg.Normal(loc, 0.7), backend="numpy", **given, **asked)(1000)
    for name in (option, f"{option}_stderr"):
        for path, leaf in mg.tree.flatten(getattr(estimate, name)).items():
            assert isinstance(leaf, machine.cupy.ndarray)
            expected = mg.tree.flatten(getattr(host, name))[path]
            np.testing.assert_allclose(leaf.get(), expected, rtol=1e-9, atol=1e-12)
    again = mg.Estimate.from_json(estimate.to_json())
    assert isinstance(mg.tree.flatten(getattr(again, option))["s" if option == "hvp" else "s.s"], float)
    merged = estimate.merge(estimator(1000, first=1000))
    assert isinstance(mg.tree.flatten(getattr(merged, option))["s" if option == "hvp" else "s.s"], machine.cupy.ndarray)
    if option == "hvp":
        doubled = estimator(1000, hvp={"loc": machine.cupy.asarray(2 * v["loc"]), "s": 1.0})
        np.testing.assert_allclose(doubled.hvp["loc"].get(), 2 * estimate.hvp["loc"].get(), rtol=1e-12)


def test_output_on_a_device_needs_one(machine):
    with pytest.raises(mg.ParameterError, match="output: given 'device' with backend 'cpu'"):
        build("wave", "cpu", output="device")
    with pytest.raises(mg.ParameterError, match="output: given 'gpu'"):
        build("wave", output="gpu")


def test_a_stream_is_waited_for(machine):
    stream = machine.cupy.cuda.Stream()
    loc = machine.cupy.asarray(np.zeros(3))
    machine.streams[stream.ptr].append(lambda: loc.__setitem__(slice(None), 1.0))
    estimate = build("wave")(500, loc=loc, stream=stream)
    agree(estimate, build("wave", "numpy")(500, loc=np.ones(3)))
    for other in (stream.ptr, type("Theirs", (), {"cuda_stream": stream.ptr})(),
                  type("Proto", (), {"__cuda_stream__": lambda self: (0, stream.ptr)})()):  # fmt: skip
        agree(build("wave")(500, loc=loc, stream=other), estimate)
    with pytest.raises(mg.ParameterError, match="stream: given 'main'"):
        build("wave")(500, stream="main")
