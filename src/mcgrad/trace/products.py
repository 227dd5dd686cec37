"""NumPy's products, and its functions of diagonals and triangles of matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from mcgrad.ir import build
from mcgrad.ir.program import Var
from mcgrad.trace.contract import Label, contract
from mcgrad.trace.operands import as_dtype, axis_of, index_of, operand
from mcgrad.trace.refuse import refusal
from mcgrad.trace.shaping import moveaxis, section


def _batched(x: Var, y: Var, x_core: str, y_core: str, out: str) -> Var:
    """Contract the last axes by name; the axes before them broadcast."""
    if len(x.shape) < len(x_core) or len(y.shape) < len(y_core):
        raise ValueError(f"operands of shapes {x.shape} and {y.shape} have too few dimensions for this product")
    extents = dict(zip(x_core, x.shape[len(x.shape) - len(x_core) :], strict=True))
    for label, extent in zip(y_core, y.shape[len(y.shape) - len(y_core) :], strict=True):
        _same_extent(extents.get(label, extent), extent, x, y)
    before = [list(range(-(len(v.shape) - len(core)), 0)) for v, core in ((x, x_core), (y, y_core))]
    return contract([[*before[0], *x_core], [*before[1], *y_core]], [*max(before, key=len), *out], [x, y])


def _same_extent(first: int, second: int, x: Var, y: Var) -> None:
    """Refuse what `contract` would broadcast and NumPy does not."""
    if first != second:
        raise ValueError(f"operands of shapes {x.shape} and {y.shape} do not match: {first} != {second}")


def matmul(x1: Any, x2: Any) -> Var:
    """np.matmul and the @ operator."""
    x, y = operand(x1), operand(x2)
    row, column = "i" * (len(x.shape) > 1), "j" * (len(y.shape) > 1)
    return _batched(x, y, f"{row}k", f"k{column}", row + column)


def vecdot(x1: Any, x2: Any) -> Var:
    """np.vecdot."""
    return _batched(operand(x1), operand(x2), "n", "n", "")


def matvec(x1: Any, x2: Any) -> Var:
    """np.matvec."""
    return _batched(operand(x1), operand(x2), "mn", "n", "m")


def vecmat(x1: Any, x2: Any) -> Var:
    """np.vecmat."""
    return _batched(operand(x1), operand(x2), "n", "nm", "m")


def tensordot(a: Any, b: Any, axes: Any = 2) -> Var:
    """np.tensordot."""
    x, y = operand(a), operand(b)
    first: Any
    second: Any
    if isinstance(axes, int | np.integer):
        first, second = range(len(x.shape) - int(axes), len(x.shape)), range(int(axes))
    else:
        first, second = ((axis,) if isinstance(axis, int | np.integer) else axis for axis in axes)
    x_axes = normalize_axis_tuple(first, len(x.shape))
    y_axes = normalize_axis_tuple(second, len(y.shape))
    if len(x_axes) != len(y_axes):
        raise ValueError(f"tensordot sums {len(x_axes)} axes of one operand and {len(y_axes)} of the other")
    x_labels: list[Label] = [("x", i) for i in range(len(x.shape))]
    y_labels: list[Label] = [("y", i) for i in range(len(y.shape))]
    for i, j in zip(x_axes, y_axes, strict=True):
        _same_extent(x.shape[i], y.shape[j], x, y)
        y_labels[j] = x_labels[i]
    summed = {x_labels[i] for i in x_axes}
    return contract([x_labels, y_labels], [label for label in x_labels + y_labels if label not in summed], [x, y])


def dot(a: Any, b: Any) -> Var:
    """np.dot: the last axis of `a` with the last but one of `b`."""
    x, y = operand(a), operand(b)
    if not x.shape or not y.shape:
        return build.apply("multiply", x, y)
    return tensordot(x, y, ((-1,), (-2 if len(y.shape) > 1 else -1,)))


def inner(a: Any, b: Any) -> Var:
    """np.inner: the last axes of both."""
    x, y = operand(a), operand(b)
    return tensordot(x, y, ((-1,), (-1,))) if x.shape and y.shape else build.apply("multiply", x, y)


def vdot(a: Any, b: Any) -> Var:
    """np.vdot."""
    return dot(*(build.reshape(x, (x.size,)) for x in (operand(a), operand(b))))


def outer(a: Any, b: Any) -> Var:
    """np.outer."""
    x, y = operand(a), operand(b)
    return build.apply("multiply", build.reshape(x, (x.size, 1)), build.reshape(y, (y.size,)))


def kron(a: Any, b: Any) -> Var:
    """np.kron."""
    x, y = operand(a), operand(b)
    ndim = max(len(x.shape), len(y.shape))
    first, second = ((1,) * (ndim - len(v.shape)) + v.shape for v in (x, y))
    spread = [n for extent in first for n in (extent, 1)], [n for extent in second for n in (1, extent)]
    product = build.apply("multiply", build.reshape(x, tuple(spread[0])), build.reshape(y, tuple(spread[1])))
    return build.reshape(product, tuple(m * n for m, n in zip(first, second, strict=True)))


def cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: Any = None) -> Var:
    """np.cross, of vectors of three elements, and of two, which lie in a plane."""
    axisa, axisb, axisc = (axisa, axisb, axisc) if axis is None else (axis,) * 3
    x, y = (_components(operand(v), which) for v, which in ((a, axisa), (b, axisb)))
    if len(x) == len(y) == 2:
        return _difference_of_products(x[0], y[1], x[1], y[0])
    (x0, x1, x2), (y0, y1, y2) = ([*v, build.const(0.0)][:3] for v in (x, y))
    parts = [
        _difference_of_products(x1, y2, x2, y1),
        _difference_of_products(x2, y0, x0, y2),
        _difference_of_products(x0, y1, x1, y0),
    ]
    shape = np.broadcast_shapes(*(part.shape for part in parts))
    last = build.concatenate([build.reshape(build.broadcast(part, shape), (*shape, 1)) for part in parts], len(shape))
    return moveaxis(last, -1, axisc)


def _components(x: Var, axis: int) -> list[Var]:
    """The two or three elements along an axis."""
    axis = axis_of(axis, len(x.shape))
    if x.shape[axis] not in (2, 3):
        raise ValueError("incompatible dimensions for cross product (dimension must be 2 or 3)")
    rest = (*x.shape[:axis], *x.shape[axis + 1 :])
    return [build.reshape(section(x, axis, k, k + 1), rest) for k in range(x.shape[axis])]


def _difference_of_products(a: Var, b: Var, c: Var, d: Var) -> Var:
    return build.apply("subtract", build.apply("multiply", a, b), build.apply("multiply", c, d))


def einsum(subscripts: Any, *operands: Any, optimize: Any = None) -> Var:
    """np.einsum: any number of operands, implicit output, ellipsis, repeated labels."""
    if not isinstance(subscripts, str):
        raise refusal("np.einsum with lists of axis numbers", 'write the subscripts as a string, "ij,j->i"')
    xs = [operand(x) for x in operands]
    spelled = subscripts.replace(" ", "")
    inputs, arrow, output = spelled.partition("->")
    terms = inputs.split(",")
    if len(terms) != len(xs):
        raise ValueError(f"einsum {subscripts!r} has {len(terms)} terms for {len(xs)} operands")
    labels = [_labels(term, len(x.shape), subscripts) for term, x in zip(terms, xs, strict=True)]
    dots = sorted({label for term in labels for label in term if isinstance(label, int)})
    if arrow:
        wanted: list[Label] = []
        for k, part in enumerate(output.split("...")):
            wanted += dots if k else []
            wanted += part
        if "..." not in output and dots:
            raise ValueError(f"einsum {subscripts!r}: the output lacks the ellipsis")
    else:
        letters = inputs.replace(",", "").replace(".", "")
        wanted = [*dots, *sorted(letter for letter in set(letters) if letters.count(letter) == 1)]
    if len(set(wanted)) != len(wanted) or not set(wanted) <= {label for term in labels for label in term}:
        raise ValueError(f"einsum {subscripts!r}: each output label must stand there once, and in an operand")
    return contract(labels, wanted, xs)


def _labels(term: str, ndim: int, subscripts: str) -> list[Label]:
    """Letters for named axes, negative numbers for those under the ellipsis, counted from the last."""
    before, dots, after = term.partition("...")
    letters = before + after
    hidden = ndim - len(letters)
    if hidden < 0 or (hidden > 0 and not dots) or (letters and not letters.isalpha()):
        raise ValueError(f"einsum {subscripts!r}: {term!r} does not fit an operand of {ndim} dimensions")
    return [*before, *range(-hidden, 0), *after]


# --- diagonals -------------------------------------------------------------------------------------------------------
def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Var:
    """np.diagonal."""
    x = operand(a)
    return build.take(x, np.diagonal(index_of(x), offset, axis1, axis2))


def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None) -> Var:
    """np.trace."""
    entries = diagonal(a, offset, axis1, axis2)
    return as_dtype(build.reduce("sum", entries, (len(entries.shape) - 1,)), dtype, "np.trace")


def diag(v: Any, k: int = 0) -> Var:
    """np.diag: a vector to a matrix, or the diagonal of a matrix."""
    x = operand(v)
    if len(x.shape) == 2:
        return diagonal(x, k)
    if len(x.shape) != 1:
        raise ValueError("Input must be 1- or 2-d.")
    n = x.size + abs(k)
    rows = np.arange(x.size) + max(-k, 0)
    return build.scatter_add(build.apply("float", x), rows * n + rows + k, (n, n))


def tril(m: Any, k: int = 0) -> Var:
    """np.tril."""
    return _masked(operand(m), k, lower=True)


def triu(m: Any, k: int = 0) -> Var:
    """np.triu."""
    return _masked(operand(m), k - 1, lower=False)


def _masked(x: Var, k: int, lower: bool) -> Var:
    below = np.tri(x.shape[-2:][0], x.shape[-1], k, dtype=bool)
    return build.apply("where", below if lower else ~below, x, 0.0)
