"""Batches that stay on a device, in a stream of the caller's: on the stand-in for CuPy, where nothing waits."""

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.backends.cuda import rows_in_stream
from mcgrad.codegen.cuda import registers
from mcgrad.ir.spaces import Input, Space, param
from tests.cuda import row_machines
from tests.cuda.test_in_stream import STREAM
from tests.cuda.test_rows import build


@pytest.fixture
def machine(monkeypatch):
    monkeypatch.setattr(registers, "TURNS", 1)
    made = row_machines.machine(monkeypatch)
    made.streams[STREAM] = made.streams[0].__class__()
    made.eager = True
    return made


def there(machine, estimator):
    """Values of the parameters, and of the data by row, on the device."""
    own = {param(path): x for path, x in {**estimator.q.flat_params, **estimator.inputs.params}.items()}
    own |= {Input(Space.DATA, name): x for name, x in estimator.inputs.data.items()}
    return {name: machine.cupy.asarray(np.array(x)) for name, x in own.items()}


def shapes(estimator):
    """Extents of the value and of the gradients, with the rows where they have them."""
    batch = estimator.derived.batch
    lead = 1 if batch.reduce in ("sum", "mean") else batch.size
    by_row = {path: param(path) in batch.by_row or not batch.sums(param(path)) for path in estimator.wrt}
    sizes = {path: int(np.prod(shape)) for path, shape in estimator.derived.components.shapes.items()}
    return lead, [
        size
        * (batch.size if by_row[path] and param(path) not in batch.by_row else 1)
        * (batch.size if param(path) in batch.by_row else 1)
        for path, size in sizes.items()
    ]


def put(machine, estimator, n=33, seed=7, values=None):
    value, grads = shapes(estimator)
    asarray, dtype = machine.cupy.asarray, estimator.dtype
    found = [asarray(np.zeros(size, dtype)) for size in (value, sum(grads), value + sum(grads))]
    found.append(asarray(np.zeros((), np.int64)))
    values = there(machine, estimator) if values is None else values
    places = [x.data.ptr for x in found]
    assert estimator.in_streams.obstacle() is None
    with np.errstate(all="ignore"):
        estimator.in_streams.put(values, n, seed, places, estimator.wrt, 0, STREAM)
    return found


def check(found, est, rtol=1e-9):
    mean, grad, errors, nonfinite = (x.get() for x in found)
    flat, flat_errors = (
        [np.ravel(x) for x in mg.tree.flatten(nested).values()] for nested in (est.grad, est.grad_stderr)
    )
    np.testing.assert_allclose(mean, np.ravel(est.value), rtol=rtol)
    np.testing.assert_allclose(grad, np.concatenate(flat), rtol=rtol, atol=1e-12)
    np.testing.assert_allclose(errors, np.concatenate([np.ravel(est.stderr), *flat_errors]), rtol=rtol, atol=1e-12)
    assert nonfinite == np.sum(est.nonfinite)


@pytest.mark.parametrize(
    ("rows", "n", "options"),
    [
        (1, 33, {"reduce": "none"}),
        (5, 2000, {"reduce": "sum"}),
        (40, 2, {"reduce": "mean"}),
        (3, 33, {"full": True, "reduce": "sum"}),
        (4, 33, {"dtype": "float32", "reduce": "none"}),
    ],
)
def test_results_are_those_of_a_call(machine, monkeypatch, rows, n, options):
    monkeypatch.setattr(rows_in_stream, "MOST_BYTES", 2000)  # two ranges and more
    ours, theirs = build(rows, **options), build(rows, "numpy", **options)
    check(put(machine, ours, n, 2**40 + 7), theirs(n, 2**40 + 7), 1e-9 if ours.dtype == "float64" else 2e-4)


def test_a_call_waits_for_nothing(machine):
    estimator = build(6, reduce="sum")
    put(machine, estimator)
    values = there(machine, estimator)
    machine.waits = machine.transfers = 0
    found = put(machine, estimator, values=values)
    assert (machine.waits, machine.transfers) == (0, 0)
    check(found, build(6, "numpy", reduce="sum")(33, 7))


def pole(z, a, x):
    return np.sum(np.where(z > x, np.nan, a * z**2))


@pytest.mark.parametrize("policy", ["propagate", "omit"])
@pytest.mark.parametrize("reduce", ["none", "sum"])
def test_rows_with_draws_that_are_not_finite(machine, policy, reduce):
    x = np.array([9.0, 1.0, -99.0, 0.5])[:, None] * np.ones(2)
    q = mg.Normal(np.arange(8.0).reshape(4, 2) / 10, 1.0, batch_ndim=1)
    options = {"params": {"a": 2.0}, "data": {"x": x}, "batched_data": "x", "nonfinite": policy, "reduce": reduce}
    ours, theirs = (mg.Estimator(pole, q, backend=b, **options) for b in ("cuda", "numpy"))
    check(put(machine, ours, 50), theirs(50, 7))


def test_values_that_are_not_accepted_make_all_results_nan(machine):
    estimator = build(3, reduce="sum")
    values = there(machine, estimator)
    values[param("scale")] = machine.cupy.asarray(np.array(-1.0))
    found = put(machine, estimator, values=values)
    assert all(np.isnan(x.get()).all() for x in found[:3])


def test_constants_and_factors_by_row(machine):
    """A value that no draw changes in some parameter, whose gradient has a factor by row."""
    q = mg.Normal(np.linspace(0.1, 0.9, 6).reshape(3, 2), 0.5, batch_ndim=1)
    options = {"params": {"a": np.array([1.0, 2.0, 3.0]), "b": 0.5}, "batched_params": "a", "reduce": "sum"}

    def f(z, a, b):
        return a * np.sum(z) + b**2 * a

    ours, theirs = (mg.Estimator(f, q, backend=b, **options) for b in ("cuda", "numpy"))
    check(put(machine, ours, 50), theirs(50, 7))
