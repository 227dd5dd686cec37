"""Write the moments of an outer product: a thread has a few pairs of factors, and goes through all draws of the block.

Threads begin at different draws, so that they read different banks of shared memory.
"""

from __future__ import annotations

from mcgrad.emit.block_context import BlockContext
from mcgrad.ir.program import Output

SIDE = 4  # factors of x, and of y, that a thread multiplies with each other


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
    pairs = [(i, j) for i in range(SIDE) for j in range(SIDE)]
    if shape.rows == 1:  # then no other step needs barriers, but here threads read each other's draws
        add("cuda.syncthreads()")
    add("item = thread")
    with source.block(f"while item < {rows * columns}:"):
        add(f"i0 = int32(item // {columns} * {SIDE})", f"j0 = int32(item % {columns} * {SIDE})")
        for name, extent, arg in (("i", x.size, x), ("j", y.size, y)):
            begin = context.first_of(arg)
            for k in range(SIDE):
                add(f"{name}_{k}_ = int32(min({name}0 + {k}, {extent - 1}) * {shape.lanes} + {begin})")
        pivot = context.outputs[out]
        for i, j in pairs:
            add(f"p{i}{j} = at(pivot, {pivot} + min(i0 + {i}, {x.size - 1}) * {y.size} + min(j0 + {j}, {y.size - 1}))")
            add(f"s{i}{j} = q{i}{j} = real(0)")
        add("w = int32(0)")
        if not context.careful:
            with source.block("if whole:"):
                _write_lanes(context, pairs, masked=False)
        with source.block("if True:" if context.careful else "if not whole:"):
            _write_lanes(context, pairs, masked=True)
        _write_sums(context, pairs, first, rows * columns)
        add(f"item = int32(item + {shape.threads})")
    if shape.rows == 1:
        add("cuda.syncthreads()")


def _write_lanes(context: BlockContext, pairs: list[tuple[int, int]], masked: bool) -> None:
    add, shape = context.add, context.shape
    with context.source.block(f"while w < {shape.groups}:"):
        add(f"l = int32((w + thread) % {shape.groups} * {shape.group})")
        if masked:
            add(context.loaded("w@", f"{context.first(context.placement.mask)} + l"))
        for k in range(SIDE):
            add(context.loaded(f"x{k}@", f"i_{k}_ + l"), context.loaded(f"y{k}@", f"j_{k}_ + l"))
        for i, j in pairs:
            add(f"d@ = x{i}@ * y{j}@ - p{i}{j}")
            if masked:
                add("d@ = select(w@ != real(0), d@, real(0))")
            add(f"s{i}{j} = s{i}{j} + d@", f"q{i}{j} = q{i}{j} + d@ * d@")
        add("w = int32(w + 1)")


def _write_sums(context: BlockContext, pairs: list[tuple[int, int]], first: int, items: int) -> None:
    for n, (i, j) in enumerate(pairs):
        context.add(f"r = int32(({n * items} + item) * 2 + {first})", "s, q = load2(sums, r)")
        context.add(f"store2(sums, r, s + s{i}{j}, q + q{i}{j})")


def write_results(context: BlockContext, out: Output, first: int, components: int) -> None:
    """Write the sums where the chunk's partial goes."""
    add, source = context.add, context.source
    x, y = out.var.args
    rows, columns = tiles(out)
    add("item = thread")
    with source.block(f"while item < {rows * columns}:"):
        for n, (i, j) in enumerate((i, j) for i in range(SIDE) for j in range(SIDE)):
            add(f"i0 = int32(item // {columns} * {SIDE} + {i})", f"j0 = int32(item % {columns} * {SIDE} + {j})")
            with source.block(f"if i0 < {x.size} and j0 < {y.size}:"):
                add(f"s, q = load2(sums, int32(({n * rows * columns} + item) * 2 + {first}))")
                add(f"r = int32({context.outputs[out]} + i0 * {y.size} + j0)")
                add("put(out, int64(r) * int64(chunks) + int64(chunk), float64(s))")
                add(f"put(out, int64(r + {components}) * int64(chunks) + int64(chunk), float64(q))")
        add(f"item = int32(item + {context.shape.threads})")
