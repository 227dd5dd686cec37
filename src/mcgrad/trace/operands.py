"""Arguments of traced NumPy calls: operands as Vars, axes as tuples of numbers, dtypes as kinds."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from mcgrad.ir import build
from mcgrad.ir.program import Level, Var, toposort
from mcgrad.ir.spaces import Space
from mcgrad.trace.foreign import refuse_operand
from mcgrad.trace.refuse import refusal

IN_ARGUMENTS = "give it in params= or data="
DTYPES = {"float": np.dtype(np.float64), "bool": np.dtype(np.bool_)}


def operand(value: Any) -> Var:
    """Return an argument as a Var: a Var as it is, nested lists that hold Vars stacked, anything else as a constant.

    Raises
    ------
    ValueError
        Nested lists whose parts differ in shape.
    """
    if isinstance(value, Var):
        return value
    if isinstance(value, list | tuple) and holds_var(value):
        parts = [operand(part) for part in value]
        if len({part.shape for part in parts}) > 1:
            found = ", ".join(str(part.shape) for part in parts)
            raise ValueError(
                f"setting an array element with a sequence: the parts have the shapes {found}, which differ"
            )
        return build.concatenate([build.reshape(part, (1, *part.shape)) for part in parts], 0)
    if type(value) not in (float, int, bool):
        refuse_operand(value)
    try:
        array = np.asarray(value)
        return build.const(array)
    except Exception as error:  # whatever another library's array raises where it refuses to become NumPy's
        if isinstance(value, np.ndarray | list | tuple | np.generic):
            given = f"an array of dtype {array.dtype}" if "array" in locals() else "a nested sequence"
        elif _traced_by_jax(value):
            raise refusal("a value of a transformation of JAX around f, which f reads,", IN_ARGUMENTS) from error
        else:
            given = type(value).__name__
        raise refusal(f"{given} as an operand", "accepted are real numbers, booleans and arrays of them") from error


def _traced_by_jax(value: Any) -> bool:
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(value, jax.core.Tracer)


def index_remedy(*values: Any, library: str = "np") -> str | None:
    """Say how a traced value becomes an index, where it is data or a parameter and no draw; None for a draw.

    Parameters
    ----------
    *values : object
    library : str
        The name of the library whose functions f calls.
    """
    for value in values:
        if isinstance(value, Var) and not value.by_draw:
            inputs = sorted({var.attrs for var in toposort([value]) if var.op == "input"})
            names = [path for _, path in inputs]
            if value.level is Level.ROW:
                own = f"{' and '.join(names)} differs by row, where integers are floats"
                chosen = f"{library}.sum({library}.where({library}.arange(len(x)) == i, x, 0.0))"
                return f"{own}; for x[i] write {chosen}"
            if inputs and all(space is Space.DATA for space, _ in inputs):
                given, whole = " and ".join(names), "x.long()" if library == "torch" else "x.astype(int)"
                return f"{given} is float data, and only integers may index: data={{{names[0]!r}: {whole}}}"
            if inputs:
                return f"{' and '.join(names)} is a parameter; integers that index are data, data={{'i': [0, 2]}}"
    return None


def holds_var(value: Any) -> bool:
    """Whether a Var is anywhere in nested lists and tuples."""
    return isinstance(value, Var) or (isinstance(value, list | tuple) and any(holds_var(part) for part in value))


def axes_of(axis: Any, ndim: int) -> tuple[int, ...]:
    """Return axes as non-negative numbers, in increasing order; None means all."""
    return tuple(range(ndim)) if axis is None else tuple(sorted(normalize_axis_tuple(axis, ndim, "axis")))


def axis_of(axis: Any, ndim: int) -> int:
    """Return one axis as a non-negative number."""
    return int(normalize_axis_tuple(axis, ndim, "axis")[0])


def as_dtype(x: Var, dtype: Any, call: str) -> Var:
    """Convert to float or bool; the width of floats is the estimator's to choose."""
    if dtype is None:
        return x
    kind = np.dtype(dtype).kind
    if kind == "f":
        return build.apply("float", x)
    if kind == "b":
        return x if x.kind == "bool" else build.apply("not_equal", x, 0.0)
    raise refusal(f"{call} to {np.dtype(dtype)}", "accepted are float and bool; np.floor, np.ceil and np.trunc round")


def index_of(x: Var) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return an array of the shape of `x` that holds the flat index of every element."""
    return np.arange(x.size).reshape(x.shape)
