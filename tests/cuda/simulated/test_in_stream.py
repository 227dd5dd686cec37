"""Estimates that stay on the device, with all kernels in numba's simulator: emitted ones and kernels/in_stream.py."""

import warnings
from collections import deque
from types import FunctionType

import numpy as np

import mcgrad as mg
from mcgrad.backends.cuda import in_stream as cuda_in_stream
from mcgrad.kernels import in_stream
from mcgrad.kernels.target import cuda
from mcgrad.toolchain.ptx import Ptx
from tests.cuda import machines, simulator
from tests.cuda.simulated.test_backend import machine as machine
from tests.cuda.test_in_stream import STREAM, put, vectors

THREADS = 32


def kernel(python):
    names = simulator.Loader("float64").names | {"math": in_stream.math, "NAN": np.nan, "OF_ANY": in_stream.OF_ANY}
    names |= {"THREADS": THREADS, "moments": FunctionType(in_stream.moments.py_func.__code__, names)}
    function = cuda.jit(FunctionType(python.__code__, names, python.__name__))

    def run(grid, threads, shared, *arguments):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            function[grid, min(threads, THREADS)](*map(simulator.in_place, arguments))

    return run


def functions(made):
    def load(device, dtype, result):
        kinds = {"real": str(dtype), "result": str(result)}
        found = []
        for name, types in machines.IN_STREAM.items():
            of = [f"pointer {kinds[kind[8:]]}" if kind[8:] in kinds else kind for kind in types]
            image = made.kernel(kernel(getattr(in_stream, name)), of)
            found.append(device.load(Ptx("", name, image), keep=False))
        return found

    return load


def test_results_are_those_of_a_call(machine, monkeypatch):
    monkeypatch.setattr(cuda_in_stream, "functions", functions(machine))
    machine.streams[STREAM] = deque()

    def f(z, a):
        return np.stack([a * np.sum(z), np.where(z[0] > 1.0, np.inf, z[1])])

    q = mg.MultivariateNormal(np.array([0.1, -0.2]), np.array([[1.0, 0.0], [0.3, 0.5]]))
    estimator = mg.Estimator(f, q, params={"a": 0.5}, backend="cuda")
    expected = estimator(70, seed=2**40 + 5)
    found = put(machine, estimator, 70, seed=2**40 + 5)
    machine.synchronize(STREAM)
    assert found.nonfinite.get() == expected.nonfinite > 0
    for mine, theirs in zip((found.means.get(), found.errors.get()), vectors(expected), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-10)
