"""Matrix products on parts of the workspace, by the BLAS that is part of SciPy.

The address of sgemm or dgemm is passed in at run time, so that compiled code can be kept on disk. Calling it directly,
rather than np.dot, saves a second of compilation and the temporary arrays, and can add to the result's old values
(beta = 1).
"""

from functools import cache

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


@cache
def gemm_address(bits):
    """Address of SciPy's sgemm (32) or dgemm (64)."""
    from numba.extending import get_cython_function_address

    return get_cython_function_address("scipy.linalg.cython_blas", {32: "sgemm", 64: "dgemm"}[bits])


@intrinsic
def gemm(
    typingctx, address, a, a_first, a_lead, a_transposed, b, b_first, b_lead, b_transposed, c, c_first, m, n, k, beta
):
    """C = A @ B + beta C for row-major matrices inside one-dimensional arrays, from their first elements on.

    A is m x k (stored k x m where a_transposed), B is k x n (stored n x k where b_transposed), C is m x n and
    contiguous. `a_lead` and `b_lead` are the distances between stored rows, `a_transposed` and `b_transposed` are 0 or
    1, `beta` is of the arrays' dtype.
    """
    signature = types.void(
        address, a, a_first, a_lead, a_transposed, b, b_first, b_lead, b_transposed, c, c_first, m, n, k, beta
    )
    return signature, _call(signature, a, b)


@intrinsic
def gemm_rows(
    typingctx, address, a, a_first, a_lead, a_transposed, b, b_first, b_lead, b_transposed, c, c_first, m, n, k, beta,
    c_lead,
):  # fmt: skip
    """The same with `c_lead` between the rows of C."""
    signature = types.void(
        address, a, a_first, a_lead, a_transposed, b, b_first, b_lead, b_transposed, c, c_first, m, n, k, beta, c_lead
    )
    return signature, _call(signature, a, b)


def _call(signature, a, b):
    """Build the call; the rows of C are as far apart as the last argument says, if there is one, or contiguous."""
    int32, char = ir.IntType(32), ir.IntType(8)

    def codegen(context, builder, signature, args):
        real = context.get_value_type(a.dtype)

        def integer(i):
            return context.cast(builder, args[i], signature.args[i], types.int32)

        def slot(value):
            with builder.goto_entry_block():
                place = builder.alloca(value.type)
            builder.store(value, place)
            return place

        def element(array, first):
            base = context.make_array(signature.args[array])(context, builder, args[array]).data
            return builder.gep(base, [context.cast(builder, args[first], signature.args[first], types.intp)])

        def letter(flag):
            return slot(
                builder.select(builder.icmp_signed("!=", integer(flag), int32(0)), char(ord("T")), char(ord("N")))
            )

        rows, columns, inner = integer(11), integer(12), integer(13)
        # Fortran's matrices are column-major: it computes C^T = B^T A^T
        pointer, letters, ints = real.as_pointer(), char.as_pointer(), int32.as_pointer()
        kind = ir.FunctionType(
            ir.VoidType(),
            [letters, letters, ints, ints, ints, pointer, pointer, ints, pointer, ints, pointer, pointer, ints],
        )
        function = builder.inttoptr(context.cast(builder, args[0], signature.args[0], types.intp), kind.as_pointer())
        builder.call(
            function,
            [
                letter(8),
                letter(4),
                slot(columns),
                slot(rows),
                slot(inner),
                slot(real(1.0)),
                element(5, 6),
                slot(integer(7)),
                element(1, 2),
                slot(integer(3)),
                slot(args[14]),
                element(9, 10),
                slot(integer(15) if len(args) > 15 else columns),
            ],
        )
        return context.get_dummy_value()

    return codegen
