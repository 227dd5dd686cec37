"""Write one loop nest for a CPU: loops over elements, noise rows and lane-invariant loads, then one loop over lanes."""

from __future__ import annotations

from mcgrad.codegen.loops.access import c_strides
from mcgrad.codegen.loops.layout import Rows
from mcgrad.codegen.loops.nest import NestWriter, affine
from mcgrad.codegen.loops.schedule import squeeze
from mcgrad.codegen.noise_calls import filler
from mcgrad.codegen.text import REDUCE, START
from mcgrad.ir.ops import OPS, REDUCTIONS
from mcgrad.ir.program import Output, Var


class LaneNest(NestWriter):
    """One nest, with the lanes innermost."""

    def write(self) -> None:
        """Write the nest."""
        self.collect()
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
                count = var.size // var.shape[var.attrs.axis] * self.layout.lanes
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
        where = affine(rows.offset, rows.strides, [f"j{axis}" for axis in range(len(shape))])
        self.context.fill(f"({where}) * {lanes}", lanes, START[var.op], var.op)
        source.dedent(len(shape))

    # --- equations ---
    def reduction(self, var: Var, value: str) -> None:
        """Add to the row of the result."""
        row = self.row(self.reduced(var), self.layout.rows[var])
        total = REDUCE[var.op].format(f"at_sum(ws, {row} + w)", value)
        self.lanes.append(f"put_sum(ws, {row} + w, {total})  # {self.name(var)}")

    def scan(self, var: Var, args: list[str]) -> None:
        """Keep the running value in a row of its own."""
        name, carry = self.name(var), self.carry_row(var)
        before = f"at_sum(ws, {carry} + w)"
        text = {
            "cumsum": f"{before} + {args[0]}",
            "cumprod": f"{before} * {args[0]}",
            "linear_recurrence": f"{args[0]} * {before} + {args[-1]}",
        }[var.op]
        self.lanes += [f"{name} = {text}  # {var.op}", f"put_sum(ws, {carry} + w, {name})"]

    def noise(self, var: Var) -> None:
        """Fill a row."""
        lanes, fill = self.layout.lanes, filler(var.attrs, self.context.plan.program.dtype)
        component = f"uint32({affine(0, c_strides(self.nest.shape), self.index)})"
        place = self.place(self.own(var), self.layout.rows[var]) if var in self.stored else str(self.layout.carry[var])
        row = self.named(place)
        self.before.append(f"{fill}(ws, {row}, {lanes}, group, {component}, uint32({var.attrs.stream}), key0, key1)")
        name = self.context.names[var]
        self._known[var] = name
        self.lanes.append(f"{name} = at(ws, {row} + w)")

    def moments(self, out: Output) -> None:
        """Add up the lanes in two numbers, and these to the sums."""
        value = self.read(out.var)
        k = self.context.outputs[out]
        number = len(self.after) // 2
        component = affine(k, c_strides(squeeze(out.var.shape)), self.index)
        d, s, q, p = (f"{letter}{number}" for letter in "dsqp")
        self.before += [f"{p} = at(shift, {component})  # {out.path}", f"{s} = {q} = real(0)"]
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

    # --- rows ---
    def load(self, name: str, base: Var, row: str, boolean: bool) -> None:
        """Load this lane's element."""
        test = " != real(0)" if boolean else ""
        self.lanes.append(f"{name} = {self.context.load(base)}(ws, {row} + w){test}")

    def store(self, row: str, value: str) -> None:
        """Store this lane's element."""
        self.lanes.append(f"put(ws, {row} + w, {value})")

    def named(self, place: str) -> str:
        """Name it once."""
        text = f"({place}) * {self.layout.lanes}"
        if place.lstrip("-").isdigit():
            return str(int(place) * self.layout.lanes)
        key = ("row", text)
        if key not in self._known:
            self._known[key] = f"r{len(self._known)}_"
            self.before.append(f"{self._known[key]} = {text}")
        return self._known[key]
