"""verify and compare of batches: what is right in every row passes, a fault in one row is found, methods are ranked."""

from types import SimpleNamespace

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.backends import registry
from mcgrad.backends.numpy import NumpyBackend, NumpyKernel
from mcgrad.inputs.batch import spread
from mcgrad.noise.rows import draws_of_row
from mcgrad.validate.rows import problems

RNG = np.random.default_rng(4)
LOC, X, W = RNG.normal(size=(30, 3)), RNG.normal(size=(30, 2)), RNG.normal(size=(3, 2))


def misfit(z, w, x):
    return np.sum((np.tanh(z @ w) - x) ** 2)


def verified(loc=LOC, f=misfit, n=400, **options):
    q = mg.Normal(loc, 0.5, batch_ndim=1)
    given = {"params": {"w": W}, "data": {"x": X[: len(loc)]}, "batched_data": "x", "backends": "numpy", **options}
    return mg.verify(f, q, n, **given)


def test_rows_at_equal_distances_with_the_first_and_the_last():
    assert [spread(*pair) for pair in ((0, 8), (3, 8), (9, 3), (9, 1))] == [[], [0, 1, 2], [0, 4, 8], [0]]
    found = verified(rows=3, backends=["cpu"])
    assert found.ok, str(found)
    assert (found.rows, found.batch) == ((0, 14, 29), 30)
    assert "the same 400 draws of each of 3 of 30 rows (0, 14, 29), float64" in str(found)
    assert {check.component.split(", ")[1] for check in found.gradient} == {"row 0", "row 14", "row 29"}
    assert found.components == 3 * (3 + 1 + 6)


@pytest.mark.parametrize("options", [{"common_noise": True}, {"method": "score+mean"}, {"dtype": "float32"}])
def test_right_gradients_are_ok(options):
    found = verified(LOC[:3], **options)
    assert found.ok, str(found)
    assert "each of the 3 rows" in str(found)


def test_divergences_between_batches_and_batches_without_rows():
    q, p = mg.Uniform(LOC[:3, 0], LOC[:3, 0] + 1, batch_ndim=1), mg.Normal(LOC[3:6, 0], 2.0, batch_ndim=1)
    found = mg.verify(mg.kl(q, p), n=400, backends="numpy")
    assert found.ok, str(found)
    assert len(found.gradient) == 6
    assert verified(LOC[:0]).ok


def test_a_bias_in_one_row_is_found():
    def jumps_in_the_last(z, w, x):
        return np.sum(z * w[:, 0]) + np.where(x[0] > 9.0, np.where(z[0] > 0.2, 1.0, 0.0), 0.0)

    x = X.copy()
    x[-1] = 10.0
    found = verified(f=jumps_in_the_last, data={"x": x}, rows=3)
    assert not found.ok
    assert {check.component.split(", ")[1] for check in found.gradient if not check.ok} == {"row 29"}


class Faulty(NumpyBackend):
    """Leaves out the last draw of row 14."""

    name = "faulty"

    def compile(self, program):
        kernel, first = NumpyKernel(program), 14 * draws_of_row(program.dtype)

        def bound(inputs):
            right = kernel.bind(inputs).shift
            shift = lambda seed, start, stop, omit: right(seed, start, stop - (first <= start < 2 * first), omit)  # noqa: E731
            return SimpleNamespace(shift=shift)

        return SimpleNamespace(chunks=kernel.chunks, limits=kernel.limits, workers=kernel.workers, bind=bound)


def test_a_fault_of_a_backend_in_one_row_is_found(monkeypatch):
    monkeypatch.setitem(registry.BACKENDS, "faulty", Faulty())
    (check,) = verified(rows=3, backends="faulty", wrt="loc").backends
    assert not check.ok
    assert check.worst.endswith("row 14")
    assert verified(LOC[:5], backends="faulty").ok


def test_problems_of_rows_are_those_of_single_estimates():
    q = mg.Joint(a=mg.Normal(LOC[:4], 0.5, batch_ndim=1), b=mg.Gamma(2.0, 1.0))
    estimator = mg.Estimator(lambda z: np.sum(z["a"]) * z["b"], q, backend="numpy")
    assert str(problems(estimator, [2])[0].q) == str(mg.Joint(a=mg.Normal(LOC[2], 0.5), b=mg.Gamma(2.0, 1.0)))


def test_methods_are_compared_by_the_gradient_of_the_sum_over_the_rows():
    q = mg.Normal(LOC, 0.5, batch_ndim=1)
    given = {"params": {"w": W}, "data": {"x": X}, "batched_data": "x", "backend": "numpy"}
    found = mg.compare(misfit, q, 96, methods=["pathwise", "score"], **given)
    est = mg.estimate(misfit, q, 96, **given)
    errors = est.grad_stderr
    squares = [np.sum(np.square(errors[name])) for name in ("loc", "scale", "w")]
    assert found["pathwise"].variance.sum() == pytest.approx(96 * sum(squares), rel=1e-9)
    assert found.components[:5] == ("loc[0]", "loc[1]", "loc[2]", "scale", "w[0,0]")
    assert found.best.method == "pathwise"
    assert found.biased == {}
    assert "30 rows, the same 96 draws each" in str(found)


def test_a_method_that_is_biased_in_one_row_is_named():
    x = np.array([9.0, 9.0, 0.2])
    q = mg.Normal(np.zeros(3), 1.0, batch_ndim=1)
    found = mg.compare(
        lambda z, x: np.where(z > x, 1.0, 0.0) + z, q, 4000, methods=["pathwise", "score"], data={"x": x},
        batched_data="x", backend="numpy",
    )  # fmt: skip
    assert set(found.biased) == {"pathwise"}
    assert found.best.method == "score"
