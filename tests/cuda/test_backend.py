"""The CUDA backend on a stand-in for CuPy: launches, slabs, devices, arrays on them, and what goes wrong."""

import copy
import pickle
from contextlib import ExitStack
from itertools import pairwise

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.backends.cuda import compiled, driver, kernel as cuda_kernel
from mcgrad.backends.cuda.backend import describe
from mcgrad.codegen.cuda import registers
from mcgrad.engine.run import run
from tests.cuda import machines
from tests.cuda.fake_cupy import CompileException, CUDADriverError, CUDARuntimeError, OutOfMemoryError

LOAD = compiled.Compiled._load
X = np.random.default_rng(0).standard_normal((5, 3))


def wave(z, *, c):
    return np.sum(np.sin(z) * c)


def regression(z, *, tau, X):
    return -np.sum(np.logaddexp(0, X @ z)) - 0.5 * tau * np.sum(z**2)


LONG = np.random.default_rng(1).standard_normal((40, 6))
NORMAL = mg.Normal(np.array([0.1, -0.2, 0.3]), np.array([1.0, 0.5, 2.0]))
CASES = {
    "wave": (wave, NORMAL, {"params": {"c": 0.5}}),
    "scalar": (lambda z: z**2, mg.Normal(0.3, 1.2), {}),
    "regression": (regression, NORMAL, {"params": {"tau": 0.7}, "data": {"X": X}}),
    "blocks": (regression, mg.Normal(np.zeros(6), 0.5), {"params": {"tau": 0.7}, "data": {"X": LONG}}),
    "joint": (lambda z: z["a"] * np.exp(z["b"]), mg.Joint(a=mg.Normal(1.0, 1.0), b=mg.Uniform(0.0, 2.0)), {}),
    "full": (
        lambda z: np.sum(np.cos(z)),
        mg.MultivariateNormal(np.zeros(2), np.array([[1.0, 0.0], [0.5, 2.0]])),
        {},
    ),
}


@pytest.fixture
def machine(monkeypatch):
    """One device; chunks are a few draws, and slabs a few chunks."""
    small(monkeypatch)
    return machines.machine(monkeypatch)


@pytest.fixture
def two(monkeypatch):
    small(monkeypatch)
    return machines.machine(monkeypatch, devices=2)


def small(monkeypatch):
    monkeypatch.setattr(registers, "THREADS", 32)
    monkeypatch.setattr(registers, "TURNS", 1)
    monkeypatch.setattr(cuda_kernel, "FILL", 1)
    monkeypatch.setattr(cuda_kernel, "AT_ONCE", 1e5)
    monkeypatch.setattr(cuda_kernel, "SLAB", cuda_kernel.Cut(most=1e5, least=1e4, chunks=8))


def build(name, backend="cuda", dtype="float64", **more):
    f, q, inputs = CASES[name]
    return mg.Estimator(f, q, backend=backend, dtype=dtype, **{**inputs, **more})


def leaves(estimate):
    both = [*mg.tree.flatten(estimate.grad).values(), *mg.tree.flatten(estimate.grad_stderr).values()]
    return np.concatenate([np.ravel(x) for x in (estimate.value, estimate.stderr, *both)])


def agree(a, b, tolerance=1e-12):
    np.testing.assert_allclose(leaves(a), leaves(b), rtol=tolerance, atol=tolerance)


def identical(a, b):
    assert leaves(a).tobytes() == leaves(b).tobytes()


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_the_reference(machine, name):
    ours, theirs = build(name), build(name, "numpy")
    for n, first in ((2, 0), (63, 1), (64, 64), (1000, 77), (5001, 2**40 + 1)):
        agree(ours(n, seed=5, first=first), theirs(n, seed=5, first=first), 1e-10)
    assert ours(1000).backend == "cuda"


def test_float32(machine):
    agree(build("wave", dtype="float32")(3000), build("wave", "numpy", "float32")(3000), 2e-6)


def test_a_little_is_one_launch_and_no_copy(machine):
    estimator = build("wave")
    estimator(10)
    machine.launches.clear()
    estimator(60, loc=np.zeros(3))
    assert machine.launches == [(0, 1)]  # one chunk, straight into the host's memory
    machine.launches.clear()
    estimator(300)
    assert len(machine.launches) == 2  # chunks, and what adds them up
    assert machine.copies == []


def test_slabs_cover_the_range_and_depend_on_it_alone(two):
    kernel = build("wave")._kernel
    for first, n in ((0, 2), (3, 100), (64, 10**6), (2**40 + 1, 10**9)):
        slabs = list(kernel.chunks(first, n))
        assert slabs[0][0] == first
        assert slabs[-1][1] == first + n
        assert all(a[1] == b[0] and a[1] % kernel.block == 0 for a, b in pairwise(slabs))
        assert slabs == list(kernel.on([1]).chunks(first, n))


def test_partials_fit_in_memory_whatever_the_number_of_outputs(machine, monkeypatch):
    kernel = build("wave")._kernel
    monkeypatch.setattr(kernel, "rows", 20_000)
    sizes = {-(-(stop - start) // kernel.block) for start, stop in kernel.chunks(0, 10**9)}
    assert max(sizes) * 20_000 * 8 <= cuda_kernel.MOST_PARTIALS


def test_two_devices_give_the_same_bits_as_one(two):
    estimators = [build("wave", devices=devices) for devices in (None, [0], [1], (1, 0))]
    estimates = [estimator(20_000, seed=3) for estimator in estimators]
    for estimate in estimates[1:]:
        identical(estimates[0], estimate)
    assert {device for device, _ in two.launches} == {0, 1}
    two.launches.clear()
    estimators[2](20_000)
    assert {device for device, _ in two.launches} == {1}


@pytest.mark.parametrize("devices", [[2], [0, 0], [], [-1], ["a"], 0])
def test_devices_that_are_not_there(two, devices):
    with pytest.raises(mg.ParameterError, match=r"devices: given .*0 \(Fake GPU\), 1 \(Fake GPU\)"):
        build("wave", devices=devices)


def test_devices_of_a_backend_without(two):
    with pytest.raises(mg.ParameterError, match=r"devices: given .*'cpu'"):
        build("wave", "cpu", devices=[0])


def test_parts_merge_to_the_whole(machine):
    estimator = build("regression")
    whole, parts = estimator(3000), [estimator(1000), estimator(2000, first=1000)]
    agree(whole, parts[0].merge(parts[1]))


def test_progress(machine):
    seen = []
    build("wave")(20_000, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 20_000
    assert len(seen) > 3


# Shifts, and draws that are not finite


def test_a_mean_far_from_zero_is_averaged_again(machine):
    f, q = (lambda z: z + 1e6), mg.Normal(0.0, 1e-2)
    ours, theirs = (mg.estimate(f, q, 5000, backend=backend) for backend in ("cuda", "numpy"))
    assert abs(ours.stderr / theirs.stderr - 1) < 1e-6


@pytest.mark.parametrize("policy", ["propagate", "omit"])
def test_draws_that_are_not_finite(machine, policy):
    def pole(z):
        return np.where(z > 1.5, np.nan, z)

    q = mg.Normal(0.0, 1.0)
    ours, theirs = (mg.estimate(pole, q, 3000, backend=b, nonfinite=policy) for b in ("cuda", "numpy"))
    assert ours.nonfinite == theirs.nonfinite > 0
    agree(ours, theirs)
    with pytest.raises(mg.NonFiniteError):
        mg.estimate(pole, q, 3000, backend="cuda", nonfinite="raise")


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


# What goes wrong


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            CUDARuntimeError(2, "cudaErrorMemoryAllocation: no memory"),
            r"device 0 \(Fake GPU\) is out of memory .*Gi",
        ),
        (CUDADriverError(700, "CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access"), "lost to this process"),
        (CUDADriverError(714, "CUDA_ERROR_HARDWARE_STACK_ERROR: hardware stack error"), "lost to this process"),
        (CUDADriverError(715, "CUDA_ERROR_ILLEGAL_INSTRUCTION: an illegal instruction"), "lost to this process"),
        (CUDADriverError(226, "CUDA_ERROR_CONTAINED: a contained error"), "lost to this process"),
        (CUDADriverError(222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION: too new"), "pip install --upgrade nvidia-nvjitlink"),
        (CUDADriverError(701, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES: too many resources"), "more registers"),
        (CUDADriverError(1, "CUDA_ERROR_INVALID_VALUE: invalid argument"), "a call of CUDA failed"),
    ],
)
def test_errors_of_the_device(machine, fault, message):
    estimator = build("wave")
    before = estimator(500)
    machine.faults.append(fault)
    with pytest.raises(mg.BackendError, match=message):
        estimator(500)
    if "lost" in message:
        with pytest.raises(mg.BackendError, match="lost"):
            estimator(500)
        with pytest.raises(mg.BackendError, match=r"not available: .*lost"):
            build("scalar")
    else:
        identical(estimator(500), before)


def test_cupy_before_14(monkeypatch):
    small(monkeypatch)
    machine = machines.machine(monkeypatch, release=13)
    assert not hasattr(machine.cupy.cuda.Stream, "from_external")
    stream = machine.cupy.cuda.Stream()
    ours = build("wave", data={}, params={"c": machine.cupy.asarray(0.5)})
    agree(ours(3000, stream=stream.ptr), build("wave", "numpy")(3000))


NO_CUBLAS = ImportError('Failure finding "libcublasLt.so.12": No such file')
NOT_COMPILED = CompileException("nvrtc: error: failed to open nvrtc-builtins")


def exponent(z, *, c):
    return np.sum(z) * np.exp(c) + np.sum(z * np.cos(c))  # a factor behind the mean, a constant of the kernel


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (NO_CUBLAS, r'libcublasLt.*pip install "cupy-cuda1[23]x\[ctk\]'),
        (NOT_COMPILED, "CuPy fails at a computation on the device .*nvrtc-builtins"),
        (OutOfMemoryError("Out of memory allocating 8 bytes."), "device 0 .*out of memory"),
        (CUDARuntimeError(715, "cudaErrorIllegalInstruction: an illegal instruction"), "lost to this process"),
    ],
)
def test_errors_of_cupy_as_constants_are_computed(machine, fault, message):
    c = machine.cupy.asarray(0.5)
    expected = mg.estimate(exponent, NORMAL, 500, params={"c": 0.5}, backend="numpy")
    named = mg.Estimator(exponent, NORMAL, params={"c": c}, backend="cuda")
    machine.array_faults.append(fault)
    with pytest.raises(mg.BackendError, match=message):
        named(500)
    if fault is not NO_CUBLAS:
        return
    agree(named(500), expected)
    auto = mg.Estimator(exponent, NORMAL, params={"c": c}, backend="auto")
    assert auto.backend == "cuda"
    machine.array_faults.append(fault)
    with pytest.warns(mg.BackendWarning, match="libcublasLt"):
        estimate = auto(500)
    assert estimate.backend != "cuda"
    agree(estimate, expected)


def test_errors_of_cupy_as_factors_are_computed(machine, monkeypatch):
    """After the run, where constants are put behind the means: auto computes again elsewhere."""
    auto = mg.Estimator(exponent, NORMAL, params={"c": machine.cupy.asarray(0.5)}, backend="auto")

    def then_fail(*arguments):
        found = run(*arguments)
        if auto.backend == "cuda":
            machine.array_faults.append(NOT_COMPILED)
        return found

    monkeypatch.setattr("mcgrad.engine.averager.run", then_fail)
    with pytest.warns(mg.BackendWarning, match="nvrtc-builtins"):
        estimate = auto(500)
    assert estimate.backend != "cuda"
    agree(estimate, mg.estimate(exponent, NORMAL, 500, params={"c": 0.5}, backend="numpy"))


def test_errors_of_cupy_as_parameters_are_checked(machine):
    loc = machine.cupy.asarray(np.zeros(3))
    machine.array_faults.append(NOT_COMPILED)
    with pytest.raises(mg.BackendError, match="nvrtc-builtins"):
        mg.Normal(loc, 1.0)


def test_no_memory_left(monkeypatch):
    small(monkeypatch)
    machines.machine(monkeypatch, memory=100)
    with pytest.raises(mg.BackendError, match=r"out of memory \(Out of memory allocating [0-9,]+ bytes"):
        build("wave")(100_000)


def test_auto_goes_on_without_the_device(machine):
    estimator = build("wave", "auto", draws=10**12)
    assert estimator.backend == "cuda"
    machine.faults.append(CUDADriverError(719, "CUDA_ERROR_LAUNCH_FAILED: unspecified launch failure"))
    with pytest.warns(mg.BackendWarning, match="lost"):
        estimate = estimator(500)
    assert estimate.backend == "cpu"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"driver": 0}, "there is no NVIDIA driver"),
        ({"driver": 11040}, "driver is for CUDA 11.4, CuPy here for 12.9: update the driver"),
        ({"devices": 0}, "no device that it shows"),
    ],
)
def test_no_device(monkeypatch, options, message):
    machines.machine(monkeypatch, **options)
    with pytest.raises(mg.BackendError, match=message):
        build("wave")


def test_packages_that_are_missing(monkeypatch):
    from mcgrad.backends.cuda import backend

    monkeypatch.setattr(backend, "find_spec", lambda name: None)
    with pytest.raises(mg.BackendError, match=r'CuPy and numba-cuda are not installed: pip install "cupy-cuda1[23]x'):
        build("wave")


def test_a_machine_without_cuda_has_no_cost(monkeypatch):
    from mcgrad.backends.cuda import backend

    monkeypatch.setattr(backend, "has_driver", lambda: False)
    assert build("wave", "auto").backend != "cuda"


def test_a_kernel_that_does_not_compile(machine, monkeypatch):
    def refuse(*arguments):
        raise ValueError("no such target")

    monkeypatch.setattr(compiled.Compiled, "_load", LOAD)
    monkeypatch.setattr(compiled.ptx, "ptx", refuse)
    with pytest.raises(mg.BackendError, match=r"does not compile for CUDA device 0 .*no such target"):
        build("wave")


def test_a_device_keeps_the_kernels_that_were_loaded_last(machine, monkeypatch):
    monkeypatch.setattr(driver, "RECENT", 2)
    (device,) = driver.devices()
    kernels = [compiled.ptx.Ptx("", "kernel", str(number).encode()) for number in range(3)]
    first, second = device.load(kernels[0]), device.load(kernels[1])
    assert device.load(kernels[0]) is first  # so it was used after the second
    third = device.load(kernels[2])
    assert device.load(kernels[0]) is first
    assert device.load(kernels[2]) is third
    assert device.load(kernels[1]) is not second


def test_an_interrupt_leaves_a_backend_that_works(machine):
    estimator = build("wave")
    before = estimator(20_000)

    def interrupt(done):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        estimator(20_000, progress=interrupt)
    identical(estimator(20_000), before)


def test_what_is_there_is_described(two):
    described = describe()
    assert described["CUDA"] == "driver for CUDA 12.9, CuPy for CUDA 12.9"
    assert described["CUDA device 1"] == "Fake GPU, compute capability 9.0, 4 multiprocessors, 16 GiB"


def test_what_is_not_there_is_described(monkeypatch):
    machines.machine(monkeypatch, driver=0)
    assert describe() == {"CUDA": "there is no NVIDIA driver here"}


def test_launches_are_shared_out_evenly_whatever_their_number():
    """Also where there are more at once than streams, and after that."""
    turns = cuda_kernel.Turns(["a", "b"])
    for _ in range(3):
        assert in_use(turns, 7) == ["a", "b", "a", "b", "a", "b", "a"]
        assert [in_use(turns, 1) for _ in range(3)] == [["a"]] * 3
    with pytest.raises(KeyError), turns.next():
        raise KeyError
    assert in_use(turns, 2) == ["a", "b"]


def in_use(turns, number):
    """Return which devices have launches at once."""
    with ExitStack() as stack:
        return [stack.enter_context(turns.next()) for _ in range(number)]
