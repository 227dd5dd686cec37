"""The kernel that adds up the partial sums of a launch's chunks, in an order that depends on their number alone."""

from numba import float64, int32, int64, types

from mcgrad.kernels.device import add_shared, at, share
from mcgrad.kernels.target import cuda

THREADS, WARPS = 256, 8
SIGNATURE = types.void(types.CPointer(types.float64), types.int32, types.CPointer(types.float64))


def merge(partials, chunks, totals):
    """totals[row] = sum of partials[row * chunks : (row + 1) * chunks]; one block a row, of `THREADS` threads."""
    row = int32(cuda.blockIdx.x)
    table = cuda.shared.array(WARPS, float64)
    total = 0.0
    for chunk in range(int32(cuda.threadIdx.x), chunks, int32(THREADS)):
        total += at(partials, int64(row) * int64(chunks) + int64(chunk))
    share(table, int32(0), total)
    cuda.syncthreads()
    add_shared(table, int32(1), totals, int32(1), row)
