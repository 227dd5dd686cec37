"""Arrays at addresses: looked at and copied to where a function over rows reads them; and its means, copied out."""

from llvmlite import ir
from numba import float64, int64, njit, types
from numba.extending import intrinsic

from mcgrad.kernels.workspace import at_any, put_any


def _pointer(context, builder, like, address, index):
    kind = context.get_data_type(like.dtype).as_pointer()
    return builder.gep(builder.inttoptr(address, kind), [index])


@intrinsic
def read(typingctx, address, index, like):
    """The element at an index of an array at an address, of the dtype of another array."""
    if not (address == index == types.int64 and isinstance(like, types.Array)):
        return None

    def codegen(context, builder, signature, args):
        return builder.load(_pointer(context, builder, like, args[0], args[1]))

    return like.dtype(address, index, like), codegen


@intrinsic
def write(typingctx, address, index, value):
    """Set the element at an index of an array at an address, of the dtype of the value."""
    if not (address == index == types.int64 and isinstance(value, types.Float)):
        return None

    def codegen(context, builder, signature, args):
        pointer = builder.inttoptr(args[0], ir.PointerType(context.get_data_type(value)))
        builder.store(args[2], builder.gep(pointer, [args[1]]))
        return context.get_dummy_value()

    return types.void(address, index, value), codegen


def arrange(addresses, counts, bounds, copies, like, zeros):
    """Copy arrays to where they are read, and set `zeros` to zero; false where a number is not between its bounds.

    Parameters
    ----------
    addresses : int64 array
        Of the arrays, contiguous, of the dtype of `like`.
    counts : int64 array, shape (arrays, 2)
        How many numbers an array has, and whether they are looked at.
    bounds : float64 array, shape (arrays, 2)
        Between which these have to lie.
    copies : int64 array, shape (copies, 5)
        Of each copy: which array it is of, how many rows of what size that has, the address to write to, and how many
        columns there are: element j of row b becomes element b of row j, and the last row fills what is left. With 0
        columns the elements keep their order.
    like : array
    zeros : float64 array
    """
    for k in range(len(addresses)):
        if counts[k, 1] and not _are_inside(addresses[k], counts[k, 0], bounds[k, 0], bounds[k, 1], like):
            return False
    for i in range(len(zeros)):
        zeros[i] = 0.0
    for k in range(len(copies)):
        source, rows, size = addresses[copies[k, 0]], copies[k, 1], copies[k, 2]
        target, width = copies[k, 3], copies[k, 4]
        if width == 0:
            for i in range(rows * size):
                write(target, i, read(source, i, like))
            continue
        for j in range(size):
            for b in range(rows):
                write(target, j * width + b, read(source, b * size + j, like))
            last = read(source, (rows - 1) * size + j, like)
            for b in range(rows, width):
                write(target, j * width + b, last)
    return True


@njit(inline="always")
def _are_inside(source, count, below, above, like):
    inside = int64(0)
    for i in range(count):
        x = float64(read(source, i, like))
        inside += int64((below < x) & (x < above))
    return inside == count


def collect(means, totals, odd, parts, weight, out):
    """Copy means by row, and totals times a weight, one part after the other; false where one is not finite, or odd.

    Parameters
    ----------
    means : float64 array, shape (rows, K)
    totals : float64 array, shape (S,)
    odd : float64 array
        Of rows: not zero where a row has to be averaged otherwise.
    parts : int64 array, shape (parts, 3)
        Of each part: whether it is by row, its first column or total, and how many there are.
    weight : float
    out : array
    """
    rows, columns = means.shape
    flat = means.reshape(-1)
    if not (_are_finite(flat) and _are_finite(totals)):
        return False
    for i in range(len(odd)):
        if odd[i] != 0.0:
            return False
    place = int64(0)
    for k in range(len(parts)):
        first, size = parts[k, 1], parts[k, 2]
        if parts[k, 0]:
            for b in range(rows):
                for j in range(size):
                    put_any(out, place + j, at_any(flat, b * columns + first + j))
                place += size
        else:
            for j in range(size):
                put_any(out, place + j, at_any(totals, first + j) * weight)
            place += size
    return True


@njit(inline="always")
def _are_finite(x):
    wrong = int64(0)
    for i in range(len(x)):
        wrong += int64(at_any(x, i) - at_any(x, i) != 0.0)
    return wrong == 0
