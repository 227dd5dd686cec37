"""Products of a matrix with rows of lanes, whose rounding is the same in every lane.

BLAS may round the columns of a product otherwise by their place (OpenBLAS's sgemm does so), so a row of a batch would
have other bits in another lane of a block. Here every lane goes through the same operations.
"""

from numba import njit

from mcgrad.kernels.intrinsics import prefer_vector_width
from mcgrad.kernels.jit import CALLED
from mcgrad.kernels.workspace import at, at_any, at_sum, put_any, put_sum

WIDTH = 64  # lanes at a time, whose rows then stay in L1; divides the lanes of any block


@njit(**CALLED)
def multiply_lanes(a, first, lead, flipped, ws, source, sums, target, rows, columns, inner, add):
    """C = A @ B, or C += A @ B with `add`, for B and C in the workspace, from their addresses on.

    A is rows x inner (stored inner x rows if `flipped`) from its element `first` on, with the distance `lead` between
    stored rows; B is inner x columns, C rows x columns. `sums` is the address of 2 `WIDTH` elements that nothing else
    than sums of lanes uses. Two rows of C at a time share what is read of B, the last
    of an odd number is worked out twice; both are written in one loop, before which LLVM keeps the sums in registers.
    """
    prefer_vector_width()
    zero = ws.dtype.type(0)
    down, right = (1, lead) if flipped else (lead, 1)
    whole = inner - inner % 4
    for start in range(0, columns, WIDTH):
        for i in range(0, rows, 2):
            two = i + 1 < rows
            place, b = first + i * down, source + start
            below = down if two else 0
            for w in range(2 * WIDTH):
                put_sum(ws, sums + w, zero)
            for j in range(0, whole, 4):
                p, q = place + j * right, b + j * columns
                a0, a1, a2, a3 = at(a, p), at(a, p + right), at(a, p + 2 * right), at(a, p + 3 * right)
                p += below
                a4, a5, a6, a7 = at(a, p), at(a, p + right), at(a, p + 2 * right), at(a, p + 3 * right)
                q1, q2, q3 = q + columns, q + 2 * columns, q + 3 * columns
                for w in range(WIDTH):
                    b0, b1, b2, b3 = at(ws, q + w), at(ws, q1 + w), at(ws, q2 + w), at(ws, q3 + w)
                    put_sum(ws, sums + w, at_sum(ws, sums + w) + a0 * b0 + a1 * b1 + a2 * b2 + a3 * b3)
                    put_sum(ws, sums + WIDTH + w, at_sum(ws, sums + WIDTH + w) + a4 * b0 + a5 * b1 + a6 * b2 + a7 * b3)
            for j in range(whole, inner):
                p, q = place + j * right, b + j * columns
                upper, lower = at(a, p), at(a, p + below)
                for w in range(WIDTH):
                    put_sum(ws, sums + w, at_sum(ws, sums + w) + upper * at(ws, q + w))
                    put_sum(ws, sums + WIDTH + w, at_sum(ws, sums + WIDTH + w) + lower * at(ws, q + w))
            c = target + i * columns + start
            d = c + columns if two else c
            if add:
                for w in range(WIDTH):
                    put_any(ws, sums + w, at_any(ws, sums + w) + at_any(ws, c + w))
                    put_any(ws, sums + WIDTH + w, at_any(ws, sums + WIDTH + w) + at_any(ws, d + w))
            for w in range(WIDTH):
                put_any(ws, c + w, at_any(ws, sums + w))
                put_any(ws, d + w, at_any(ws, sums + WIDTH + w))
