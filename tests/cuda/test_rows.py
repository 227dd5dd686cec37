"""Batches on the stand-in for CuPy: launches over rows, ranges, devices, rows that need more care, what goes wrong."""

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.backends.cuda import rows as cuda_rows
from mcgrad.backends.registry import BACKENDS
from mcgrad.backends.row_by_row import RowByRow
from mcgrad.codegen.cuda import registers, row_registers
from mcgrad.ir.build import apply, input_
from mcgrad.ir.program import Output, Program
from mcgrad.ir.spaces import param
from mcgrad.kernels import cuda_rows as kernels
from mcgrad.simplify.fixed_point import simplify
from tests import test_cpu_rows
from tests.cuda import row_machines
from tests.cuda.fake_cupy import CUDADriverError
from tests.test_cpu_rows import of_one_number

D, K = 5, 2
W = np.random.default_rng(1).normal(size=(D, K))


@pytest.fixture
def machine(monkeypatch):
    monkeypatch.setattr(registers, "TURNS", 1)
    return row_machines.machine(monkeypatch, devices=2)


def misfit(z, w, x):
    return np.sum((np.tanh(z @ w) - x) ** 2)


def build(rows, backend="cuda", **options):
    """A batch of vectors, with matrices by row where `full`, shared parameters, and data by row."""
    rng, options = np.random.default_rng(0), {"dtype": "float64", **options}
    loc, x = rng.normal(size=(rows, D)), rng.normal(size=(rows, K))
    q = mg.Normal(loc, 0.5, batch_ndim=1)
    if options.pop("full", False):
        q = mg.MultivariateNormal(loc, np.tri(D) + 0.1 * rng.random((rows, D, D)) * np.tri(D), batch_ndim=1)
    given = {"params": {"w": W}, "data": {"x": x}, "batched_data": "x", "backend": backend}
    return mg.Estimator(misfit, q, **{**given, **options})


def leaves(est):
    both = [*mg.tree.flatten(est.grad).values(), *mg.tree.flatten(est.grad_stderr).values()]
    return [np.asarray(x) for x in (est.value, est.stderr, est.nonfinite, *both)]


def agree(found, wanted, rtol=1e-9):
    for a, b in zip(leaves(found), leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-11)


@pytest.mark.parametrize(
    ("rows", "n", "options"),
    [
        (0, 2, {}),
        (1, 33, {"reduce": "none"}),
        (3, 5000, {}),
        (100, 2, {"reduce": "mean"}),
        (3, 33, {"full": True}),
        (3, 40, {"method": "score+leave_one_out", "k": 4}),
        (3, 40, {"common_noise": True}),
    ],
)
def test_batches_are_those_of_the_reference(machine, rows, n, options):
    ours, theirs = build(rows, **options), build(rows, "numpy", **options)
    found = ours(n, 7)
    agree(found, theirs(n, 7))
    assert found.backend == "cuda"
    if rows and not options.get("common_noise"):
        assert len(machine.launches) == 2 + (options.get("reduce") != "none")


def test_scalars_and_rows_with_numbers(machine):
    q = mg.Normal(np.linspace(-1.0, 1.0, 7), 0.3, batch_ndim=1)
    numbers = np.arange(7)[::-1] * 2**25
    found, wanted = (mg.estimate(np.sin, q, n=33, rows=numbers, backend=b, dtype="float64") for b in ("cuda", "numpy"))
    agree(found, wanted)
    subset = mg.estimate(np.sin, mg.Normal(np.linspace(-1.0, 1.0, 7)[3:5], 0.3, batch_ndim=1), n=33, rows=numbers[3:5],
                         backend="cuda", dtype="float64")  # fmt: skip
    np.testing.assert_array_equal(subset.value, found.value[3:5])
    np.testing.assert_array_equal(subset.grad["loc"], found.grad["loc"][3:5])


def test_ranges_fit_in_memory_and_give_the_same_bits_on_any_devices(machine, monkeypatch):
    one = build(40, devices=[0])(33, 3)
    monkeypatch.setattr(cuda_rows, "MOST_BYTES", 1 << 13)
    machine.launches.clear()
    two = build(40)(33, 3)
    assert {device for device, _ in machine.launches} == {0, 1}
    for path in ("loc",):
        np.testing.assert_array_equal(two.grad[path], one.grad[path])
    np.testing.assert_array_equal(two.value, one.value)
    np.testing.assert_allclose(two.grad["w"], one.grad["w"], rtol=1e-12)
    np.testing.assert_allclose(two.grad_stderr["w"], one.grad_stderr["w"], rtol=1e-9)


def test_inputs_on_the_device(machine):
    ours, cupy = build(4), machine.cupy
    loc, w, x = np.ones((4, D)), 2.0 * W, np.zeros((4, K))
    found = ours(33, loc=cupy.asarray(loc), w=cupy.asarray(w), x=cupy.asarray(x))
    agree(found, build(4, "numpy")(33, loc=loc, w=w, x=x))
    logs = mg.Estimator(lambda z, c: np.log(z) * c, mg.Normal(loc[:, 0], 1.0, batch_ndim=1), params={"c": 2.0},
                        backend="cuda", dtype="float64", nonfinite="omit")  # fmt: skip
    at = {"loc": np.array([9.0, 1.0, 8.0, 2.0]), "c": np.array(0.5)}
    there = logs(33, **{name: cupy.asarray(value) for name, value in at.items()})
    agree(there, logs(33, **at))
    assert there.nonfinite.any()


@pytest.mark.parametrize("policy", ["propagate", "omit"])
def test_rows_with_draws_that_are_not_finite(machine, policy):
    q = mg.Normal(np.array([9.0, 1.0, 8.0, -9.0]), 1.0, batch_ndim=1)
    found, wanted = (
        mg.estimate(np.log, q, n=50, nonfinite=policy, backend=b, dtype="float64") for b in ("cuda", "numpy")
    )
    agree(found, wanted)
    assert found.nonfinite.astype(bool).tolist() == [False, True, False, True]


@pytest.mark.parametrize("by_parts", [True, False])
def test_rows_whose_squares_leave_the_range_of_sums_and_rows_of_many_draws(machine, monkeypatch, by_parts):
    made = of_one_number("float64", lambda eps, a: apply("multiply", apply("add", eps, a), a))
    values, numbers = {param("a"): np.array([1.0, 1e150, 1e-160])[:, None]}, np.arange(3)
    bound = BACKENDS["cuda"].compile(made).bind_rows(values, numbers)
    reference = RowByRow(made, BACKENDS["numpy"].compile(made), values, numbers)
    wanted = reference.partial(3, 0, 40, (0, 3), False)
    np.testing.assert_allclose(bound.partial(3, 0, 40, (0, 3), False).means, wanted.means, rtol=1e-12)
    assert list(bound.chunks(40)) == [(0, 3)]
    name, most = ("MOST_PARTS", 0) if by_parts else ("MOST_BYTES", 16)
    monkeypatch.setattr(cuda_rows, name, most)
    assert list(bound.chunks(40)) == [(0, 1), (1, 2), (2, 3)]
    np.testing.assert_allclose(bound.partial(3, 0, 40, (0, 3), False).means, wanted.means, rtol=1e-12)


def test_no_draws_and_outputs_that_no_draw_changes(machine):
    made = test_cpu_rows.program("float32")
    bound = BACKENDS["cuda"].compile(made).bind_rows(test_cpu_rows.inputs(), test_cpu_rows.NUMBERS)
    none = bound.partial(3, 7, 7, (0, 9), False)
    assert not none.counts.any()
    assert np.isnan(none.means).all()
    square = simplify(Program((Output("value", apply("exp", input_("a", (1,), by_row=True))),), "float32"))
    none = BACKENDS["cuda"].compile(square).bind_rows({param("a"): np.ones((3, 1))}, np.arange(3))
    found = none.partial(3, 0, 8, (0, 3), False)
    assert found.counts.tolist() == [8, 8, 8]
    assert found.means.shape == (3, 0)
    assert machine.launches == []


def test_seeds_by_row(machine):
    made = of_one_number("float32", lambda eps, a: apply("sin", apply("add", eps, a)))
    values, seeds = {param("a"): np.ones((5, 1))}, np.arange(5, dtype=np.uint64) << np.uint64(33)
    bound = BACKENDS["cuda"].compile(made).bind_rows(values, np.zeros(5, np.int64))
    found = bound.partial(seeds, 0, 30, (1, 4), False)
    for i, seed in enumerate(seeds[1:4]):
        np.testing.assert_array_equal(found.means[i], bound.partial(int(seed), 0, 30, (0, 1), False).means[0])


@pytest.mark.parametrize(("n", "threads"), [(1, 1), (16, 1), (17, 2), (33, 4), (200, 16), (257, 32), (10**6, 32)])
def test_threads_of_a_row_by_its_draws(n, threads):
    assert row_registers.team(n, "float32") == threads


def test_errors_of_the_device(machine):
    ours = build(3)
    before = ours(33)
    machine.faults.append(CUDADriverError(701, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES: too many resources"))
    with pytest.raises(mg.BackendError, match="more registers"):
        ours(33)
    agree(ours(33), before, 0.0)


def test_constants_of_the_kernels_are_those_of_the_launches():
    from mcgrad.backends.cuda import row_launch

    for name in ("THREADS", "SIDE", "TOGETHER"):
        assert getattr(row_launch, name) == getattr(kernels, name)
