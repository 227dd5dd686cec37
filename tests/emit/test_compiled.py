"""Machine code agrees with NumPy draw by draw: every elementwise op, and one sample of every way to move elements."""

import numpy as np
import pytest

from mcgrad.backends.base import one_chunk
from mcgrad.backends.cpu import CpuBackend
from mcgrad.backends.numpy import NumpyBackend
from mcgrad.ir.ops import OPS
from mcgrad.ir.program import Output, Program
from tests.ops.problems import OP_SAMPLES, components, pack
from tests.ops.samples import SAMPLES

TOLERANCE = {"float32": 2e-5, "float64": 1e-12}
STRUCTURE = (
    *("slice-0", "flip-0", "pad-1", "take-0", "concatenate-0", "scatter_add-0", "sum-2", "prod-4", "max-1", "where-0"),
    *("cumsum-6", "cumprod-5", "linear_recurrence-2", "einsum-2", "einsum-12"),
)


def agree(program, inputs):
    kernels = [backend.compile(program).bind(inputs) for backend in (CpuBackend(), NumpyBackend())]
    for draw in (0, 3, 301):
        ours, reference = (one_chunk(kernel, 11, draw, draw + 1, omit=False) for kernel in kernels)
        tolerance = TOLERANCE[program.dtype]
        for (path, got), (_, want) in zip(components(program, ours), components(program, reference), strict=True):
            scale = max(1.0, np.abs(want).max())
            np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * scale, err_msg=f"{path}, draw {draw}")


@pytest.mark.parametrize(("dtype", "half"), [("float32", 0), ("float64", 1)])
def test_every_elementwise_op(dtype, half):
    first = [samples[0] for op, samples in SAMPLES.items() if OPS[op].category == "elementwise"][half::2]
    packed = pack(first, dtype)
    values = tuple(Output(out.path, out.var) for out in packed.program.outputs if out.path in {s.id for s in first})
    agree(Program(values, dtype), packed.inputs)


@pytest.mark.parametrize(("dtype", "half"), [("float32", 0), ("float64", 1)])
def test_structure_and_its_derivatives(dtype, half):
    chosen = [sample for sample in OP_SAMPLES if sample.id in STRUCTURE[half::2]]
    packed = pack(chosen, dtype)
    agree(packed.program, packed.inputs)
