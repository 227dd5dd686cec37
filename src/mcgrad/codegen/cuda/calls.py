"""Print the calls of a user's own Numba functions by a block of threads: each thread calls them for some draws."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mcgrad.codegen.loops.access import resolve
from mcgrad.codegen.loops.cells import Buffer
from mcgrad.codegen.text import indented
from mcgrad.ir.program import Var

if TYPE_CHECKING:
    from mcgrad.codegen.cuda.printer import ThreadPrinter


def call_lines(printer: ThreadPrinter, var: Var) -> Iterator[str]:
    """Gather each draw into an array, call the function, scatter what it gives."""
    shape, arguments = printer.shape, printer.arguments
    z, *rest = var.args
    (call, own), name = arguments.user_function(var), arguments.names[var]
    first, target = (printer.workspace.address(Buffer("value", of)) for of in (resolve(z).base, var))
    yield f"# {name}: {own}, draw by draw"
    args = []
    for i, arg in enumerate(rest):
        start, extents = arguments.scalar(arg), f"({', '.join(map(str, arg.shape))},)"
        args.append(f"{name}_{i}")
        where = f"{arguments.memory(arg)}, {start}"
        yield f"{name}_{i} = " + (f"array_at({where}, {extents})" if arg.shape else f"at({where})")
    yield f"{name}_z = cuda.local.array({z.size}, real_type)"
    if var.op == "native_gradient":
        yield f"{name}_g = cuda.local.array({z.size}, real_type)"
    alone = shape.rows == 1  # then other threads may be ahead: each takes its own draws
    body = [f"for i in range({z.size}):", f"    {name}_z[i] = at(ws, int32({first} + i * {shape.lanes} + w))"]
    if var.op == "native_value":
        body.append(f"put(ws, int32({target} + w), real({call}({', '.join([f'{name}_z', *args])})))")
    else:
        body.append(f"{call}({', '.join([f'{name}_z', f'{name}_g', *args])})")
        body.append(f"for i in range({z.size}):")
        body.append(f"    put(ws, int32({target} + i * {shape.lanes} + w), {name}_g[i])")
    body.append(f"w = int32(w + {1 if alone else shape.threads})")
    yield "w = lane" if alone else "w = thread"
    yield from (f"while w < {f'lane + {shape.group}' if alone else shape.lanes}:", *indented(body))
