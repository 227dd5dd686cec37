"""Laws by inversion: kernels against mpmath and the reference, symmetry, ends, and the instructions of a normal."""

from functools import cache

import mpmath as mp
import numpy as np
import pytest
from numba import njit

from mcgrad.kernels import point_laws
from mcgrad.kernels.intrinsics import prefer_vector_width
from mcgrad.kernels.jit import LOOP, lane
from mcgrad.noise.inversion import INVERSE_NORMAL, INVERSE_UNIFORM, NORMAL_ULPS

from .oracle import log_ndtr
from .test_vectorised import assert_vectorised

BITS = pytest.mark.parametrize("bits", [32, 64])


@cache
def loop(law, bits):
    number = lane(getattr(point_laws, f"{law}{bits}"))

    def run(k, out):
        prefer_vector_width()
        for i in range(out.size):
            out[i] = number(k[i])

    return njit(f"void(uint{bits}[::1], float{bits}[::1])", **LOOP)(run)


def numbers(law, k):
    bits = 8 * k.itemsize
    out = np.empty(k.size, f"float{bits}")
    loop(law, bits)(k, out)
    return out


def integers(bits, n=150):
    """Ascending, of all distances from the ends, the middle, and where one formula takes over from another."""
    rng = np.random.default_rng(bits)
    distances = [round(2.0**e) for e in rng.uniform(0, bits - 1, n)]
    half, change = 1 << (bits - 1), 1 << (bits - 14)
    lower = {0, 1, 2, half - 1, half - 2, change, change - 1, change + 1, *distances, *(half - d for d in distances)}
    lower |= {int(k) for k in rng.integers(0, half, n)}
    lower = {k for k in lower if 0 <= k < half}
    return np.array(sorted(lower | {2 * half - 1 - k for k in lower}), f"uint{bits}")


def quantile(tail, near):
    """Newton's method on the logarithm of the tail, or the error function's inverse where the tail is large."""
    if tail > 0.1:
        return mp.sqrt(2) * mp.erfinv(2 * tail - 1)
    x = mp.mpf(float(near))
    for _ in range(4):
        x -= (log_ndtr(x) - mp.log(tail)) * tail * mp.sqrt(2 * mp.pi) * mp.exp(x * x / 2)
    return x


@BITS
def test_normals_are_quantiles_within_the_bound(bits):
    k = integers(bits)
    k = k[k < 1 << (bits - 1)]
    got = numbers("inverse_normal", k)
    bound = NORMAL_ULPS[got.dtype]
    with mp.workdps(50):
        for number, value in zip(k.tolist(), got, strict=True):
            right = quantile((mp.mpf(number) + 0.5) / 2**bits, value)
            assert abs(mp.mpf(float(value)) - right) <= bound * float(np.spacing(abs(got.dtype.type(right)))), number


def test_float32_normals_of_many_integers_are_the_reference_within_the_bound():
    k = np.arange(0, 1 << 32, 4093, dtype=np.uint32)
    right = INVERSE_NORMAL.float64((k.astype(np.uint64) << np.uint64(32)) | np.uint64(0x7FFFFFFF))
    error = np.abs(numbers("inverse_normal", k) - right) / np.spacing(np.abs(right).astype(np.float32))
    assert error.max() <= NORMAL_ULPS[np.dtype(np.float32)]


@BITS
def test_normals_are_symmetric_and_ascend_to_the_last(bits):
    k = integers(bits)
    z = numbers("inverse_normal", k)
    np.testing.assert_array_equal(numbers("inverse_normal", ~k), -z)
    assert (np.diff(z) >= -NORMAL_ULPS[z.dtype] * np.spacing(np.abs(z[1:]))).all()
    assert z[-1] == pytest.approx({32: 6.33796, 64: 9.15529}[bits], rel=1e-6)
    middle = np.array([1 << (bits - 1)], k.dtype)
    assert numbers("inverse_normal", middle) == pytest.approx(np.sqrt(2 * np.pi) * 2.0 ** -(bits + 1), rel=1e-6)


@BITS
def test_normals_of_tails_that_are_not_small_are_those_of_the_shorter_formula(bits):
    k = integers(bits)
    smaller = np.minimum(k, ~k)
    k = k[smaller >= 1 << (bits - 14)]
    np.testing.assert_array_equal(numbers("inverse_normal_inside", k), numbers("inverse_normal", k))


@BITS
def test_uniforms_are_the_reference_bit_for_bit(bits):
    k = integers(bits)
    u = numbers("inverse_uniform", k)
    np.testing.assert_array_equal(u, getattr(INVERSE_UNIFORM, f"float{bits}")(k))
    assert 0 < u[0] == 2.0 ** -(bits + 1)
    assert u[-1] < 1


@BITS
@pytest.mark.parametrize("law", ["inverse_uniform", "inverse_normal", "inverse_normal_inside"])
def test_laws_vectorise(law, bits):
    (assembly,) = loop(law, bits).inspect_asm().values()
    assert_vectorised(assembly)
