"""Write a matrix product for a block of threads: see `tiling` for how they share it."""

from __future__ import annotations

from mcgrad.emit.access import resolve
from mcgrad.emit.block_context import BlockContext
from mcgrad.emit.lower import contraction_labels
from mcgrad.emit.tiling import Tiling
from mcgrad.ir.program import Var

MOST_INT32 = 2**31


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
        self.kind = t.kind

    def write(self) -> None:
        """Write the product, outside of a tile."""
        self.begin()
        self.loops()
        self.end()

    def begin(self) -> None:
        """Set sums that tiles add to, to zero."""
        if self.kind == "inner":
            first = self.context.placement.partial[self.var]
            self.context.fill_rows(first, self.tiling.partial, "real(0)", f"parts of {self.context.names[self.var]}")
            self.context.sync()

    def loops(self) -> None:
        """Write the products of blocks of rows."""
        context, t, add = self.context, self.tiling, self.context.add
        add(f"# {context.names[self.var]} = {self.var.op}({self.var.attrs}), {t.block} rows a thread")
        step = context.split_loop("item", t.items)
        self._write_item_index()
        row = [f"a{r}@" for r in range(t.block)]
        add(*(f"{name} = real(0)" for name in row))
        with context.source.block("while k < until:"):
            add(context.loaded("z@", "z_at"))
            for r in range(0, t.block, context.shape.group):
                names = ", ".join(f"m{r + i}" for i in context.draws)
                add(f"{names} = load{context.shape.group}({self.matrix}, m_at + {r})")
            for r, name in enumerate(row):
                add(f"{name} = {name} + m{r} * z@")
            add(f"z_at = int32(z_at + {t.columns * context.shape.lanes})")
            add(f"m_at = {self._index(f'm_at + {t.lead}')}", "k = int32(k + 1)")
        self._write_results(row)
        context.end_loop(step)

    def _index(self, text: str) -> str:
        """An index into the matrix; int32 where it cannot overflow."""
        return (
            f"{'int32' if self.tiling.batch * self.tiling.inner * self.tiling.lead < MOST_INT32 else 'int64'}({text})"
        )

    def _write_item_index(self) -> None:
        """Which rows, column, part of the contracted axis and batch a piece of work is of, and where it reads."""
        context, t, add = self.context, self.tiling, self.context.add
        wide = self._index("x").startswith("int64")
        add(f"row = int32(item % {t.blocks} * {t.block})" if t.blocks > 1 else "row = int32(0)")
        add(f"rest = int32(item // {t.blocks})")
        size = str(t.inner)
        if self.kind == "inner":
            size = "int32(t1 - t0)"
        add(f"part = int32(rest % {t.splits})" if t.splits > 1 else "part = int32(0)")
        length = f"int32(({size} + {t.splits - 1}) // {t.splits})" if t.splits > 1 else size
        add(f"k = int32(part * {length})", f"until = min(int32(k + {length}), int32({size}))")
        add(
            f"rest = int32(rest // {t.splits})",
            f"column = int32(rest % {t.columns})",
            f"batch = int32(rest // {t.columns})",
        )
        local = self.source in context.plan.local
        first = context.layout.rows[self.source].offset
        base = f"{first} + t0" if self.kind == "inner" and not local else f"{first}"
        place = f"{base} + (batch * {t.inner} + k) * {t.columns} + column" if t.batch * t.columns > 1 else f"{base} + k"
        add(f"z_at = {context.where(place)}")
        k = "k + t0" if self.kind == "inner" else "k"
        number = f"batch * {t.inner} + {k}" if t.batch > 1 else k
        if wide:
            number = f"int64({number})"
        row = "row + t0" if self.kind == "rows" else "row"
        add(f"m_at = {self._index(f'({number}) * {t.lead} + {row}')}")

    def _write_results(self, row: list[str]) -> None:
        context, t, add = self.context, self.tiling, self.context.add
        if t.partial:
            first = context.placement.partial[self.var]
            for r, name in enumerate(row):
                index = context.where(f"{first} + item * {t.block} + {r}")
                if self.kind == "inner":
                    add(
                        f"p_at = {index}",
                        context.loaded("y@", "p_at"),
                        f"y@ = y@ + {name}",
                        context.stored("p_at", "y@"),
                    )
                else:
                    add(context.stored(index, name))
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
        for r, name in enumerate(row):
            line = context.stored(context.where(place.format(r)), name)
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
        context.sync()
        rows = t.batch * t.columns * t.rows
        add(f"# {context.names[self.var]}: sums of {t.splits} parts")
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
