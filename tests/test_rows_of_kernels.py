"""Rows of a Program: each has its own inputs and draws, and what is shared is summed over them."""

import numpy as np
import pytest

from mcgrad.backends.base import one_chunk
from mcgrad.backends.registry import BACKENDS
from mcgrad.backends.row_by_row import RowByRow
from mcgrad.ir.build import apply, input_, noise, reduce
from mcgrad.ir.program import Level, Output, Program
from mcgrad.ir.spaces import param
from mcgrad.noise.rows import first_of_row
from mcgrad.simplify.fixed_point import simplify

ROWS, D, N = 7, 3, 50


def program(dtype):
    """The value sum(w * (loc + eps)**2) by row, and its gradients: in loc by row, in w summed."""
    loc, w, eps = input_("loc", (D,), by_row=True), input_("w", (D,)), noise(0, "normal", (D,))
    z = apply("add", loc, eps)
    square = apply("multiply", z, z)
    outputs = (
        Output("value", reduce("sum", apply("multiply", w, square), (0,))),
        Output("loc", apply("multiply", apply("multiply", w, 2.0), z)),
        Output("w", square, summed=True),
    )
    return simplify(Program(outputs, dtype))


def inputs(dtype):
    rng = np.random.default_rng(1)
    return {param("loc"): rng.normal(size=(ROWS, D)).astype(dtype), param("w"): np.array([0.5, 2.0, -1.0], dtype)}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("backend", ["numpy", "cpu"])
def test_row_by_row(dtype, backend):
    made, values = program(dtype), inputs(dtype)
    assert made.has_rows
    assert {var.level for var in made.equations() if var.op == "input"} == {Level.CONSTANT, Level.ROW}
    numbers = np.array([0, 1, 5, 6, 7, 100, 2**27], np.int64)
    kernel = BACKENDS[backend].compile(made)
    found = RowByRow(made, kernel, values, numbers).partial(3, 0, N, (0, ROWS), False)
    alone = [
        one_chunk(kernel.bind({**values, param("loc"): values[param("loc")][row]}), 3, first, first + N, False).moments
        for row, first in enumerate(first_of_row(int(number), dtype) for number in numbers)
    ]
    means, stderrs = (np.stack([getattr(x, name) for x in alone]) for name in ("mean", "stderr"))
    np.testing.assert_allclose(found.means, means[:, : 1 + D], rtol=1e-6)
    np.testing.assert_allclose(found.totals, means[:, 1 + D :].sum(axis=0), rtol=1e-6)
    np.testing.assert_allclose(found.variances, np.square(stderrs[:, 1 + D :]).sum(axis=0), rtol=1e-5)
    assert (found.counts == N).all()
    assert not found.nonfinite.any()
    exact = (values[param("w")] * (values[param("loc")] ** 2 + 1)).sum(axis=1)
    z = (found.means[:, 0] - exact) / (found.norms[:, 0] / np.sqrt(N * (N - 1)))
    assert np.abs(z).max() < 4


def test_the_serial_form_keeps_rows():
    made = program("float32")
    again = Program.from_bytes(made.to_bytes())
    assert str(again) == str(made)
    assert "each row:" in str(made)
    assert "summed over the rows" in str(made)
    assert again.to_bytes() == made.to_bytes()
