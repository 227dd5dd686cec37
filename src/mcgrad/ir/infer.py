"""Make an equation: its shape, kind and level follow from op, arguments and attributes, by one rule an op.

Nothing else makes a Var: `build` comes here with what its functions were given, `serial` with what it reads, and
`check` compares what a Program says with the same rules. They assert that the arguments are what the op takes; what is
wrong there is a fault of mcgrad's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from math import prod
from typing import Any

from mcgrad.ir.ops import OPS, Op
from mcgrad.ir.program import Level, Shape, Var
from mcgrad.ir.spaces import Input, RowInput

_made: ContextVar[list[Var] | None] = ContextVar("equations that are made", default=None)


@contextmanager
def recorded(into: list[Var] | None = None) -> Iterator[list[Var]]:
    """Collect the Vars that are made inside, in their order; not those that another record inside collects."""
    made: list[Var] = [] if into is None else into
    token = _made.set(made)
    try:
        yield made
    finally:
        _made.reset(token)


def record(made: Iterable[Var]) -> None:
    """Add Vars that another record has collected to the present one, if there is one."""
    record = _made.get()
    if record is not None:
        record.extend(made)


def equation(op: str, args: tuple[Var, ...], attrs: Any = None, shape: Shape = ()) -> Var:
    """Make a Var.

    Parameters
    ----------
    op : str
    args : tuple of Var
    attrs : record, optional
        Of the type that the table of ops says.
    shape : tuple of int
        Of an input or of noise; that of all else follows from the rest.

    Raises
    ------
    AssertionError
        Arguments or attributes that the op does not take.
    """
    var = Var(op, args, attrs, *infer(op, args, attrs, shape))
    made = _made.get()
    if made is not None:
        made.append(var)
    return var


def stand_in(name: Input, of: Var) -> Var:
    """Make a leaf that stands for a Var by row, where a kernel keeps its value in each lane as those by draw."""
    return Var("input", (), name, of.shape, of.kind, Level.DRAW)


def infer(op: str, args: Sequence[Var], attrs: Any, shape: Shape = ()) -> tuple[Shape, str, Level]:
    """Return the shape, kind and level of an equation."""
    row = OPS[op]
    assert isinstance(attrs, row.attributes), f"{op} with {attrs!r}"
    if row.category == "leaf":
        return _leaf(op, attrs, shape)
    kinds, shapes = [], []
    level = Level.DRAW if op == "copy" else Level.CONSTANT
    for arg in args:
        kinds.append(arg.kind)
        shapes.append(arg.shape)
        level = max(level, arg.level)
    if row.category == "elementwise":
        assert shapes.count(shapes[0]) == len(shapes), f"{op} of shapes {shapes}"
        return shapes[0], _kind(row, kinds), level
    return SHAPES[op](attrs, *shapes), _kind(row, kinds), level


def _leaf(op: str, attrs: Any, shape: Shape) -> tuple[Shape, str, Level]:
    if op == "const":
        return attrs.array.shape, "bool" if attrs.array.dtype == bool else "float", Level.CONSTANT
    if op == "noise":
        return shape, "float", Level.DRAW
    if op == "argument":
        return shape, "float", Level(attrs.level)
    return shape, "float", Level.ROW if isinstance(attrs, RowInput) else Level.CONSTANT


def _kind(row: Op, kinds: list[str]) -> str:
    if row.name == "where":
        assert kinds.pop(0) == "bool", "where with a condition that is not bool"
    wanted = kinds[-1] if row.takes == "any" else row.takes
    assert kinds.count(wanted) == len(kinds), f"{row.name} of {kinds}"
    return wanted if row.result == "same" else row.result


def _reshape(attrs: Any, x: Shape) -> Shape:
    assert prod(x) == prod(attrs.shape), f"reshape of {x} to {attrs.shape}"
    return tuple(attrs.shape)


def _transpose(attrs: Any, x: Shape) -> Shape:
    assert sorted(attrs.axes) == list(range(len(x))), f"transpose of {x} by {attrs.axes}"
    return tuple(x[axis] for axis in attrs.axes)


def _broadcast(attrs: Any, x: Shape) -> Shape:
    new = len(attrs.shape) - len(x)
    assert new >= 0, f"broadcast of {x} to {attrs.shape}"
    assert all(m in (1, n) for m, n in zip(x, attrs.shape[new:], strict=True)), f"broadcast of {x} to {attrs.shape}"
    return tuple(attrs.shape)


def _slice(attrs: Any, x: Shape) -> Shape:
    taken = [range(*bounds) for bounds in attrs.bounds]
    assert all(r.start >= 0 and r.step > 0 for r in taken), f"slice {attrs}"
    assert all(not r or r[-1] < n for r, n in zip(taken, x, strict=True)), f"slice {attrs} of {x}"
    return tuple(map(len, taken))


def _flip(attrs: Any, x: Shape) -> Shape:
    assert all(0 <= axis < len(x) for axis in attrs.axes), f"{attrs} of {x}"
    return x


def _pad(attrs: Any, x: Shape) -> Shape:
    return tuple(low + high + n + max(n - 1, 0) * gap for (low, high, gap), n in zip(attrs.widths, x, strict=True))


def _take(attrs: Any, x: Shape) -> Shape:
    index = attrs.index.array
    assert not index.size or (index.min() >= 0 and index.max() < prod(x)), f"take of {x}"
    return tuple(index.shape)


def _scatter_add(attrs: Any, x: Shape) -> Shape:
    index = attrs.index.array
    assert index.size == prod(x), f"scatter_add of {x} by an index of {index.shape}"
    assert not index.size or (index.min() >= 0 and index.max() < prod(attrs.shape)), f"scatter_add to {attrs.shape}"
    return tuple(attrs.shape)


def _gather(attrs: Any, x: Shape, index: Shape) -> Shape:
    assert 0 <= attrs.batch < len(x), f"gather of {x}, {attrs}"
    batch, extent, rest = attrs.split(x)
    assert extent, f"gather along an axis without elements, of {x}"
    assert index[: attrs.batch] == batch, f"gather of {x} at {index}, {attrs}"
    return (*index, *rest)


def _scatter(attrs: Any, x: Shape, places: Shape) -> Shape:
    assert x == places, f"scatter of {x} to places of shape {places}"
    return (attrs.size,)


def _concatenate(attrs: Any, *parts: Shape) -> Shape:
    before, after = parts[0][: attrs.axis], parts[0][attrs.axis + 1 :]
    assert all((x[: attrs.axis], x[attrs.axis + 1 :]) == (before, after) for x in parts), f"concatenate of {parts}"
    return (*before, sum(x[attrs.axis] for x in parts), *after)


def _reduce(attrs: Any, x: Shape) -> Shape:
    assert all(0 <= axis < len(x) for axis in attrs.axes), f"{attrs} of {x}"
    return tuple(n for axis, n in enumerate(x) if axis not in attrs.axes)


def _scan(attrs: Any, *shapes: Shape) -> Shape:
    assert shapes.count(shapes[0]) == len(shapes), f"scan of {shapes}"
    assert 0 <= attrs.axis < len(shapes[0]), f"{attrs} of {shapes[0]}"
    return shapes[0]


def _einsum(attrs: Any, *shapes: Shape) -> Shape:
    extents = attrs.extents(shapes)
    for letters, shape in zip(attrs.inputs, shapes, strict=True):
        assert len(set(letters)) == len(letters), f"einsum {attrs}"
        assert all(extents[letter] == n for letter, n in zip(letters, shape, strict=True)), f"{attrs} of {shapes}"
    return tuple(extents[letter] for letter in attrs.output)


def _square(x: Shape) -> Shape:
    assert len(x) > 1, f"matrices of shape {x}"
    assert x[-1] == x[-2] > 0, f"matrices of shape {x}"
    return x


def _solve(attrs: Any, x: Shape, b: Shape) -> Shape:
    assert _square(x)[:-1] == b[:-1], f"systems of shapes {x} and {b}"
    return b


def _part(attrs: Any, x: Shape) -> Shape:
    assert len(x) == 1, f"part of {x}"
    assert 0 <= attrs.start <= attrs.start + prod(attrs.shape) <= x[0], f"part {attrs} of {x}"
    return tuple(attrs.shape)


def _loop(attrs: Any, *shapes: Shape) -> Shape:
    params, results, carries = attrs.body.params, attrs.body.results, attrs.carries
    scanned = range(carries, carries + attrs.scanned)
    wanted = [(attrs.length, *param.shape) if i in scanned else param.shape for i, param in enumerate(params)]
    assert list(shapes) == wanted, f"loop of {shapes}, whose body takes {wanted}"
    carried = [param.shape for param in params[:carries]]
    assert [var.shape for var in results[:carries]] == carried, f"loop whose carries {carried} change their shape"
    assert all(var.kind == "float" for var in results), "loop with a result that is not float"
    running = attrs.running
    assert running is None or running < carries, f"loop while {running}, of {carries} carries"
    return (sum(prod(shape) for _, shape in attrs.places()),)


def _table(attrs: Any, x: Shape) -> Shape:
    return (*x, *attrs.table.shape)


def _native(attrs: Any, *shapes: Shape) -> Shape:
    return tuple(attrs.shape)


SHAPES: dict[str, Callable[..., Shape]] = {
    "reshape": _reshape,
    "transpose": _transpose,
    "broadcast": _broadcast,
    "slice": _slice,
    "flip": _flip,
    "take": _take,
    "pad": _pad,
    "concatenate": _concatenate,
    "gather": _gather,
    "scatter": _scatter,
    "scatter_add": _scatter_add,
    **dict.fromkeys(["sum", "prod", "max", "min"], _reduce),
    **dict.fromkeys(["cumsum", "cumprod", "linear_recurrence"], _scan),
    "einsum": _einsum,
    **dict.fromkeys(["cholesky", "cofactors", "eigenvectors"], lambda attrs, x: _square(x)),
    "eigvalsh": lambda attrs, x: _square(x)[:-1],
    "det": lambda attrs, x: _square(x)[:-2],
    "slogdet": lambda attrs, x: (*_square(x)[:-2], 2),
    **dict.fromkeys(["solve", "solve_triangular"], _solve),
    "part": _part,
    "loop": _loop,
    "table": _table,
    **dict.fromkeys(["native_value", "native_gradient"], _native),
}
