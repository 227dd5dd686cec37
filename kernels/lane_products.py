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
    stored rows; B is inner x columns, C rows x columns. `sums` is the address of `WIDTH` elements that nothing else
    than sums of lanes uses.
    """
    prefer_vector_width()
    zero = ws.dtype.type(0)
    down, right = (1, lead) if flipped else (lead, 1)
    whole = inner - inner % 8
    for start in range(0, columns, WIDTH):
        for i in range(rows):
            place, b = first + i * down, source + start
            for w in range(WIDTH):
                put_sum(ws, sums + w, zero)
            for j in range(0, whole, 8):
                p, q = place + j * right, b + j * columns
                a0, a1, a2, a3 = at(a, p), at(a, p + right), at(a, p + 2 * right), at(a, p + 3 * right)
                p += 4 * right
                a4, a5, a6, a7 = at(a, p), at(a, p + right), at(a, p + 2 * right), at(a, p + 3 * right)
                q1, q2, q3, q4 = q + columns, q + 2 * columns, q + 3 * columns, q + 4 * columns
                q5, q6, q7 = q4 + columns, q4 + 2 * columns, q4 + 3 * columns
                for w in range(WIDTH):
                    total = at_sum(ws, sums + w) + a0 * at(ws, q + w)
                    total = total + a1 * at(ws, q1 + w)
                    total = total + a2 * at(ws, q2 + w)
                    total = total + a3 * at(ws, q3 + w)
                    total = total + a4 * at(ws, q4 + w)
                    total = total + a5 * at(ws, q5 + w)
                    total = total + a6 * at(ws, q6 + w)
                    total = total + a7 * at(ws, q7 + w)
                    put_sum(ws, sums + w, total)
            for j in range(whole, inner):
                factor, q = at(a, place + j * right), b + j * columns
                for w in range(WIDTH):
                    put_sum(ws, sums + w, at_sum(ws, sums + w) + factor * at(ws, q + w))
            c = target + i * columns + start
            if add:
                for w in range(WIDTH):
                    put_any(ws, c + w, at_any(ws, c + w) + at_any(ws, sums + w))
            else:
                for w in range(WIDTH):
                    put_any(ws, c + w, at_any(ws, sums + w))
