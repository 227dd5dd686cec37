"""Few draws a row on the CPU, where lanes carry rows of the batch: each has the moments that it has alone."""

import numpy as np
import pytest

from mcgrad.backends.cpu_row_lanes import CpuRowLanes
from mcgrad.backends.registry import BACKENDS
from mcgrad.backends.row_by_row import RowByRow
from mcgrad.ir.build import apply, concatenate, einsum, input_, noise, reduce
from mcgrad.ir.program import Output, Program
from mcgrad.ir.spaces import param
from mcgrad.simplify.fixed_point import simplify

from .test_cpu_rows import DTYPES, check, of_one_number

D, E = 9, 12
FEW = 63  # less than a block of draws has
RTOL = {"float32": 3e-4, "float64": 1e-10}


def program(dtype):
    """All that a row may have of its own: a vector, a matrix, a condition, a part of an assembly, a factor."""
    loc, tril, x = (input_(name, shape, by_row=True) for name, shape in (("loc", (D,)), ("tril", (D, D)), ("x", (E,))))
    w, eps, u = input_("w", (E, D)), noise(0, "normal", (D,)), noise(1, "uniform", (2,))
    z = apply("add", loc, einsum("ij,j->i", apply("exp", tril), eps))
    z = apply("where", apply("less", loc, 0.0), apply("sin", z), z)
    residual = apply("subtract", x, einsum("ej,j->e", w, z))
    both = apply("cos", concatenate([x, u], 0))
    outputs = (
        Output("value", reduce("sum", apply("multiply", residual, residual), (0,))),
        Output("loc", apply("multiply", z, reduce("sum", both, (0,)))),
        Output("w", einsum("e,j->ej", residual, z), summed=True),
        Output("tail", apply("multiply", u, u), summed=True),
        Output("product", einsum("e,j->ej", both, z)),
    )
    return simplify(Program(outputs, dtype))


def inputs(rows):
    rng = np.random.default_rng(1)
    return {
        param("loc"): 3.0 * rng.normal(size=(rows, D)),
        param("tril"): -0.5 + 0.1 * rng.random(size=(rows, D, D)),
        param("x"): rng.normal(size=(rows, E)),
        param("w"): rng.normal(size=(E, D)),
    }


def bound(made, values, numbers):
    ours = BACKENDS["cpu"].compile(made).bind_rows(values, numbers)
    assert isinstance(ours.chosen(0, FEW), CpuRowLanes)
    return ours


def chosen(values, rows):
    return {name: x if name == param("w") else x[rows] for name, x in values.items()}


@DTYPES
def test_rows_are_those_of_a_loop_over_rows(dtype):
    made, rows = program(dtype), 75  # more than a block
    values, numbers = inputs(rows), np.random.default_rng(2).integers(2**28, size=rows)
    ours, reference = bound(made, values, numbers), RowByRow(made, BACKENDS["numpy"].compile(made), values, numbers)
    for start, n in [(0, 1), (0, 2), (6, 2), (3, 2), (1, 4), (5, 41), (0, FEW)]:
        found, wanted = (x.partial(3, start, start + n, (0, rows), False) for x in (ours, reference))
        variances = found.variances[: E * D], wanted.variances[: E * D]
        if n > 2:  # from n // 2 pairs of draws a row, or fewer by one
            ratio = variances[0] / variances[1] - 1.0
            assert abs(ratio.mean()) < 4.5 * np.sqrt(8.0 / (rows * (n - 2)))
            assert ratio.any()
            found.variances[: E * D] = variances[1]
        check(found, wanted, RTOL[dtype])


@DTYPES
def test_the_bits_of_a_row_depend_on_no_other_row(dtype):
    made, rows, n = program(dtype), 70, 11
    values, numbers = inputs(rows), np.arange(rows) * 5
    together = bound(made, values, numbers).partial(3, 0, n, (0, rows), False)
    order = np.random.default_rng(2).permutation(rows)
    permuted = bound(made, chosen(values, order), numbers[order]).partial(3, 0, n, (0, rows), False)
    parts = [bound(made, values, numbers).partial(3, 0, n, part, False) for part in [(0, 1), (1, 50), (50, rows)]]
    for name in ("means", "norms"):
        np.testing.assert_array_equal(getattr(permuted, name), getattr(together, name)[order])
        np.testing.assert_array_equal(np.concatenate([getattr(part, name) for part in parts]), getattr(together, name))
    np.testing.assert_allclose(sum(part.totals for part in parts), together.totals, rtol=1e-4)


@pytest.mark.parametrize("omit", [False, True])
def test_rows_with_draws_that_are_not_finite_do_not_change_others(omit):
    made = of_one_number("float32", lambda eps, a: apply("log", apply("add", eps, a)))
    a, numbers = np.array([9.0, 1.0, 8.0, -9.0, 7.5])[:, None], np.arange(5)
    found = bound(made, {param("a"): a}, numbers).partial(0, 0, 50, (0, 5), omit)
    reference = RowByRow(made, BACKENDS["cpu"].compile(made), {param("a"): a}, numbers)
    check(found, reference.partial(0, 0, 50, (0, 5), omit), 1e-6)
    assert 0 < found.nonfinite[1] < found.nonfinite[3] == 50
    fine = [0, 2, 4]
    without = bound(made, {param("a"): a[fine]}, numbers[fine]).partial(0, 0, 50, (0, 3), omit)
    np.testing.assert_array_equal(found.means[fine], without.means)
    np.testing.assert_array_equal(found.norms[fine], without.norms)


def test_means_and_norms_are_written_where_they_belong():
    made = of_one_number("float32", lambda eps, a: apply("log", apply("add", eps, a)))
    a, numbers = np.array([9.0, 1.0, 8.0, -9.0, 7.5])[:, None], np.arange(5)  # two rows are averaged again
    ours, places = bound(made, {param("a"): a}, numbers), np.full((2, 5, 1), 7.0)
    wanted, found = ours.partial(0, 0, 50, (0, 5), True), ours.partial_into((*places,), 0, 0, 50, (0, 5), True)
    np.testing.assert_array_equal(places, [wanted.means, wanted.norms])
    assert found.means.base is found.norms.base is places


@DTYPES
def test_rows_of_any_magnitude_and_far_from_zero(dtype):
    made = of_one_number(dtype, lambda eps, a: apply("multiply", apply("add", eps, a), a))
    large = {"float32": 1e15, "float64": 1e100}[dtype]
    a = np.array([1.0, 1e3, -1e3, large, 1e5 / large, 0.0])[:, None]
    numbers = np.arange(6)
    found = bound(made, {param("a"): a}, numbers).partial(0, 0, 30, (0, 6), False)
    reference = RowByRow(made, BACKENDS["numpy"].compile(made), {param("a"): a}, numbers)
    wanted = reference.partial(0, 0, 30, (0, 6), False)
    rtol = {"float32": 3e-6, "float64": 1e-12}[dtype]
    np.testing.assert_allclose(found.means, wanted.means, rtol=rtol)
    usual = [0, 1, 2, 4, 5]  # draws about the largest number are all the same
    np.testing.assert_allclose(found.norms[usual], wanted.norms[usual], rtol=1e3 * rtol)


@DTYPES
def test_outer_products_far_from_zero_or_tiny_keep_their_standard_errors(dtype):
    rows, narrow, tiny = {"float32": (40, 1e-4, 1e-13), "float64": (40, 1e-9, 1e-74)}[dtype]
    loc, far, width = input_("loc", (D,), by_row=True), input_("far", (E,), by_row=True), input_("width", ())
    x = apply("add", loc, apply("multiply", width, noise(0, "normal", (D,))))
    y = apply("add", far, apply("multiply", width, noise(1, "normal", (E,))))
    outputs = (Output("value", reduce("sum", x, (0,))), Output("w", einsum("e,j->ej", y, x), summed=True))
    made, rng = simplify(Program(outputs, dtype)), np.random.default_rng(3)
    means, numbers = (
        {param("loc"): rng.normal(size=(rows, D)), param("far"): rng.normal(size=(rows, E))},
        np.arange(rows),
    )
    for unit, deviation in ((tiny, tiny), (1.0, narrow)):  # squares of products of tiny numbers vanish in the dtype
        values = {name: x * unit for name, x in means.items()} | {param("width"): np.float64(deviation)}
        found = bound(made, values, numbers).partial(3, 0, 2, (0, rows), False)
        reference = RowByRow(made, BACKENDS["numpy"].compile(made), values, numbers)
        wanted = reference.partial(3, 0, 2, (0, rows), False)  # of one pair of draws a row: the same formula
        np.testing.assert_allclose(found.variances, wanted.variances, rtol=5e-3)
    for start, stop, pairs in ((0, 2, 1), (1, 4, 1), (1, 7, 2), (0, 8, 4)):  # of draws 2 j and 2 j + 1
        degrees = bound(made, values, numbers).partial(3, start, stop, (0, rows), False).total_degrees
        assert degrees.tolist() == [float(rows * pairs)] * (D * E)


def test_no_rows_are_a_result_too():
    made = of_one_number("float32", lambda eps, a: apply("add", eps, a))
    ours = bound(made, {param("a"): np.empty((0, 1))}, np.arange(0))
    assert list(ours.chunks(4)) == []
    found = ours.partial(0, 0, 4, (0, 0), False)
    assert found.means.shape == (0, 1)
    assert found.totals.tolist() == [0.0]
