"""Rows averaged by the CPU backend in one call: the moments of each are those that the row has alone."""

import numba
import numpy as np
import pytest

import mcgrad as mg
from mcgrad.backends.registry import BACKENDS
from mcgrad.backends.row_by_row import RowByRow
from mcgrad.codegen.loops.layout import LANES_OF_FEW
from mcgrad.ir.build import apply, einsum, input_, native, noise, reduce, transpose
from mcgrad.ir.program import Output, Program
from mcgrad.ir.spaces import param
from mcgrad.simplify.fixed_point import simplify

D, E = 9, 12
NUMBERS = np.array([0, 1, 5, 2**27, 6, 7, 100, 3, 2**28 - 1], np.int64)
ROWS = len(NUMBERS)
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
FIELDS = ("counts", "means", "norms", "nonfinite", "totals", "variances")


def program(dtype):
    """A layer w (loc + tril @ eps) with tril by row: its squares by row, and the gradient in w, summed."""
    loc, tril, w = input_("loc", (D,), by_row=True), input_("tril", (D, D), by_row=True), input_("w", (E, D))
    eps = noise(0, "normal", (D,))
    z = apply("add", loc, einsum("ij,j->i", apply("exp", tril), eps))
    y = einsum("ej,j->e", apply("multiply", w, 2.0), z)
    gain = apply("sqrt", einsum("ij,kj->ik", tril, transpose(tril, (0, 1))))
    value = reduce("sum", apply("multiply", apply("multiply", y, y), 0.1), (0,))
    outputs = (
        Output("value", apply("multiply", value, reduce("sum", gain, (0, 1)))),
        Output("w", einsum("e,j->ej", y, z), summed=True),
        Output("loc", apply("log", apply("multiply", z, z))),
        Output("sum", reduce("sum", z, (0,)), summed=True),
    )
    return simplify(Program(outputs, dtype))


def inputs():
    rng = np.random.default_rng(1)
    return {
        param("loc"): 3.0 * rng.normal(size=(ROWS, D)),
        param("tril"): -0.5 + 0.1 * rng.random(size=(ROWS, D, D)),
        param("w"): rng.normal(size=(E, D)),
    }


def bound(made, values, numbers=NUMBERS):
    return BACKENDS["cpu"].compile(made).bind_rows(values, numbers)


def chosen(values, rows):
    return {name: x if name == param("w") else x[rows] for name, x in values.items()}


def check(found, wanted, rtol):
    atol = 1e-3 * rtol * max(np.abs(x[np.isfinite(x)]).max() for x in (wanted.means, wanted.norms))
    for name in FIELDS:
        np.testing.assert_allclose(getattr(found, name), getattr(wanted, name), rtol=rtol, atol=atol, err_msg=name)


@DTYPES
@pytest.mark.parametrize(("start", "n"), [(0, 2), (37, 300), (0, 1500), (1000, 1)])
def test_rows_are_those_of_a_loop_over_rows(dtype, start, n):
    made, values = program(dtype), inputs()
    ours = bound(made, values)
    over_draws = ours.over_draws(n)
    assert sorted(over_draws.compiled.sizes) == [0, D * D]
    assert (over_draws.kernel.block == LANES_OF_FEW) == (n < 10)
    rtol = {"float32": 2e-3, "float64": 1e-9}[dtype]
    with np.errstate(invalid="ignore", divide="ignore"):
        for backend in ("numpy", "cpu"):
            reference = RowByRow(made, BACKENDS[backend].compile(made), values, NUMBERS)
            wanted = reference.partial(3, start, start + n, (0, ROWS), False)
            for found in (over_draws, ours.chosen(start, start + n)):
                check(found.partial(3, start, start + n, (0, ROWS), False), wanted, rtol)


@DTYPES
def test_the_bits_of_a_row_depend_on_no_other_row(dtype):
    made, values = program(dtype), inputs()
    together = bound(made, values).partial(3, 0, 700, (0, ROWS), False)
    order = np.random.default_rng(2).permutation(ROWS)
    permuted = bound(made, chosen(values, order), NUMBERS[order]).partial(3, 0, 700, (0, ROWS), False)
    for i, row in enumerate(order):
        alone = bound(made, chosen(values, [row]), NUMBERS[[row]]).partial(3, 0, 700, (0, 1), False)
        for name in ("means", "norms"):
            np.testing.assert_array_equal(getattr(together, name)[row], getattr(alone, name)[0])
            np.testing.assert_array_equal(getattr(together, name)[row], getattr(permuted, name)[i])
    parts = [bound(made, values).partial(3, 0, 700, rows, False) for rows in [(0, 4), (4, ROWS)]]
    np.testing.assert_array_equal(together.means, np.concatenate([part.means for part in parts]))
    np.testing.assert_allclose(together.totals, parts[0].totals + parts[1].totals, rtol=1e-12)


def of_one_number(dtype, function):
    """A Program of rows: the function of eps, a number by row."""
    eps, by_row = noise(0, "normal", (1,)), input_("a", (1,), by_row=True)
    outputs = (Output("value", function(eps, by_row)), Output("shared", function(eps, by_row), summed=True))
    return simplify(Program(outputs, dtype))


@pytest.mark.parametrize("omit", [False, True])
def test_rows_with_draws_that_are_not_finite(omit):
    made = of_one_number("float32", lambda eps, a: apply("log", apply("add", eps, a)))
    values = {param("a"): np.array([9.0, 2.0, 8.0, -9.0, 7.5])[:, None]}
    numbers = np.arange(5)
    found = bound(made, values, numbers).partial(0, 0, 1200, (0, 5), omit)
    reference = RowByRow(made, BACKENDS["cpu"].compile(made), values, numbers)
    wanted = reference.partial(0, 0, 1200, (0, 5), omit)
    check(found, wanted, 1e-6)
    assert found.nonfinite[[0, 2, 4]].tolist() == [0, 0, 0]
    assert 0 < found.nonfinite[1] < found.nonfinite[3] == 1200
    assert found.counts.tolist() == [1200, 1200 - omit * found.nonfinite[1], 1200, 0 if omit else 1200, 1200]
    assert np.isfinite(found.means[[0, 2, 4]]).all()
    assert np.isfinite(found.means[1]).all() == omit


@DTYPES
def test_rows_of_any_magnitude_and_far_from_zero(dtype):
    made = of_one_number(dtype, lambda eps, a: apply("multiply", apply("add", eps, a), a))
    large = {"float32": 1e16, "float64": 1e100}[dtype]
    a = np.array([1.0, 1e4, -1e4, large, 1 / large, 0.0])[:, None]
    n, numbers = 3000, np.arange(6)
    found = bound(made, {param("a"): a}, numbers).partial(0, 0, n, (0, 6), False)
    rtol = 2e-6 if dtype == "float32" else 1e-12
    reference = RowByRow(made, BACKENDS["numpy"].compile(made), {param("a"): a}, numbers).partial(
        0, 0, n, (0, 6), False
    )
    np.testing.assert_allclose(found.means, reference.means, rtol=rtol)
    usual = [0, 1, 2, 4, 5]  # draws about the largest number are all the same
    np.testing.assert_allclose(found.norms[usual], reference.norms[usual], rtol=2e-3 if dtype == "float32" else 1e-9)
    z = (found.means - a * a)[usual[:-1]] * np.sqrt(n * (n - 1)) / found.norms[usual[:-1]]
    assert np.abs(z).max() < 4.5


def test_an_error_of_a_user_function_is_raised():
    @numba.njit
    def value(z):
        if z[0] > 2.5:
            raise ValueError("z is too large")
        return z[0]

    @numba.njit
    def value_and_grad(z, grad):
        grad[0] = 1.0
        return z[0]

    f = mg.Integrand(value=value, value_and_grad=value_and_grad)
    made = of_one_number("float64", lambda eps, a: native("native_value", f, (apply("add", eps, a),), ()))
    rows = bound(made, {param("a"): np.array([[0.0], [0.0], [-9.0]])}, np.arange(3))
    with pytest.raises(ValueError, match="z is too large"):
        rows.partial(0, 0, 5000, (0, 3), False)
    assert np.isfinite(rows.partial(0, 0, 5000, (2, 3), False).means).all()


def test_ranges_cover_the_rows_and_no_rows_are_none():
    made = program("float32")
    ours = bound(made, inputs())
    assert [*bound(made, chosen(inputs(), []), NUMBERS[:0]).chunks(9)] == []
    assert [row for span in ours.chunks(10**7) for row in range(*span)] == [*range(ROWS)]
    assert len([*ours.chunks(10**7)]) == ROWS
    assert [*ours.chunks(2)] == [(0, ROWS)]
    with np.errstate(invalid="ignore"):
        none = ours.partial(3, 7, 7, (0, ROWS), False)
    assert not none.counts.any()
    assert np.isnan(none.means).all()
