"""Write the calls of a user's own Numba functions by a block of threads: each thread calls them for some draws."""

from __future__ import annotations

from mcgrad.codegen.cuda.context import BlockContext
from mcgrad.ir.program import Var


def write_call(context: BlockContext, var: Var) -> None:
    """Gather each draw into an array, call the function, scatter what it gives."""
    add, source, shape, lanes = context.add, context.source, context.shape, context.shape.lanes
    z, *rest = var.args
    (call, own), name = context.native(var), context.names[var]
    first, target = context.first_of(z), context.first_of(var)
    add(f"# {name}: {own}, draw by draw")
    args = []
    for i, arg in enumerate(rest):
        start, extents = context.scalar_offset(arg), f"({', '.join(map(str, arg.shape))},)"
        args.append(f"{name}_{i}")
        add(f"{name}_{i} = " + (f"array_at(c, {start}, {extents})" if arg.shape else f"at(c, {start})"))
    add(f"{name}_z = cuda.local.array({z.size}, real_type)")
    if var.op == "native_gradient":
        add(f"{name}_g = cuda.local.array({z.size}, real_type)")
    alone = shape.rows == 1  # then other threads may be ahead: each takes its own draws
    add("w = lane" if alone else "w = thread")
    with source.block(f"while w < {f'lane + {shape.group}' if alone else lanes}:"):
        with source.block(f"for i in range({z.size}):"):
            add(f"{name}_z[i] = at(ws, int32({first} + i * {lanes} + w))")
        if var.op == "native_value":
            add(f"put(ws, int32({target} + w), real({call}({', '.join([f'{name}_z', *args])})))")
        else:
            add(f"{call}({', '.join([f'{name}_z', f'{name}_g', *args])})")
            with source.block(f"for i in range({z.size}):"):
                add(f"put(ws, int32({target} + i * {lanes} + w), {name}_g[i])")
        add(f"w = int32(w + {1 if alone else shape.threads})")
