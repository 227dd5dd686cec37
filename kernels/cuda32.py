"""What an emitted float32 kernel calls on a GPU: the CPU's functions, and what differs.

The hardware's 2**x serves exp and what is made of it (the other hardware functions, of the logarithm and the sine,
have absolute errors only, which the stated bounds do not allow). Error bounds: `bounds.py`.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from mcgrad.kernels.elementary32 import *  # noqa: F403
from mcgrad.kernels.intrinsics import absolute, divide, fma, select
from mcgrad.kernels.jit import scalar
from mcgrad.kernels.logarithm32 import LN2, LOG2E, log_reduced
from mcgrad.kernels.special32 import *  # noqa: F403

F = np.float32
LOG2E_TAIL = F(1.9259630e-08)


@intrinsic
def exp2_instruction(typingctx, x):
    """2**x by ex2.approx, subnormal results included: within 2 ulps."""

    def codegen(context, builder, signature, args):
        kind = ir.FunctionType(ir.FloatType(), [ir.FloatType()])
        return builder.asm(kind, "ex2.approx.f32 $0, $1;", "=f,f", args, side_effect=False)

    return (types.float32(types.float32), codegen) if x == types.float32 else None


@scalar
def exp(x):
    """e**x."""
    head = x * LOG2E
    tail = fma(x, LOG2E_TAIL, fma(x, LOG2E, -head))  # what the product rounded away
    y = exp2_instruction(head)
    return select(absolute(head) < F(128.0), fma(y, tail * LN2, y), y)


@scalar
def log1p_exp_negative(a):
    """log(1 + e**-a) for a >= 0."""
    t = exp(-a)
    upper = t > F(0.41421356)
    return log_reduced(select(upper, F(0.5) * (t - F(1.0)), t), select(upper, F(1.0), F(0.0)))


@scalar
def expit(x):
    """1 / (1 + e**-x)."""
    t = exp(-absolute(x))
    return divide(select(x >= F(0.0), F(1.0), t), F(1.0) + t)


@scalar
def softplus(x):
    """log(1 + e**x)."""
    return select(x > F(0.0), x, F(0.0)) + log1p_exp_negative(absolute(x))


@scalar
def logaddexp(x, y):
    """log(e**x + e**y)."""
    result = select(x > y, x, y) + log1p_exp_negative(absolute(x - y))
    return select(x == y, x + LN2, result)
