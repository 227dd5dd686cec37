"""Write the calls of a user's own Numba functions."""

from __future__ import annotations

from mcgrad.codegen.loops.access import resolve
from mcgrad.codegen.loops.context import Context
from mcgrad.ir.program import Var


def write_call(context: Context, var: Var) -> None:
    """Gather each lane's draw into an array, call the function, scatter what it gives."""
    lanes, add = context.layout.lanes, context.source.add
    z, *rest = var.args
    (call, own), load = context.native(var), context.load(resolve(z).base)
    first, target = context.first_of(z), context.first_of(var)
    add(f"# {context.names[var]}: {own}, lane by lane")
    args = []
    for i, arg in enumerate(rest):
        start, shape = context.scalar_offset(arg), f"({', '.join(map(str, arg.shape))},)"
        args.append(f"a{i}_")
        add(f"a{i}_ = " + (f"c[{start} : {start + arg.size}].reshape({shape})" if arg.shape else f"c[{start}]"))
    add(f"z_ = np.empty({z.size}, real)")
    if var.op == "native_gradient":
        add(f"g_ = np.empty({z.size}, real)")
    with context.source.block(f"for w in range({lanes}):"):
        with context.source.block(f"for i in range({z.size}):"):
            add(f"z_[i] = {load}(ws, {first} + i * {lanes} + w)")
        if var.op == "native_value":
            add(f"put(ws, {target} + w, {call}({', '.join(['z_', *args])}))")
        else:
            add(f"{call}({', '.join(['z_', 'g_', *args])})")
            with context.source.block(f"for i in range({z.size}):"):
                add(f"put(ws, {target} + i * {lanes} + w, g_[i])")
