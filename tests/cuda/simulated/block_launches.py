"""Kernels of blocks of threads, launched in the simulator, against the NumPy reference on the same draws."""

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.backends.base import one_chunk
from mcgrad.backends.numpy import NumpyBackend
from mcgrad.codegen.cuda import blocks
from mcgrad.codegen.cuda.thread_split import Shape
from mcgrad.codegen.loops import layout, lower, tile
from tests.cuda import simulator

SEED, FIRST = 2**40 + 7, 2**34 + 3  # the number of a group of draws takes more than 32 bits
GROUP = {"float32": 4, "float64": 2}
TOLERANCE = {"float32": 3e-5, "float64": 1e-10}


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch):
    monkeypatch.setattr(blocks, "MOST_TURNS", 2)


@pytest.fixture
def low_thresholds(monkeypatch):
    """Let matrix products, outer products and tiles of two rows appear in the smallest Programs."""
    monkeypatch.setattr(tile, "SHORTEST", 2)
    monkeypatch.setattr(lower, "SMALL_CONTRACTION", 1)
    monkeypatch.setattr(lower, "SMALL_OUTER", 2)


def set_tile(monkeypatch, rows):
    monkeypatch.setattr(layout, "TILE_ROWS", rows)


def agree(program, inputs, rows, groups, checked=False, omit=False, n=None, shift=0.0):
    """Run three turns, in two chunks, or n draws."""
    shape = Shape(rows, groups, GROUP[program.dtype]) if rows else None
    emitted = blocks.emit(program, checked, shape)
    n = n or (3 if emitted.chunk > shape.lanes else 2) * shape.lanes
    with np.errstate(all="ignore"):
        reference = one_chunk(NumpyBackend().compile(program).bind(inputs), SEED, FIRST, FIRST + n, omit)
        found = simulator.sums(program, emitted, inputs, SEED, FIRST, FIRST + n, shift, omit)
    moments, used = reference.moments, reference.moments.count
    if checked:
        assert found.counts == [used, reference.nonfinite]
    with np.errstate(invalid="ignore"):
        mean, m2 = shift + found.sums / used, found.squares - found.sums**2 / used
    tolerance = TOLERANCE[program.dtype]
    scale = np.abs(moments.mean[np.isfinite(moments.mean)]).max(initial=1.0)
    spread = np.sqrt(moments.m2[np.isfinite(moments.m2)]).max(initial=1.0)
    np.testing.assert_allclose(mean, moments.mean, rtol=tolerance, atol=tolerance * scale)
    np.testing.assert_allclose(m2, moments.m2, rtol=10 * tolerance, atol=100 * tolerance * (scale + spread) ** 2)
    return emitted, found, reference


def traced(f, q, dtype="float64", **given):
    est = mg.Estimator(f, q, backend="numpy", dtype=dtype, **given)
    return est.program, est.inputs.values({})
