"""Print a matrix product for a thread of a block: see `tiling` for how threads share it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from mcgrad.codegen.cuda.draws import X, Y
from mcgrad.codegen.cuda.tiling import Tiling
from mcgrad.codegen.loops.cells import Buffer
from mcgrad.codegen.loops.loop_tree import Accumulate, Gemm, Start
from mcgrad.codegen.loops.lower import contraction_labels
from mcgrad.codegen.text import indented
from mcgrad.ir.build import pad, reshape, transpose

if TYPE_CHECKING:
    from mcgrad.codegen.cuda.printer import ThreadPrinter

MOST_INT32 = 2**31
UNROLLED = 2  # steps of the contracted axis at once: their addresses are then constants apart


class Product:
    """The lines of one product.

    Parameters
    ----------
    printer : ThreadPrinter
    node : Gemm
    tiling : Tiling
    """

    def __init__(self, printer: ThreadPrinter, node: Gemm, tiling: Tiling) -> None:
        self.printer, self.node, self.tiling = printer, node, tiling
        self.group, self.lanes = printer.shape.group, printer.shape.lanes
        self.name = printer.arguments.names[node.var]
        # tuples, of as many rows as draws
        self.sums = [f"{self.name}_{n}" for n in range(tiling.block // self.group)]
        self.is_kept = tiling.is_kept(printer.shape)
        self.parts = printer.workspace.rows.get(Buffer("parts", node.var))

    @cached_property
    def matrix(self) -> str:
        """The argument that holds the matrix as (batch, contracted, rows), with zeros up to whole blocks of rows."""
        t, labels = self.tiling, contraction_labels(self.node.var)
        fixed = self.node.var.args[labels.fixed]
        axes = tuple(labels.matrix.index(x) for x in labels.batch + labels.contracted + labels.rows)
        key = (fixed, axes, t.batch, t.inner, t.lead)
        if key not in self.printer.matrices:
            matrix = reshape(transpose(fixed, axes), (t.batch, t.inner, t.rows))
            if t.lead > t.rows:
                matrix = pad(matrix, ((0, 0, 0), (0, 0, 0), (0, t.lead - t.rows, 0)))
            self.printer.matrices[key] = self.printer.arguments.matrix(matrix, (0, 1, 2))
        return self.printer.matrices[key]

    def start(self) -> Iterator[str]:
        """Set the sums to zero."""
        zeros = ", ".join(["real(0)"] * self.group**2)
        yield from (f"{sums} = ({zeros})" for sums in self.sums)

    def loops(self) -> Iterator[str]:
        """Write the products of blocks of rows."""
        t, var = self.tiling, self.node.var
        yield f"# {self.name} = {var.op}({var.attrs}), {t.block} rows a thread"
        yield from self.printer.turns("thread", "item", str(t.items), self._item())

    def _item(self) -> Iterator[str]:
        """One piece of work."""
        t = self.tiling
        yield from self._item_index()
        if not self.is_kept:
            yield from self.start()
        unrolled = [UNROLLED] if t.inner >= 2 * UNROLLED else []
        for times in [*unrolled, 1]:
            if times == 1 and unrolled and t.kind != "inner" and t.splits == 1 and t.inner % UNROLLED == 0:
                continue
            body = [line for turn in range(times) for line in self._step(turn)]
            body.append(f"z_at = int32(z_at + {times * t.columns * self.lanes})")
            body += [f"m_at = {self._index(f'm_at + {times * t.lead}')}", f"k = int32(k + {times})"]
            yield from (f"while k {f'+ {times - 1} ' if times > 1 else ''}< until:", *indented(body))
        if not self.is_kept:
            yield from self._results()

    def _step(self, turn: int) -> Iterator[str]:
        """Multiply a vector of the operand with the rows of the thread."""
        t, group = self.tiling, self.group
        yield f"z = load{group}(ws, z_at + {turn * t.columns * self.lanes})"
        for n, sums in enumerate(self.sums):
            yield f"m = load{group}({self.matrix}, m_at + {turn * t.lead + n * group})"
            yield f"{sums} = add_products({sums}, m, z)"

    @property
    def _is_long(self) -> bool:
        return self.tiling.batch * self.tiling.inner * self.tiling.lead >= MOST_INT32

    def _index(self, text: str) -> str:
        """An index into the matrix; int32 where it cannot overflow."""
        return f"{'int64' if self._is_long else 'int32'}({text})"

    def _item_index(self) -> Iterator[str]:
        """Which rows, part of the contracted axis, column and batch a piece of work is of, and where it reads."""
        t = self.tiling
        yield from self._decode(
            [("row", t.blocks, t.block), ("part", t.splits, 1), ("column", t.columns, 1), ("batch", t.batch, 1)]
        )
        size = "int32(t1 - t0)" if t.kind == "inner" else str(t.inner)
        if t.splits > 1:
            yield from (f"length = int32(({size} + {t.splits - 1}) // {t.splits})", "k = int32(part * length)")
            yield f"until = min(int32(k + length), int32({size}))"
        else:
            yield from ("k = int32(0)", f"until = int32({size})")
        yield f"z_at = {self.printer.at(self._z_place('k'))}"
        k = "k + t0" if t.kind == "inner" else "k"
        number = f"batch * {t.inner} + {k}" if t.batch > 1 else k
        if self._is_long:
            number = f"int64({number})"
        row = "row + t0" if t.kind == "rows" else "row"
        yield f"m_at = {self._index(f'({number}) * {t.lead} + {row}')}"

    def _decode(self, digits: list[tuple[str, int, int]]) -> Iterator[str]:
        """The digits of `item`, the last one first, each times a factor."""
        rest = "item"
        for i, (name, base, factor) in enumerate(digits):
            if base == 1:
                yield f"{name} = int32(0)"
                continue
            last = all(later == 1 for _, later, _ in digits[i + 1 :])
            yield f"{name} = int32({rest if last else f'{rest} % {base}'} * {factor})"
            if not last:
                yield f"rest = int32({rest} // {base})"
                rest = "rest"

    def _z_place(self, k: str) -> str:
        """The row of the operand for a number of the contracted axis."""
        t, first = self.tiling, self.printer.workspace.rows[self.node.source].offset
        tile = " + t0" if t.kind == "inner" and not self.node.source.within else ""
        if t.batch * t.columns > 1:
            return f"{first} + (batch * {t.inner} + {k}) * {t.columns} + column"
        return f"{first}{tile} + {k}"

    def _cells(self, row: int) -> list[str]:
        """The sums of one row, by draw."""
        first = row % self.group * self.group
        return [f"{self.sums[row // self.group]}[{first + k}]" for k in self.printer.draws]

    def _store(self, index: str, row: int) -> str:
        return f"store{self.group}(ws, {index}, {', '.join(self._cells(row))})"

    def _results(self) -> Iterator[str]:
        """Put the sums of a piece of work where the result lies, or their parts."""
        t, printer = self.tiling, self.printer
        if self.parts:
            for r in range(t.block):
                index = printer.at(f"{self.parts.offset} + item * {t.block} + {r}")
                if t.kind == "inner" and not self.is_kept:
                    yield from (f"p_at = {index}", printer.loaded(Y.value, "p_at"))
                    names = zip(printer.names(Y.value), self._cells(r), strict=True)
                    yield from (f"{name} = {name} + {cell}" for name, cell in names)
                    yield printer.stored("p_at", Y.value)
                else:
                    yield self._store(index, r)
            return
        target = self.node.target
        first = printer.workspace.rows[target].offset
        base = f"{first} + t0" if t.kind == "rows" and not target.within else f"{first}"
        limit = "t1 - t0" if t.kind == "rows" else str(t.rows)
        for r in range(t.block):
            place = f"{base} + row + {r}"
            if t.batch * t.columns > 1:
                place = f"{base} + (batch * {t.rows} + row + {r}) * {t.columns} + column"
            line = self._store(printer.at(place), r)
            yield from (f"if row + {r} < {limit}:", f"    {line}") if t.rows % t.block else (line,)

    def store_parts(self) -> Iterator[str]:
        """Put the sums that were kept in registers where the parts lie."""
        yield from ("item = ti", f"if item < {self.tiling.items}:", *indented(self._results()))

    def add_parts(self) -> Iterator[str]:
        """Add up the parts of sums."""
        t = self.tiling
        yield f"# {self.name}: sums of {t.splits} parts"
        yield from self.printer.turns("thread", "i", str(t.batch * t.columns * t.rows), self._sum_of_parts())

    def _sum_of_parts(self) -> Iterator[str]:
        t, printer = self.tiling, self.printer
        assert self.parts is not None
        first = self.parts.offset
        yield from printer.node(Start((Y,)))
        # parts lie by (batch, column, part, row); rows of the result by (batch, row, column)
        for part in range(t.splits):
            place = f"{first + part * t.blocks * t.block} + i"
            if t.batch * t.columns > 1:
                place = (
                    f"{first} + ((i // {t.rows * t.columns} * {t.columns} + i % {t.columns}) * {t.splits} + {part})"
                    f" * {t.blocks * t.block} + i // {t.columns} % {t.rows}"
                )
            yield printer.loaded(X.value, printer.at(place))
            yield from printer.node(Accumulate(Y, "sum", X.value))
        yield printer.stored(printer.at(f"{printer.workspace.rows[self.node.target].offset} + i"), Y.value)
