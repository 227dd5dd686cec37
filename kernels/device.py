"""Functions for GPU kernels alone: memory through pointers, subroutines, sums over the threads of a block.

A kernel takes plain pointers and numbers, so that it can be compiled without a device and launched by anything that
has a device address. Its blocks have whole warps.
"""

import inspect
from functools import partial

import numpy as np
from numba import float64, int32, int64, types
from numba.extending import intrinsic

from mcgrad.kernels.intrinsics import select
from mcgrad.kernels.target import cuda
from mcgrad.kernels.workspace import element_pointer

WARP = 32
ALL = 0xFFFFFFFF  # every lane of a warp


def _address(context, builder, of, base, index_type, index):
    """Address of an element, behind a pointer or in a one-dimensional array (of shared memory)."""
    if isinstance(of, types.CPointer):
        return builder.gep(base, [context.cast(builder, index, index_type, types.int64)], inbounds=True)
    return element_pointer(context, builder, of, base, index_type, index)


def _is_indexed(of, index):
    holds = isinstance(of, types.CPointer) or (isinstance(of, types.Array) and of.ndim == 1 and of.layout == "C")
    return holds and isinstance(index, types.Integer)


@intrinsic
def at(typingctx, memory, index):
    """memory[index], for a pointer or a one-dimensional array, without looking for a negative index."""
    if not _is_indexed(memory, index):
        return None

    def codegen(context, builder, signature, args):
        return builder.load(_address(context, builder, memory, args[0], index, args[1]))

    return memory.dtype(memory, index), codegen


@intrinsic
def put(typingctx, memory, index, value):
    """memory[index] = value, likewise."""
    if not _is_indexed(memory, index):
        return None

    def codegen(context, builder, signature, args):
        element = context.cast(builder, args[2], value, memory.dtype)
        builder.store(element, _address(context, builder, memory, args[0], index, args[1]))
        return context.get_dummy_value()

    return types.void(memory, index, value), codegen


def subroutine(function, result=None):
    """Compile a function once, for a kernel that calls it in many places; NVVM inlines the machine code.

    Parameters
    ----------
    function : callable
        A plain or scalar function, of positional arguments. An intrinsic is returned as it is.
    result : Numba type, optional
        Of what it returns; by default the type of its first argument.

    Notes
    -----
    Numba's own `cuda.jit(device=True)` looks for the current device, so it cannot compile where there is none; and
    inlining by Numba (`scalar`) costs tens of milliseconds at each place.
    """
    python = getattr(function, "py_func", function)
    if not inspect.isfunction(python):
        return function

    def typing(typingctx, *args):
        return (args[0] if result is None else result)(*args), codegen

    def codegen(context, builder, signature, args):
        return context.compile_internal(builder, python, signature, args)

    names = ", ".join(inspect.signature(python).parameters)
    scope = {"typing": typing}
    exec(f"def {python.__name__}(typingctx, {names}):\n    return typing(typingctx, {names})\n", scope)
    made = intrinsic(scope[python.__name__])
    made.py_func = python
    return made


@partial(subroutine, result=lambda memory, *others: memory.dtype(memory, *others))
def gather_elements(memory, first, apart, extent, k):
    """Return element k, cut to a whole number, of `extent` so far apart from `first` on; NaN if there is none."""
    inside = (k >= 0) & (k < extent)
    place = int32(select(inside, k, type(k)(0)))
    found = at(memory, int32(int32(first) + int32(apart) * place))
    return select(inside, found, type(k)(np.nan))


@subroutine
def warp_sum(x):
    """Sum over the lanes of a warp, in every lane, in an order that depends on nothing."""
    x += cuda.shfl_xor_sync(ALL, x, 16)
    x += cuda.shfl_xor_sync(ALL, x, 8)
    x += cuda.shfl_xor_sync(ALL, x, 4)
    x += cuda.shfl_xor_sync(ALL, x, 2)
    return x + cuda.shfl_xor_sync(ALL, x, 1)


@partial(subroutine, result=types.void)
def share(table, row, x):
    """Put the sum of x over each warp into table[row, warp], a row for each value and `blockDim.x / 32` columns."""
    total = warp_sum(x)
    thread = int32(cuda.threadIdx.x)
    if thread % int32(WARP) == 0:
        put(table, int32(row) * (int32(cuda.blockDim.x) // int32(WARP)) + thread // int32(WARP), float64(total))


@partial(subroutine, result=types.void)
def add_shared(table, rows, out, stride, column):
    """Add up each row of a table that `share` has filled, and write it to out[row * stride + column]."""
    warps = int32(cuda.blockDim.x) // int32(WARP)
    for row in range(int32(cuda.threadIdx.x), int32(rows), int32(cuda.blockDim.x)):
        total = 0.0
        for warp in range(warps):
            total += at(table, row * warps + warp)
        put(out, int64(row) * int64(stride) + int64(column), total)
