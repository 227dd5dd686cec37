"""Kernels of blocks of threads against the NumPy reference on the same draws: whatever loop nests can express."""

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.backends.base import one_chunk
from mcgrad.backends.numpy import NumpyBackend
from mcgrad.codegen.cuda import blocks
from mcgrad.codegen.cuda.thread_split import Shape
from mcgrad.codegen.loops import layout, lower, tile
from tests.cuda import simulator
from tests.emit.test_tiles import INTEGRANDS, TILED
from tests.ops.problems import ALL_SAMPLES, pack
from tests.test_integrand import GIVEN, Q, value, value_and_grad

SEED, FIRST = 2**40 + 7, 2**34 + 3  # the number of a group of draws takes more than 32 bits
GROUP = {"float32": 4, "float64": 2}
TOLERANCE = {"float32": 3e-5, "float64": 1e-10}
PACKS = [ALL_SAMPLES[start : start + 12] for start in range(0, len(ALL_SAMPLES), 12)]
CHAIN = mg.Normal(np.linspace(-0.5, 0.5, 7), 0.4)


@pytest.fixture(autouse=True)
def _short_chunks(monkeypatch):
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


@pytest.mark.parametrize("number", range(len(PACKS)))
def test_every_op_and_every_function(number):
    packed = pack(PACKS[number], "float64", "reverse" if number % 2 else "forward")
    rows, groups = [(1, 1), (2, 1), (3, 1)][number % 3]
    agree(packed.program, packed.inputs, rows, groups, checked=number % 4 == 0, n=4)


@pytest.mark.usefixtures("low_thresholds")
@pytest.mark.parametrize("number", range(0, len(PACKS), 8))
def test_products_among_them(number):
    packed = pack(PACKS[number], "float64")
    agree(packed.program, packed.inputs, 3, 1, checked=number % 2 == 0, n=4)


@pytest.mark.usefixtures("low_thresholds")
@pytest.mark.parametrize(("rows", "tile_rows"), [(3, 8), (5, 100)])
@pytest.mark.parametrize("name", INTEGRANDS)
def test_any_reader_of_a_product(monkeypatch, name, rows, tile_rows):
    set_tile(monkeypatch, tile_rows)
    q = mg.Normal(np.array([0.1, -0.2, 0.3, 0.0]), 0.6)
    spoiled = rows == 3
    program, inputs = traced(lambda z: INTEGRANDS[name](z) + (np.log(z[0]) if spoiled else 0.0), q)
    emitted, _, reference = agree(program, inputs, rows, 1, checked=spoiled, omit=spoiled and tile_rows == 8)
    assert (reference.nonfinite > 0) == spoiled
    assert "while t0 < " in emitted.source or name not in TILED


@pytest.mark.usefixtures("low_thresholds")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("rows", "groups"), [(1, 2), (3, 2), (5, 1)])
@pytest.mark.parametrize("omit", [None, False, True])
def test_outer_products(dtype, rows, groups, omit):
    tril = np.tril(np.random.default_rng(0).standard_normal((6, 6)), -1) + 2 * np.eye(6)
    spoil = (lambda z: np.log(z[0])) if omit is not None else (lambda z: 0.0)
    q = mg.MultivariateNormal(np.linspace(-1.0, 1.0, 6), tril)
    program, inputs = traced(lambda z: np.sum(np.sin(z) * z) + spoil(z), q, dtype)
    checked = omit is not None
    emitted, _, reference = agree(
        program, inputs, rows, groups, checked, bool(omit), shift=0.0 if omit is False else 1.5
    )
    assert "add_moments" in emitted.source
    assert (reference.nonfinite > 0) == checked


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("rows", "groups"), [(1, 2), (3, 2)])
def test_users_functions(dtype, rows, groups):
    pair = mg.Integrand(value=value, value_and_grad=value_and_grad)
    program, inputs = traced(pair, Q, dtype, **GIVEN)
    agree(program, inputs, rows, groups, n=15)


def rosenbrock(z):
    return -np.sum((z[1:] - z[:-1] ** 2) ** 2 + 0.01 * (1 - z[:-1]) ** 2)


@pytest.mark.parametrize("omit", [False, True])
def test_draws_that_are_not_finite(omit):
    program, inputs = traced(lambda z: rosenbrock(z) + np.sqrt(z[3]), CHAIN, "float32")
    _, _, reference = agree(program, inputs, 3, 2, checked=True, omit=omit, n=61)
    assert 0 < reference.nonfinite < 61


def test_rows_in_global_memory(monkeypatch):
    monkeypatch.setattr(blocks, "SHARED", 0)
    monkeypatch.setattr(blocks, "THREADS", 6)
    monkeypatch.setattr(blocks, "GLOBAL_GROUPS", 2)
    program, inputs = traced(rosenbrock, CHAIN, "float32")
    emitted, found, _ = agree(program, inputs, 0, 0, n=61)
    assert emitted.shared == 0
    assert emitted.workspace > 0
    one = simulator.sums(program, emitted, inputs, SEED, FIRST, FIRST + 61, grid=1)
    np.testing.assert_array_equal(one.partials, found.partials)


def test_the_same_bits_on_any_grid_and_far_from_zero():
    program, inputs = traced(lambda z: rosenbrock(z) + 1e6, CHAIN)
    emitted, found, _ = agree(program, inputs, 3, 1, n=13)
    one = simulator.sums(program, emitted, inputs, SEED, FIRST, FIRST + 13, grid=2)
    assert found.chunks > 2
    np.testing.assert_array_equal(one.partials, found.partials)
    _, near, reference = agree(program, inputs, 3, 1, n=13, shift=reference_shift(program, inputs))
    np.testing.assert_allclose(near.squares - near.sums**2 / 13, reference.moments.m2, rtol=1e-10, atol=1e-12)


def reference_shift(program, inputs):
    return one_chunk(NumpyBackend().compile(program).bind(inputs), SEED, 0, 100, False).moments.mean


def test_residuals_take_the_rows_of_the_logits(monkeypatch):
    set_tile(monkeypatch, 100)
    X = np.random.default_rng(0).standard_normal((300, 4))
    program, _ = traced(lambda z: np.sum(np.logaddexp(0, X @ z)), mg.Normal(np.zeros(4), 1.0))
    shape = Shape(1, 2, 2)
    assert blocks.emit(program, shape=shape).shared / 8 / shape.lanes < 150
