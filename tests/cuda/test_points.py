"""Points of replicates on the CUDA backend: integers of device functions, kernels that compile, runs on a stand-in."""

import numpy as np
import pytest
from numba import njit

import mcgrad as mg
from mcgrad.codegen.cuda import blocks, registers, row_registers
from mcgrad.kernels import cuda_points
from mcgrad.noise import philox, sobol
from mcgrad.noise.generators import POINT_SETS
from mcgrad.noise.keys import Keys
from mcgrad.toolchain import ptx
from tests.cuda import row_machines
from tests.cuda.problems import agree

SEED, COORDINATES, STREAM = 0x1234567890ABCDEF, 5, 2
SCRAMBLES = pytest.mark.parametrize("scramble", ["matrix", "owen"])
Q = mg.Joint(a=mg.Normal(np.zeros(3), 1.0), b=mg.Uniform(0.0, 1.0))


@pytest.fixture
def machine(monkeypatch):
    return row_machines.machine(monkeypatch)


def f(z):
    return np.sum(np.sin(z["a"])) * z["b"]


def estimator(backend, dtype="float64", **options):
    return mg.Estimator(f, Q, backend=backend, dtype=dtype, sampler="sobol", **options)


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("generator", ["sobol", "sobol_owen"])
def test_integers_are_those_of_the_reference(generator, bits):
    each, points = 128 // bits, POINT_SETS[generator]
    words = njit(getattr(cuda_points, f"{generator}{bits}").py_func)
    table = Keys(generator, COORDINATES, bits).in_memory(SEED)
    address = [np.uint32(half) for half in (table.ctypes.data & 0xFFFFFFFF, table.ctypes.data >> 32)]
    for coordinate in (0, 4, COORDINATES):
        component = np.array([coordinate], np.uint64)
        for row, group in ((0, 0), (0, 777), (5, 1), (2, 2**30 - 1)):
            found = words(np.uint32(coordinate), np.uint32(row), np.uint32(STREAM), np.uint32(group), *address)
            integers = [int(word) for word in found]
            if bits == 64:
                integers = [low | high << 32 for low, high in zip(integers[::2], integers[1::2], strict=True)]
            if coordinate < COORDINATES:
                right = points.points(points.table(SEED, component, bits), group * each, each)[0]
                right ^= sobol.shifts_of_row(SEED, component, row, bits) * right.dtype.type(row > 0)
            else:
                right = philox.integers(SEED, STREAM, component, (row << 32 | group) * each, each, bits)[0]
            assert integers == right.tolist()


@pytest.mark.parametrize(
    ("emit", "dtype", "scramble"),
    [
        (registers.emit, "float32", "owen"),
        (registers.emit, "float64", "matrix"),
        (blocks.emit, "float64", "owen"),
        (row_registers.emit, "float32", "matrix"),
    ],
)
def test_kernels_compile(emit, dtype, scramble):
    pytest.importorskip("numba_cuda")
    source = emit(estimator("numpy", dtype, scramble=scramble).program).source
    assert "from mcgrad.kernels.cuda_points import sobol" in source
    assert ptx.ptx(source, "kernel", (9, 0), []).text


@SCRAMBLES
def test_replicates_run_as_rows(machine, scramble):
    ours, theirs = (estimator(backend, scramble=scramble)(2**9, seed=3) for backend in ("cuda", "numpy"))
    agree(ours, theirs, 1e-10)
    np.testing.assert_allclose(ours.replicates.means, theirs.replicates.means, rtol=1e-10)


def test_long_replicates_run_one_after_the_other(machine):
    ours, theirs = (estimator(backend, replicates=2)(2**14, seed=3) for backend in ("cuda", "numpy"))
    agree(ours, theirs, 1e-9)


def test_rows_of_a_batch(machine):
    q = mg.Normal(np.linspace(0.0, 1.0, 6).reshape(3, 2), np.ones((3, 2)), batch_ndim=1)
    options = {"sampler": "sobol", "wrt": "loc"}
    found = [mg.estimate(lambda z: np.sum(z**3), q, n=2**8, backend=each, **options) for each in ("cuda", "numpy")]
    np.testing.assert_allclose(found[0].value, found[1].value, rtol=1e-10)
    np.testing.assert_allclose(found[0].grad_stderr["loc"], found[1].grad_stderr["loc"], rtol=1e-8)
