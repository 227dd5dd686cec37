"""On a real device: batches, whose rows are averaged by threads, warps and blocks of threads; skipped elsewhere."""

import numpy as np
import pytest

import mcgrad as mg
from tests.cuda.test_rows import agree, build, leaves

pytestmark = pytest.mark.gpu


def coupled(z):
    return np.sum(np.log(np.cosh(z))) + 0.5 * np.sum(z * np.roll(z, 1))


@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 5e-4), ("float64", 1e-8)])
@pytest.mark.parametrize(("rows", "d", "n"), [(1000, 2, 33), (50, 5, 5000), (20, 60, 40)])
def test_rows_agree_with_the_cpu(dtype, rtol, rows, d, n):
    """Small Programs in registers, and one in blocks, which 60 coordinates do not fit."""
    rng = np.random.default_rng(0)
    q = mg.Normal(rng.normal(size=(rows, d)), rng.uniform(0.5, 1.5, (rows, d)), batch_ndim=1)
    found, wanted = (mg.estimate(coupled, q, n=n, seed=3, dtype=dtype, backend=b) for b in ("cuda", "cpu"))
    for a, b in zip(leaves(found), leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("options", [{}, {"full": True}, {"reduce": "none"}, {"method": "score+leave_one_out", "k": 4}])
def test_shared_parameters_and_matrices_by_row_agree_with_the_reference(options):
    agree(build(7, **options)(40, 3), build(7, "numpy", **options)(40, 3), 1e-8)


def test_the_bits_of_a_row_depend_on_no_other_row():
    rng, numbers = np.random.default_rng(0), np.arange(300) * 7
    loc = rng.normal(size=(300, 3))

    def estimate(rows):
        q = mg.Normal(loc[rows], 0.7, batch_ndim=1)
        return mg.estimate(coupled, q, n=45, rows=numbers[rows], dtype="float32", backend="cuda")

    whole, part = estimate(np.arange(300)), estimate(np.array([280, 3, 150]))
    np.testing.assert_array_equal(part.value, whole.value[[280, 3, 150]])
    np.testing.assert_array_equal(part.grad_stderr["loc"], whole.grad_stderr["loc"][[280, 3, 150]])


@pytest.mark.parametrize("policy", ["propagate", "omit"])
def test_rows_with_draws_that_are_not_finite(policy):
    q = mg.Normal(np.array([9.0, 1.0, 8.0, -9.0]), 1.0, batch_ndim=1)
    found, wanted = (
        mg.estimate(np.log, q, n=200, nonfinite=policy, backend=b, dtype="float64") for b in ("cuda", "numpy")
    )
    agree(found, wanted, 1e-8)
