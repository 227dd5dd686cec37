"""Rows of a batch by the emitted kernels, in numba's simulator: the moments of each are those that it has alone."""

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.backends.cuda import compiled
from mcgrad.backends.registry import BACKENDS
from mcgrad.backends.row_by_row import RowByRow
from mcgrad.codegen.cuda import alone, blocks, registers, row_blocks, row_registers
from mcgrad.codegen.loops import lower, tile
from mcgrad.ir.build import apply
from mcgrad.ir.spaces import param
from tests import test_cpu_row_lanes, test_cpu_rows
from tests.cuda import row_machines
from tests.cuda.simulated.row_launches import OVER_ROWS
from tests.cuda.simulated.test_backend import simulated
from tests.test_cpu_rows import check, of_one_number
from tests.test_integrand import value, value_and_grad


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    monkeypatch.setattr(registers, "THREADS", 64)
    monkeypatch.setattr(registers, "TURNS", 1)
    monkeypatch.setattr(blocks, "MOST_TURNS", 2)
    monkeypatch.setattr(compiled, "BLOCKS", 1)  # so that a block has several parts
    return row_machines.machine(monkeypatch, run=simulated, rows=OVER_ROWS, devices=2)


def compared(made, values, numbers, start, n, rtol, omit=False, seed=2**63 + 5):
    """Average on the simulator and by the reference."""
    ours = BACKENDS["cuda"].compile(made).bind_rows(values, numbers)
    reference = RowByRow(made, BACKENDS["numpy"].compile(made), values, numbers)
    which = start, start + n, (0, len(numbers)), omit
    with np.errstate(all="ignore"):
        found, wanted = ours.partial(seed, *which), reference.partial(seed, *which)
    check(found, wanted, rtol)
    return ours, found


@pytest.mark.parametrize(
    ("dtype", "rtol", "start", "n"), [("float32", 1e-4, 0, 2), ("float64", 1e-10, 3, 33), ("float32", 1e-4, 0, 150)]
)
def test_threads_that_have_rows(dtype, rtol, start, n):
    made = of_one_number(dtype, lambda eps, a: apply("multiply", apply("sin", apply("add", eps, a)), a))
    a, numbers = np.random.default_rng(0).normal(size=(5, 1)), np.array([0, 7, 2**28 - 1, 3, 1])
    ours, _ = compared(made, {param("a"): a}, numbers, start, n, rtol)
    assert ours.kernel.row_variant(n, False).emitted.teams


@pytest.fixture
def few_threads(monkeypatch):
    """Blocks of threads that are small, for small Programs too, with matrix products and outer products."""
    monkeypatch.setattr(row_registers, "MOST_REGISTERS", 0)
    monkeypatch.setattr(blocks, "THREADS", 6)
    monkeypatch.setattr(row_blocks, "THREADS", 2)
    monkeypatch.setattr(row_blocks, "MOST_THREADS", 3)
    monkeypatch.setattr(tile, "SHORTEST", 2)
    monkeypatch.setattr(lower, "SMALL_CONTRACTION", 1)
    monkeypatch.setattr(lower, "SMALL_OUTER", 2)
    for module in (test_cpu_rows, test_cpu_row_lanes):
        monkeypatch.setattr(module, "D", 3)
        monkeypatch.setattr(module, "E", 4)
    monkeypatch.setattr(test_cpu_rows, "ROWS", 3)


@pytest.mark.usefixtures("few_threads")
@pytest.mark.parametrize(
    ("dtype", "rtol", "start", "n"), [("float32", 2e-3, 0, 2), ("float64", 1e-9, 3, 11), ("float32", 2e-3, 0, 40)]
)
def test_blocks_that_have_rows(monkeypatch, dtype, rtol, start, n):
    """Matrices of all rows and by row, outer products, sums over the rows; in shared memory and in global memory."""
    if n == 40:
        monkeypatch.setattr(blocks, "SHARED", 0)
        monkeypatch.setattr(blocks, "GLOBAL_GROUPS", 2)
    numbers = np.array([5, 0, 2**28 - 1])
    made = test_cpu_rows.program(dtype)
    ours, _ = compared(made, test_cpu_rows.inputs(), numbers, start, n, rtol)
    emitted = ours.kernel.row_variant(n, False).emitted
    assert emitted.stacked
    assert emitted.matrices
    assert bool(emitted.shared) == (n < 40) == (emitted.parts(0, n) < 2 or n == 11)
    if start:
        compared(test_cpu_row_lanes.program(dtype), test_cpu_row_lanes.inputs(3), numbers, start, n, rtol)


BOTH = pytest.mark.parametrize("few", [False, True], ids=["threads", "blocks"])


@pytest.fixture
def maybe_few(few, request):
    if few:
        request.getfixturevalue("few_threads")


@BOTH
@pytest.mark.usefixtures("maybe_few")
@pytest.mark.parametrize("omit", [False, True])
def test_rows_with_draws_that_are_not_finite(omit):
    made = of_one_number("float32", lambda eps, a: apply("log", apply("add", eps, a)))
    values, n = {param("a"): np.array([9.0, 1.0, 8.0, -9.0])[:, None]}, 21
    _, found = compared(made, values, np.arange(4), 2, n, 1e-5, omit)
    assert found.nonfinite[[0, 2]].tolist() == [0, 0]
    assert 0 < found.nonfinite[1] < found.nonfinite[3] == n
    assert np.isfinite(found.means[1]).all() == omit


@BOTH
@pytest.mark.usefixtures("maybe_few")
def test_rows_of_any_magnitude_and_far_from_zero(few):
    dtype = "float32" if few else "float64"
    made = of_one_number(dtype, lambda eps, a: apply("multiply", apply("add", eps, a), a))
    large = {"float32": 1e15, "float64": 1e100}[dtype]
    a, n = np.array([1.0, 1e3, -1e3, large, 1e5 / large, 0.0])[:, None], 12
    reference = RowByRow(made, BACKENDS["numpy"].compile(made), {param("a"): a}, np.arange(6))
    wanted = reference.partial(0, 0, n, (0, 6), False)
    found = BACKENDS["cuda"].compile(made).bind_rows({param("a"): a}, np.arange(6)).partial(0, 0, n, (0, 6), False)
    rtol = {"float32": 3e-6, "float64": 1e-12}[dtype]
    np.testing.assert_allclose(found.means, wanted.means, rtol=rtol)
    usual = [0, 1, 2, 4, 5]  # draws about the largest number are all the same
    np.testing.assert_allclose(found.norms[usual], wanted.norms[usual], rtol=1e3 * rtol)


@BOTH
@pytest.mark.usefixtures("maybe_few")
def test_the_bits_of_a_row_depend_on_no_other_row():
    made = of_one_number("float32", lambda eps, a: apply("exp", apply("add", eps, a)))
    a, numbers = np.random.default_rng(0).normal(size=(7, 1)), np.arange(7) * 3
    seeds = np.arange(7, dtype=np.uint64) + np.uint64(2**40)

    def partial(rows, span):
        made_rows = BACKENDS["cuda"].compile(made).bind_rows({param("a"): a[rows]}, numbers[rows])
        return made_rows.partial(seeds[rows], 0, 30, span, False)

    every = np.arange(7)
    together, permuted = partial(every, (0, 7)), partial(every[::-1], (0, 7))
    parts = [partial(every, span) for span in ((0, 1), (1, 5), (5, 7))]
    for name in ("means", "norms"):
        whole = getattr(together, name)
        np.testing.assert_array_equal(getattr(permuted, name)[::-1], whole)
        np.testing.assert_array_equal(np.concatenate([getattr(part, name) for part in parts]), whole)
    np.testing.assert_allclose(sum(part.totals for part in parts), together.totals, rtol=1e-12)
    one = RowByRow(made, BACKENDS["numpy"].compile(made), {param("a"): a}, numbers)
    check(together, one.partial(seeds, 0, 30, (0, 7), False), 1e-4)


@BOTH
@pytest.mark.usefixtures("maybe_few")
def test_users_functions_of_data_by_row():
    """A number and an array of each row's own, and an array of all rows."""
    rng, q = np.random.default_rng(0), mg.Normal(np.array([[0.2, -0.3], [1.0, 0.1]]), 0.7, batch_ndim=1)
    given = {"tau": np.array([0.5, 1.5]), "X": rng.normal(size=(3, 2)), "y": rng.integers(2, size=(2, 3)).astype(float)}
    pair = mg.Integrand(value=value, value_and_grad=value_and_grad)
    options = {"data": given, "batched_data": ("tau", "y"), "dtype": "float64"}
    ours, theirs = (mg.Estimator(pair, q, backend=backend, **options)(9, 3) for backend in ("cuda", "numpy"))
    np.testing.assert_allclose(ours.value, theirs.value, rtol=1e-11)
    np.testing.assert_allclose(ours.grad["loc"], theirs.grad["loc"], rtol=1e-11)
    np.testing.assert_allclose(ours.grad_stderr["loc"], theirs.grad_stderr["loc"], rtol=1e-9)


@pytest.mark.parametrize(("dtype", "n", "rtol"), [("float32", 7, 1e-4), ("float64", 70, 1e-10)])
@pytest.mark.parametrize("stacked", [False, True])
def test_loops_over_steps(monkeypatch, dtype, n, rtol, stacked):
    """Each row its own parameters, data and arguments by step; states in registers, results of steps in rows."""
    monkeypatch.setattr(alone, "THREADS", 32)
    monkeypatch.setattr(alone, "SHARED", 0 if n == 7 else alone.SHARED)
    rng = np.random.default_rng(0)
    q = mg.Normal(rng.normal(size=(3, 4)), 0.7, batch_ndim=1)
    given = {"k": np.array([0.5, 0.9, -0.3]), "drift": rng.normal(size=(3, 4)), "series": rng.normal(size=4)}

    def f(z, k, drift, series, factor):
        def step(c, x):
            w, d, s = x
            c = np.tanh(factor * c + k * w + d) * s
            return c, c**2

        last, squares = mg.scan(step, k, (z, drift, series), reduce=None if stacked else "sum")
        return last + (np.sum(squares * squares[::-1]) if stacked else squares)

    options = {"data": given, "batched_data": ("k", "drift"), "params": {"factor": 0.8}, "dtype": dtype}
    options["wrt"] = ("loc", "scale", "factor") if stacked else ("loc",)
    ours, theirs = (mg.Estimator(f, q, backend=backend, **options)(n, 3) for backend in ("cuda", "numpy"))
    np.testing.assert_allclose(ours.value, theirs.value, rtol=rtol)
    for name in theirs.grad:
        np.testing.assert_allclose(ours.grad[name], theirs.grad[name], rtol=rtol, atol=rtol)
        np.testing.assert_allclose(ours.grad_stderr[name], theirs.grad_stderr[name], rtol=10 * rtol)


def test_second_derivatives_by_row_and_over_the_rows():
    q, v = mg.Normal(np.linspace(-0.5, 0.5, 5), 0.7, batch_ndim=1), {"loc": np.arange(5.0), "w": 0.5}
    given = {"params": {"w": 0.4}, "wrt": ["loc", "w"]}
    for option in ({"hessian": "full"}, {"hvp": v}):
        ours, reference = (
            mg.Estimator(lambda z, w: np.exp(w * z), q, backend=name, **given, **option)(9)
            for name in ("cuda", "numpy")
        )
        found, wanted = ours.to_dict(), reference.to_dict()
        for name in option:
            for path, x in mg.tree.flatten(wanted[name]).items():
                np.testing.assert_allclose(mg.tree.flatten(found[name])[path], x, rtol=1e-10)
        np.testing.assert_allclose(found["moments"]["norms"], wanted["moments"]["norms"], rtol=1e-8, atol=1e-12)
