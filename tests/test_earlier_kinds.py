"""A call with the names, shapes and dtypes of an earlier call is checked as the first, and its numbers are its own."""

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.engine.earlier_kinds import KEPT

LOC, SCALE, W, X = np.array([0.1, 0.2]), np.array([1.0, 2.0]), np.array([[0.5, 1.0], [2.0, 3.0]]), np.array(0.25)


def f(z, *, w, x):
    return np.sum(w @ np.sin(z)) * x


def estimator(dtype="float64", **options):
    q = mg.Normal(LOC.astype(dtype), SCALE.astype(dtype))
    params, data = {"w": W.astype(dtype)}, {"x": X.astype(dtype)}
    return mg.Estimator(f, q, params=params, data=data, dtype=dtype, backend="numpy", **options)


@pytest.fixture(scope="module")
def warm():
    made = estimator()
    made(8, loc=LOC, scale=SCALE, w=W, x=X)
    return made


@pytest.mark.parametrize(
    "change",
    [
        {"scale": np.array([1.0, -2.0])},
        {"scale": np.array([1.0, np.inf])},
        {"loc": np.array([np.nan, 0.0])},
        {"w": np.array([[0.5, 1.0], [np.nan, 3.0]])},
        {"w": np.array([[0.5, 1.0], [-np.inf, 3.0]])},
        {"w": np.ones(2)},
        {"x": np.ones(1)},
        {"scale": SCALE[:1]},
        {"y": X},
        {"w.a": W},
    ],
)
def test_what_the_first_call_refuses(warm, change):
    given = {"loc": LOC, "scale": SCALE, "w": W, "x": X}
    with pytest.raises(mg.ParameterError) as first:
        estimator()(8, **{**given, **change})
    with pytest.raises(mg.ParameterError) as later:
        warm(8, **{**given, **change})
    assert str(later.value) == str(first.value)


def test_numbers_too_large_for_a_sum_of_squares_are_finite(warm):
    for _ in range(2):
        est = warm(8, loc=np.array([1e300, 0.0]), scale=SCALE, w=W, x=X)
        assert np.isfinite(est.value)


def test_nan_in_data_is_no_error(warm):
    assert np.isnan(warm(8, loc=LOC, scale=SCALE, w=W, x=np.array(np.nan)).value)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_of_the_second_call_are_its_own(dtype):
    made = estimator(dtype)
    loc, w, x = LOC.astype(dtype), W.astype(dtype), X.astype(dtype)
    made(8, loc=loc, w=w, x=x)
    for given in ({"loc": loc + 1, "w": w.T, "x": x}, {"loc": loc, "w": (2 * w)[::-1], "x": 2 * x}):
        found, fresh = made(8, **given), estimator(dtype)(8, **given)
        assert found.value == fresh.value
        assert found.fingerprint == fresh.fingerprint
        np.testing.assert_array_equal(found.grad["w"], fresh.grad["w"])
        np.testing.assert_array_equal(found.grad["scale"], fresh.grad["scale"])


def test_data_that_float32_does_not_hold_are_refused_each_time():
    made, wide = estimator("float32"), np.array(1e300)
    made(8, x=np.array(1.0))
    for _ in range(2):
        with pytest.raises(mg.ParameterError, match=r"x: given 1e\+300"):
            made(8, x=wide)


def test_floats_that_change_are_parameters():
    made = mg.Estimator(lambda z: np.sin(z), mg.Normal(0.3, 1.2), backend="numpy")
    first = made(8, loc=0.3, scale=1.2)
    assert made(8, loc=0.5, scale=1.2).value != first.value
    assert made(8, loc=0.3, scale=1.2).grad == first.grad
    with pytest.raises(mg.ParameterError, match=r"scale: given -1\.0"):
        made(8, loc=0.3, scale=-1.0)


def test_limits_of_one_parameter_by_another_hold_in_each_call():
    made = mg.Estimator(lambda z: np.sum(z), mg.Uniform(np.zeros(2), np.ones(2)), backend="numpy")
    for _ in range(2):
        assert np.isfinite(made(8, low=np.zeros(2), high=np.ones(2)).value)
        with pytest.raises(mg.ParameterError):
            made(8, low=np.ones(2), high=np.zeros(2))


def test_the_number_of_rows_may_change_from_call_to_call():
    made = mg.Estimator(
        lambda z: np.sum(z), mg.Normal(np.zeros((3, 2)), np.ones((3, 2)), batch_ndim=1), backend="numpy"
    )
    for rows in (3, 5, 3, 5):
        assert made(8, loc=np.zeros((rows, 2)), scale=np.ones((rows, 2))).value.shape == (rows,)
    with pytest.raises(mg.ParameterError, match="batch shape"):
        made(8, loc=np.zeros((5, 2)))
    with pytest.raises(mg.ParameterError, match="row 4"):
        made(8, loc=np.zeros((5, 2)), scale=np.concatenate([np.ones((4, 2)), -np.ones((1, 2))]))


def test_any_number_of_kinds():
    made = mg.Estimator(
        lambda z: np.sum(z), mg.Normal(np.zeros((1, 1)), np.ones((1, 1)), batch_ndim=1), backend="numpy"
    )
    for rows in range(1, KEPT + 3):
        assert made(2, loc=np.zeros((rows, 1)), scale=np.ones((rows, 1))).value.shape == (rows,)
