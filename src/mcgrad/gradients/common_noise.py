"""Rows with common noise: one Program in which all rows of a batch are an axis, and read the same draws.

Draws are then independent, and rows are not: so the standard errors of sums over rows, and of differences between rows,
are those of their own means over the draws.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mcgrad.gradients.covariance import COVARIANCE, products_of
from mcgrad.ir.build import apply, input_, reduce, reshape, take
from mcgrad.ir.program import Level, Output, Program, Var
from mcgrad.ir.vmap import vmap
from mcgrad.simplify.fixed_point import simplify

Pairs = tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]

TOTAL, DIFFERENCES = "sum of the values", "differences of the values"
TOTAL_COVARIANCE = "covariance of the sum"


def with_common_noise(program: Program, rows: int, pairs: Pairs) -> Program:
    """Return the Program of all rows at once, without rows.

    Parameters
    ----------
    program : Program
        Of one row.
    rows : int
        At least 1.
    pairs : two int arrays
        The first and the second rows of the pairs that are compared.

    Returns
    -------
    Program
        Its outputs by row have the rows on their first axis; those that are summed over the rows are so in each draw.
        The sum of the values over the rows, what its covariance is made of where there is one by row, and the
        differences between the rows of each pair, follow.
    """
    found = outputs_of_rows(program, rows)
    values = _table(found[0])
    more = [Output(TOTAL, reduce("sum", values, (0,)))]
    for out in (out for out in found if out.path == COVARIANCE):
        deviations = _lines(_table(out), np.arange(rows), values.shape[1])
        more.append(Output(TOTAL_COVARIANCE, products_of(reduce("sum", deviations, (0,)))))
    if len(pairs[0]):
        first, second = (_lines(values, each, values.shape[1]) for each in pairs)
        more.append(Output(DIFFERENCES, apply("subtract", first, second)))
    return simplify(Program((*found, *more), program.dtype))


def of_rows(program: Program, rows: int) -> Program:
    """Return the Program of several rows at once: its outputs are what `outputs_of_rows` returns, or raises."""
    return simplify(Program(outputs_of_rows(program, rows), program.dtype))


def outputs_of_rows(program: Program, rows: int) -> tuple[Output, ...]:
    """Return the outputs of several rows at once, which read the same draws.

    Those by row have the rows on their first axis, as inputs by row have; those that are summed over the rows are so in
    each draw.

    Raises
    ------
    TypeError
        An op without a rule for several rows.
    """
    inputs = [var for var in program.equations() if var.op == "input" and var.level is Level.ROW]
    mapped = {var: input_(var.attrs.path, (rows, *var.shape), var.attrs.space) for var in inputs}
    roots = program.roots()
    by_root = dict(zip(roots, vmap(roots, mapped, rows), strict=True))

    def output(out: Output) -> Output:
        if out.summed:
            return Output(out.path, reduce("sum", by_root[out.var], (0,)), out.scale)
        return Output(out.path, by_root[out.var], by_root[out.scale] if out.scale is not None else None)

    return tuple(map(output, program.outputs))


def _table(out: Output) -> Var:
    """Return an output of all rows, with its factor, as a table: a line for each row."""
    var = out.var if out.scale is None else apply("multiply", out.var, out.scale)
    return reshape(var, (var.shape[0], var.size // var.shape[0]))


def _lines(table: Var, lines: npt.NDArray[np.intp], count: int) -> Var:
    """Return the first elements of some lines of a table."""
    return take(table, table.shape[1] * lines[:, None] + np.arange(count))
