"""Print the moments of outer products that are summed over rows of a batch.

Variances come from pairs of draws of a row (`kernels/pairs`): n draws have n // 2 degrees of freedom a row.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mcgrad.codegen.loops.access import resolve
from mcgrad.codegen.loops.cells import Buffer
from mcgrad.codegen.loops.loop_tree import Outer

if TYPE_CHECKING:
    from mcgrad.codegen.cpu.printer import Printer

HELPERS = ["add_pairs", "add_products", "mark_odd"]  # of `kernels/pairs.py`


def pair_count(start: int, stop: int) -> int:
    """Return how many pairs there are among the draws start .. stop of a row."""
    return stop // 2 - (start + 1) // 2


def pair_lines(printer: Printer, node: Outer, groups: int, first: int) -> Iterator[str]:
    """Add up an outer product of x and y over the lanes, and its variance if that is wanted: to totals from `first` on.

    Lanes carry `groups` draws of each row of the batch.
    """
    workspace, integer, out = printer.workspace, printer.integer, node.output
    lanes, mask = workspace.lanes, workspace.address(Buffer("mask"))
    yield f"# moments of {out.path} = {out.var.op}({out.var.attrs})"
    factors = []
    for arg in out.var.args:
        rows = f"{integer(workspace.address(Buffer('value', resolve(arg).base)))}, {integer(arg.size)}"
        yield f"mark_odd(ws, {rows}, {lanes}, {groups}, {mask}, odd, position)"
        factors.append(rows)
    whole = f"not partial and rows == {lanes // groups}"
    if not out.error:
        place = f"{integer(first)}, 1 / (stop - start)"
        yield f"add_products(ws, {', '.join(factors)}, {lanes}, {mask}, {whole}, totals, {place})"
        return
    yield "pairs = (stop - start) * (stop // 2 - (start + 1) // 2)"
    where = f"{lanes}, {groups}, {mask}, {whole}, totals, variances, {integer(first)}"
    yield f"add_pairs(ws, {', '.join(factors)}, {where}, 1 / (stop - start), 0.5 / pairs)"
