"""Square tiles are transposed on their way from one array to another."""

import numpy as np
import pytest
from numba import njit

from mcgrad.kernels.workspace import transposer


@pytest.mark.parametrize("size", [2, 4, 8])
def test_columns_become_rows(size):
    put_tile = transposer(size)

    @njit
    def put(target, place, width, source, first, stride):
        put_tile(target, place, width, source, first, stride)

    source, width, stride, place, first = np.arange(200.0), 11, 13, 5, 3
    target, wanted = np.zeros(200), np.zeros(200)
    put(target, place, width, source, first, stride)
    for i in range(size):
        for j in range(size):
            wanted[place + j * width + i] = source[first + i * stride + j]
    np.testing.assert_array_equal(target, wanted)
