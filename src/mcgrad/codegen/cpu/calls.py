"""Print the calls of a user's own Numba functions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mcgrad.codegen.loops.access import resolve
from mcgrad.codegen.loops.cells import Buffer
from mcgrad.ir.program import Var

if TYPE_CHECKING:
    from mcgrad.codegen.cpu.printer import Printer


def call_lines(printer: Printer, var: Var) -> Iterator[str]:
    """Gather each lane's draw into an array, call the function, scatter what it gives."""
    lanes, arguments = printer.workspace.lanes, printer.arguments
    z, *rest = var.args
    base = resolve(z).base
    call, own = arguments.user_function(var)
    load = "at_sum" if Buffer("value", base).is_added_to else "at"
    first, target = (printer.workspace.address(Buffer("value", of)) for of in (base, var))
    yield f"# {arguments.names[var]}: {own}, lane by lane"
    args = []
    for i, arg in enumerate(rest):
        start, shape = arguments.scalar(arg), f"({', '.join(map(str, arg.shape))},)"
        args.append(f"a{i}_")
        yield f"a{i}_ = " + (f"c[{start} : {start + arg.size}].reshape({shape})" if arg.shape else f"c[{start}]")
    yield f"z_ = np.empty({z.size}, real)"
    if var.op == "native_gradient":
        yield f"g_ = np.empty({z.size}, real)"
    yield f"for w in range({lanes}):"
    yield f"    for i in range({z.size}):"
    yield f"        z_[i] = {load}(ws, {first} + i * {lanes} + w)"
    if var.op == "native_value":
        yield f"    put(ws, {target} + w, {call}({', '.join(['z_', *args])}))"
    else:
        yield f"    {call}({', '.join(['z_', 'g_', *args])})"
        yield f"    for i in range({z.size}):"
        yield f"        put(ws, {target} + i * {lanes} + w, g_[i])"
