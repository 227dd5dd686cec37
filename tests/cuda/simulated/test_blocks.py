"""Kernels of blocks of threads: outer products, users' functions, draws that are not finite, memory, grids."""

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.backends.base import one_chunk
from mcgrad.backends.numpy import NumpyBackend
from mcgrad.codegen.cuda import blocks
from mcgrad.codegen.cuda.thread_split import Shape
from tests.cuda import simulator
from tests.cuda.simulated.block_launches import FIRST, SEED, agree, low_thresholds, set_tile, short_chunks, traced  # noqa: F401
from tests.test_integrand import GIVEN, Q, value, value_and_grad

CHAIN = mg.Normal(np.linspace(-0.5, 0.5, 7), 0.4)


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
