"""Write a matrix product for a block of threads: see `tiling` for how they share it."""

from __future__ import annotations

from mcgrad.codegen.cuda.context import BlockContext
from mcgrad.codegen.cuda.tiling import Tiling
from mcgrad.codegen.loops.access import resolve
from mcgrad.codegen.loops.lower import contraction_labels
from mcgrad.ir.program import Var

MOST_INT32 = 2**31
UNROLLED = 2  # steps of the contracted axis at once: their addresses are then constants apart


class BlockProduct:
    """One product: `begin`, then `loops` (in a tile for each tile), then `end`."""

    def __init__(self, context: BlockContext, var: Var) -> None:
        self.context, self.var = context, var
        self.tiling: Tiling = context.placement.tilings[var]
        parts = contraction_labels(var)
        fixed, operand = var.args[parts.fixed], var.args[1 - parts.fixed]
        axes = tuple(parts.matrix.index(x) for x in parts.batch + parts.contracted + parts.rows)
        t = self.tiling
        self.matrix = context.matrix(fixed, axes, (t.batch, t.inner, t.rows), t.lead)
        self.source, self.target = resolve(operand).base, var
        self.kind, self.name = t.kind, context.names[var]
        self.sums = [
            f"{self.name}_{n}" for n in range(t.block // context.shape.group)
        ]  # tuples, of as many rows as draws

    def write(self) -> None:
        """Write the product, outside of a tile."""
        self.begin()
        self.loops()
        self.end()

    @property
    def kept(self) -> bool:
        """Whether sums over all tiles stay in registers: a thread has one piece of work at most."""
        return self.kind == "inner" and self.tiling.items <= self.context.shape.rows

    def begin(self) -> None:
        """Set sums that tiles add to, to zero."""
        if self.kept:
            self._write_zeros()
        elif self.kind == "inner":
            first = self.context.placement.partial[self.var]
            self.context.fill_rows(first, self.tiling.partial, "real(0)", f"parts of {self.name}")
            self.context.sync()

    def _write_zeros(self) -> None:
        group = self.context.shape.group
        zeros = ", ".join(["real(0)"] * group**2)
        self.context.add(*(f"{sums} = ({zeros})" for sums in self.sums))

    def loops(self) -> None:
        """Write the products of blocks of rows."""
        context, t, add = self.context, self.tiling, self.context.add
        add(f"# {self.name} = {self.var.op}({self.var.attrs}), {t.block} rows a thread")
        step = context.split_loop("item", t.items)
        self._write_item_index()
        if not self.kept:
            self._write_zeros()
        unrolled = [UNROLLED] if t.inner >= 2 * UNROLLED else []
        for times in [*unrolled, 1]:
            if times == 1 and unrolled and self.kind != "inner" and t.splits == 1 and t.inner % UNROLLED == 0:
                continue
            with context.source.block(f"while k {f'+ {times - 1} ' if times > 1 else ''}< until:"):
                for turn in range(times):
                    self._write_step(turn)
                add(f"z_at = int32(z_at + {times * t.columns * context.shape.lanes})")
                add(f"m_at = {self._index(f'm_at + {times * t.lead}')}", f"k = int32(k + {times})")
        if not self.kept:
            self._write_results()
        context.end_loop(step)

    def _write_step(self, turn: int) -> None:
        """Multiply a vector of the operand with the rows of the thread."""
        context, t, add, group = self.context, self.tiling, self.context.add, self.context.shape.group
        add(f"z = load{group}(ws, z_at + {turn * t.columns * context.shape.lanes})")
        for n, sums in enumerate(self.sums):
            add(f"m = load{group}({self.matrix}, m_at + {turn * t.lead + n * group})")
            add(f"{sums} = add_products({sums}, m, z)")

    def _index(self, text: str) -> str:
        """An index into the matrix; int32 where it cannot overflow."""
        return (
            f"{'int32' if self.tiling.batch * self.tiling.inner * self.tiling.lead < MOST_INT32 else 'int64'}({text})"
        )

    def _write_item_index(self) -> None:
        """Which rows, part of the contracted axis, column and batch a piece of work is of, and where it reads."""
        context, t, add = self.context, self.tiling, self.context.add
        self._decode(
            [("row", t.blocks, t.block), ("part", t.splits, 1), ("column", t.columns, 1), ("batch", t.batch, 1)]
        )
        size = "int32(t1 - t0)" if self.kind == "inner" else str(t.inner)
        if t.splits > 1:
            add(f"length = int32(({size} + {t.splits - 1}) // {t.splits})", "k = int32(part * length)")
            add(f"until = min(int32(k + length), int32({size}))")
        else:
            add("k = int32(0)", f"until = int32({size})")
        place = self._z_place("k")
        add(f"z_at = {context.where(place)}")
        k = "k + t0" if self.kind == "inner" else "k"
        number = f"batch * {t.inner} + {k}" if t.batch > 1 else k
        if self._index("").startswith("int64"):
            number = f"int64({number})"
        row = "row + t0" if self.kind == "rows" else "row"
        add(f"m_at = {self._index(f'({number}) * {t.lead} + {row}')}")

    def _decode(self, digits: list[tuple[str, int, int]]) -> None:
        """Write the digits of `item`, the last one first, each times a factor."""
        rest = "item"
        for i, (name, base, factor) in enumerate(digits):
            if base == 1:
                self.context.add(f"{name} = int32(0)")
                continue
            last = all(later == 1 for _, later, _ in digits[i + 1 :])
            self.context.add(f"{name} = int32({rest if last else f'{rest} % {base}'} * {factor})")
            if not last:
                self.context.add(f"rest = int32({rest} // {base})")
                rest = "rest"

    def _z_place(self, k: str) -> str:
        """The row of the operand for a number of the contracted axis."""
        t, first = self.tiling, self.context.layout.rows[self.source].offset
        tile = " + t0" if self.kind == "inner" and self.source not in self.context.plan.local else ""
        if t.batch * t.columns > 1:
            return f"{first} + (batch * {t.inner} + {k}) * {t.columns} + column"
        return f"{first}{tile} + {k}"

    def _sum(self, row: int) -> str:
        """The sums of one row."""
        group = self.context.shape.group
        first = row % group * group
        return ", ".join(f"{self.sums[row // group]}[{first + k}]" for k in self.context.draws)

    def _store(self, index: str, row: int) -> str:
        return f"store{self.context.shape.group}(ws, {index}, {self._sum(row)})"

    def _write_results(self) -> None:
        context, t, add = self.context, self.tiling, self.context.add
        if t.partial:
            first = context.placement.partial[self.var]
            for r in range(t.block):
                index = context.where(f"{first} + item * {t.block} + {r}")
                if self.kind == "inner" and not self.kept:
                    mine = self._sum(r).split(", ")
                    add(f"p_at = {index}", context.loaded("y@", "p_at"))
                    add(*(f"y_{k} = y_{k} + {mine[k]}" for k in context.draws), context.stored("p_at", "y@"))
                else:
                    add(self._store(index, r))
            return
        local = self.var in context.plan.local
        first = context.layout.rows[self.var].offset
        base = f"{first} + t0" if self.kind == "rows" and not local else f"{first}"
        limit = "t1 - t0" if self.kind == "rows" else str(t.rows)
        place = (
            f"{base} + (batch * {t.rows} + row + {{}}) * {t.columns} + column"
            if t.batch * t.columns > 1
            else f"{base} + row + {{}}"
        )
        for r in range(t.block):
            line = self._store(context.where(place.format(r)), r)
            if t.rows % t.block:
                with context.source.block(f"if row + {r} < {limit}:"):
                    add(line)
            else:
                add(line)

    def end(self) -> None:
        """Add up the parts of sums."""
        t, context = self.tiling, self.context
        if not t.partial:
            return
        add, first = context.add, context.placement.partial[self.var]
        if self.kept:
            add("item = ti")
            with context.source.block(f"if item < {t.items}:"):
                self._write_results()
        context.sync()
        rows = t.batch * t.columns * t.rows
        add(f"# {self.name}: sums of {t.splits} parts")
        step = context.split_loop("i", rows)
        add("y@ = real(0)")
        # parts lie by (batch, column, part, row); rows of the result by (batch, row, column)
        for part in range(t.splits):
            if t.batch * t.columns > 1:
                place = (
                    f"{first} + ((i // {t.rows * t.columns} * {t.columns} + i % {t.columns}) * {t.splits} + {part})"
                    f" * {t.blocks * t.block} + i // {t.columns} % {t.rows}"
                )
            else:
                place = f"{first + part * t.blocks * t.block} + i"
            add(context.loaded("x@", context.where(place)), "y@ = y@ + x@")
        add(context.stored(context.where(f"{context.layout.rows[self.var].offset} + i"), "y@"))
        context.end_loop(step)
