"""What becomes an array without losing anything is accepted everywhere; what would lose something is refused."""

from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse

import mcgrad as mg
from mcgrad.inputs.arguments import data, parameters
from mcgrad.reals import real_array, whole

MASKED = np.ma.masked_array([1.0, 99.0, 3.0], mask=[0, 1, 0])
N = 200


def f(z, *, w):
    return np.sum(w * z**2)


def q():
    return mg.Normal(np.zeros(3), np.ones(3))


class Tensor:
    """Refuses as PyTorch's tensors do."""

    requires_grad = True
    shape, dtype = (3,), "float32"

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")


class Conjugate(Tensor):
    requires_grad = False


REFUSED = {
    "masked": (MASKED, "a masked array", r"x\.filled\(value\).*weights"),
    "nothing masked": (np.ma.masked_array(np.ones(3)), "a masked array", "without a mask"),
    "masked rows": ([MASKED, MASKED], "a masked array", "without a mask"),
    "masked entry": ([1.0, np.ma.masked], "a masked array", "without a mask"),
    "requires grad": (Tensor(), "requires grad", r"x\.detach\(\).*expectation\(f, mg\.Normal, n, loc=x\)"),
    "no array": (Conjugate(), "no NumPy array \\(Can't call numpy", "a.* number"),
    "sparse": (scipy.sparse.eye_array(3), "a sparse dia_array", r"x\.toarray\(\)"),
    "objects": (np.array([1.0, None]), "object array", "number"),
    "fractions": ([Fraction(1, 2)], "object array", "number"),
    "complex": (np.ones(3, complex), "complex128 array", "number"),
    "dates": (np.array(["2020-01-01"], "M8[D]"), "datetime64", "number"),
    "records": (np.zeros(3, [("a", float)]), "array of shape", "number"),
    "long double": (np.ones(3, np.longdouble), "float", r"x\.astype\(np\.float64\)"),
    "generator": ((x for x in [1.0]), "generator", "number"),
    "set": ({1.0}, "{1.0}", "number"),
    "large": ([2**70], "object array", "number"),
}


@pytest.mark.parametrize("name", ["data", "params", "nested params", "distribution", "call"])
@pytest.mark.parametrize("case", REFUSED)
def test_refused_wherever_it_is_given(case, name):
    value, given, accepted = REFUSED[case]
    act = {
        "data": lambda: mg.Estimator(f, q(), data={"w": value}),
        "params": lambda: mg.Estimator(f, q(), params={"w": value}),
        "nested params": lambda: mg.Estimator(lambda z, *, a: f(z, **a), q(), params={"a": {"w": value}}),
        "distribution": lambda: mg.Normal(value, 1.0),
        "call": lambda: mg.Estimator(f, q(), data={"w": np.ones(3)}, backend="numpy")(N, w=value),
    }[name]
    path = {"nested params": r"a\.w", "distribution": "loc"}.get(name, "w")
    with pytest.raises(mg.ParameterError, match=rf"^{path}: given .*{given}.*; accepted: .*{accepted}"):
        act()


def test_half_precision_data_are_exact_and_half_precision_parameters_are_refused():
    weights = np.array([0.1, 0.2, 0.3], np.float16)
    given = mg.estimate(f, q(), N, data={"w": weights}, backend="numpy")
    assert given.value == mg.estimate(f, q(), N, data={"w": weights.astype(float)}, backend="numpy").value
    with pytest.raises(mg.ParameterError, match="w: given float16 array"):
        mg.estimate(f, q(), N, params={"w": weights})


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", ">i2"])
def test_arithmetic_on_narrow_integers_does_not_wrap(dtype):
    counts = np.array([100, 1, 7]).astype(dtype)

    def wraps(z, *, c):
        return np.sum((c * c + c - 200 * (c > 0)) * z)

    got = mg.estimate(wraps, mg.Normal(np.ones(3), 1e-9), N, data={"c": counts}, backend="numpy")
    c = counts.astype(float)
    np.testing.assert_allclose(got.grad["loc"], c * c + c - 200)


def test_integers_that_int64_does_not_hold_are_refused():
    assert whole("x", np.array([2**63 - 1], np.uint64)).tolist() == [2**63 - 1]
    with pytest.raises(mg.ParameterError, match=r"x: given 9223372036854775808; accepted: integers up to"):
        whole("x", np.array([2**63], np.uint64))


def test_other_containers_of_numbers():
    want = np.arange(4.0).reshape(2, 2)
    for value in (want, want.tolist(), memoryview(want), want.astype(">f4"), np.asfortranarray(want)):
        got = real_array("x", value, "numbers", "f")
        assert type(got) is np.ndarray
        np.testing.assert_array_equal(got, want)
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(want, columns=["a", "b"])
    np.testing.assert_array_equal(data({"x": frame}, ())["x"], want)
    np.testing.assert_array_equal(data({"x": pandas.Series([1, 2], dtype="Int64")}, ())["x"], [1, 2])
    missing = pandas.Series([1, None], dtype="Int64")
    with pytest.raises(mg.ParameterError, match=r"x: given (nan|object array)"):
        parameters({"x": missing}, q())
    with pytest.raises(mg.ParameterError, match="object array"):
        data({"x": pandas.DataFrame({"a": [1.0], "b": ["x"]})}, ())


def test_a_parameter_of_another_library_has_its_width():
    torch = pytest.importorskip("torch")
    narrow = mg.Normal(np.zeros(3, np.float32), np.float32(1.0))
    for dtype, name in ((torch.float32, "float32"), (torch.float64, "float64")):
        run = mg.Estimator(f, narrow, params={"w": torch.ones(3, dtype=dtype)}, backend="numpy")
        assert run.dtype == name
    with pytest.raises(mg.ParameterError, match=r"w: .*requires grad; accepted: .*x\.detach\(\)"):
        mg.Estimator(f, narrow, params={"w": torch.ones(3, requires_grad=True)})
    with pytest.raises(mg.ParameterError, match=r"w: given .*BFloat16"):
        mg.Estimator(f, narrow, data={"w": torch.ones(3, dtype=torch.bfloat16)})
