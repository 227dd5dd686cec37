"""Bring a body into the form that loop nests can express, without changing its meaning.

- A contraction of a random operand with a draw-independent matrix stays (BLAS computes it on the whole lane block),
  and so does an outer product that is itself an output (what is kept of a block of draws is its factors). Every other
  einsum becomes a product and a sum, which fuse with their neighbours.
- A gather of a few elements becomes comparisons, and so does a scatter that is no output; what other gathers choose
  from lies at even distances.
- The operands of pad and concatenate become equations of their own, computed straight into their place.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from mcgrad.codegen.loops import gathers, scatters
from mcgrad.codegen.loops.access import c_strides, resolve
from mcgrad.codegen.loops.gathers import is_small
from mcgrad.codegen.loops.scatters import is_scatter
from mcgrad.ir.attributes import Literal
from mcgrad.ir.body import Body
from mcgrad.ir.build import (
    apply,
    argument,
    broadcast,
    concatenate,
    copy,
    einsum,
    pad,
    rebuild,
    reduce,
    reshape,
    transpose,
)
from mcgrad.ir.cost import contraction_size
from mcgrad.ir.infer import equation
from mcgrad.ir.ops import ASSEMBLY, OPS, REDUCTIONS, VIEWS
from mcgrad.ir.program import Level, Program, Shape, Var, toposort
from mcgrad.ir.rewrite import rewrite_program, substitute

SMALL_CONTRACTION = 64  # multiplications below which a fused loop beats a call of BLAS
SMALL_OUTER = 64  # elements below which an outer product is an equation like any other


def lower(program: Program, scatters: bool = False) -> Program:
    """Return the Program with every einsum but matrix products expanded, and assemblies of fresh parts.

    Parameters
    ----------
    program : Program
    scatters : bool
        Whether outputs that are scatters stay so: all their places have to be in the array (`scatters.with_scatters`).
    """
    outputs = {out.var for out in program.outputs}
    kept = {var for var in outputs if is_outer(var) or (scatters and is_scatter(var))}
    return rewrite_program(program, _Lowering(kept))


def expand(program: Program) -> Program:
    """Return the Program with every einsum as a product and a sum, and every gather and scatter as comparisons."""
    return rewrite_program(program, _expanded)


def _expanded(var: Var, args: tuple[Var, ...]) -> Var:
    if not var.by_draw or var.op not in EXPANDED:
        return rebuild(var, args)
    return EXPANDED[var.op](var, args)


class _Lowering:
    """The rule of `lower`; each equation's place depends on what those before it have asked of theirs."""

    def __init__(self, outer: set[Var], around: _Lowering | None = None, fixed: Collection[Var] = ()) -> None:
        self.outer = outer  # products and scatters that are outputs
        self.within = around is not None
        self.fixed = fixed  # arguments of a body that vary by step alone
        self.literals: dict[Literal, Var] = around.literals if around else {}  # that bodies share with what is outside
        self.placed: set[Var] = around.placed if around else set()  # computed straight into an assembly
        self.kept: set[Var] = set()  # must stay in C order, as BLAS and users' functions read them

    def __call__(self, var: Var, args: tuple[Var, ...]) -> Var:
        if var.is_const:
            first = self.literals.setdefault(var.attrs, var)
            return first if self.within else var
        if var.by_draw and var.op in ASSEMBLY:
            args = tuple(self._fresh(arg) for arg in args)
            return pad(args[0], var.attrs.widths) if var.op == "pad" else concatenate(args, var.attrs.axis)
        if var.by_draw and OPS[var.op].category == "native":
            return rebuild(var, (self._whole(args[0]), *args[1:]))
        if var.by_draw and var.op == "einsum" and is_matrix_product(var):
            return self._canonical(var, args)
        if var.by_draw and var.op == "loop":
            return self._loop(var, args)
        if var.by_draw and var.op == "gather":
            return gathers.compared(var, args) if is_small(var) else rebuild(var, (self._table(args[0]), args[1]))
        if var in self.outer:
            return rebuild(var, tuple(self._whole(arg) for arg in args))
        if var.by_draw and var.op in EXPANDED:
            return EXPANDED[var.op](var, args)
        return rebuild(var, args)

    def _loop(self, var: Var, args: tuple[Var, ...]) -> Var:
        """A loop whose body is lowered: carries and elements by step are of each draw, and its results copies.

        Of an argument by step each step reads neighbours in memory, from one place on.
        """
        carries, last = var.attrs.carries, var.attrs.carries + var.attrs.scanned
        given = [self._by_step(arg) if arg.by_draw and i in range(carries, last) else arg for i, arg in enumerate(args)]
        self.kept.update(resolve(arg).base for arg in given if arg.by_draw)
        return equation("loop", tuple(given), replace(var.attrs, body=_lowered(var.attrs.body, last, args, self)))

    def _by_step(self, arg: Var) -> Var:
        access = resolve(arg)
        inner = access.shape[1:]
        neighbours = access.table is None and _moving(inner, access.strides[1:]) == _moving(inner, c_strides(inner))
        return arg if neighbours and access.base not in self.placed else copy(arg)

    def _canonical(self, var: Var, args: tuple[Var, ...]) -> Var:
        """A matrix product whose operand and result have the axes (batch, contracted | rows, columns), in C order."""
        parts = contraction_labels(var)
        wanted = [*parts.batch, *parts.contracted, *parts.columns]
        operand = self._whole(transpose(args[1 - parts.fixed], [parts.lanes.index(x) for x in wanted]))
        output = [*parts.batch, *parts.rows, *parts.columns]
        product = einsum(f"{parts.matrix},{''.join(wanted)}->{''.join(output)}", args[parts.fixed], operand)
        return transpose(product, [output.index(x) for x in parts.output])

    def _whole(self, operand: Var) -> Var:
        """What BLAS and users' functions read: rows in C order, of an equation that will stay in them."""
        access = resolve(operand)
        if not access.is_whole or access.base in self.placed or access.base.op in {*REDUCTIONS, "argument", "loop"}:
            operand = copy(operand)
            access = resolve(operand)
        self.kept.add(access.base)
        return operand

    def _table(self, operand: Var) -> Var:
        """What a gather chooses from: elements at even distances, of an equation that keeps its rows."""
        access = resolve(operand)
        if not operand.by_draw or (access.base in self.fixed and access.table is None):
            return operand
        added = {*REDUCTIONS, "argument", "loop"}
        if access.table is not None or access.base in self.placed or access.base.op in added:
            operand = copy(operand)
        self.kept.add(resolve(operand).base)
        return operand

    def _fresh(self, part: Var) -> Var:
        """An equation that can be computed straight into one place of an assembly."""
        if not part.by_draw or part in self.placed | self.kept or part.op in _NOT_PLACEABLE:
            part = copy(part)
        self.placed.add(part)
        return part


class OpenBody(NamedTuple):
    """A lowered body, that reads what is the same in all steps where it is: outside.

    Parameters
    ----------
    params, results : tuple of Var
    equations : tuple of Var
        What each step computes, in order.
    """

    params: tuple[Var, ...]
    results: tuple[Var, ...]
    equations: tuple[Var, ...]


def _lowered(body: Body, varying: int, args: Sequence[Var], around: _Lowering) -> OpenBody:
    """The body of a loop whose first arguments vary from step to step; `args` are those outside."""
    leaves = [argument(i, param.shape, Level.DRAW) for i, param in enumerate(body.params[:varying])]
    results = substitute(body.results, dict(zip(body.params, [*leaves, *args[varying:]], strict=True)))
    gathered = {
        access.base for var in toposort(results) for arg in var.args if (access := resolve(arg)).table is not None
    }
    results = substitute(results, {leaf: copy(leaf) for leaf in leaves if leaf in gathered})
    # what is an argument, or a view of one, is read before any carry is written
    results = [copy(result) if resolve(result).base in leaves else result for result in results]
    fixed = {leaf for leaf, arg in zip(leaves, args, strict=False) if not arg.by_draw}
    outside, rule = set(toposort(args)), _Lowering(set(), around, fixed)
    new: dict[Var, Var] = {}
    for var in toposort(results):
        if var not in outside:
            new[var] = rule(var, tuple(new.get(arg, arg) for arg in var.args))
    own = tuple(copy(new.get(result, result)) for result in results)
    equations = (var for var in toposort(own) if var.by_draw and var not in outside and var.op != "argument")
    return OpenBody((*leaves, *body.params[varying:]), own, tuple(equations))


def _moving(shape: Shape, strides: Shape) -> Shape:
    return tuple(stride for extent, stride in zip(shape, strides, strict=True) if extent != 1)


def is_matrix_product(var: Var) -> bool:
    """Whether this is a contraction of a random operand with a draw-independent one, large enough for BLAS."""
    if var.op != "einsum" or len(var.args) != 2 or var.args[0].by_draw == var.args[1].by_draw:
        return False
    parts = contraction_labels(var)
    whole = len(parts.batch + parts.rows + parts.contracted) == len(parts.matrix)
    whole &= len(parts.batch + parts.columns + parts.contracted) == len(parts.lanes)
    return whole and bool(parts.contracted and parts.rows) and contraction_size(var) >= SMALL_CONTRACTION


def is_outer(var: Var) -> bool:
    """Whether this is an outer product of two random operands, of which no draw keeps all elements."""
    if var.op != "einsum" or len(var.args) != 2 or not all(arg.by_draw for arg in var.args):
        return False
    (left, right), output = var.attrs.inputs, var.attrs.output
    return output == left + right and not set(left) & set(right) and var.size >= SMALL_OUTER and bool(left and right)


class Labels(NamedTuple):
    """The labels of a matrix product.

    Parameters
    ----------
    fixed : int
        Which operand no draw changes.
    matrix, lanes : str
        Of that operand, and of the other.
    output : str
    batch, rows, columns, contracted : list of str
        Those of both operands and the output, of the matrix and the output, of the other operand and the output, and of
        both operands alone.
    """

    fixed: int
    matrix: str
    lanes: str
    output: str
    batch: list[str]
    rows: list[str]
    columns: list[str]
    contracted: list[str]


def contraction_labels(var: Var) -> Labels:
    """Return the labels of a matrix product by their part."""
    labels, output = var.attrs.inputs, var.attrs.output
    fixed = 0 if not var.args[0].by_draw else 1
    matrix, lanes = labels[fixed], labels[1 - fixed]
    return Labels(
        fixed,
        matrix,
        lanes,
        output,
        batch=[x for x in output if x in matrix and x in lanes],
        rows=[x for x in matrix if x in output and x not in lanes],
        columns=[x for x in lanes if x in output and x not in matrix],
        contracted=[x for x in matrix if x in lanes and x not in output],
    )


_NOT_PLACEABLE = VIEWS | ASSEMBLY | REDUCTIONS
_NOT_PLACEABLE |= {"einsum", "input", "noise", "argument", "loop", "native_value", "native_gradient"}


def expanded(var: Var, args: tuple[Var, ...]) -> Var:
    """Return an einsum as a product over all labels, then a sum."""
    terms = aligned(var, args)
    product = terms[0] if len(terms) == 1 else apply("multiply", *terms)
    return reduce("sum", product, range(len(var.attrs.output), len(product.shape)))


EXPANDED: dict[str, Callable[[Var, tuple[Var, ...]], Var]] = {
    "einsum": expanded,
    "gather": gathers.compared,
    "scatter": scatters.compared,
}


def aligned(var: Var, args: tuple[Var, ...]) -> list[Var]:
    """Return the operands of an einsum, each with an axis for every label: those of the output come first."""
    inputs, output = var.attrs.inputs, var.attrs.output
    labels = list(dict.fromkeys(output + "".join(inputs)))
    extents = var.attrs.extents([arg.shape for arg in args])
    shape = tuple(extents[x] for x in labels)
    terms = []
    for part, arg in zip(inputs, args, strict=True):
        ordered = transpose(arg, [int(i) for i in np.argsort([labels.index(x) for x in part])])
        terms.append(broadcast(reshape(ordered, tuple(extents[x] if x in part else 1 for x in labels)), shape))
    return terms
