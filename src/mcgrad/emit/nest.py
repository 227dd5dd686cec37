"""Write one loop nest: loops over elements, then noise rows and lane-invariant loads, then one loop over the lanes."""

from __future__ import annotations

from mcgrad.emit.access import REDUCTIONS, Access, c_strides, resolve
from mcgrad.emit.context import Context
from mcgrad.emit.layout import Rows
from mcgrad.emit.schedule import Nest, nest_shape, squeeze
from mcgrad.emit.text import REDUCE, START, expression, literal
from mcgrad.ir.build import fill_value
from mcgrad.ir.ops import OPS
from mcgrad.ir.program import Output, Var


class NestWriter:
    """Collects what goes before, into and after the lane loop of one nest, then writes it."""

    def __init__(self, context: Context, nest: Nest, tiled: bool = False) -> None:
        self.context, self.nest = context, nest
        self.layout, self.stored = context.layout, context.plan.stored
        self.index = [f"i{axis}" for axis in range(len(nest.shape))]
        self.before: list[str] = []
        self.lanes: list[str] = []
        self.after: list[str] = []
        self.tiled = tiled  # whether the loop runs over the rows t0 .. t1 of a tile
        self._known: dict[object, str] = {}  # what was already read or loaded -> its name

    def write(self) -> None:
        """Write the nest."""
        for var in self.nest.body:
            self._equation(var)
        for out in self.nest.moments:
            self._moments(out)
        source, lanes = self.context.source, self.layout.lanes
        if not self.tiled:
            self.write_starts()
        heads = []
        for axis, n in enumerate(self.nest.shape):
            if self.tiled:
                heads.append("for i0 in range(t0, t1):")
                continue
            extent = self.context.integer(n)
            back = self.nest.backwards.get(axis, False)
            heads.append(f"for i{axis} in range({extent} - 1, -1, -1):" if back else f"for i{axis} in range({extent}):")
        for head in heads:
            source.add(head)
            source.indent()
        source.add(*self.before)
        if self.lanes:
            with source.block(f"for w in range({lanes}):"):
                source.add(*self.lanes)
        source.add(*self.after)
        source.dedent(len(heads))

    def write_starts(self) -> None:
        """Write what sets sums and scans to their start."""
        for var in self.nest.body:
            if var.op in REDUCTIONS:
                self._fill(var, self.layout.rows[var])
            elif OPS[var.op].group == "scan":
                start = "real(1)" if var.op == "cumprod" else "real(0)"
                count = var.size // var.shape[var.attrs[0]] * self.layout.lanes
                first = self.layout.carry[var] * self.layout.lanes
                self.context.fill(first, count, start, var.op)

    def write_finite(self, var: Var, row: int) -> None:
        """Write a nest that makes the row NaN in the lanes where an element of the Var is not finite."""
        value = self.read(var)
        self.lanes.append(f"put(ws, {row} + w, at(ws, {row} + w) + {value} * real(0))")
        self.write()

    def _fill(self, var: Var, rows: Rows) -> None:
        source, lanes = self.context.source, self.layout.lanes
        shape = squeeze(var.shape)
        if rows.strides == c_strides(shape):
            self.context.fill(rows.offset * lanes, var.size * lanes, START[var.op], var.op)
            return
        for axis, n in enumerate(shape):
            source.add(f"for j{axis} in range({self.context.integer(n)}):")
            source.indent()
        where = _affine(rows.offset, rows.strides, [f"j{axis}" for axis in range(len(shape))])
        self.context.fill(f"({where}) * {lanes}", lanes, START[var.op], var.op)
        source.dedent(len(shape))

    # --- equations ---
    def _equation(self, var: Var) -> None:
        name = self.context.names[var]
        if var.op == "noise":
            self._noise(var)
            return
        args = [self.read(arg) for arg in var.args]
        if var.op in REDUCTIONS:
            row = self._row(self._reduced(var), self.layout.rows[var])
            total = REDUCE[var.op].format(f"at_sum(ws, {row} + w)", args[0])
            self.lanes.append(f"put_sum(ws, {row} + w, {total})  # {name}")
            return
        if OPS[var.op].group == "scan":
            carry = self._carry_row(var)
            before = f"at_sum(ws, {carry} + w)"
            text = {
                "cumsum": f"{before} + {args[0]}",
                "cumprod": f"{before} * {args[0]}",
                "linear_recurrence": f"{args[0]} * {before} + {args[-1]}",
            }[var.op]
            self.lanes += [f"{name} = {text}  # {var.op}", f"put_sum(ws, {carry} + w, {name})"]
        else:
            self.lanes.append(f"{name} = {expression(var.op, args)}")
        self._known[var] = name
        if var in self.stored:
            row = self._row(self._own(var), self.layout.rows[var])
            value = f"select({name}, real(1), real(0))" if var.kind == "bool" else name
            self.lanes.append(f"put(ws, {row} + w, {value})")

    def _noise(self, var: Var) -> None:
        stream, kind = var.attrs
        lanes, bits = self.layout.lanes, self.context.bits
        component = f"uint32({_affine(0, c_strides(self.nest.shape), self.index)})"
        place = (
            self._place(self._own(var), self.layout.rows[var]) if var in self.stored else str(self.layout.carry[var])
        )
        row = self._named(place)
        self.before.append(f"{kind}_row{bits}(ws, {row}, {lanes}, group, {component}, uint32({stream}), key0, key1)")
        name = self.context.names[var]
        self._known[var] = name
        self.lanes.append(f"{name} = at(ws, {row} + w)")

    def _moments(self, out: Output) -> None:
        value = self.read(out.var)
        k = self.context.outputs[out]
        number = len(self.after) // 2
        component = _affine(k, c_strides(squeeze(out.var.shape)), self.index)
        d, s, q, p = (f"{letter}{number}" for letter in "dsqp")
        self.before += [f"{p} = at(pivot, {component})  # {out.path}", f"{s} = {q} = real(0)"]
        mask = f"at(ws, {self.layout.mask * self.layout.lanes} + w) != real(0)"
        self.lanes += [
            f"{d} = select({mask}, {value} - {p}, real(0))",
            f"{s} = accumulate({s}, {d})",
            f"{q} = accumulate({q}, {d} * {d})",
        ]
        self.after += [
            f"put(sums, {component}, at(sums, {component}) + {s})",
            f"put(squares, {component}, at(squares, {component}) + {q})",
        ]

    # --- reading ---
    def read(self, var: Var) -> str:
        """The expression for one element of a Var, for the present lane."""
        if not var.random:
            return self._uniform(var)
        access = resolve(var)
        if access.base in self._known and access.is_whole and access.base.op not in REDUCTIONS:
            return self._known[access.base]
        key = access.squeezed().key
        if key not in self._known:
            row = self._row(access.squeezed(), self.layout.rows[access.base])
            name = f"x{len(self._known)}_"
            self.lanes.append(
                f"{name} = {self.context.load(access.base)}(ws, {row} + w)"
                + (" != real(0)" if var.kind == "bool" else "")
            )
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
                f"{name} = at(c, {self._element(access, offset)})" + (" != real(0)" if var.kind == "bool" else "")
            )
            self._known[access.key] = name
        return self._known[access.key]

    # --- rows ---
    def _own(self, var: Var) -> Access:
        return Access(var, self.nest.shape, 0, c_strides(self.nest.shape))

    def _reduced(self, var: Var) -> Access:
        """Where the nest's present element goes in the result of a reduction."""
        if var.op == "scatter_add":
            return Access(var, nest_shape(var), 0, (), var.attrs.array.reshape(nest_shape(var)))
        full = var.args[0].shape
        kept = iter(c_strides(var.shape))
        strides = [0 if axis in var.attrs else next(kept) for axis in range(len(full))]
        return Access(var, full, 0, tuple(strides)).squeezed()

    def _carry_row(self, var: Var) -> str:
        axis = var.attrs[0]
        kept = tuple(n for i, n in enumerate(var.shape) if i != axis)
        strides = list(c_strides(kept))
        strides.insert(axis, 0)
        access = Access(var, var.shape, 0, tuple(strides)).squeezed()
        return self._named(self._element(access, self.layout.carry[var]))

    def _row(self, access: Access, rows: Rows) -> str:
        """The name of the first index of a row, computed before the lane loop."""
        return self._named(self._place(access, rows))

    def _named(self, place: str) -> str:
        text = f"({place}) * {self.layout.lanes}"
        if place.lstrip("-").isdigit():
            return str(int(place) * self.layout.lanes)
        key = ("row", text)
        if key not in self._known:
            self._known[key] = f"r{len(self._known)}_"
            self.before.append(f"{self._known[key]} = {text}")
        return self._known[key]

    def _place(self, access: Access, rows: Rows) -> str:
        shape = squeeze(access.base.shape)
        if access.base in self.context.plan.local:
            return f"{rows.offset} + i0 - t0"
        if rows.strides == c_strides(shape):
            return self._element(access, rows.offset)
        if access.is_whole and access.table is None and access.strides == c_strides(shape):
            return _affine(rows.offset, rows.strides, self.index)
        # an element of something that lies inside an assembly: translate its index to where it lies
        import numpy as np

        places = np.full(shape, rows.offset)
        for axis, stride in enumerate(rows.strides):
            places = places + (np.arange(shape[axis]) * stride).reshape(
                [-1 if i == axis else 1 for i in range(len(shape))]
            )
        table = places.ravel()[access.rows()]
        return self._element(Access(access.base, access.shape, 0, (), table), 0)

    def _element(self, access: Access, offset: int) -> str:
        if access.table is not None:
            start = self.context.table(access.table)
            flat = _affine(start, c_strides(access.shape), self.index)
            return f"{offset} + at(t, {flat})" if offset else f"at(t, {flat})"
        return _affine(offset + access.offset, access.strides, self.index)


def _affine(offset: int, strides: tuple[int, ...], index: list[str]) -> str:
    terms = [i if s == 1 else f"{s} * {i}" for s, i in zip(strides, index, strict=True) if s]
    if offset or not terms:
        terms.insert(0, str(offset))
    return " + ".join(terms)
