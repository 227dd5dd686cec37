"""A generator is a row of a table, a reference and a kernel: every backend then draws from it, beside Philox."""

import sys

import numpy as np
import pytest

from mcgrad.backends.base import one_chunk
from mcgrad.backends.cpu import CpuBackend
from mcgrad.backends.numpy import NumpyBackend
from mcgrad.codegen.cuda import blocks, registers
from mcgrad.ir.build import apply, noise, noise_of
from mcgrad.ir.program import Output, Program
from mcgrad.kernels import noise_fill
from mcgrad.noise.generators import GENERATORS, Generator
from mcgrad.noise.laws import UNIFORM
from mcgrad.noise.source import NoiseSource
from mcgrad.toolchain import ptx

from . import weyl

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
SEED, N = 2**40 + 12345, 1 << 12


@pytest.fixture(autouse=True)
def _weyl(monkeypatch):
    """What a new generator adds to the package: a file of kernels, a reference, and a line in two tables."""
    monkeypatch.setitem(sys.modules, "mcgrad.kernels.weyl", weyl)
    monkeypatch.setitem(GENERATORS, "weyl", Generator(weyl.words, "weyl{bits}", {"uniform": UNIFORM}))
    monkeypatch.setattr(noise_fill, "weyl_uniform_row32", noise_fill.uniforms32(weyl.weyl32), raising=False)
    monkeypatch.setattr(noise_fill, "weyl_uniform_row64", noise_fill.uniforms64(weyl.weyl64), raising=False)


def program(dtype):
    """Uniforms of the sequence, alone and times normals of Philox."""
    u = noise_of(NoiseSource(0, "uniform", "weyl"), (3,))
    return Program((Output("u", u), Output("uz", apply("multiply", u, noise(0, "normal", (3,))))), dtype)


@DTYPES
def test_backends_draw_the_same(dtype):
    parts = [
        one_chunk(b.compile(program(dtype)).bind({}), SEED, 5, 5 + N, False) for b in (CpuBackend(), NumpyBackend())
    ]
    tolerance = {"float32": 1e-6, "float64": 1e-13}[dtype]
    np.testing.assert_allclose(parts[0].moments.mean, parts[1].moments.mean, rtol=tolerance, atol=tolerance)
    # points that fill (0, 1) evenly: a random error would be 0.0045
    np.testing.assert_allclose(parts[0].moments.mean[:3], 0.5, atol=1e-3)


@DTYPES
def test_gpu_kernels_call_both_generators(dtype):
    bits = dtype[-2:]
    for emit in (registers.emit, blocks.emit):
        source = emit(program(dtype)).source
        assert f"from mcgrad.kernels.philox import philox4x32\nfrom mcgrad.kernels.weyl import weyl{bits}\n" in source
        assert f"weyl_words = subroutine(weyl{bits}, types.UniTuple(types.uint32, 4))\n" in source
        assert "= weyl_words(uint32(" in source
        assert "= words(uint32(" in source


@DTYPES
def test_gpu_kernels_compile(dtype):
    pytest.importorskip("numba_cuda")
    assert "weyl" in registers.emit(program(dtype)).source
    assert ptx.ptx(registers.emit(program(dtype)).source, "kernel", (9, 0), []).text


def test_programs_print_a_generator_that_is_not_philox():
    text = str(program("float64"))
    assert "noise((0, 'uniform', 'weyl'))" in text
    assert "noise((0, 'normal'))" in text
