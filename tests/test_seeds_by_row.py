"""Rows with a seed each: the bits that a row has by itself with its seed, in every way in which rows are averaged."""

import numpy as np
import pytest

from mcgrad.backends.cpu_row_lanes import CpuRowLanes
from mcgrad.backends.cpu_rows import CpuRows
from mcgrad.backends.registry import BACKENDS
from mcgrad.backends.row_by_row import RowByRow
from mcgrad.ir.build import apply, input_, noise, reduce
from mcgrad.ir.program import Output, Program
from mcgrad.ir.spaces import param
from mcgrad.simplify.fixed_point import simplify

ROWS, D = 70, 3  # more than a block of lanes has
SEEDS = np.random.default_rng(4).integers(0, 2**64, ROWS, np.uint64)
NUMBERS = np.arange(ROWS) % 3
A = np.random.default_rng(5).normal(size=(ROWS, D))
A[7] = -200.0  # where the logarithm is not finite


def program(dtype):
    a, w, eps, u = (
        input_("a", (D,), by_row=True),
        input_("w", (D,)),
        noise(0, "normal", (D,)),
        noise(1, "uniform", (2,)),
    )
    z = apply("add", a, eps)
    value = reduce("sum", apply("log", apply("add", apply("multiply", w, z), 50.0)), (0,))
    outputs = (
        Output("value", apply("multiply", value, reduce("sum", u, (0,)))),
        Output("a", apply("sin", z)),
        Output("w", apply("multiply", z, z), summed=True),
    )
    return simplify(Program(outputs, dtype))


def bound(kernel, made, rows):
    values = {param("a"): A[rows], param("w"): np.array([3.0, 1.0, 2.0])}
    if hasattr(kernel, "bind_rows"):
        return kernel.bind_rows(values, NUMBERS[rows])
    return RowByRow(made, kernel, values, NUMBERS[rows])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("backend", "n", "kind"), [("numpy", 5, RowByRow), ("cpu", 5, CpuRowLanes), ("cpu", 900, CpuRows)]
)
def test_rows_have_the_bits_that_they_have_alone(backend, n, kind, dtype):
    made = program(dtype)
    kernel = BACKENDS[backend].compile(made)
    everything = bound(kernel, made, np.arange(ROWS))
    assert isinstance(everything.chosen(0, n) if backend == "cpu" else everything, kind)
    with np.errstate(invalid="ignore"):
        parts = [everything.partial(SEEDS, 0, n, rows, True) for rows in [(0, 20), (20, ROWS)]]
        alone = [bound(kernel, made, [row]).partial(int(SEEDS[row]), 0, n, (0, 1), True) for row in range(ROWS)]
    for name in ("counts", "means", "norms", "nonfinite"):
        together = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(together, np.concatenate([getattr(each, name) for each in alone]), name)
    for name in ("totals", "variances"):
        whole, sums = sum(getattr(part, name) for part in parts), sum(getattr(each, name) for each in alone)
        np.testing.assert_allclose(whole, sums, rtol=1e-4 if dtype == "float32" else 1e-12)
    assert parts[0].nonfinite.tolist() == [n if row == 7 else 0 for row in range(20)]
    assert len(np.unique(np.concatenate([part.means[:, 1] for part in parts]))) == ROWS
