"""The constructors of Vars, one function an op: each converts its arguments, folds constants, and returns a Var.

They follow NumPy's broadcasting by inserting `broadcast` equations, so that every elementwise equation has arguments of
one shape. Shape, kind and level are what `infer` says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.ir import attributes
from mcgrad.ir.attributes import Literal
from mcgrad.ir.body import Body
from mcgrad.ir.infer import equation
from mcgrad.ir.interpret import interpret
from mcgrad.ir.lookup import Table
from mcgrad.ir.ops import OPS
from mcgrad.ir.program import Level, Shape, Var, toposort
from mcgrad.ir.spaces import Input, RowInput, Space
from mcgrad.noise.source import NoiseSource

Operand = Var | npt.ArrayLike
NOT_FOLDED = {"broadcast", "copy", "native_value", "native_gradient"}


# --- leaves ----------------------------------------------------------------------------------------------------------
def const(value: npt.ArrayLike) -> Var:
    """Make a literal array; integers become floats, booleans stay booleans."""
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"an array of dtype {array.dtype} cannot enter a Program; accepted are floats, integers and booleans"
        )
    return equation("const", (), Literal(array if array.dtype == bool else array.astype(np.float64)))


def input_(path: str, shape: Shape, space: Space = Space.PARAM, by_row: bool = False) -> Var:
    """Make a draw-independent input, named by a path in a space; `by_row` if each row has its own value."""
    return equation("input", (), (RowInput if by_row else Input)(space, path), tuple(shape))


def noise(stream: int, law: str, shape: Shape) -> Var:
    """Make a noise source of Philox: component i of the stream is element i in C order."""
    return noise_of(NoiseSource(stream, law), shape)


def noise_of(source: NoiseSource, shape: Shape) -> Var:
    """Make a noise source: component i of the stream is element i in C order."""
    return equation("noise", (), source, tuple(shape))


def as_var(value: Operand) -> Var:
    """Return a Var as it is, anything else as a constant."""
    return value if isinstance(value, Var) else const(value)


# --- elementwise -----------------------------------------------------------------------------------------------------
def apply(op: str, *operands: Operand) -> Var:
    """Apply an elementwise op with NumPy's broadcasting and promotion of booleans."""
    args = [as_var(x) for x in operands]
    if op.startswith("logical_"):
        args = [x if x.kind == "bool" else apply("not_equal", x, 0.0) for x in args]
    elif op == "where":
        condition = args[0] if args[0].kind == "bool" else apply("not_equal", args[0], 0.0)
        args = [condition, *_same_kind(args[1:])]
    elif op == "float":
        if args[0].kind == "float":
            return args[0]
    else:
        args = [apply("float", x) if x.kind == "bool" else x for x in args]
    shapes = [x.shape for x in args]
    shape = shapes[0] if shapes.count(shapes[0]) == len(shapes) else np.broadcast_shapes(*shapes)
    simpler = _algebra(op, args)
    if simpler is not None:
        return broadcast(simpler, shape)
    return _make(op, tuple(broadcast(x, shape) for x in args))


def _same_kind(args: list[Var]) -> list[Var]:
    return args if len({x.kind for x in args}) == 1 else [apply("float", x) for x in args]


def is_fill(x: Var, value: float) -> bool:
    """Whether every element of x is this literal number (and of the same sign, for zero)."""
    while x.op == "broadcast":
        x = x.args[0]
    return x.is_const and x.kind == "float" and x.attrs.array.size > 0 and bool(np.all(x.attrs.array == value))


def fill_value(x: Var) -> float | None:
    """Return the one literal number that fills x, or None."""
    while x.op == "broadcast":
        x = x.args[0]
    if not x.is_const or x.kind != "float" or x.attrs.array.size == 0:
        return None
    first = float(x.attrs.array.flat[0])
    return first if x.attrs.array.size == 1 or bool(np.all(x.attrs.array == first)) else None


def _algebra(op: str, args: list[Var]) -> Var | None:
    """Identities that hold for every float, NaN and infinities included, without a rounding more."""
    if op in ("add", "multiply"):
        unit = 0.0 if op == "add" else 1.0
        for x, y in (args, args[::-1]):
            if is_fill(y, unit):
                return x
            if op == "multiply" and is_fill(y, -1.0):
                return apply("negative", x)
    if op == "where":
        condition = args[0]
        while condition.op == "broadcast":
            condition = condition.args[0]
        if condition.is_const and condition.size and len(np.unique(condition.attrs.array)) == 1:
            return args[1] if condition.attrs.array.flat[0] else args[2]
    if op == "add" and args[0].op == args[1].op == "where":
        found = _halves(*args) or _halves(*args[::-1])
        if found is not None:
            return found
    if op == "add" and args[1].op == "negative":
        return apply("subtract", args[0], args[1].args[0])
    if op == "subtract" and is_fill(args[1], 0.0):
        return args[0]
    if op == "subtract" and is_fill(args[0], 0.0):
        return apply("negative", args[1])
    if op == "divide" and is_fill(args[1], 1.0):
        return args[0]
    if op == "negative" and args[0].op == "negative":
        return args[0].args[0]
    if op == "power":
        return _power(*args)
    if op == "logaddexp":
        for x, y in (args, args[::-1]):
            if is_fill(y, 0.0):
                return apply("softplus", x)
    return _in_one(op, args)


def _halves(x: Var, y: Var) -> Var | None:
    """One choice in place of the sum of two, of which always one is zero: where(c, 0, a) + where(c, b, 0)."""
    (c, zero, a), (d, b, other) = x.args, y.args
    same = c is d or (c.op, c.args, c.attrs) == (d.op, d.args, d.attrs)
    return apply("where", c, b, a) if same and is_fill(zero, 0.0) and is_fill(other, 0.0) else None


def _in_one(op: str, args: list[Var]) -> Var | None:
    """One function in place of a logarithm whose argument overflows long before it does, or rounds to 1."""
    if op == "log" and args[0].op == "cosh":
        return apply("log_cosh", args[0].args[0])
    if op == "log1p" and args[0].op == "exp":
        return apply("softplus", args[0].args[0])
    if op == "log" and args[0].op == "add":
        for x, y in (args[0].args, args[0].args[::-1]):
            if is_fill(x, 1.0) and y.op == "exp":
                return apply("softplus", y.args[0])
    return None


def _power(x: Var, y: Var) -> Var | None:
    """Products for whole powers up to 16: none is farther from 1 than the power itself, or its reciprocal, is.

    So they overflow where the power does, but for reciprocals below the least normal number, which become 0. The
    error is at most half a unit for each factor, as much as the rounding of x makes already.
    """
    exponent = fill_value(y)
    if exponent is None or exponent != int(exponent) or abs(exponent) > 16:
        return apply("sqrt", x) if exponent == 0.5 else None
    if exponent == 0:
        return const(np.ones(x.shape))
    result, square, rest = None, x, abs(int(exponent))
    while rest:
        if rest & 1:
            result = square if result is None else apply("multiply", result, square)
        rest >>= 1
        if rest:
            square = apply("multiply", square, square)
    assert result is not None
    return result if exponent > 0 else apply("reciprocal", result)


def copy(x: Var) -> Var:
    """Compute the same values anew for each draw, in rows of their own, though no draw may change x."""
    return _make("copy", (x,))


# --- structural ------------------------------------------------------------------------------------------------------
def reshape(x: Var, shape: Shape) -> Var:
    """Reinterpret the elements, in C order, in another shape of the same size."""
    shape = tuple(int(n) for n in shape)
    if x.op == "reshape" and x.shape != shape:
        x = x.args[0]
    return x if x.shape == shape else _make("reshape", (x,), attributes.Reshape(shape))


def transpose(x: Var, axes: Sequence[int]) -> Var:
    """Permute the axes."""
    axes = tuple(int(a) % len(x.shape) for a in axes)
    if axes == tuple(range(len(x.shape))):
        return x
    return _make("transpose", (x,), attributes.Transpose(axes))


def broadcast(x: Var, shape: Shape) -> Var:
    """Repeat along new leading axes and axes of extent 1, as np.broadcast_to does."""
    if x.shape == (shape := tuple(shape)):
        return x
    shape = tuple(int(n) for n in shape)
    if x.op == "broadcast" and np.broadcast_shapes(x.args[0].shape, shape) == shape:
        x = x.args[0]
    return _make("broadcast", (x,), attributes.Broadcast(shape))


def slice_(x: Var, bounds: Sequence[tuple[int, int, int]]) -> Var:
    """Take start:stop:step of each axis, with start, stop >= 0 and step > 0."""
    bounds = tuple((int(a), int(b), int(c)) for a, b, c in bounds)
    shape = tuple(len(range(*b)) for b in bounds)
    if shape == x.shape and all(step == 1 or n == 1 for (_, _, step), n in zip(bounds, shape, strict=True)):
        return x
    return _make("slice", (x,), attributes.Slice(bounds))


def flip(x: Var, axes: Sequence[int]) -> Var:
    """Reverse the order along axes."""
    axes = tuple(int(a) % len(x.shape) for a in axes if x.shape[a] > 1)
    return _make("flip", (x,), attributes.Flip(axes)) if axes else x


def pad(x: Var, widths: Sequence[tuple[int, int, int]]) -> Var:
    """Surround with zeros: (before, after, between neighbours) for each axis."""
    widths = tuple((int(a), int(b), int(c)) for a, b, c in widths)
    return _make("pad", (x,), attributes.Pad(widths)) if any(any(width) for width in widths) else x


def take(x: Var, index: npt.NDArray[np.integer[Any]]) -> Var:
    """Take elements by their flat (C order) index; the result has the shape of `index`."""
    return _make("take", (x,), attributes.Take(Literal(np.asarray(index, np.int64))))


def scatter_add(x: Var, index: npt.NDArray[np.integer[Any]], shape: Shape) -> Var:
    """Add every element of x to the element of a zero array at its flat index: the transpose of `take`."""
    shape = tuple(int(n) for n in shape)
    return _make("scatter_add", (x,), attributes.ScatterAdd(Literal(np.asarray(index, np.int64)), shape))


def gather(x: Var, index: Var, batch: int = 0) -> Var:
    """Take elements along an axis by their index, which is a number of each draw: `attributes.Gather` says which.

    What is no index gives NaN: negative numbers, those from the extent of the axis on, NaN. Fractions are cut off.
    """
    x, index = apply("float", x), apply("float", index)
    if index.is_const and not batch and not x.is_const:
        places, extent = np.floor(index.attrs.array), x.shape[0]
        if np.all((places >= 0) & (places < extent)):
            return _rows(x, places.astype(np.int64))
    return _make("gather", (x, index), attributes.Gather(int(batch)))


def _rows(x: Var, index: npt.NDArray[np.int64]) -> Var:
    """x[index]: neighbours along the first axis as a slice, others by their places."""
    rest = x.shape[1:]
    if index.size and index.ndim < 2:
        first = int(index.flat[0])
        if np.array_equal(index.ravel(), np.arange(first, first + index.size)):
            part = slice_(x, [(first, first + index.size, 1), *((0, n, 1) for n in rest)])
            return reshape(part, (*index.shape, *rest))
    places = np.arange(x.size).reshape(x.shape)[index]
    return take(x, places)


def concatenate(parts: Sequence[Var], axis: int) -> Var:
    """Join along an existing axis."""
    parts = [p for p in parts if p.shape[axis] > 0] or list(parts[:1])
    if len(parts) == 1:
        return parts[0]
    return _make("concatenate", tuple(_same_kind(list(parts))), attributes.Concatenate(int(axis) % len(parts[0].shape)))


# --- reductions, scans, contractions ---------------------------------------------------------------------------------
def reduce(op: str, x: Var, axes: Sequence[int]) -> Var:
    """Reduce over axes with sum, prod, max or min."""
    x = apply("float", x)
    axes = tuple(sorted(int(a) % len(x.shape) for a in axes))
    shape = tuple(n for i, n in enumerate(x.shape) if i not in axes)
    extent = int(np.prod([x.shape[a] for a in axes], initial=1))
    if extent == 1:
        return reshape(x, shape)
    if op == "sum" and x.op == "broadcast":
        value = fill_value(x)
        if value is not None:
            return const(np.full(shape, value * extent))
    return _make(op, (x,), attributes.Reduce(axes))


def scan(op: str, x: Var, axis: int, reverse: bool = False) -> Var:
    """Accumulate along an axis with cumsum or cumprod."""
    x = apply("float", x)
    return x if x.shape[axis] == 1 else _make(op, (x,), attributes.Scan(int(axis) % len(x.shape), bool(reverse)))


def linear_recurrence(a: Var, b: Var, axis: int, reverse: bool = False) -> Var:
    """y[k] = a[k] * y[k-1] + b[k], with y[-1] = 0 (from the other end if reverse)."""
    shape = np.broadcast_shapes(a.shape, b.shape)
    scan = attributes.Scan(int(axis) % len(shape), bool(reverse))
    return _make("linear_recurrence", (broadcast(a, shape), broadcast(b, shape)), scan)


def einsum(subscripts: str, *args: Var) -> Var:
    """Contract one or two operands; each label once in an operand, lower or upper case letters but Z."""
    inputs, output = subscripts.split("->")
    return _make("einsum", args, attributes.Einsum(tuple(inputs.split(",")), output))


def matrices(op: str, *args: Var) -> Var:
    """Apply a function of the matrices in the last two axes."""
    return _make(op, args)


def solve(op: str, a: Var, b: Var, transposed: bool = False) -> Var:
    """Solve systems of a, or of its transposes, with right sides (..., n, k): by "solve" or "solve_triangular"."""
    return _make(op, (a, b), attributes.Solve(bool(transposed)))


# --- loops -----------------------------------------------------------------------------------------------------------
def argument(number: int, shape: Shape, level: Level = Level.CONSTANT) -> Var:
    """Make a leaf that stands for an argument of the body of a loop."""
    return equation("argument", (), attributes.Argument(int(number), int(level)), tuple(shape))


def loop(
    params: Sequence[Var],
    results: Sequence[Var],
    args: Sequence[Var],
    loop: tuple[int, int, int, bool],
    made: dict[Var, Var] | None = None,
    running: int | None = None,
) -> Var:
    """Run a body many times; return the vector of all results, of which `part` takes one (`Loop.places` says where).

    Parameters
    ----------
    params : sequence of Var
        Leaves: of the carries, of what each step has its own element of, of what is the same in all steps.
    results : sequence of Var
        The carries of the next step, and what is stacked: of `params` and literals alone.
    args : sequence of Var
        What the first step begins with, arrays with an axis for the steps in front, and the rest.
    loop : tuple
        Number of carries, number of arguments by step, number of steps, whether these run from the last to the first.
    made : dict, optional
        Gets what stands in the body for each Var that the results depend on.
    running : int, optional
        As in `Loop`; nothing where results are stacked.
    """
    carries, scanned, length, reverse = loop
    running = running if len(results) == carries else None
    made = {} if made is None else made
    if length < 2:
        return _few_steps(params, results, args, loop, made)
    levels = [arg.level for arg in args]
    while True:
        body = _body(params, results, levels, made)
        found = [max(level, var.level) for level, var in zip(levels[:carries], body.results, strict=False)]
        if found == levels[:carries]:
            break
        levels[:carries] = found
    return _make("loop", tuple(args), attributes.Loop(body, carries, scanned, length, reverse, running))


def _body(params: Sequence[Var], results: Sequence[Var], levels: Sequence[Level], made: dict[Var, Var]) -> Body:
    """The body with its arguments numbered in order, of these levels."""
    leaves = [argument(i, var.shape, level) for i, (var, level) in enumerate(zip(params, levels, strict=True))]
    found = again(results, dict(zip(params, leaves, strict=True)), made)
    return Body(tuple(leaves), found, tuple(toposort([*leaves, *found])))


def again(results: Sequence[Var], given: Mapping[Var, Var], made: dict[Var, Var]) -> tuple[Var, ...]:
    """Make Vars again with others in place of some; `made` gets what stands for each, in the bodies of loops, too."""
    made.clear()
    made.update(given)
    for var in toposort(results):
        if var not in made:
            inside: dict[Var, Var] = {}
            args = tuple(made[arg] for arg in var.args)
            made[var] = loop_again(var, args, inside) if var.op == "loop" else rebuild(var, args)
            made.update(inside)
    return tuple(made[var] for var in results)


def _few_steps(
    params: Sequence[Var],
    results: Sequence[Var],
    args: Sequence[Var],
    loop: tuple[int, int, int, bool],
    made: dict[Var, Var],
) -> Var:
    """The results of no step, which are what it begins with, or of one, which is the body."""
    carries, scanned, length, _ = loop
    if not length:
        return concatenate([*(reshape(arg, (arg.size,)) for arg in args[:carries]), const(np.zeros(0))], 0)
    new = dict(zip(params, args, strict=True))
    for var in params[carries : carries + scanned]:
        new[var] = reshape(new[var], var.shape)
    return concatenate([reshape(var, (var.size,)) for var in again(results, new, made)], 0)


def part(x: Var, start: int, shape: Shape) -> Var:
    """Take the elements of a vector from `start` on, as an array: of what is computed by element, of its parts."""
    (size,), stop = x.shape, start + int(np.prod(shape, dtype=np.int64))
    if x.op != "loop" and (start, stop) == (0, size):
        return reshape(x, shape)
    if OPS[x.op].category == "elementwise":
        return apply(x.op, *(part(arg, start, shape) for arg in x.args))
    if x.op == "broadcast" and x.args[0].size == 1:
        return broadcast(reshape(x.args[0], ()), shape)
    if x.op == "part" and len(x.shape) == 1:
        return part(x.args[0], x.attrs.start + start, shape)
    begin = 0
    pieces = x.args if x.op in ("concatenate", "pad") else ()
    if x.op == "pad":
        ((begin, _, gap),) = x.attrs.widths
        if gap:
            pieces = ()
        elif stop <= begin or start >= begin + x.args[0].size:
            return broadcast(const(0.0), shape)
    for piece in pieces:
        if begin <= start and stop <= begin + piece.size:
            return part(piece, start - begin, shape)
        begin += piece.size
    return _make("part", (x,), attributes.Part(int(start), tuple(shape)))


def table(x: Var, what: Table) -> Var:
    """Look up an array for each element; `x` must not depend on the draw."""
    return _make("table", (x,), attributes.Lookup(what))


def native(op: str, function: Any, args: Sequence[Var], shape: Shape) -> Var:
    """Call a user's Numba function on one draw."""
    return _make(op, tuple(args), attributes.Call(function, tuple(int(n) for n in shape)))


def rebuild(var: Var, args: tuple[Var, ...]) -> Var:
    """Make the same equation with other arguments, folded again; the same Var where the arguments are the same."""
    if args == var.args:
        return var
    if OPS[var.op].category == "elementwise":
        return broadcast(apply(var.op, *args), var.shape)
    if var.op == "broadcast":
        return broadcast(args[0], var.shape)
    if var.op == "sum":
        return reduce("sum", args[0], var.attrs.axes)
    if var.op == "gather":
        return gather(args[0], args[1], var.attrs.batch)
    if var.op == "part":
        return part(args[0], var.attrs.start, var.attrs.shape)
    if var.op == "loop":
        return loop_again(var, args)
    return _make(var.op, args, var.attrs)


def loop_again(var: Var, args: Sequence[Var], made: dict[Var, Var] | None = None) -> Var:
    """Make the same loop with other arguments, which may change more or less often; `made` as in `loop`."""
    attrs, body = var.attrs, var.attrs.body
    steps = (attrs.carries, attrs.scanned, attrs.length, attrs.reverse)
    return loop(body.params, body.results, args, steps, made, attrs.running)


def _make(op: str, args: tuple[Var, ...], attrs: Any = None) -> Var:
    var = equation(op, args, attrs)
    if op not in NOT_FOLDED and all(x.is_const or (x.op == "broadcast" and x.args[0].is_const) for x in args):
        (value,) = interpret([var], {}, "float64")
        return const(value[..., 0])
    return var
