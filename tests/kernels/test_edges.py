"""Infinities, NaN, zeros, poles and domain edges: as NumPy and SciPy have them."""

import numpy as np
import pytest
from scipy import special

from .loops import BINARY, FLOATS, GAMMA, NAMES, evaluate

INF, NAN = np.inf, np.nan
SPECIAL = [NAN, INF, -INF, 0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, 1.5, -1.5]
EXTREME = {
    32: [3.4e38, -3.4e38, 1e30, -1e30, 1e-30, -1e-30, 1.2e-38, 90.0, -90.0, -104.5],
    64: [1.7e308, -1.7e308, 1e200, -1e200, 1e-200, -1e-200, 2.3e-308, 710.0, -710.0, -746.0],
}
REFERENCE = {
    "log_cosh": lambda x: np.logaddexp(x, -x) - x.dtype.type(np.log(2.0)),
    "softplus": lambda x: np.logaddexp(x, np.zeros_like(x)),
    "trigamma": lambda x: special.polygamma(1, x.astype(np.float64)).astype(x.dtype),
}
# beyond their range of reduction these are bounded, and no more is promised
PERIODIC = {"cos", "sin", "tan"}
BITS = pytest.mark.parametrize("bits", [32, 64])


def right(name, *arguments):
    with np.errstate(all="ignore"):
        return (REFERENCE.get(name) or getattr(np, name, None) or getattr(special, name))(*arguments)


def same(got, expected):
    """Tell where got is right: nearly equal, or as good as 0 below the normal range; infinities and NaN exactly."""
    kind = np.finfo(expected.dtype)
    with np.errstate(all="ignore"):
        near = np.abs(got - expected) <= np.maximum(64 * kind.eps * np.abs(expected), kind.tiny)
    return (got == expected) | near | (np.isnan(got) & np.isnan(expected))


@BITS
@pytest.mark.parametrize("name", [name for name in NAMES if name not in BINARY])
def test_unary_edges(name, bits):
    extreme = [] if name in PERIODIC else EXTREME[bits]
    x = np.array(SPECIAL + extreme, FLOATS[bits])
    got, expected = evaluate(name, bits, x), right(name, x)
    if name.startswith("is"):
        np.testing.assert_array_equal(got, expected)
    else:
        wrong = ~same(got, expected)
        assert not wrong.any(), f"{name}: x {x[wrong]}, got {got[wrong]}, right {expected[wrong]}"


@BITS
@pytest.mark.parametrize("name", sorted(BINARY - GAMMA))
def test_binary_edges(name, bits):
    values = np.array(SPECIAL + EXTREME[bits], FLOATS[bits])
    x, y = (grid.ravel() for grid in np.meshgrid(values, values))
    got, expected = evaluate(name, bits, x, y), right(name, x, y)
    wrong = ~same(got, expected)
    assert not wrong.any(), f"{name}: {list(zip(x[wrong], y[wrong], got[wrong], expected[wrong], strict=True))}"


@BITS
def test_subnormal_arguments(bits):
    tiny = np.finfo(FLOATS[bits]).smallest_subnormal
    x = np.array([tiny, 3 * tiny, 1000 * tiny], FLOATS[bits])
    for name in ("log", "log2", "log10", "sqrt", "cbrt"):
        np.testing.assert_allclose(evaluate(name, bits, x), right(name, x), rtol=1e-6)
    for name in ("absolute", "sin", "tan", "arctan", "arcsin", "expm1", "log1p", "tanh", "sinh", "arcsinh"):
        np.testing.assert_array_equal(evaluate(name, bits, x), x)


@BITS
def test_underflow_is_gradual(bits):
    limits = np.finfo(FLOATS[bits])
    x = np.linspace(np.log(float(limits.smallest_subnormal)), np.log(float(limits.tiny)), 50).astype(FLOATS[bits])
    error = np.abs(evaluate("exp", bits, x) - right("exp", x))
    assert error.max() <= limits.smallest_subnormal


@BITS
@pytest.mark.parametrize("name", ["arcsinh", "arctan", "arctanh", "cbrt", "sinh", "tanh", "arcsin"])
def test_odd_functions_keep_the_sign_of_zero(name, bits):
    assert np.signbit(evaluate(name, bits, [0.0, -0.0])).tolist() == [False, True]


@BITS
def test_arctan2_tells_the_quadrants_of_signed_zeros(bits):
    y, x = np.array([[0.0, 0.0], [0.0, -0.0], [-0.0, 0.0], [-0.0, -0.0]]).T
    got = evaluate("arctan2", bits, y, x)
    np.testing.assert_array_equal(np.signbit(got), [False, False, True, True])
    np.testing.assert_array_equal(got, np.arctan2(y, x).astype(FLOATS[bits]))
