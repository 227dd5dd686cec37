"""Memory of a block of threads: rows in shared or global memory, read and written by vectors, and arrays over pointers.

A vector is 16 bytes: the draws that a thread takes of a row, four float32 or two float64.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

VECTOR = 16  # bytes; where rows and matrices start is a multiple of it
SHARED = 3  # the address space


@intrinsic
def dynamic_shared(typingctx, dtype):
    """Point to the dynamic shared memory of the block, as elements of a dtype."""
    element = dtype.dtype

    def codegen(context, builder, signature, args):
        kind = ir.ArrayType(context.get_data_type(element), 0)
        memory = builder.module.globals.get("mcgrad_shared")
        if memory is None:
            memory = cgutils.add_global_variable(builder.module, kind, "mcgrad_shared", SHARED)
            memory.linkage, memory.align = "external", VECTOR
        generic = builder.addrspacecast(memory, ir.PointerType(kind))
        return builder.bitcast(generic, context.get_value_type(types.CPointer(element)))

    return types.CPointer(element)(dtype), codegen


def _is_pointer(memory, index):
    return isinstance(memory, types.CPointer) and isinstance(index, types.Integer)


def _address(context, builder, pointer, index, index_type):
    return builder.gep(pointer, [context.cast(builder, index, index_type, types.int64)], inbounds=True)


@intrinsic
def advance(typingctx, memory, index):
    """Point to memory[index]."""
    if not _is_pointer(memory, index):
        return None

    def codegen(context, builder, signature, args):
        return _address(context, builder, *args, index)

    return memory(memory, index), codegen


def _vector(context, builder, memory, pointer, index, index_type, count):
    """Address of `count` elements from an index on, as a vector, and its alignment."""
    kind = ir.VectorType(context.get_data_type(memory.dtype), count)
    address = _address(context, builder, pointer, index, index_type)
    return builder.bitcast(address, ir.PointerType(kind)), kind, count * memory.dtype.bitwidth // 8


def _loader(count):
    def load(typingctx, memory, index):
        if not _is_pointer(memory, index):
            return None
        result = types.UniTuple(memory.dtype, count)

        def codegen(context, builder, signature, args):
            address, _, align = _vector(context, builder, memory, *args, index, count)
            vector = builder.load(address, align=align)
            parts = [builder.extract_element(vector, ir.Constant(ir.IntType(32), i)) for i in range(count)]
            return context.make_tuple(builder, result, parts)

        return result(memory, index), codegen

    return intrinsic(load)


# The elements memory[index], memory[index + 1], ... as a tuple, by one instruction; they start at a multiple of their
# own size.
load2, load4 = _loader(2), _loader(4)


def _store(memory, index, values):
    if not _is_pointer(memory, index):
        return None

    def codegen(context, builder, signature, args):
        pointer, at, *given = args
        address, kind, align = _vector(context, builder, memory, pointer, at, index, len(values))
        vector = ir.Constant(kind, ir.Undefined)
        for i, (x, of) in enumerate(zip(given, values, strict=True)):
            element = context.cast(builder, x, of, memory.dtype)
            vector = builder.insert_element(vector, element, ir.Constant(ir.IntType(32), i))
        builder.store(vector, address, align=align)
        return context.get_dummy_value()

    return types.void(memory, index, *values), codegen


@intrinsic
def store2(typingctx, memory, index, a, b):
    """memory[index], memory[index + 1] = a, b, likewise."""
    return _store(memory, index, (a, b))


@intrinsic
def store4(typingctx, memory, index, a, b, c, d):
    """memory[index], ..., memory[index + 3] = a, b, c, d, likewise."""
    return _store(memory, index, (a, b, c, d))


@intrinsic
def array_at(typingctx, memory, index, shape):
    """Return the array of a shape, in C order, whose first element is memory[index]; for a user's own function."""
    if not (_is_pointer(memory, index) and isinstance(shape, types.BaseTuple)):
        return None
    result = types.Array(memory.dtype, len(shape), "C")

    def codegen(context, builder, signature, args):
        pointer, first, extents = args
        array = context.make_array(result)(context, builder)
        size = context.get_constant(types.intp, memory.dtype.bitwidth // 8)
        shapes = [
            context.cast(builder, builder.extract_value(extents, i), of, types.intp) for i, of in enumerate(shape.types)
        ]
        strides = [size]
        for extent in reversed(shapes[1:]):
            strides.insert(0, builder.mul(strides[0], extent))
        data = _address(context, builder, pointer, first, index)
        context.populate_array(array, data=data, shape=shapes, strides=strides, itemsize=size, meminfo=None)
        return array._getvalue()

    return result(memory, index, shape), codegen


def _parts(builder, values, of):
    """Elements of a tuple, or of a tuple of tuples, as lists."""
    elements = [builder.extract_value(values, i) for i in range(len(of))]
    if isinstance(of[0], types.BaseTuple):
        return [_parts(builder, element, inner) for element, inner in zip(elements, of, strict=True)]
    return elements


@intrinsic
def add_products(typingctx, sums, x, y):
    """sums[i * len(y) + j] + x[i] * y[j] for all i and j, as a tuple like sums."""
    if not all(isinstance(of, types.UniTuple) for of in (sums, x, y)):
        return None

    def codegen(context, builder, signature, args):
        s, a, b = (_parts(builder, value, of) for value, of in zip(args, signature.args, strict=True))
        pairs = [(p, q) for p in a for q in b]
        return context.make_tuple(builder, sums, [builder.fma(*pair, z) for pair, z in zip(pairs, s, strict=True)])

    return sums(sums, x, y), codegen


@intrinsic
def add_moments(typingctx, sums, shifts, x, y, weights):
    """Add the deviations d = x[i][w] * y[j][w] - shift, and their squares, to a tuple of pairs of sums.

    x and y are tuples of factors, each a tuple of its values in some draws; i and j count them, as
    shifts[i * len(y) + j]. With weights, a tuple too, draws whose weight is zero are left out; otherwise give ().
    """
    masked = len(weights) > 0

    def codegen(context, builder, signature, args):
        s, p, a, b = (_parts(builder, value, of) for value, of in zip(args[:4], signature.args[:4], strict=True))
        pairs = [(left, right) for left in a for right in b]
        zero = ir.Constant(s[0].type, 0)
        keep = [builder.fcmp_unordered("!=", w, zero) for w in _parts(builder, args[4], weights)] if masked else []
        found = []
        for n, (left, right) in enumerate(pairs):
            total, square = s[2 * n], s[2 * n + 1]
            minus = builder.fsub(ir.Constant(zero.type, -0.0), p[n])  # NVVM refuses fneg
            for w, (u, v) in enumerate(zip(left, right, strict=True)):
                d = builder.fma(u, v, minus)
                d = builder.select(keep[w], d, zero) if masked else d
                total, square = builder.fadd(total, d), builder.fma(d, d, square)
            found += [total, square]
        return context.make_tuple(builder, sums, found)

    return sums(sums, shifts, x, y, weights), codegen
