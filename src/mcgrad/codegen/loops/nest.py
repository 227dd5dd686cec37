"""Write one loop nest: what a loop over the lanes on a CPU and the threads of a GPU's block have in common.

Equations are lines of text for one lane, what is the same in all lanes goes before them, and an element's rows are
found through strides or tables. How lanes are loaded, stored, added up and looped over is each target's own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from mcgrad.codegen.loops.access import Access, c_strides, resolve
from mcgrad.codegen.loops.context import Context
from mcgrad.codegen.loops.layout import Rows
from mcgrad.codegen.loops.schedule import Nest, nest_shape, squeeze
from mcgrad.codegen.text import INFIX, expression, literal
from mcgrad.ir.build import fill_value
from mcgrad.ir.ops import OPS, REDUCTIONS
from mcgrad.ir.program import Output, Var


class NestWriter(ABC):
    """Collects what goes before, into and after the work on the lanes of one element.

    Parameters
    ----------
    context : Context
    nest : Nest
    tiled : bool
        Whether the loop runs over the rows t0 .. t1 of a tile.
    """

    templates = INFIX  # how elementwise ops are written
    mark = ""  # ends the name of what differs from lane to lane

    def __init__(self, context: Context, nest: Nest, tiled: bool = False) -> None:
        self.context, self.nest = context, nest
        self.layout, self.stored = context.layout, context.plan.stored
        self.index = [f"i{axis}" for axis in range(len(nest.shape))]
        self.before: list[str] = []
        self.lanes: list[str] = []
        self.after: list[str] = []
        self.tiled = tiled
        self._known: dict[object, str] = {}  # what was already read or loaded -> its name

    # --- what each target has its own way of ---
    @abstractmethod
    def write(self) -> None:
        """Write the nest."""

    @abstractmethod
    def noise(self, var: Var) -> None:
        """Make noise."""

    @abstractmethod
    def reduction(self, var: Var, value: str) -> None:
        """Take a value into a reduction."""

    @abstractmethod
    def scan(self, var: Var, args: list[str]) -> None:
        """Take a scan one element further."""

    @abstractmethod
    def moments(self, out: Output) -> None:
        """Add an output to its moments."""

    @abstractmethod
    def load(self, name: str, base: Var, row: str, boolean: bool) -> None:
        """Load a row."""

    @abstractmethod
    def store(self, row: str, value: str) -> None:
        """Store a row."""

    @abstractmethod
    def named(self, place: str) -> str:
        """Return the name of the first index of a row, computed before the lanes."""

    def collect(self) -> None:
        """Make the lines of all equations and moments."""
        for var in self.nest.body:
            self._equation(var)
        for out in self.nest.moments:
            self.moments(out)

    # --- equations ---
    def _equation(self, var: Var) -> None:
        if var.op == "noise":
            self.noise(var)
            return
        args = [self.read(arg) for arg in var.args]
        if var.op in REDUCTIONS:
            self.reduction(var, args[0])
            return
        name = self.name(var)
        if OPS[var.op].group == "scan":
            self.scan(var, args)
        else:
            self.lanes.append(f"{name} = {expression(var.op, args, self.templates)}")
        self._known[var] = name
        if var in self.stored:
            row = self.row(self.own(var), self.layout.rows[var])
            self.store(row, f"select({name}, real(1), real(0))" if var.kind == "bool" else name)

    def name(self, var: Var) -> str:
        """Return the name of an equation's value in a lane."""
        return self.context.names[var] + self.mark

    # --- reading ---
    def read(self, var: Var) -> str:
        """The expression for one element of a Var, for the present lane."""
        if not var.by_draw:
            return self._uniform(var)
        access = resolve(var)
        if access.base in self._known and access.is_whole and access.base.op not in REDUCTIONS:
            return self._known[access.base]
        key = access.squeezed().key
        if key not in self._known:
            row = self.row(access.squeezed(), self.layout.rows[access.base])
            name = f"x{len(self._known)}_{self.mark}"
            self.load(name, access.base, row, var.kind == "bool")
            self._known[key] = name
        return self._known[key]

    def _uniform(self, var: Var) -> str:
        value = fill_value(var)
        if value is not None:
            return literal(value)
        access = resolve(var).squeezed()
        if access.key not in self._known:
            offset = self.context.scalar_offset(access.base)
            name = f"u{len(self._known)}_"
            self.before.append(
                f"{name} = at(c, {self.element(access, offset)})" + (" != real(0)" if var.kind == "bool" else "")
            )
            self._known[access.key] = name
        return self._known[access.key]

    # --- rows ---
    def own(self, var: Var) -> Access:
        """Return where the nest's present element of a Var goes."""
        return Access(var, self.nest.shape, 0, c_strides(self.nest.shape))

    def reduced(self, var: Var) -> Access:
        """Where the nest's present element goes in the result of a reduction."""
        if var.op == "scatter_add":
            return Access(var, nest_shape(var), 0, (), var.attrs.index.array.reshape(nest_shape(var)))
        full = var.args[0].shape
        kept = iter(c_strides(var.shape))
        strides = [0 if axis in var.attrs.axes else next(kept) for axis in range(len(full))]
        return Access(var, full, 0, tuple(strides)).squeezed()

    def carry_row(self, var: Var) -> str:
        """Return the row of a scan's running value."""
        axis = var.attrs.axis
        kept = tuple(n for i, n in enumerate(var.shape) if i != axis)
        strides = list(c_strides(kept))
        strides.insert(axis, 0)
        access = Access(var, var.shape, 0, tuple(strides)).squeezed()
        return self.named(self.element(access, self.layout.carry[var]))

    def row(self, access: Access, rows: Rows) -> str:
        """The name of the first index of a row, computed before the lane loop."""
        return self.named(self.place(access, rows))

    def place(self, access: Access, rows: Rows) -> str:
        """Return the expression for a row."""
        shape = squeeze(access.base.shape)
        if access.base in self.context.plan.local:
            return f"{rows.offset} + i0 - t0"
        if rows.strides == c_strides(shape):
            return self.element(access, rows.offset)
        if access.is_whole and access.table is None and access.strides == c_strides(shape):
            return affine(rows.offset, rows.strides, self.index)
        # an element of something that lies inside an assembly: translate its index to where it lies
        places = np.full(shape, rows.offset)
        for axis, stride in enumerate(rows.strides):
            places = places + (np.arange(shape[axis]) * stride).reshape(
                [-1 if i == axis else 1 for i in range(len(shape))]
            )
        table = places.ravel()[access.rows()]
        return self.element(Access(access.base, access.shape, 0, (), table), 0)

    def element(self, access: Access, offset: int) -> str:
        """Return the expression for the number of an element."""
        if access.table is not None:
            start = self.context.table(access.table)
            flat = affine(start, c_strides(access.shape), self.index)
            return f"{offset} + at(t, {flat})" if offset else f"at(t, {flat})"
        return affine(offset + access.offset, access.strides, self.index)


def affine(offset: int, strides: tuple[int, ...], index: list[str]) -> str:
    """Write offset + strides . index."""
    terms = [i if s == 1 else f"{s} * {i}" for s, i in zip(strides, index, strict=True) if s]
    if offset or not terms:
        terms.insert(0, str(offset))
    return " + ".join(terms)
