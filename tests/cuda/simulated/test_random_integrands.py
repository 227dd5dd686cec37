"""Random integrands with views of views, branches and ties, in both kinds of GPU kernels, against NumPy."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from mcgrad.backends.numpy import NumpyBackend
from mcgrad.codegen.cuda import blocks, registers
from tests.cuda import simulator
from tests.cuda.simulated.block_launches import agree
from tests.random_integrands import expressions
from tests.test_random_integrands import LEAVES, PARAMS, problem_of, program_of

ONCE = settings(
    derandomize=True, deadline=None, max_examples=12,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)  # fmt: skip
INPUTS = {path: x[..., 0] for path, x in LEAVES.items()}


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(blocks, "MOST_TURNS", 2)
    monkeypatch.setattr(registers, "THREADS", 32)
    monkeypatch.setattr(registers, "TURNS", 1)


@ONCE
@given(expressions())
def test_blocks_of_threads(text):
    agree(program_of(problem_of(text), list(PARAMS), "float64"), INPUTS, 2, 1, n=4)


@ONCE
@given(expressions())
def test_a_draw_a_thread(text):
    program = program_of(problem_of(text), list(PARAMS), "float64")
    with np.errstate(all="ignore"):
        samples = NumpyBackend().compile(program).bind(INPUTS).samples(7, 100, 116)
        found = simulator.sums(program, registers.emit(program), INPUTS, 7, 100, 116, np.zeros(len(samples)))
    scale = 1 + np.abs(samples).max(initial=0)
    np.testing.assert_allclose(found.sums, samples.sum(1), rtol=0, atol=2e-9 * scale)
