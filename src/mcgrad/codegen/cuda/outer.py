"""Print the moments of an outer product: a thread has a few pairs of factors, and goes through all draws of the block.

Threads begin at different draws, so that they read different banks of shared memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mcgrad.codegen.cuda.allocate import SIDE
from mcgrad.codegen.loops.access import resolve
from mcgrad.codegen.loops.cells import Buffer
from mcgrad.codegen.loops.loop_tree import Outer
from mcgrad.codegen.text import indented
from mcgrad.ir.program import Output

if TYPE_CHECKING:
    from mcgrad.codegen.cuda.printer import ThreadPrinter
    from mcgrad.codegen.cuda.sums import Write


def tiles(out: Output) -> tuple[int, int]:
    """How many pieces of work: of x, and of y."""
    x, y = out.var.args
    return -(-x.size // SIDE), -(-y.size // SIDE)


def size(out: Output) -> int:
    """Sums that are kept of an outer product: two of each pair, piece by piece."""
    rows, columns = tiles(out)
    return 2 * SIDE * SIDE * rows * columns


def outer_lines(printer: ThreadPrinter, node: Outer) -> Iterator[str]:
    """Add the turn's draws to the sums."""
    out, alone = node.output, printer.shape.rows == 1
    rows, columns = tiles(out)
    yield f"# moments of {out.path} = {out.var.op}({out.var.attrs}): {SIDE} x {SIDE} pairs a thread"
    if alone:  # then no other step needs barriers, but here threads read each other's draws
        yield "cuda.syncthreads()"
    yield from ("item = thread", f"while item < {rows * columns}:", *indented(_item(printer, node)))
    if alone:
        yield "cuda.syncthreads()"


def _item(printer: ThreadPrinter, node: Outer) -> Iterator[str]:
    """One piece of work."""
    out, lanes = node.output, printer.workspace.lanes
    x, y = out.var.args
    rows, columns = tiles(out)
    first = printer.sums.first(out, printer.shape)
    yield f"i0, j0 = int32(item // {columns} * {SIDE}), int32(item % {columns} * {SIDE})"
    for name, axis, factor in (("x", "i0", x), ("y", "j0", y)):
        address = printer.workspace.address(Buffer("value", resolve(factor).base))
        yield f"{name}_at = int32({axis} * {lanes} + {address})"
    for i in range(SIDE):
        yield f"p_at = int32({printer.arguments.outputs[out]} + min(i0 + {i}, {x.size - 1}) * {y.size})"
        yield from (f"p{i}{j} = at(shift, p_at + min(j0 + {j}, {y.size - 1}))" for j in range(SIDE))
    yield f"shifts = ({', '.join(f'p{i}{j}' for i in range(SIDE) for j in range(SIDE))})"
    yield from (f"moments = ({', '.join(['real(0)'] * SIDE**2)})", "moments, w = moments + moments, int32(0)")
    if node.masked == "partial":
        yield from ("if whole:", *indented(_draws(printer, masked=False)))
    yield from ("if True:" if node.masked == "always" else "if not whole:", *indented(_draws(printer, masked=True)))
    for n in range(SIDE**2):
        yield from (f"r = int32(({n * rows * columns} + item) * 2 + {first})", "s, q = load2(sums, r)")
        yield f"store2(sums, r, s + moments[{2 * n}], q + moments[{2 * n + 1}])"
    yield f"item = int32(item + {printer.shape.threads})"


def _draws(printer: ThreadPrinter, masked: bool) -> Iterator[str]:
    """The loop over the draws; rows beyond the last of a factor are read, and what is made of them is dropped."""
    shape = printer.shape
    lines, factors = [f"l = int32((w + thread) % {shape.groups} * {shape.group})"], []
    for name in ("x", "y"):
        factors.append(", ".join(f"{name}{k}_" for k in range(SIDE)))
        lines.append(f"l_{name} = int32({name}_at + l)")
        lines += [f"{name}{k}_ = load{shape.group}(ws, l_{name} + {k * shape.lanes})" for k in range(SIDE)]
    mask = printer.workspace.address(Buffer("mask"))
    weights = f"load{shape.group}(ws, int32({mask} + l))" if masked else "()"
    lines += [f"moments = add_moments(moments, shifts, ({factors[0]}), ({factors[1]}), {weights})", "w = int32(w + 1)"]
    yield from (f"while w < {shape.groups}:", *indented(lines))


def result_lines(printer: ThreadPrinter, out: Output, write: Write) -> Iterator[str]:
    """Write what becomes of the sums."""
    x, y = out.var.args
    rows, columns = tiles(out)
    first = printer.sums.first(out, printer.shape)
    pair = [
        f"s, q = load2(sums, int32(item * 2 + {first}))",
        f"r = int32({printer.arguments.outputs[out]} + i0 * {y.size} + j0)",
        *write("r", f"r + {printer.sums.components}", "float64(s)", "float64(q)"),
    ]
    body = [
        f"n, place = int32(item // {rows * columns}), int32(item % {rows * columns})",
        f"i0 = int32(place // {columns} * {SIDE} + n // {SIDE})",
        f"j0 = int32(place % {columns} * {SIDE} + n % {SIDE})",
        f"if i0 < {x.size} and j0 < {y.size}:",
        *indented(pair),
        f"item = int32(item + {printer.shape.threads})",
    ]
    yield from ("item = thread", f"while item < {SIDE**2 * rows * columns}:", *indented(body))
