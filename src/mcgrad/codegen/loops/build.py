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
from mcgrad.codegen.loops.cells import Buffer, Element, Index, Number, Operand, Role, Row, Value
from mcgrad.codegen.loops.gathers import table
from mcgrad.codegen.loops.loop_tree import (
    Accumulate,
    CallUser,
    DropNonfinite,
    Fill,
    Gather,
    Gemm,
    Leave,
    Let,
    Load,
    Loop,
    Masked,
    Moments,
    Node,
    Noise,
    Outer,
    Scatter,
    Store,
    Tree,
)
from mcgrad.codegen.loops.lower import aligned
from mcgrad.codegen.loops.places import Place, further
from mcgrad.codegen.loops.scatters import is_scatter
from mcgrad.codegen.loops.schedule import (
    Call,
    Finite,
    Nest,
    OuterMoments,
    Product,
    Repeat,
    ScatterMoments,
    Schedule,
    Step,
    Tile,
    computed,
    nest_shape,
    squeeze,
)
from mcgrad.codegen.loops.taken import loops_back
from mcgrad.ir.attributes import Literal
from mcgrad.ir.build import broadcast, fill_value, reshape
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


def build(plan: Schedule, outer_nodes: bool = False, leaves: bool = False, notes: bool = False) -> Kernel:
    """Make the tree.

    Parameters
    ----------
    plan : Schedule
    outer_nodes : bool
        Let one node, which the backend has a way of its own for, average an outer product over a block of draws.
        Otherwise that is a nest like any other, which makes the product of an element of each factor.
    leaves : bool
        Whether loops end when no draw of a block goes on.
    notes : bool
        Whether they note how many steps they have taken, and loops back over these run as many.
    """
    builder = _Builder(plan, outer_nodes, leaves, loops_back(plan.program) if notes else {})
    assemblies = tuple(var for var in plan.stored if var.op in ASSEMBLY)
    return Kernel(builder.names, assemblies, tuple(node for step in plan.steps for node in builder.step(step)))


class _Builder:
    def __init__(self, plan: Schedule, outer_nodes: bool, leaves: bool, back: dict[Var, Var]) -> None:
        self.plan, self.outer_nodes, self.leaves, self.back = plan, outer_nodes, leaves, back
        self.outer = {step.output for step in plan.steps if isinstance(step, OuterMoments)}
        self.names = {var: f"v{i}" for i, var in enumerate(plan.program.equations())}
        for var in [*self.names]:
            self._name_body(var)
        self.places: dict[Var, Place] = {}  # of what lies in the rows of others: arguments and results of bodies
        self._repeats = 0
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
        if isinstance(step, Repeat):
            return self.repeat(step)
        if isinstance(step, OuterMoments):
            out = step.output
            nest = Nest(squeeze(out.var.shape), moments=[out])
            return (Outer(out, self.masked),) if self.outer_nodes else self.nest(nest)
        if isinstance(step, ScatterMoments):
            elements, places = (self.buffer(resolve(arg).base) for arg in step.output.var.args)
            return (Scatter(step.output, elements, places),)
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

    def repeat(self, step: Repeat) -> Tree:
        """A loop over the steps of a body: first the carries get what it begins with, and each step changes them."""
        attrs, axis = step.var.attrs, f"n{self._repeats}"
        self._repeats += 1
        body = attrs.body
        begins: list[Node] = []
        for i, (result, (start, shape)) in enumerate(zip(body.results, attrs.places(), strict=True)):
            steps = ((axis, attrs.length, result.size),) if i >= attrs.carries else ()
            self.places[result] = replace(self._among_results(step.var, start), steps=steps)
            if i < attrs.carries:
                self.places[body.params[i]] = self.places[result]
                begin = _Body(self, squeeze(shape))
                begin.nodes.append(Store(begin.cell(result), begin.read(step.var.args[i])))
                begins += begin.loops()
        for i in range(attrs.carries, attrs.carries + attrs.scanned):
            self.places[body.params[i]] = self._by_step(body.params[i], step.var.args[i], axis, attrs.length)
        nodes = tuple(node for inner in step.steps for node in self.step(inner))
        taken = Buffer("taken", step.var) if step.var in self.back.values() else None
        stacks = len(body.results) > attrs.carries
        if self.leaves and attrs.running is not None and (taken or not stacks):
            first, _ = attrs.places()[attrs.running]
            flag = Buffer("carried", step.var), first, body.results[attrs.running].size
            nodes += (Leave(*flag, taken=taken, axis=axis),)
        until = Buffer("taken", self.back[step.var]) if step.var in self.back else None
        if until and stacks:
            rows = step.var.size - attrs.carried
            begins.append(Fill(Buffer("value", step.var), rows, "sum", "steps that no draw takes"))
        loop = Loop(axis, attrs.length, "serial", nodes, backwards=attrs.reverse, taken=taken, until=until)
        return (*begins, loop)

    def _among_results(self, loop: Var, start: int) -> Place:
        """Where a result of a loop is."""
        carried = loop.attrs.carried
        role: Role = "carried" if start < carried else "value"
        return Place(Buffer(role, loop), start - (0 if start < carried else carried))

    def _by_step(self, param: Var, arg: Var, axis: str, length: int) -> Place:
        """Where each step has its own element of an argument."""
        if not arg.by_draw:
            return Place(arg, 0, ((axis, length, param.size),))
        access = resolve(arg)
        within = self.place(access)
        return Place(within.of, within.offset + access.offset, (*within.steps, (axis, length, access.strides[0])))

    def place(self, access: Access) -> Place:
        """Where the elements of the base of an access begin."""
        base = access.base
        if base.op == "loop":
            first = access.offset if access.table is None else int(access.table.min())
            return replace(self._among_results(base, first), offset=-base.attrs.carried * (first >= base.attrs.carried))
        return self.places.get(base) or Place(self.buffer(base), 0)

    def _name_body(self, var: Var) -> None:
        if var.op == "loop" and var.by_draw:
            for i, inner in enumerate([*var.attrs.body.params, *var.attrs.body.equations]):
                self.names[inner] = f"{self.names[var]}_{i}"
                self._name_body(inner)

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
            by_factor = (self.outer_nodes and out in self.outer) or is_scatter(out.var)
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
        self._last: list[Node] = []  # what comes after all of these
        self._known: dict[object, Value] = {}  # what was already computed or loaded

    def loops(self, backwards: dict[int, bool] | None = None, within: str = "") -> Tree:
        """The loops around the nodes."""
        tree: Tree = (Loop("w", None, "lane", (*self.nodes, *self._last)),)
        for axis, extent in reversed(list(enumerate(self.shape))):
            back = (backwards or {}).get(axis, False)
            tree = (Loop(self.axes[axis], extent, "element", tree, backwards=back, within=within),)
        return tree

    def equation(self, var: Var) -> None:
        """Add what computes one element of a Var."""
        value = Value(self.builder.names[var])
        stored = var in self.builder.plan.stored
        own = self.cell(var)
        if var.op == "noise":
            self.nodes.append(Noise(value, own if stored else Row(Buffer("noise", var)), var.attrs, own.index))
            self._known[var] = value
            return
        if var.op == "argument":
            self._noise(var, value, stored)
            return
        if var.op == "gather":
            self.nodes.append(self._gather(var, value))
            self._keep(var, value, own, stored)
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
        self._keep(var, value, own, stored)

    def _keep(self, var: Var, value: Value, own: Row, stored: bool) -> None:
        """Note the value of an equation, and store it where others read it."""
        self._known[var] = value
        if var in self.builder.places:  # a result of a body, whose place the nest may still read
            self._last.append(Store(own, value))
        elif stored:
            self.nodes.append(Store(own, value, var.kind == "bool"))

    def _gather(self, var: Var, value: Value) -> Gather:
        (access, apart), (x, k), batch = table(var), var.args, var.attrs.batch
        ones = (1,) * (len(var.shape) - len(k.shape))
        index = self.read(broadcast(reshape(k, (*k.shape, *ones)), var.shape))
        place = self.builder.place(access) if x.by_draw else Place(access.base, 0)
        start, of = further(self._index(access), place), place.of
        cell = Row(of, start) if isinstance(of, Buffer) else Element("constants", of, start)
        return Gather(value, cell, apart, x.shape[batch], index)

    def _noise(self, var: Var, value: Value, stored: bool) -> None:
        """Make the noise that one step of a loop reads."""
        place = self.builder.places[var]
        index = self._index(self._whole(var))
        row = Row(Buffer("value" if stored else "noise", var), index if stored else Index(0))
        assert isinstance(place.of, Buffer)
        assert place.of.var is not None
        self.nodes.append(Noise(value, row, place.of.var.attrs, further(index, place)))
        self._known[var] = value
        if stored:  # other nests of the step, and loops in it, read the numbers that were made
            self.builder.places[var] = Place(row.buffer, 0)

    def cell(self, var: Var) -> Row:
        """Where the nest's present element of a Var that it computes goes."""
        place = self.builder.place(self._whole(var))
        assert isinstance(place.of, Buffer)
        return Row(place.of, further(self._index(self._whole(var)), place))

    def _whole(self, var: Var) -> Access:
        return Access(var, self.shape, 0, c_strides(self.shape))

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
            place = self.builder.place(access) if var.by_draw else Place(access.base, 0)
            index, of = further(index, place), place.of
            cell = Row(of, index) if isinstance(of, Buffer) else Element("constants", of, index)
            value = Value(f"{'x' if isinstance(of, Buffer) else 'u'}{loads}", lanewise=isinstance(of, Buffer))
            self.nodes.append(Load(value, cell, var.kind == "bool"))
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
