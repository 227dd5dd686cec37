"""Print the moments of outer products that are summed over rows of a batch: products over the lanes, by BLAS.

Variances come from pairs of draws of a row (`kernels/pairs`): n draws have n // 2 degrees of freedom a row.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mcgrad.codegen.loops.access import resolve
from mcgrad.codegen.loops.cells import Buffer
from mcgrad.codegen.loops.loop_tree import Outer
from mcgrad.ir.program import Output

if TYPE_CHECKING:
    from mcgrad.codegen.cpu.printer import Printer

HELPERS = ["add_scaled", "copy_counted", "split_pairs"]  # of `kernels/pairs.py`


def pair_count(start: int, stop: int) -> int:
    """Return how many pairs there are among the draws start .. stop of a row."""
    return stop // 2 - (start + 1) // 2


def pair_rows(output: Output, lanes: int) -> int:
    """Return how many rows the factors, the products of their pairs and the outer product take."""
    x, y = output.var.args
    return x.size + y.size + -(-(x.size + y.size) // 2) + -(-output.var.size // lanes)


def pair_lines(printer: Printer, node: Outer, groups: int, first: int) -> Iterator[str]:
    """Add up an outer product of x and y over the lanes, and its variance if that is wanted: to totals from `first` on.

    Lanes carry `groups` draws of each row of the batch.
    """
    workspace, integer, out = printer.workspace, printer.integer, node.output
    lanes, mask = workspace.lanes, workspace.address(Buffer("mask"))
    x, y = out.var.args
    sizes, half = (integer(x.size), integer(y.size)), lanes // 2
    scratch = workspace.rows[Buffer("factors")].offset * lanes
    factors = (scratch, scratch + x.size * lanes)
    pairs = (factors[1] + y.size * lanes, factors[1] + y.size * lanes + x.size * half)
    product = scratch + (pair_rows(out, lanes) - -(-out.var.size // lanes)) * lanes
    yield f"# moments of {out.path} = {out.var.op}({out.var.attrs}): products over the lanes, by BLAS"
    for factor, arg, size in zip(factors, (x, y), sizes, strict=True):
        source = workspace.address(Buffer("value", resolve(arg).base))
        rows = f"{integer(factor)}, {integer(source)}, {size}"
        yield f"copy_counted(ws, {rows}, {lanes}, {groups}, {mask}, odd, position)"

    def add(target: str, operands: tuple[int, int], inner: int, factor: str) -> Iterator[str]:
        a, b = operands
        yield (
            f"gemm(blas, ws, {a}, {inner}, 0, ws, {b}, {inner}, 1, ws, {product}, {x.size}, {y.size}, {inner}, real(0))"
        )
        yield f"add_scaled({target}, {integer(first)}, ws, {integer(product)}, {integer(out.var.size)}, {factor})"

    yield from add("totals", factors, lanes, "1 / (stop - start)")
    if not out.error:
        return
    yield "pairs = (stop - start) * (stop // 2 - (start + 1) // 2)"
    for second, (pair, factor, size) in enumerate(zip(pairs, factors, sizes, strict=True)):
        rows = f"{integer(factor)}, {size}, {integer(pair)}"
        yield f"split_pairs(ws, {rows}, {lanes}, {groups}, {mask}, ({second}) != 0)"
    yield from add("variances", factors, lanes, "0.5 / pairs")
    yield from add("variances", pairs, half, "1 / pairs")
