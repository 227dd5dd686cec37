"""Laws by inversion: the quantile of the middle of each integer's interval, without 0 and 1, symmetric to the bit."""

import mpmath
import numpy as np
import pytest

from mcgrad.noise.inversion import INVERSE_NORMAL, INVERSE_UNIFORM

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])


def integers(dtype):
    """Integers of all sizes, near both ends, the middle and where the formula changes, in ascending order."""
    bits = int(dtype[-2:])
    rng = np.random.default_rng(0)
    near = {2**k + i for k in range(bits) for i in (-1, 0, 1)} | {2 ** (bits - 1) - 2**k for k in range(bits - 1)}
    near |= {int(x) for x in rng.integers(0, 2**bits, 200, f"u{bits // 8}", False)}
    near = {k for k in near if 0 <= k < 2**bits}
    return np.array(sorted(near | {2**bits - 1 - k for k in near}), f"u{bits // 8}")


@DTYPES
def test_normals_are_quantiles(dtype):
    """Within 0.51 units in the last place in float32, 3.5 in float64, also near 0 and far from it."""
    k, bits = integers(dtype), int(dtype[-2:])
    z = getattr(INVERSE_NORMAL, dtype)(k)
    assert z.dtype == dtype
    with mpmath.workdps(40):
        for number, value in zip(k.tolist(), z, strict=True):
            exact = mpmath.sqrt(2) * mpmath.erfinv(mpmath.mpf(2 * number + 1 - 2**bits) / 2**bits)
            error = abs(mpmath.mpf(float(value)) - exact) / float(np.spacing(abs(value)))
            assert error < {"float32": 0.51, "float64": 3.5}[dtype], number


@DTYPES
def test_normals_are_symmetric_and_ascend(dtype):
    k = integers(dtype)
    z = getattr(INVERSE_NORMAL, dtype)(k)
    np.testing.assert_array_equal(getattr(INVERSE_NORMAL, dtype)(~k), -z)
    assert (np.diff(z) >= 0).all()
    assert z[-1] == pytest.approx({"float32": 6.33796, "float64": 9.15529}[dtype], rel=1e-6)


@DTYPES
def test_uniforms_are_middles_and_never_0_or_1(dtype):
    k, bits = integers(dtype), int(dtype[-2:])
    u = getattr(INVERSE_UNIFORM, dtype)(k)
    assert u.dtype == dtype
    assert u[0] == 2.0 ** -(bits + 1)
    assert u[-1] == 1 - {"float32": 2.0**-24, "float64": 2.0**-53}[dtype]
    assert (np.diff(u) >= 0).all()
    eps = np.finfo(dtype).eps
    exact = [(2 * n + 1) / 2 ** (bits + 1) for n in k.tolist()]
    np.testing.assert_allclose(u, exact, rtol=eps)
