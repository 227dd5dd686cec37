"""The whole backend on the stand-in for CuPy, with the emitted kernels themselves in numba's simulator."""

import warnings
from types import FunctionType

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.backends.cuda import kernel as cuda_kernel
from mcgrad.codegen.cuda import alone, blocks, registers
from mcgrad.codegen.cuda.thread_split import Shape
from mcgrad.kernels import merge
from mcgrad.kernels.target import cuda
from tests.cuda import machines, simulator
from tests.cuda.fake_cupy import CUDADriverError
from tests.cuda.problems import leaves

SCALARS = {"uint32": np.uint32, "int32": np.int32, "int64": np.int64, "boolean": np.bool_}


def simulated(emitted, dtype, constants):
    """Return a kernel of the machine: the emitted one, on arguments of the types that it declares."""
    launch = simulator.kernel(emitted, dtype)
    kinds = [*machines.COMMON, *[dtype] * 300] if emitted.by_value else machines.COMMON
    types = {**SCALARS, "float32": np.float32, "float64": np.float64}

    def run(grid, threads, shared, *arguments):
        assert (threads, shared) == (emitted.threads, emitted.shared)
        typed = [
            types[k](x) if k in types and not isinstance(x, np.ndarray) else x
            for k, x in zip(kinds, arguments, strict=False)
        ]
        launch(grid, *map(simulator.in_place, [*typed, *arguments[len(typed) :]]))

    return run


def add_up(grid, threads, shared, partials, chunks, totals):
    """Launch kernels/merge.py."""
    assert (threads, shared) == (merge.THREADS, 0)
    names = simulator.Loader("float64").names
    names |= {"THREADS": merge.THREADS, "WARPS": merge.WARPS}
    function = cuda.jit(FunctionType(merge.merge.__code__, names, "merge"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        function[grid, threads](partials, np.int32(chunks), totals)


@pytest.fixture
def machine(monkeypatch):
    monkeypatch.setattr(registers, "THREADS", 32)
    monkeypatch.setattr(registers, "TURNS", 1)
    monkeypatch.setattr(cuda_kernel, "FILL", 1)
    monkeypatch.setattr(cuda_kernel, "AT_ONCE", 1e4)
    monkeypatch.setattr(cuda_kernel, "SLAB", cuda_kernel.Cut(most=2e4, least=1e4, chunks=4))
    return machines.machine(monkeypatch, run=simulated, devices=2)


def wave(z, *, c):
    return np.sum(np.sin(z) * c)


Q = mg.Normal(np.array([0.1, -0.2]), np.array([1.0, 0.5]))


def build(backend, dtype="float64", **more):
    return mg.Estimator(wave, Q, params={"c": 0.5}, backend=backend, dtype=dtype, **more)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 3e-6), ("float64", 1e-11)])
def test_agrees_with_the_reference(machine, dtype, tolerance):
    ours, theirs = build("cuda", dtype), build("numpy", dtype)
    for n, first in ((2, 0), (50, 63), (301, 2**40 + 1)):
        found, expected = leaves(ours(n, seed=2**63 + 5, first=first)), leaves(theirs(n, seed=2**63 + 5, first=first))
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def test_two_devices_give_the_same_bits_as_one(machine):
    one, two = (build("cuda", devices=devices)(600, seed=1) for devices in ([0], None))
    assert leaves(one).tobytes() == leaves(two).tobytes()
    assert {device for device, _ in machine.launches} == {0, 1}


def test_careful_draws(machine):
    def pole(z):
        return np.where(z > 1.0, np.nan, z)

    for policy in ("propagate", "omit"):
        ours, theirs = (mg.estimate(pole, mg.Normal(), 200, backend=b, nonfinite=policy) for b in ("cuda", "numpy"))
        assert ours.nonfinite == theirs.nonfinite > 0
        np.testing.assert_allclose(leaves(ours), leaves(theirs), rtol=1e-11)


def test_inputs_and_outputs_on_the_device(machine):
    loc = machine.cupy.asarray(np.array([0.5, 0.6]))
    estimate = build("cuda", output="device")(200, loc=loc)
    expected = build("numpy")(200, loc=np.array([0.5, 0.6]))
    np.testing.assert_allclose(estimate.grad["loc"].get(), expected.grad["loc"], rtol=1e-11)


def test_sums_over_many_chunks(machine, monkeypatch):
    monkeypatch.setattr(cuda_kernel, "AT_ONCE", 1e9)
    made = machines.machine(monkeypatch, run=simulated, merge=add_up)
    estimator = mg.Estimator(lambda z: z, mg.Normal(0.5, 1.0), backend="cuda")
    estimate = estimator(64 * 9 + 3)
    expected = mg.estimate(lambda z: z, mg.Normal(0.5, 1.0), 64 * 9 + 3, backend="numpy")
    assert [blocks for _, blocks in made.launches] == [10, estimator._kernel.fast.emitted.rows]
    np.testing.assert_allclose(leaves(estimate), leaves(expected), rtol=1e-11)


def test_a_failure_in_a_launch_is_ours(machine):
    estimator = build("cuda")
    machine.faults.append(CUDADriverError(719, "CUDA_ERROR_LAUNCH_FAILED"))
    with pytest.raises(mg.BackendError, match="lost"):
        estimator(100)


@pytest.mark.parametrize("shared", [True, False])
def test_kernels_of_blocks(machine, monkeypatch, shared):
    def logistic(z, *, tau, X):
        return -np.sum(np.logaddexp(0, X @ z)) - 0.5 * tau * np.sum(z**2)

    def emit(program, checked=False, by_value=True):
        return blocks.emit(program, checked)

    monkeypatch.setattr(blocks, "choose_shape", lambda kernel, *plan: (kernel, Shape(3, 1, 2), shared))
    monkeypatch.setattr(blocks, "MOST_TURNS", 2)
    monkeypatch.setattr(cuda_kernel, "emit", emit)
    data = {"X": np.random.default_rng(0).standard_normal((5, 3))}
    ours, theirs = (
        mg.Estimator(logistic, mg.Normal(np.zeros(3), 0.5), params={"tau": 0.7}, data=data, backend=backend)
        for backend in ("cuda", "numpy")
    )
    assert bool(ours._kernel.fast.emitted.workspace) != shared
    n = ours._kernel.block + 10
    np.testing.assert_allclose(leaves(ours(n)), leaves(theirs(n)), rtol=1e-10, atol=1e-12)
    loc = machine.cupy.asarray(np.ones(3))
    np.testing.assert_allclose(leaves(ours(10, loc=loc)), leaves(theirs(10, loc=np.ones(3))), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("method", ["score", "pathwise"])
def test_loops_over_steps_with_parameters_on_the_device(machine, monkeypatch, method):
    """What steps leave in the workspaces of two devices; a loop that no draw changes, before the one that draws do."""
    monkeypatch.setattr(alone, "THREADS", 32)
    monkeypatch.setattr(alone, "SHARED", 0)

    def f(z, *, a):
        start, _ = mg.scan(lambda c, x: (0.5 * c + x * a[0], None), 0.1, np.arange(3.0))

        def step(c, x):
            return np.tanh(c * a[1] + x), c

        last, states = mg.scan(step, start, z)
        return last + np.sum(states * states[::-1])

    a = np.array([0.3, 0.8])
    given = {"params": {"a": a}, "wrt": ["a"] if method == "pathwise" else ["loc"], "method": method}
    q = mg.Normal(np.linspace(-0.3, 0.3, 4), 0.5)
    ours, theirs = (mg.Estimator(f, q, backend=backend, dtype="float64", **given) for backend in ("cuda", "numpy"))
    found = ours(300, seed=5, a=machine.cupy.asarray(a))
    assert ours._kernel.fast.emitted.workspace > 0
    np.testing.assert_allclose(leaves(found), leaves(theirs(300, seed=5)), rtol=1e-10, atol=1e-12)
