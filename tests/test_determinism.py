"""The same bits whatever the number of threads; other seeds give other draws; the same noise on every backend."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from mcgrad import tree
from mcgrad.backends.base import one_chunk
from mcgrad.backends.cpu import CpuBackend
from mcgrad.backends.numpy import NumpyBackend
from mcgrad.ir.build import noise
from mcgrad.ir.program import Output, Program
from mcgrad.noise.laws import NORMAL_ULPS
from tests.estimators import KINDS, estimator

DTYPES = ["float32", "float64"]
KINDS_OF_NOISE = Program((Output("u", noise(0, "uniform", (3, 7))), Output("z", noise(1, "normal", (5,)))), "float64")


def numbers(est):
    return [est.value, est.stderr, *tree.flatten(est.grad).values(), *tree.flatten(est.grad_stderr).values()]


@pytest.mark.parametrize("backend", ["cpu", "numpy"])
@pytest.mark.parametrize(("name", "dtype"), KINDS)
def test_the_same_bits_for_any_number_of_threads(name, dtype, backend):
    n = 150_001 if backend == "cpu" else 20_001
    first, *others = (estimator(name, dtype, backend, threads)(n, seed=3, first=77) for threads in (1, 2, 5, 2))
    for other in others:
        for a, b in zip(numbers(first), numbers(other), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("name", "dtype"), KINDS)
def test_cpu_and_numpy_agree_far_below_the_standard_error(name, dtype):
    ours, reference = (estimator(name, dtype, backend)(20_001, seed=4, first=5) for backend in ("cpu", "numpy"))
    slack = {"float32": 1e-4, "float64": 1e-10}[dtype]
    pairs = [(est.grad | {"": est.value}, est.grad_stderr | {"": est.stderr}) for est in (ours, reference)]
    for path, stderr in pairs[1][1].items():
        np.testing.assert_allclose(pairs[0][1][path], stderr, rtol=1e-3 if dtype == "float32" else 1e-9, atol=1e-12)
        assert np.all(np.abs(pairs[0][0][path] - pairs[1][0][path]) <= slack * stderr * np.sqrt(20_001))


def test_seeds_differ_and_repeat():
    run = estimator("scalar")
    values = {seed: run(1000, seed=seed).value for seed in (0, 1, 2**32, 2**64 - 1)}
    assert len(set(values.values())) == 4
    assert all(run(1000, seed=seed).value == value for seed, value in values.items())


@pytest.fixture(scope="module")
def draws():
    """Return a function (dtype, seed, draw) -> that draw's uniforms and normals, of both backends."""
    programs = {dtype: Program(KINDS_OF_NOISE.outputs, dtype) for dtype in DTYPES}
    kernels = {dtype: [b.compile(p) for b in (CpuBackend(), NumpyBackend())] for dtype, p in programs.items()}

    def draw(dtype, seed, index):  # bound afresh, sums are taken around the draw itself: no rounding
        parts = [one_chunk(kernel.bind({}), seed, index, index + 1, omit=False) for kernel in kernels[dtype]]
        return [np.split(part.moments.mean, [21]) for part in parts]

    return draw


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.sampled_from(DTYPES), st.integers(0, 2**64 - 1), st.integers(0, 2**62) | st.integers(0, 2000))
def test_every_backend_has_the_same_noise(draws, dtype, seed, index):
    (our_uniforms, our_normals), (uniforms, normals) = draws(dtype, seed, index)
    np.testing.assert_array_equal(our_uniforms, uniforms)
    spacing = np.spacing(np.abs(normals).astype(dtype)).astype(float)
    assert np.all(np.abs(our_normals - normals) <= NORMAL_ULPS[np.dtype(dtype)] * spacing)
    assert np.all((uniforms > 0) & (uniforms < 1))
