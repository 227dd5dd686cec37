"""All functions of the kernels, from one source, compile for GPUs without a device and without surprises."""

import re

import pytest

from mcgrad.kernels import cuda32, elementary64, merge, noise32, noise64, special64
from mcgrad.kernels.bounds import BOUNDS
from mcgrad.kernels.device import at, put, subroutine
from mcgrad.kernels.intrinsics import exact_mul
from mcgrad.kernels.philox import philox4x32
from mcgrad.toolchain.ptx import translate

GAMMA = {"gamma_log_ratio", "gamma_slope_a", "gamma_slope_e"}
BINARY = {"arctan2", "hypot", "logaddexp", "maximum", "minimum", "nextafter", "power"} | GAMMA
EXACT = ["absolute", "ceil", "floor", "maximum", "minimum", "nextafter", "sign"]
CC = pytest.mark.parametrize("cc", [(8, 0), (9, 0)])


def everything(bits):
    """A kernel that calls every function of a dtype once."""
    from numba import types, uint32

    from mcgrad.kernels.target import cuda

    kind = types.float32 if bits == 32 else types.float64
    modules = (cuda32,) if bits == 32 else (elementary64, special64)
    names = sorted(BOUNDS) + EXACT
    scope = {f"f_{n}": subroutine(next(getattr(m, n) for m in modules if hasattr(m, n))) for n in names}
    scope |= {"at": at, "put": put, "cuda": cuda, "uint32": uint32}
    scope["words"] = subroutine(philox4x32, types.UniTuple(types.uint32, 4))
    noise = noise32 if bits == 32 else noise64
    scope["normals"] = subroutine(noise.normal_pair, types.UniTuple(kind, 2))
    scope["uniform"] = subroutine(noise.uniform, kind)
    given = {n: "at(x, 0), at(x, 1)" if n in BINARY else "at(x, 0)" for n in names}
    calls = [f"put(out, {i}, f_{n}({given[n]}))" for i, n in enumerate(names)]
    text = [
        "def kernel(x, out, key):",
        "a, b, c, d = words(uint32(cuda.threadIdx.x), key, key, key, key, key)",
        f"n0, n1 = normals({'a, b' if bits == 32 else 'a, b, c, d'})",
        f"put(out, 90, n0)\n    put(out, 91, n1)\n    put(out, 92, uniform({'a' if bits == 32 else 'a, b'}))",
        *calls,
    ]
    exec("\n    ".join(text), scope)
    return translate(scope["kernel"], types.void(types.CPointer(kind), types.CPointer(kind), types.uint32), (9, 0)).text


@pytest.fixture(scope="module", params=[32, 64])
def both(request):
    return request.param, everything(request.param)


def test_every_function_is_inlined_and_in_its_own_precision(both):
    bits, text = both
    assert not re.search(r"^\s*call", text, re.MULTILINE)
    instructions = re.findall(r"^\s+(?:@\S+ )?([a-z][a-z0-9]*(?:\.[a-z0-9]+)+)", text, re.MULTILINE)
    assert len(instructions) > 1000
    other = {name for name in instructions if f".f{96 - bits}" in name}
    assert other == set()


def test_float32_divides_and_takes_roots_by_one_instruction(both):
    bits, text = both
    if bits == 32:
        assert "div.full.f32" in text
        assert "sqrt.approx" in text
        assert "div.rn" not in text
        assert "sqrt.rn" not in text
    else:
        assert "div.rn.f64" in text


def test_a_philox_round_is_two_products_of_32_bits(both):
    assert both[1].count("mul.wide.u32") >= 20 - 2
    assert "mul.lo.s64" not in both[1]


@CC
def test_the_merging_kernel_compiles(cc):
    made = translate(merge.merge, merge.SIGNATURE, cc)
    assert f".target sm_{cc[0]}{cc[1]}" in made.text
    assert "call" not in made.text


def test_exact_operations_are_not_fused():
    from numba import types

    def kernel(x, out):
        put(out, 0, exact_mul(at(x, 0), at(x, 1)) + at(x, 2))

    pointer = types.CPointer(types.float32)
    text = translate(kernel, types.void(pointer, pointer), (9, 0)).text
    assert "mul.rn.f32" in text
    assert "fma" not in text
