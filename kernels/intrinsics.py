"""Instructions that Numba does not expose: bit casts, select, fused multiply-add, floor, polynomials, lane sums.

All of them are branch-free and vectorise, and NVVM compiles them, too. It does not compile llvm.rint, llvm.nearbyint
and llvm.fabs: so `absolute` and `copysign` mask bits.

`contract` lets LLVM fuse any plain `a*b + c`. `exact_add`, `exact_sub` and `exact_mul` are rounded once and never fused
or reordered whatever the caller's flags are; error-free transformations and rounding by a magic number need that.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

# Numba gives its fastmath flags to every instruction that has none. So an instruction that is to stay exact has the
# flag "arcp", which concerns divisions only.
_EXACT = ("arcp",)


def _bitcast(source, target):
    @intrinsic
    def cast(typingctx, x):
        def codegen(context, builder, signature, args):
            return builder.bitcast(args[0], context.get_value_type(target))

        return (target(source), codegen) if x == source else None

    return cast


float_bits32, bits_float32 = _bitcast(types.float32, types.int32), _bitcast(types.int32, types.float32)
float_bits64, bits_float64 = _bitcast(types.float64, types.int64), _bitcast(types.int64, types.float64)


def of_floats(arity, build):
    """Return an intrinsic of `arity` floats of one type to a float of that type."""

    def codegen(context, builder, signature, args):
        return build(builder, *args)

    if arity == 1:

        @intrinsic
        def function(typingctx, x):
            return (x(x), codegen) if isinstance(x, types.Float) else None
    elif arity == 2:

        @intrinsic
        def function(typingctx, x, y):
            return (x(x, x), codegen) if isinstance(x, types.Float) and x == y else None
    else:

        @intrinsic
        def function(typingctx, x, y, z):
            return (x(x, x, x), codegen) if isinstance(x, types.Float) and x == y == z else None

    return function


def _llvm_unary(name):
    return lambda builder, x: builder.call(builder.module.declare_intrinsic(name, [x.type]), [x])


def _as_bits(builder, x):
    bits = ir.IntType(32 if x.type == ir.FloatType() else 64)
    return builder.bitcast(x, bits), ir.Constant(bits, 1 << (bits.width - 1))


def _absolute(builder, x):
    bits, sign = _as_bits(builder, x)
    return builder.bitcast(builder.and_(bits, builder.not_(sign)), x.type)


def _copysign(builder, x, y):
    (size, sign), (other, _) = _as_bits(builder, x), _as_bits(builder, y)
    bits = builder.or_(builder.and_(size, builder.not_(sign)), builder.and_(other, sign))
    return builder.bitcast(bits, x.type)


def _on_gpu(builder):
    return builder.module.triple.startswith("nvptx")


def _ptx(builder, instruction, args):
    """One instruction of PTX on floats of one type."""
    kind, letter = args[0].type, "f" if args[0].type == ir.FloatType() else "d"
    operands = ", ".join(f"${i}" for i in range(len(args) + 1))
    constraints = ",".join([f"={letter}", *letter * len(args)])
    text = f"{instruction}.f{32 if letter == 'f' else 64} {operands};"
    return builder.asm(ir.FunctionType(kind, [kind] * len(args)), text, constraints, args, side_effect=False)


def _square_root(builder, x):
    if _on_gpu(builder) and x.type == ir.FloatType():  # the correctly rounded one takes ten times as many instructions
        return _ptx(builder, "sqrt.approx", [x])
    return _llvm_unary("llvm.sqrt")(builder, x)


def _divide(builder, x, y):
    if _on_gpu(builder) and x.type == ir.FloatType():  # as in `_square_root`
        return _ptx(builder, "div.full", [x, y])
    return builder.fdiv(x, y)


def _divide_in_range(builder, x, y):
    if _on_gpu(builder) and x.type == ir.FloatType():
        return _ptx(builder, "div.approx.ftz", [x, y])
    return builder.fdiv(x, y)


def _exact(name):
    """Return the builder of an operation that is never fused; NVVM would fuse it whatever its flags are."""

    def build(builder, x, y):
        if _on_gpu(builder):
            return _ptx(builder, f"{name[1:]}.rn", [x, y])
        return getattr(builder, name)(x, y, flags=_EXACT)

    return build


def _root_of_normal(builder, x):
    if _on_gpu(builder) and x.type == ir.FloatType():
        return _ptx(builder, "sqrt.approx.ftz", [x])
    return _llvm_unary("llvm.sqrt")(builder, x)


floor = of_floats(1, _llvm_unary("llvm.floor"))
# Rounded once; in float32 on a GPU within 1 and 2 ulps, by single instructions.
square_root = of_floats(1, _square_root)
divide = of_floats(2, _divide)
divide_in_range = of_floats(2, _divide_in_range)  # divide of numbers that are not subnormal, nor 1 / y
root_of_normal = of_floats(1, _root_of_normal)  # square_root of 0 or a number that is not subnormal
fma = of_floats(3, lambda builder, x, y, z: builder.fma(x, y, z))
absolute = of_floats(1, _absolute)
copysign = of_floats(2, _copysign)
exact_add = of_floats(2, _exact("fadd"))
exact_sub = of_floats(2, _exact("fsub"))
exact_mul = of_floats(2, _exact("fmul"))
# s + x where the order of the additions does not matter: lets the sum of a lane loop vectorise, and that sum only.
accumulate = of_floats(2, lambda builder, s, x: builder.fadd(s, x, flags=("reassoc", "nsz", "contract")))


@intrinsic
def select(typingctx, condition, a, b):
    """Give `a if condition else b`; both are computed."""

    def codegen(context, builder, signature, args):
        return builder.select(*args)

    return (a(types.boolean, a, a), codegen) if a == b else None


@intrinsic
def wide_product(typingctx, x, y):
    """Product of the lower halves of two uint64; y is a literal without an upper half."""
    if not x == y == types.uint64:
        return None

    def codegen(context, builder, signature, args):
        if _on_gpu(builder):  # NVVM does not find out that upper halves are zero
            narrow = [builder.trunc(arg, ir.IntType(32)) for arg in args]
            kind = ir.FunctionType(ir.IntType(64), [ir.IntType(32)] * 2)
            return builder.asm(kind, "mul.wide.u32 $0, $1, $2;", "=l,r,r", narrow, side_effect=False)
        return builder.mul(builder.and_(args[0], ir.Constant(ir.IntType(64), 0xFFFFFFFF)), args[1])

    return types.uint64(x, y), codegen


@intrinsic
def reverse_bits(typingctx, x):
    """Give an unsigned integer whose bits are in reverse order."""
    if x not in (types.uint32, types.uint64):
        return None

    def codegen(context, builder, signature, args):
        return builder.call(builder.module.declare_intrinsic("llvm.bitreverse", [args[0].type]), args)

    return x(x), codegen


def _terms(builder, x, table):
    """Coefficients as constants of the type of x."""
    terms = [builder.extract_value(table, i) for i in range(table.type.count)]
    return terms if terms[0].type == x.type else [builder.fptrunc(term, x.type) for term in terms]


def horner(builder, x, terms):
    """Build terms[0] + terms[1] x + ... by Horner's rule with fused multiply-adds."""
    total = terms[-1]
    for term in reversed(terms[:-1]):
        total = builder.fma(total, x, term)
    return total


@intrinsic
def polynomial(typingctx, x, coefficients):
    """coefficients[0] + coefficients[1] x + ..., by Horner's rule with fused multiply-adds.

    `coefficients` is a global tuple of at least two floats, which are rounded to the type of x at compile time.
    """
    if not (isinstance(x, types.Float) and isinstance(coefficients, types.UniTuple)):
        return None

    def codegen(context, builder, signature, args):
        return horner(builder, args[0], _terms(builder, *args))

    return x(x, coefficients), codegen


@intrinsic
def long_polynomial(typingctx, x, x2, coefficients):
    """`polynomial(x, coefficients)` from x and x2 = x*x, as even + x * odd.

    Two chains of half the length, which run side by side: each operation of a chain waits for the one before.
    """
    if not (isinstance(x, types.Float) and x == x2 and isinstance(coefficients, types.UniTuple)):
        return None

    def codegen(context, builder, signature, args):
        x, x2, table = args
        terms = _terms(builder, x, table)
        return builder.fma(horner(builder, x2, terms[1::2]), x, horner(builder, x2, terms[::2]))

    return x(x, x, coefficients), codegen


@intrinsic
def prefer_vector_width(typingctx):
    """Call it in a function with a lane loop: the loop may use 512-bit registers where the processor has them."""

    def codegen(context, builder, signature, args):
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def align_stack(typingctx):
    """Call it in a function with a lane loop that keeps more constants than there are registers.

    LLVM leaves vectors that it keeps on the stack across cache lines otherwise, each of which is then read twice.
    """

    def codegen(context, builder, signature, args):
        builder.function.attributes.alignstack = 64
        return context.get_dummy_value()

    return types.void(), codegen
