"""Write one loop nest for a block of threads: a thread does all its draws at once, in registers, for its elements."""

from __future__ import annotations

from mcgrad.codegen.cuda.context import MARK, BlockContext
from mcgrad.codegen.cuda.kernel import templates
from mcgrad.codegen.cuda.thread_split import depth, full, order, scan_depth
from mcgrad.codegen.loops.access import c_strides
from mcgrad.codegen.loops.nest import NestWriter, affine
from mcgrad.codegen.loops.schedule import Nest, squeeze
from mcgrad.codegen.noise_calls import from_words, words
from mcgrad.codegen.text import REDUCE, START
from mcgrad.ir.ops import OPS, REDUCTIONS
from mcgrad.ir.program import Output, Var


class BlockNest(NestWriter):
    """One nest: `begin`, then `loops` (in a tile for each tile), then `end`."""

    mark = MARK

    def __init__(self, context: BlockContext, nest: Nest, tiled: bool = False) -> None:
        super().__init__(context, nest, tiled)
        self.templates = templates(context.plan.program.dtype)
        self.block = context
        self.order = order(nest)
        self._outside: dict[int, list[str]] = {}  # what comes before a loop, by the number of loops around it
        self._finished: dict[int, list[str]] = {}  # and what comes after it
        self._moments = 0

    def write(self) -> None:
        """Write the nest, outside of a tile."""
        self.begin()
        self.loops()
        self.end()

    def begin(self) -> None:
        """Collect the lines, and set what is added to, to its start."""
        self.collect()
        context, filled = self.block, False
        for var in self.nest.body:
            if var.op in REDUCTIONS and depth(var, self.nest) is None:
                context.fill_rows(self.layout.rows[var].offset, var.size, START[var.op], var.op)
                filled = True
            elif OPS[var.op].group == "scan" and scan_depth(var, self.nest) is None:
                count = var.size // var.shape[var.attrs.axis]
                context.fill_rows(self.layout.carry[var], count, _scan_start(var), var.op)
                filled = True
        if filled:
            context.sync()
        if self.nest.shape:
            context.add(*self._outside.get(0, []))

    def loops(self) -> None:
        """Write the loops."""
        context, source = self.block, self.block.source
        alone = self.order.serial and context.shape.rows > 1
        if alone:
            source.add("if ti == 0:")
            source.indent()
        steps = [self._head(level, axis) for level, axis in enumerate(self.order.axes)]
        innermost = len(self.order.axes)
        context.add(*(self._outside.get(innermost, []) if innermost or not self.nest.shape else []))
        context.add(*self.before, *self.lanes, *self.after)
        context.add(*(self._finished.get(innermost, []) if innermost or not self.nest.shape else []))
        for level in reversed(range(len(steps))):
            context.end_loop(steps[level])
            if level:
                context.add(*self._finished.get(level, []))
        if alone:
            source.dedent(1)

    def end(self) -> None:
        """Store finished sums over all elements."""
        context, sums = self.block, full(self.nest)
        if not sums:
            return
        if self.order.serial:
            with context.source.block("if ti == 0:" if context.shape.rows > 1 else "if True:"):
                for var in sums:
                    context.add(context.stored(context.where(self.layout.rows[var].offset), self._sum(var)))
        else:
            context.combine([(self._sum(var), var.op, self.layout.rows[var].offset) for var in sums])

    def _head(self, level: int, axis: int) -> str:
        """Begin a loop, and return how its index goes on."""
        context, source, name, n = self.block, self.block.source, f"i{axis}", self.nest.shape[axis]
        if level:
            context.add(*self._outside.get(level, []))
        split = level == 0 and not self.order.serial
        if self.tiled and split:
            return context.split_loop(name, "t1", "t0")
        if split:
            return context.split_loop(name, n)
        back = self.nest.backwards.get(axis, False)
        source.add(f"{name} = int32({n - 1 if back else 't0' if self.tiled else 0})")
        source.add(f"while {name} >= 0:" if back else f"while {name} < {'t1' if self.tiled else n}:")
        source.indent()
        return f"{name} = int32({name} {'-' if back else '+'} 1)"

    # --- equations ---
    def noise(self, var: Var) -> None:
        """Make the noise of the thread's draws."""
        component = affine(0, c_strides(self.nest.shape), self.index)
        name = self.name(var)
        self.lanes.append(f"a, b, c_, d = {words(var.attrs, component)}")
        self.lanes += from_words(var.attrs, "a, b, c_, d", self.block.spread(name))
        self._known[var] = name
        if var in self.stored:
            self.store(self.row(self.own(var), self.layout.rows[var]), name)

    def reduction(self, var: Var, value: str) -> None:
        """Reduce in registers where the loops allow it, otherwise in rows."""
        level = depth(var, self.nest)
        if level is None:
            row = self.row(self.reduced(var), self.layout.rows[var])
            self.lanes += [self.block.loaded("y@", row), f"y@ = {REDUCE[var.op].format('y@', value)}"]
            self.store(row, "y@")
            return
        total = self._sum(var)
        self._outside.setdefault(level, []).append(f"{total} = {START[var.op]}  # {var.op}")
        self.lanes.append(f"{total} = {REDUCE[var.op].format(total, value)}")
        if level or not self.nest.shape:
            row = self.block.where(self.place(self.reduced(var), self.layout.rows[var]))
            self._finished.setdefault(level, []).append(self.block.stored(row, total))

    def scan(self, var: Var, args: list[str]) -> None:
        """Keep the running value in registers where the loops allow it, otherwise in a row."""
        name, level = self.name(var), scan_depth(var, self.nest)
        running, row = f"running{name}", ""
        if level is None:
            row = self.carry_row(var)
            self.lanes.append(self.block.loaded(running, row))
        else:
            self._outside.setdefault(level, []).append(f"{running} = {_scan_start(var)}  # {var.op}")
        text = {
            "cumsum": f"{running} + {args[0]}",
            "cumprod": f"{running} * {args[0]}",
            "linear_recurrence": f"{args[0]} * {running} + {args[-1]}",
        }[var.op]
        self.lanes.append(f"{name} = {text}  # {var.op}")
        self.lanes.append(f"{running} = {name}" if level is not None else self.block.stored(row, name))

    def moments(self, out: Output) -> None:
        """Add up the thread's draws, and add that to the thread's own sums."""
        value, number = self.read(out.var), self._moments
        self._moments += 1
        strides = c_strides(squeeze(out.var.shape))
        component = affine(self.context.outputs[out], strides, self.index)
        slot = affine(self.block.slots[out], strides, self.index)
        p, d = f"p{number}", f"d{number}@"
        self.before.append(f"{p} = at(shift, {component})  # {out.path}")
        self.lanes += [f"{d} = {value} - {p}", f"{d} = select(inside@, {d}, real(0))"]
        each = self.block.spread(d)
        self.after += [
            f"r = int32((({slot}) * {self.block.shape.groups} + tg) * 2)",
            "s, q = load2(sums, r)",
            f"store2(sums, r, s + ({_pairs(each)}), q + ({_pairs([f'{x} * {x}' for x in each])}))",
        ]

    def write_finite(self, var: Var) -> None:
        """Write a nest that makes `bad` NaN in the draws of which an element of the Var is not finite."""
        value = self.read(var)
        self.lanes.append(f"bad@ = bad@ + {value} * real(0)")
        self.loops()

    # --- rows ---
    def load(self, name: str, base: Var, row: str, boolean: bool) -> None:
        """Load the thread's draws at once."""
        if boolean:
            self.lanes += [self.block.loaded("y@", row), f"{name} = y@ != real(0)"]
        else:
            self.lanes.append(self.block.loaded(name, row))

    def store(self, row: str, value: str) -> None:
        """Store the thread's draws at once."""
        if value.startswith("select("):
            self.lanes.append(f"y@ = {value}")
            value = "y@"
        self.lanes.append(self.block.stored(row, value))

    def named(self, place: str) -> str:
        """Name the index of the thread's draws in a row."""
        key = ("row", place)
        if key not in self._known:
            self._known[key] = f"r{len(self._known)}_"
            self.before.append(f"{self._known[key]} = {self.block.where(place)}")
        return self._known[key]

    def _sum(self, var: Var) -> str:
        return f"sum{self.name(var)}"


def _scan_start(var: Var) -> str:
    return "real(1)" if var.op == "cumprod" else "real(0)"


def _pairs(terms: list[str]) -> str:
    """Add terms in pairs."""
    while len(terms) > 1:
        terms = [
            f"({a} + {b})" if len(terms) > 2 else f"{a} + {b}" for a, b in zip(terms[::2], terms[1::2], strict=True)
        ]
    return terms[0]
