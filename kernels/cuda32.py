"""The functions in float32 for GPUs, as emitted float32 kernels import them there.

They are those of the CPU but for exp, which is made of the hardware's 2**x, and for those that call exp. The hardware's
logarithm and sine have bounds of absolute errors only, which the stated bounds do not allow. Error bounds: `bounds.py`.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from mcgrad.kernels import elementary, exponential, special
from mcgrad.kernels.exponential import LN2, LOG2E
from mcgrad.kernels.intrinsics import absolute, fma, select
from mcgrad.kernels.widths import FLOAT32, Width, each_width, namespace

LOG2E_TAIL = 1.9259630e-08  # what LOG2E lacks in float32


@intrinsic
def exp2_instruction(typingctx, x):
    """2**x by ex2.approx, subnormal results included: within 2 ulps."""

    def codegen(context, builder, signature, args):
        kind = ir.FunctionType(ir.FloatType(), [ir.FloatType()])
        return builder.asm(kind, "ex2.approx.f32 $0, $1;", "=f,f", args, side_effect=False)

    return (types.float32(types.float32), codegen) if x == types.float32 else None


@each_width
def hardware_exp(x):
    """e**x."""
    head = x * LOG2E
    tail = fma(x, LOG2E_TAIL, fma(x, LOG2E, -head))  # what the product rounded away
    y = exp2_instruction(head)
    return select(absolute(head) < 128.0, fma(y, tail * LN2, y), y)


CUDA32 = Width("cuda32", FLOAT32.real, {exponential.exp: hardware_exp.float32})
__all__ = elementary.__all__ + special.__all__
globals().update(namespace(elementary, CUDA32) | namespace(special, CUDA32))
