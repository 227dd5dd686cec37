"""Rows with common noise: one Program in which all rows of a batch are an axis, and read the same draws.

Draws are then independent, and rows are not: so the standard errors of sums over rows, and of differences between rows,
are those of their own means over the draws.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mcgrad.ir.build import apply, input_, reduce, take
from mcgrad.ir.program import Level, Output, Program
from mcgrad.ir.vmap import vmap
from mcgrad.simplify.fixed_point import simplify

Pairs = tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]

TOTAL, DIFFERENCES = "sum of the values", "differences of the values"


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
        The sum of the values over the rows, and the differences between the rows of each pair, follow.
    """
    inputs = [var for var in program.equations() if var.op == "input" and var.level is Level.ROW]
    mapped = {var: input_(var.attrs.path, (rows, *var.shape), var.attrs.space) for var in inputs}
    roots = program.roots()
    of_rows = dict(zip(roots, vmap(roots, mapped, rows), strict=True))

    def output(out: Output) -> Output:
        if out.summed:
            return Output(out.path, reduce("sum", of_rows[out.var], (0,)), out.scale)
        return Output(out.path, of_rows[out.var], of_rows[out.scale] if out.scale is not None else None)

    first = program.outputs[0]
    values = of_rows[first.var] if first.scale is None else apply("multiply", of_rows[first.var], of_rows[first.scale])
    found = [*map(output, program.outputs), Output(TOTAL, reduce("sum", values, (0,)))]
    if len(pairs[0]):
        found.append(Output(DIFFERENCES, apply("subtract", *(take(values, each) for each in pairs))))
    return simplify(Program(tuple(found), program.dtype))
