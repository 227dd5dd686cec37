"""Control variates of a batch: each row has the coefficients of a pilot of its own."""

import numpy as np
import pytest

import mcgrad as mg

ROWS = 7
LOC = np.linspace(-0.5, 0.5, ROWS * 2).reshape(ROWS, 2)
SCALE = np.linspace(0.2, 1.0, ROWS * 2).reshape(ROWS, 2)
X = np.linspace(0.5, 2.0, ROWS)


def f(z, *, w, x):
    return np.sum(np.exp(0.3 * x * z)) + np.sum(w * z)


def run(control, **options):
    q = mg.Normal(LOC, SCALE, batch_ndim=1)
    given = {"params": {"w": np.array([1.0, -2.0])}, "data": {"x": X}, "batched_data": "x"}
    given |= {"backend": "numpy", "control": control, **options}
    return mg.Estimator(f, q, **given)


@pytest.mark.parametrize("options", [{}, {"common_noise": True}])
def test_rows_have_their_own_coefficients(options):
    plain, controlled = (run(control, **options)(256) for control in (None, ["linear", "quadratic"]))
    terms = np.exp(0.3 * X[:, None] * LOC + 0.045 * np.square(X[:, None] * SCALE))
    exact = terms.sum(axis=1) + LOC @ [1.0, -2.0]
    assert np.all(np.abs(controlled.value - exact) < 5 * controlled.stderr)
    assert np.all(controlled.stderr < 0.15 * plain.stderr)
    loc, errors = controlled.grad["loc"], controlled.grad_stderr["loc"]
    assert np.all(np.abs(loc - 0.3 * X[:, None] * terms - [1.0, -2.0]) < 5 * errors)
    assert np.all(errors < 0.25 * plain.grad_stderr["loc"])
    total, error = controlled.grad["w"], controlled.grad_stderr["w"]  # of all rows
    np.testing.assert_allclose(total, LOC.sum(axis=0), atol=1e-5)
    assert np.all(error < 1e-5)
    assert "control variates linear, quadratic" in str(controlled)


def test_a_row_has_the_same_bits_in_any_batch_and_those_of_a_problem_alone():
    whole = run("linear")(64, seed=3)
    some = run("linear").of_rows([5, 2], 64, 3)
    assert some.value[0] == whole.value[5]
    assert some.grad["scale"][1].tolist() == whole.grad["scale"][2].tolist()
    seeds = run(mg.Control(lambda z: np.sum(z), mean=lambda loc: np.sum(loc)))(512)
    assert np.isfinite(seeds.value).all()


def test_kernels_average_what_the_reference_does():
    here, there = (run("linear", wrt=["loc"], backend=backend)(64) for backend in ("numpy", "cpu"))
    np.testing.assert_allclose(there.value, here.value, rtol=1e-12)
    np.testing.assert_allclose(there.grad["loc"], here.grad["loc"], rtol=1e-12)
    np.testing.assert_allclose(there.grad_stderr["loc"], here.grad_stderr["loc"], rtol=1e-9)


def test_coefficients_of_the_same_draws_are_refused():
    with pytest.raises(mg.ParameterError, match="coefficients: given 'sample' with control variates of a batch; acc"):
        run("linear", coefficients="sample")


def test_rows_where_a_control_is_not_finite_keep_the_others():
    q = mg.Normal(np.array([0.0, 1.0, 0.5]), 0.3, batch_ndim=1)
    root = mg.Estimator(lambda z: np.sqrt(np.abs(z)), q, control=["linear", "quadratic"], backend="numpy")
    linear = mg.Estimator(lambda z: np.sqrt(np.abs(z)), q, control="linear", backend="numpy")
    both, one = root(1000), linear(1000)
    assert np.isfinite(both.value).all()
    assert both.value[0] == pytest.approx(one.value[0], rel=1e-12)  # its model is not finite at zero
