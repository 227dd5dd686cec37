"""Write the moments of an outer product: a thread has a few pairs of factors, and goes through all draws of the block.

Threads begin at different draws, so that they read different banks of shared memory.
"""

from __future__ import annotations

from mcgrad.codegen.cuda.context import BlockContext
from mcgrad.codegen.cuda.placement import SIDE
from mcgrad.ir.program import Output


def tiles(out: Output) -> tuple[int, int]:
    """How many pieces of work: of x, and of y."""
    x, y = out.var.args
    return -(-x.size // SIDE), -(-y.size // SIDE)


def size(out: Output) -> int:
    """Sums that are kept of an outer product: two of each pair, piece by piece."""
    rows, columns = tiles(out)
    return 2 * SIDE * SIDE * rows * columns


def write_outer(context: BlockContext, out: Output, first: int) -> None:
    """Add the turn's draws to the sums from `first` on."""
    add, source, shape = context.add, context.source, context.shape
    x, y = out.var.args
    rows, columns = tiles(out)
    add(f"# moments of {out.path} = {out.var.op}({out.var.attrs}): {SIDE} x {SIDE} pairs a thread")
    if shape.rows == 1:  # then no other step needs barriers, but here threads read each other's draws
        add("cuda.syncthreads()")
    add("item = thread")
    with source.block(f"while item < {rows * columns}:"):
        add(f"i0, j0 = int32(item // {columns} * {SIDE}), int32(item % {columns} * {SIDE})")
        add(f"x_at = int32(i0 * {shape.lanes} + {context.first_of(x)})")
        add(f"y_at = int32(j0 * {shape.lanes} + {context.first_of(y)})")
        for i in range(SIDE):
            add(f"p_at = int32({context.outputs[out]} + min(i0 + {i}, {x.size - 1}) * {y.size})")
            add(*(f"p{i}{j} = at(shift, p_at + min(j0 + {j}, {y.size - 1}))" for j in range(SIDE)))
        add(f"shifts = ({', '.join(f'p{i}{j}' for i in range(SIDE) for j in range(SIDE))})")
        add(f"moments = ({', '.join(['real(0)'] * SIDE**2)})", "moments, w = moments + moments, int32(0)")
        if not context.checked:
            with source.block("if whole:"):
                _write_draws(context, masked=False)
        with source.block("if True:" if context.checked else "if not whole:"):
            _write_draws(context, masked=True)
        for n in range(SIDE**2):
            add(f"r = int32(({n * rows * columns} + item) * 2 + {first})", "s, q = load2(sums, r)")
            add(f"store2(sums, r, s + moments[{2 * n}], q + moments[{2 * n + 1}])")
        add(f"item = int32(item + {shape.threads})")
    if shape.rows == 1:
        add("cuda.syncthreads()")


def _write_draws(context: BlockContext, masked: bool) -> None:
    """Write the loop over the draws; rows beyond the last of a factor are read, and what is made of them is dropped."""
    add, shape = context.add, context.shape
    with context.source.block(f"while w < {shape.groups}:"):
        add(f"l = int32((w + thread) % {shape.groups} * {shape.group})")
        factors = []
        for name in ("x", "y"):
            factors.append(", ".join(f"{name}{k}_" for k in range(SIDE)))
            add(f"l_{name} = int32({name}_at + l)")
            add(*(f"{name}{k}_ = load{shape.group}(ws, l_{name} + {k * shape.lanes})" for k in range(SIDE)))
        weights = f"load{shape.group}(ws, int32({context.first(context.placement.mask)} + l))" if masked else "()"
        add(f"moments = add_moments(moments, shifts, ({factors[0]}), ({factors[1]}), {weights})", "w = int32(w + 1)")


def write_results(context: BlockContext, out: Output, first: int, components: int) -> None:
    """Write the sums where the chunk's partial goes."""
    add, source = context.add, context.source
    x, y = out.var.args
    rows, columns = tiles(out)
    add("item = thread")
    with source.block(f"while item < {SIDE**2 * rows * columns}:"):
        add(f"n, place = int32(item // {rows * columns}), int32(item % {rows * columns})")
        add(f"i0 = int32(place // {columns} * {SIDE} + n // {SIDE})")
        add(f"j0 = int32(place % {columns} * {SIDE} + n % {SIDE})")
        with source.block(f"if i0 < {x.size} and j0 < {y.size}:"):
            add(f"s, q = load2(sums, int32(item * 2 + {first}))")
            add(f"r = int32({context.outputs[out]} + i0 * {y.size} + j0)")
            add("put(out, int64(r) * int64(chunks) + int64(chunk), float64(s))")
            add(f"put(out, int64(r + {components}) * int64(chunks) + int64(chunk), float64(q))")
        add(f"item = int32(item + {context.shape.threads})")
