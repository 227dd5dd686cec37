"""Bring a body into the form that loop nests can express, without changing its meaning.

- A contraction of a random operand with a draw-independent matrix stays (BLAS computes it on the whole lane block),
  and so does an outer product that is itself an output (its mean is a matrix product over the lanes). Every other
  einsum becomes a product and a sum, which fuse with their neighbours.
- The operands of pad and concatenate become equations of their own, computed straight into their place.
"""

import numpy as np

from mcgrad.codegen.loops.access import resolve
from mcgrad.ir.build import apply, broadcast, concatenate, copy, einsum, pad, rebuild, reduce, reshape, transpose
from mcgrad.ir.ops import ASSEMBLY, OPS, REDUCTIONS, VIEWS
from mcgrad.ir.program import Output, Program, Var, contraction_size, toposort

SMALL_CONTRACTION = 64  # multiplications below which a fused loop beats a call of BLAS
SMALL_OUTER = 64  # elements below which an outer product is averaged element by element


def lower(program: Program) -> Program:
    """Return the Program with every einsum but matrix products expanded, and assemblies of fresh parts."""
    new: dict[Var, Var] = {}
    outer = {out.var for out in program.outputs if is_outer(out.var)}
    placed: set[Var] = set()  # computed straight into their place in an assembly
    kept: set[Var] = set()  # must stay in C order, as BLAS and users' functions read them
    for var in toposort(program.roots()):
        args = tuple(new[arg] for arg in var.args)
        if var.by_draw and var.op in ASSEMBLY:
            args = tuple(_fresh(arg, placed, kept) for arg in args)
            new[var] = pad(args[0], var.attrs.widths) if var.op == "pad" else concatenate(args, var.attrs.axis)
        elif OPS[var.op].group == "native":
            new[var] = rebuild(var, (_whole(args[0], placed, kept), *args[1:]))
        elif var.by_draw and var.op == "einsum" and is_matrix_product(var):
            new[var] = _canonical(var, args, placed, kept)
        elif var in outer:
            new[var] = rebuild(var, tuple(_whole(arg, placed, kept) for arg in args))
        elif var.by_draw and var.op == "einsum":
            new[var] = _expanded(var, args)
        else:
            new[var] = var if args == var.args else rebuild(var, args)
    return Program(tuple(Output(out.path, new[out.var], out.scale) for out in program.outputs), program.dtype)


def expand(program: Program) -> Program:
    """Return the Program with every einsum written as a product and a sum."""
    new: dict[Var, Var] = {}
    for var in toposort(program.roots()):
        args = tuple(new[arg] for arg in var.args)
        if var.by_draw and var.op == "einsum":
            new[var] = _expanded(var, args)
        else:
            new[var] = var if args == var.args else rebuild(var, args)
    return Program(tuple(Output(out.path, new[out.var], out.scale) for out in program.outputs), program.dtype)


def is_matrix_product(var: Var) -> bool:
    """Whether this is a contraction of a random operand with a draw-independent one, large enough for BLAS."""
    if var.op != "einsum" or len(var.args) != 2 or var.args[0].by_draw == var.args[1].by_draw:
        return False
    parts = contraction_labels(var)
    whole = len(parts.batch + parts.rows + parts.contracted) == len(parts.matrix)
    whole &= len(parts.batch + parts.columns + parts.contracted) == len(parts.lanes)
    return whole and bool(parts.contracted and parts.rows) and contraction_size(var) >= SMALL_CONTRACTION


def is_outer(var: Var) -> bool:
    """Whether this is an outer product of two random operands, large enough for BLAS."""
    if var.op != "einsum" or len(var.args) != 2 or not all(arg.by_draw for arg in var.args):
        return False
    (left, right), output = var.attrs.inputs, var.attrs.output
    return output == left + right and not set(left) & set(right) and var.size >= SMALL_OUTER and bool(left and right)


class contraction_labels:  # noqa: N801 - reads as a function
    """The labels of a matrix product by their part: batch, rows, contracted, columns."""

    def __init__(self, var: Var) -> None:
        labels, output = var.attrs.inputs, var.attrs.output
        self.fixed = 0 if not var.args[0].by_draw else 1  # which operand no draw changes
        matrix, lanes = labels[self.fixed], labels[1 - self.fixed]
        self.matrix, self.lanes, self.output = matrix, lanes, output
        self.batch = [x for x in output if x in matrix and x in lanes]
        self.rows = [x for x in matrix if x in output and x not in lanes]
        self.columns = [x for x in lanes if x in output and x not in matrix]
        self.contracted = [x for x in matrix if x in lanes and x not in output]


def _canonical(var: Var, args: tuple[Var, ...], placed: set[Var], kept: set[Var]) -> Var:
    """A matrix product whose operand and result have the axes (batch, contracted | rows, columns), in C order."""
    parts = contraction_labels(var)
    wanted = [*parts.batch, *parts.contracted, *parts.columns]
    operand = _whole(transpose(args[1 - parts.fixed], [parts.lanes.index(x) for x in wanted]), placed, kept)
    output = [*parts.batch, *parts.rows, *parts.columns]
    product = einsum(f"{parts.matrix},{''.join(wanted)}->{''.join(output)}", args[parts.fixed], operand)
    return transpose(product, [output.index(x) for x in parts.output])


def _whole(operand: Var, placed: set[Var], kept: set[Var]) -> Var:
    """What BLAS and users' functions read: rows in C order, of an equation that will stay in them."""
    access = resolve(operand)
    if not access.is_whole or access.base in placed or access.base.op in REDUCTIONS:
        operand = copy(operand)
        access = resolve(operand)
    kept.add(access.base)
    return operand


def _fresh(part: Var, placed: set[Var], kept: set[Var]) -> Var:
    """An equation that can be computed straight into one place of an assembly."""
    if part.by_draw and part not in placed | kept and part.op not in _NOT_PLACEABLE:
        placed.add(part)
        return part
    own = copy(part)
    placed.add(own)
    return own


_NOT_PLACEABLE = VIEWS | ASSEMBLY | REDUCTIONS | {"einsum", "noise", "native_value", "native_gradient"}


def _expanded(var: Var, args: tuple[Var, ...]) -> Var:
    """An einsum as a product over all labels, then a sum."""
    inputs, output = var.attrs.inputs, var.attrs.output
    labels = list(dict.fromkeys(output + "".join(inputs)))
    extents = var.attrs.extents([arg.shape for arg in args])
    shape = tuple(extents[x] for x in labels)
    terms = []
    for part, arg in zip(inputs, args, strict=True):
        ordered = transpose(arg, [int(i) for i in np.argsort([labels.index(x) for x in part])])
        terms.append(broadcast(reshape(ordered, tuple(extents[x] if x in part else 1 for x in labels)), shape))
    product = terms[0] if len(terms) == 1 else apply("multiply", *terms)
    return reduce("sum", product, range(len(output), len(labels)))
