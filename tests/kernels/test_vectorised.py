"""The machine code of lane loops: packed instructions throughout, and no call into libm."""

import re

import llvmlite.binding as llvm
import numba
import numpy as np
import pytest

from mcgrad.kernels import noise_fill
from mcgrad.kernels.jit import LOOP
from mcgrad.kernels.row_lanes import draws_adder
from mcgrad.kernels.workspace import at, put_draw

from .loops import NAMES, loop

pytestmark = pytest.mark.skipif(not llvm.get_host_cpu_features().get("avx2"), reason="reads AVX2 or AVX-512 code")

PACKED = re.compile(
    r"\tv(?:(?:f\w+|add|sub|mul|div|sqrt|max|min|round|rndscale|cmp\w*|and\w*|or|xor|blendv)p[sd]|p\w+)\s.*%[yz]mm"
)
SCALAR = re.compile(r"\tv(?:f\w+|add|sub|mul|div|sqrt|max|min)s[sd]\s|\tv?cvtt?\w*2\w*si\w*\s")


def assert_vectorised(assembly):
    blocks = re.split(r"^\S+:", assembly, flags=re.MULTILINE)
    body = max(blocks, key=lambda block: len(PACKED.findall(block)))  # the vector loop, not the remainder loop
    assert PACKED.search(body)
    assert not SCALAR.search(body)
    called = re.findall(r"(?:movabsq\s+\$|call\w*\s+)([a-z]\w*)", assembly)
    assert [symbol for symbol in called if not symbol.startswith("numba_")] == []


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("name", NAMES)
def test_function_vectorises(name, bits):
    (assembly,) = loop(name, bits).inspect_asm().values()
    assert_vectorised(assembly)


ROWS = [
    f"{name}{bits}"
    for name in ("uniform_row", "normal_row", "uniform_batch_rows", "normal_batch_rows")
    for bits in (32, 64)
]


@pytest.mark.parametrize("name", [*ROWS, "uniform_pair_rows32", "normal_pair_rows32"])
def test_row_vectorises(name):
    fill, bits = getattr(noise_fill, name), name[-2:]
    of_row = (np.arange(64, dtype=np.uint32), 0, np.uint32(0))
    place = {"batch": of_row, "pair": (*of_row, True)}.get(name.split("_")[1], np.uint64(0))
    components = (1,) if "rows" in name else ()
    given = np.empty(64, f"float{bits}"), 0, 64, *components, place, *np.arange(4, dtype=np.uint32)
    fill(*given)  # other tests may have called it with other types
    assembly = fill.inspect_asm(tuple(map(numba.typeof, given)))
    assert_vectorised(assembly)
    assert len(re.findall(r"\tvpmuludq\s.*%[yz]mm", assembly)) >= 16  # two a round, less what is common


def test_draws_on_the_way_to_sums_of_rows_are_known_to_lie_apart_from_these():
    add_draws = draws_adder(4, 16, 1024)

    @numba.njit(**LOOP)
    def add_group(ws, row, base, start, stop):
        for w in range(64):
            put_draw(ws, 512 + w, at(ws, w) * at(ws, w))
        add_draws(ws, 512, row, base, start, stop)

    ws = np.full(4096, 3.0, np.float32)
    add_group(ws, 600, 0, 0, 8)
    assert np.all(ws[600:616] == 9.0)
    assert not ws[1624:1640].any()
    (code,) = add_group.inspect_llvm().values()
    assert "vector.body" in code
    assert "memcheck" not in code
