"""Write what BLAS computes: products of matrices with the lane block, and the moments of outer products."""

from __future__ import annotations

import numpy as np

from mcgrad.codegen.loops.access import resolve
from mcgrad.codegen.loops.context import Context
from mcgrad.codegen.loops.lower import contraction_labels
from mcgrad.ir.program import Output, Var


def write_product(context: Context, var: Var, tiled: bool = False) -> None:
    """Multiply a draw-independent matrix and the lane block of the operand.

    In a tile the product is one of two: it computes the rows t0 .. t1 of its result, or it contracts over them and adds
    to a result that is complete after the last tile.
    """
    parts = contraction_labels(var)
    fixed, operand = var.args[parts.fixed], var.args[1 - parts.fixed]
    extent = dict(zip(parts.matrix, fixed.shape, strict=True)) | dict(zip(parts.lanes, operand.shape, strict=True))
    batch, m, k, p = (
        int(np.prod([extent[x] for x in labels], initial=1))
        for labels in (parts.batch, parts.rows, parts.contracted, parts.columns)
    )
    matrix, flipped = _matrix(context, fixed, parts)
    lanes, lead, base = context.layout.lanes, m if flipped else k, resolve(operand).base
    first, rows, inner, beta = "0", str(m), str(k), "real(0)"
    source, target = str(context.first_of(operand)), str(context.first_of(var))
    if tiled and base in context.tiled:
        first, inner, beta = f"t0 * {m if flipped else 1}", "t1 - t0", "select(t0 == 0, real(0), real(1))"
        source += "" if base in context.plan.local else f" + t0 * {lanes}"
    elif tiled:
        first, rows = f"t0 * {1 if flipped else k}", "t1 - t0"
        target += "" if var in context.plan.local else f" + t0 * {lanes}"
    elif batch > 1:
        first, source, target = f"b * {m * k}", f"{source} + b * {k * p * lanes}", f"{target} + b * {m * p * lanes}"
    call = (
        f"gemm(blas, {matrix}, {first}, {lead}, {int(flipped)}, ws, {source}, {p * lanes}, 0, "
        f"ws, {target}, {rows}, {p * lanes}, {inner}, {beta})"
    )
    context.source.add(f"# {context.names[var]} = {var.op}({var.attrs}), by BLAS")
    if tiled or batch == 1:
        context.source.add(call)
    else:
        with context.source.block(f"for b in range({context.integer(batch)}):"):
            context.source.add(call)


def _matrix(context: Context, fixed: Var, parts: contraction_labels) -> tuple[str, bool]:
    """The argument that holds a draw-independent matrix, and whether its rows and contracted axes are swapped."""
    context.uses_blas = True
    wanted = parts.batch + parts.rows + parts.contracted
    swapped = parts.batch + parts.contracted + parts.rows
    order = list(range(len(fixed.shape)))
    if fixed.op == "transpose":  # its operand is given as it is
        fixed, order = fixed.args[0], [fixed.attrs.axes.index(i) for i in order]
    natural = [parts.matrix[i] for i in order]
    flipped = natural == swapped
    key = (fixed, tuple(natural.index(x) for x in (swapped if flipped else wanted)))
    return f"x{context.matrices.setdefault(key, len(context.matrices))}", flipped


def write_outer_moments(context: Context, out: Output) -> None:
    """Average an outer product of x and y and its squares: over the lanes, X Y^T and the same of the squares."""
    layout, add = context.layout, context.source.add
    x, y = out.var.args
    add(f"# moments of {out.path} = {out.var.op}({out.var.attrs}): products over the lanes, by BLAS")
    factors = [context.first_of(arg) for arg in (x, y)]
    with context.source.block("if True:" if context.checked else "if partial:"):
        for factor, arg in zip(factors, (x, y), strict=True):
            rows = f"{context.integer(factor)}, {context.integer(arg.size)}"
            add(f"mask_rows(ws, {rows}, {layout.lanes}, {context.first(layout.mask)})")
    squared = [context.first(layout.scratch), context.first(layout.scratch + x.size)]
    product = context.first(layout.scratch + x.size + y.size)
    for target, factor, arg in zip(squared, factors, (x, y), strict=True):
        add(f"square_rows(ws, {', '.join(map(context.integer, (target, factor, arg.size * layout.lanes)))})")
    for name, (a, b) in (("sums", factors), ("squares", squared)):
        operands = f"ws, {a}, {layout.lanes}, 0, ws, {b}, {layout.lanes}, 1, ws, {product}"
        add(f"gemm(blas, {operands}, {x.size}, {y.size}, {layout.lanes}, real(0))")
        first, source, count = map(context.integer, (context.outputs[out], product, out.var.size))
        add(f"add_rows({name}, {first}, ws, {source}, {count})")
