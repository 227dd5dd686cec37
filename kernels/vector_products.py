"""A draw-independent matrix times one vector a draw: by loops for few draws, by BLAS for more.

BLAS copies the matrix into an order of its own before it multiplies, whatever the number of vectors; loops read it once
for each vector.
"""

from numba import njit

from mcgrad.kernels.blas import gemm_rows
from mcgrad.kernels.intrinsics import accumulate, prefer_vector_width
from mcgrad.kernels.jit import LOOP
from mcgrad.kernels.workspace import at, at_any, at_constant, put_any

FEW = 5  # vectors for which BLAS takes no longer than the loops


@njit(**LOOP)
def multiply_vectors(blas, a, first, flipped, ws, source, target, total, low, high, m, k):
    """Put A @ x into the workspaces of the draws low .. high, for the x of each.

    A is the m x k matrix that begins at `first` in a, stored k x m where `flipped`. Draw d's x is ws[d * total + source
    :][: k], and the product ws[d * total + target :][: m].
    """
    prefer_vector_width()
    zero = ws.dtype.type(0)
    if high - low >= FEW:
        lead = m if flipped else k
        x, y = low * total + source, low * total + target
        gemm_rows(blas, ws, x, total, 0, a, first, lead, 1 - flipped, ws, y, high - low, m, k, zero, total)
        return
    for base in range(low * total, high * total, total):
        x, y = base + source, base + target
        if flipped:
            for i in range(m):
                put_any(ws, y + i, zero)
            for j in range(k):
                factor, row = at(ws, x + j), first + j * m
                for i in range(m):
                    put_any(ws, y + i, at_any(ws, y + i) + at_constant(a, row + i) * factor)
        else:
            for i in range(m):
                dot, row = zero, first + i * k
                for j in range(k):
                    dot = accumulate(dot, at_constant(a, row + j) * at(ws, x + j))
                put_any(ws, y + i, dot)
