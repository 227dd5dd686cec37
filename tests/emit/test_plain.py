"""The emitted source, run as plain Python, computes what the Program means and stays inside its workspace."""

import numpy as np
import pytest

from mcgrad.backends.base import one_chunk
from mcgrad.backends.numpy import NumpyBackend
from mcgrad.ir.build import apply, noise
from mcgrad.ir.program import Output, Program
from tests.emit.plain import plain_backend  # noqa: F401 - a fixture
from tests.ops.problems import ALL_SAMPLES, components, pack

GROUPS = [ALL_SAMPLES[start : start + 12] for start in range(0, len(ALL_SAMPLES), 12)]
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}


def agree(backend, program, inputs, draws, omit=False):
    ours = one_chunk(backend.compile(program).bind(inputs), 7, *draws, omit)
    reference = one_chunk(NumpyBackend().compile(program).bind(inputs), 7, *draws, omit)
    assert (ours.nonfinite, ours.moments.count) == (reference.nonfinite, reference.moments.count)
    tolerance = TOLERANCE[program.dtype]
    for (path, got), (_, want) in zip(components(program, ours), components(program, reference), strict=True):
        scale = max(1.0, np.abs(want[np.isfinite(want)]).max(initial=0.0))
        np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * scale, err_msg=path)
    ours_spread, spread = np.sqrt(ours.moments.m2), np.sqrt(reference.moments.m2)
    slack = 1e-4 * spread + np.sqrt(tolerance) * np.maximum(1.0, np.abs(reference.moments.mean))
    assert not np.any(np.abs(ours_spread - spread) > slack)
    return reference


@pytest.mark.usefixtures("plain_backend")
@pytest.mark.parametrize("group", GROUPS, ids=lambda group: f"{group[0].id}..{group[-1].id}")
@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_values_and_gradients_of_one_draw(group, mode, plain_backend):  # noqa: F811
    packed = pack(group, "float64", mode)
    agree(plain_backend, packed.program, packed.inputs, (13, 14))


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: f"{group[0].id}..{group[-1].id}")
def test_moments_over_blocks_that_are_cut_with_draws_left_out(group, plain_backend):  # noqa: F811
    packed = pack(group, "float64")
    spoiler = apply("log", apply("subtract", noise(99, "uniform", ()), 0.3))  # sends the run to the checked variant
    program = Program((*packed.program.outputs, Output("spoiler", spoiler)), "float64")
    for omit in (False, True):
        assert agree(plain_backend, program, packed.inputs, (5, 21), omit).nonfinite > 0


@pytest.mark.parametrize("group", GROUPS[::6], ids=lambda group: f"{group[0].id}..{group[-1].id}")
def test_float32(group, plain_backend):  # noqa: F811
    packed = pack(group, "float32")
    agree(plain_backend, packed.program, packed.inputs, (5, 21))
