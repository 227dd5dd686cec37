"""Print calls of BLAS: products of matrices with the lane block."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mcgrad.codegen.loops.loop_tree import Gemm
from mcgrad.codegen.loops.lower import contraction_labels

if TYPE_CHECKING:
    from mcgrad.codegen.cpu.printer import Printer


class LaneProduct(NamedTuple):
    """Operands of a product of a matrix and rows of lanes, as text.

    Parameters
    ----------
    matrix, first, lead, flipped : str
        An argument with a matrix, its first element there, the distance between stored rows, and 1 if it is stored with
        the contracted axis first.
    source, target : str
        Addresses of the rows of lanes, and of those of the product.
    rows, columns, inner : str
        Of the product, and how many elements are contracted.
    added_to : str
        Not zero where the product is added to what the target has.
    """

    matrix: str
    first: str
    lead: str
    flipped: str
    source: str
    target: str
    rows: str
    columns: str
    inner: str
    added_to: str


def product_lines(printer: Printer, node: Gemm) -> Iterator[str]:
    """Multiply a draw-independent matrix and the lane block of the operand."""
    var, workspace = node.var, printer.workspace
    matrix, flipped, batch, m, k, p = product_sizes(printer, node)
    lanes, lead = workspace.lanes, m if flipped else k
    first, rows, inner, add = "0", str(m), str(k), "0"
    source, target = str(workspace.address(node.source)), str(workspace.address(node.target))
    if node.tile == "inner":
        first, inner, add = f"t0 * {m if flipped else 1}", "t1 - t0", "t0"
        source += "" if node.source.within else f" + t0 * {lanes}"
    elif node.tile == "rows":
        first, rows = f"t0 * {1 if flipped else k}", "t1 - t0"
        target += "" if node.target.within else f" + t0 * {lanes}"
    elif batch > 1:
        first, source, target = f"b * {m * k}", f"{source} + b * {k * p * lanes}", f"{target} + b * {m * p * lanes}"
    call = printer.multiplication(
        LaneProduct(matrix, first, str(lead), str(int(flipped)), source, target, rows, str(p * lanes), inner, add)
    )
    yield f"# {printer.arguments.names[var]} = {var.op}({var.attrs}), {printer.multiplied}"
    if node.tile == "whole" and batch > 1:
        yield f"for b in range({printer.integer(batch)}):"
        yield f"    {call}"
    else:
        yield call


def product_sizes(printer: Printer, node: Gemm) -> tuple[str, bool, int, int, int, int]:
    """The argument that holds the matrix, whether it is k x m, the number of products, and m, k and columns of each."""
    parts = contraction_labels(node.var)
    fixed, operand = node.var.args[parts.fixed], node.var.args[1 - parts.fixed]
    extent = dict(zip(parts.matrix, fixed.shape, strict=True)) | dict(zip(parts.lanes, operand.shape, strict=True))
    batch, m, k, p = (
        int(np.prod([extent[x] for x in labels], initial=1))
        for labels in (parts.batch, parts.rows, parts.contracted, parts.columns)
    )
    return *_matrix(printer, node), batch, m, k, p


def _matrix(printer: Printer, node: Gemm) -> tuple[str, bool]:
    """The argument that holds a draw-independent matrix, and whether its rows and contracted axes are swapped."""
    parts = contraction_labels(node.var)
    fixed = node.var.args[parts.fixed]
    wanted = parts.batch + parts.rows + parts.contracted
    swapped = parts.batch + parts.contracted + parts.rows
    order = list(range(len(fixed.shape)))
    if fixed.op == "transpose":  # its operand is given as it is
        fixed, order = fixed.args[0], [fixed.attrs.axes.index(i) for i in order]
    natural = [parts.matrix[i] for i in order]
    flipped = natural == swapped
    axes = tuple(natural.index(x) for x in (swapped if flipped else wanted))
    return printer.arguments.matrix(fixed, axes), flipped
