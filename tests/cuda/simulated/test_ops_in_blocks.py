"""Kernels of blocks of threads: every op and every function."""

import pytest

from tests.cuda.simulated.block_launches import agree, low_thresholds, short_chunks  # noqa: F401 - fixtures
from tests.ops.problems import ALL_SAMPLES, pack

PACKS = [ALL_SAMPLES[start : start + 12] for start in range(0, len(ALL_SAMPLES), 12)]


@pytest.mark.parametrize("number", range(len(PACKS)))
def test_every_op_and_every_function(number):
    packed = pack(PACKS[number], "float64", "reverse" if number % 2 else "forward")
    rows, groups = [(1, 1), (2, 1), (3, 1)][number % 3]
    agree(packed.program, packed.inputs, rows, groups, checked=number % 4 == 0, n=4)


@pytest.mark.usefixtures("low_thresholds")
@pytest.mark.parametrize("number", range(0, len(PACKS), 8))
def test_products_among_them(number):
    packed = pack(PACKS[number], "float64")
    agree(packed.program, packed.inputs, 3, 1, checked=number % 2 == 0, n=4)
