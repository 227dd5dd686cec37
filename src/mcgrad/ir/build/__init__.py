"""The constructors of Vars, one function an op: each converts its arguments, folds constants, and returns a Var.

They follow NumPy's broadcasting by inserting `broadcast` equations, so that every elementwise equation has arguments of
one shape. Shape, kind and level are what `infer` says.
"""

from __future__ import annotations

from mcgrad.ir.build.contractions import einsum, linear_recurrence, matrices, native, reduce, scan, solve
from mcgrad.ir.build.elementwise import apply, broadcast, fill_value, is_fill
from mcgrad.ir.build.equations import copy
from mcgrad.ir.build.leaves import Operand, argument, as_var, const, input_, noise, noise_of
from mcgrad.ir.build.lookups import gather, scatter, table
from mcgrad.ir.build.loops import again, loop, loop_again, part, rebuild
from mcgrad.ir.build.structural import concatenate, flip, pad, reshape, scatter_add, slice_, take, transpose

__all__ = [
    "Operand",
    "again",
    "apply",
    "argument",
    "as_var",
    "broadcast",
    "concatenate",
    "const",
    "copy",
    "einsum",
    "fill_value",
    "flip",
    "gather",
    "input_",
    "is_fill",
    "linear_recurrence",
    "loop",
    "loop_again",
    "matrices",
    "native",
    "noise",
    "noise_of",
    "pad",
    "part",
    "rebuild",
    "reduce",
    "reshape",
    "scan",
    "scatter",
    "scatter_add",
    "slice_",
    "solve",
    "table",
    "take",
    "transpose",
]
