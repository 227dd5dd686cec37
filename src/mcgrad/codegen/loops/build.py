"""Make the loop tree of a schedule: nodes that run once, and nodes that run for each block of draws.

A nest becomes one loop for each axis, with a loop over all lanes inside that does all that an element needs, in the
order of the equations. Later passes say where the rows of a Var lie, how many lanes there are and what need not be done
for each lane.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mcgrad.codegen.loops import layout
from mcgrad.codegen.loops.access import Access, c_strides, resolve
from mcgrad.codegen.loops.cells import Buffer, Element, Index, Number, Operand, Row, Value
from mcgrad.codegen.loops.loop_tree import (
    Accumulate,
    CallUser,
    DropNonfinite,
    Fill,
    Gemm,
    Let,
    Load,
    Loop,
    Masked,
    Moments,
    Node,
    Noise,
    Outer,
    Store,
    Tree,
)
from mcgrad.codegen.loops.lower import aligned
from mcgrad.codegen.loops.schedule import (
    Call,
    Finite,
    Nest,
    OuterMoments,
    Product,
    Schedule,
    Step,
    Tile,
    computed,
    nest_shape,
    squeeze,
)
from mcgrad.ir.attributes import Literal
from mcgrad.ir.build import fill_value
from mcgrad.ir.ops import ASSEMBLY, OPS, REDUCTIONS
from mcgrad.ir.program import Output, Shape, Var

TILE = "t0"  # the axis of tiles


@dataclass(frozen=True)
class Kernel:
    """The tree of a kernel.

    Parameters
    ----------
    names : dict of Var to str
        What each equation is called in the source: as the Program prints it.
    assemblies : tuple of Var
        Pads and concatenates that have rows: zero from the first block on, as their parts alone are written.
    block : tuple of Node
        What is done for each block of draws.
    """

    names: dict[Var, str]
    assemblies: tuple[Var, ...]
    block: Tree

    @property
    def zeros(self) -> Tree:
        """What sets the assemblies to zero."""
        return tuple(
            Fill(Buffer("value", var), var.size, var.op, f"{self.names[var]}, {var.op}") for var in self.assemblies
        )


def build(plan: Schedule, outer_nodes: bool = False) -> Kernel:
    """Make the tree.

    Parameters
    ----------
    plan : Schedule
    outer_nodes : bool
        Let one node, which the backend has a way of its own for, average an outer product over a block of draws.
        Otherwise that is a nest like any other, which makes the product of an element of each factor.
    """
    builder = _Builder(plan, outer_nodes)
    assemblies = tuple(var for var in plan.stored if var.op in ASSEMBLY)
    return Kernel(builder.names, assemblies, tuple(node for step in plan.steps for node in builder.step(step)))


class _Builder:
    def __init__(self, plan: Schedule, outer_nodes: bool) -> None:
        self.plan, self.outer_nodes = plan, outer_nodes
        self.outer = {step.output for step in plan.steps if isinstance(step, OuterMoments)}
        self.names = {var: f"v{i}" for i, var in enumerate(plan.program.equations())}
        self.tiled = {var for step in plan.steps if isinstance(step, Tile) for var in computed(step)}
        # draws may be left out of any block once it is known which are finite, otherwise of partial blocks alone
        self.masked: Masked = "always" if any(isinstance(step, Finite) for step in plan.steps) else "partial"

    def step(self, step: Step) -> Tree:
        if isinstance(step, Nest):
            return (*starts(step), *self.nest(step))
        if isinstance(step, Product):
            return (self.gemm(step.var, in_tile=False),)
        if isinstance(step, Tile):
            return self.tile(step)
        if isinstance(step, OuterMoments):
            out = step.output
            nest = Nest(squeeze(out.var.shape), moments=[out])
            return (Outer(out, self.masked),) if self.outer_nodes else self.nest(nest)
        return (CallUser(step.var),) if isinstance(step, Call) else self.finite()

    def nest(self, nest: Nest, within: str = "") -> Tree:
        """The loops of a nest."""
        body = _Body(self, nest.shape)
        for var in nest.body:
            body.equation(var)
        for out in nest.moments:
            index = Index(0, c_strides(nest.shape), body.axes, nest.shape)
            body.nodes.append(Moments(out, index, body.output(out), self.masked))
        return body.loops(nest.backwards, within)

    def tile(self, step: Tile) -> Tree:
        """Split the loops of all members into a loop over tiles around them and loops over the elements of a tile."""
        nests = [inner for inner in step.steps if isinstance(inner, Nest)]
        body = [
            node
            for inner in step.steps
            for node in (self.nest(inner, TILE) if isinstance(inner, Nest) else (self.gemm(inner.var, in_tile=True),))
        ]
        loop = Loop(TILE, step.extent, "tile", tuple(body), step=layout.TILE_ROWS)
        return (*(fill for inner in nests for fill in starts(inner)), loop)

    def gemm(self, var: Var, in_tile: bool) -> Gemm:
        source = resolve(next(arg for arg in var.args if arg.by_draw)).base
        part: Gemm = Gemm(var, self.buffer(source), self.buffer(var))
        return replace(part, tile="inner" if source in self.tiled else "rows") if in_tile else part

    def finite(self) -> Tree:
        """Mark the draws of which any output is not finite."""
        nodes: list[Node] = [Fill(Buffer("finite"), 1, "sum", "draws of which an output is not finite")]
        for out in self.plan.program.outputs:
            if not out.var.by_draw:
                continue
            by_factor = self.outer_nodes and out in self.outer
            for var in out.var.args if by_factor else (out.var,):
                body = _Body(self, squeeze(var.shape))
                value = body.read(var) if by_factor else body.output(out)
                body.nodes.append(Accumulate(Row(Buffer("finite")), "nonfinite", value))
                nodes += body.loops()
        return (*nodes, DropNonfinite())

    def buffer(self, var: Var) -> Buffer:
        return Buffer("value", var, TILE if var in self.plan.local else "")


def starts(nest: Nest) -> Tree:
    """What sets the sums and scans of a nest to their start."""
    fills: list[Node] = []
    for var in nest.body:
        if var.op in REDUCTIONS:
            fills.append(Fill(Buffer("value", var), var.size, var.op, var.op))
        elif OPS[var.op].category == "scan":
            count = var.size // var.shape[var.attrs.axis]
            fills.append(Fill(Buffer("running", var), count, var.op, var.op))
    return tuple(fills)


class _Body:
    """The nodes of one element of a nest, for all lanes."""

    def __init__(self, builder: _Builder, shape: Shape) -> None:
        self.builder, self.shape = builder, shape
        self.axes = tuple(f"i{axis}" for axis in range(len(shape)))
        self.nodes: list[Node] = []
        self._known: dict[object, Value] = {}  # what was already computed or loaded

    def loops(self, backwards: dict[int, bool] | None = None, within: str = "") -> Tree:
        """The loops around the nodes."""
        tree: Tree = (Loop("w", None, "lane", tuple(self.nodes)),)
        for axis, extent in reversed(list(enumerate(self.shape))):
            back = (backwards or {}).get(axis, False)
            tree = (Loop(self.axes[axis], extent, "element", tree, backwards=back, within=within),)
        return tree

    def equation(self, var: Var) -> None:
        """Add what computes one element of a Var."""
        value = Value(self.builder.names[var])
        stored = var in self.builder.plan.stored
        own = Row(self.builder.buffer(var), self._index(Access(var, self.shape, 0, c_strides(self.shape))))
        if var.op == "noise":
            self.nodes.append(Noise(value, own if stored else Row(Buffer("noise", var)), var.attrs, own.index))
            self._known[var] = value
            return
        args: tuple[Operand, ...] = tuple(self.read(arg) for arg in var.args)
        if var.op in REDUCTIONS:
            row = Row(own.buffer, self._index(_reduced(var)))
            self.nodes.append(Accumulate(row, var.op, args[0], value.name))
            return
        if OPS[var.op].category == "scan":
            running = Row(Buffer("running", var), self._index(_running(var)))
            self.nodes += [Let(value, var.op, (running, *args)), Store(running, value)]
        else:
            self.nodes.append(Let(value, var.op, args))
        self._known[var] = value
        if stored:
            self.nodes.append(Store(own, value, var.kind == "bool"))

    def output(self, out: Output) -> Value | Number:
        """One element of an output: of an outer product, which no step makes, that of its factors."""
        if out not in self.builder.outer:
            return self.read(out.var)
        value = Value(self.builder.names[out.var])
        self.nodes.append(Let(value, "multiply", tuple(self.read(term) for term in aligned(out.var, out.var.args))))
        return value

    def read(self, var: Var) -> Value | Number:
        """One element of a Var."""
        if not var.by_draw:
            number = fill_value(var)
            if number is not None:
                return Number(number)
        access = resolve(var)
        if access.base in self._known and access.is_whole:
            return self._known[access.base]
        access = access.squeezed()
        if access.key not in self._known:
            index = self._index(access)
            loads = sum(isinstance(node, Load) for node in self.nodes)
            cell = Row(self.builder.buffer(access.base), index) if var.by_draw else None
            value = Value(f"{'x' if cell else 'u'}{loads}", lanewise=cell is not None)
            self.nodes.append(Load(value, cell or Element("constants", access.base, index), var.kind == "bool"))
            self._known[access.key] = value
        return self._known[access.key]

    def _index(self, access: Access) -> Index:
        """Where the nest's present element lies in what is accessed."""
        if access.table is not None:
            return Index(0, c_strides(self.shape), self.axes, self.shape, Literal(np.asarray(access.table, np.int64)))
        return Index(access.offset, access.strides, self.axes, self.shape)


def _reduced(var: Var) -> Access:
    """Where the elements of a reduction's operand go in its result."""
    if var.op == "scatter_add":
        return Access(var, nest_shape(var), 0, (), var.attrs.index.array.reshape(nest_shape(var)))
    full = var.args[0].shape
    kept = iter(c_strides(var.shape))
    strides = tuple(0 if axis in var.attrs.axes else next(kept) for axis in range(len(full)))
    return Access(var, full, 0, strides).squeezed()


def _running(var: Var) -> Access:
    """Where a scan's running value is, for each element."""
    axis = var.attrs.axis
    strides = list(c_strides(tuple(n for i, n in enumerate(var.shape) if i != axis)))
    strides.insert(axis, 0)
    return Access(var, var.shape, 0, tuple(strides)).squeezed()
