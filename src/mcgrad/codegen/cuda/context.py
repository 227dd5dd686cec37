"""What the writers of one kernel for blocks of threads share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mcgrad.codegen.cuda.placement import SLOTS, Placement
from mcgrad.codegen.cuda.thread_split import Shape
from mcgrad.codegen.loops.context import Context
from mcgrad.codegen.text import REDUCE, START
from mcgrad.ir.build import pad, reshape, transpose
from mcgrad.ir.program import Output, Var

MARK = "@"  # stands in a line for the number of a draw of the thread


@dataclass
class BlockContext(Context):
    """State of the writing of one kernel.

    Parameters
    ----------
    shape : Shape
        Of a block of threads.

    Attributes
    ----------
    slots : dict of Output to int
        Where the sums of an output's components start among all sums that threads keep for their own draws.
    """

    shape: Shape = field(default_factory=lambda: Shape(1, 32, 4))
    slots: dict[Output, int] = field(default_factory=dict)
    padded: dict[tuple[Var, tuple[int, ...], int], str] = field(default_factory=dict)

    @property
    def placement(self) -> Placement:
        """The layout."""
        assert isinstance(self.layout, Placement)
        return self.layout

    @property
    def draws(self) -> range:
        """Numbers of the draws of a thread."""
        return range(self.shape.group)

    def integers(self) -> npt.NDArray[np.int32]:  # type: ignore[override]
        """The argument `t`."""
        return super().integers().astype(np.int32)

    def spread(self, line: str) -> list[str]:
        """Write a line for each draw of the thread."""
        return [line.replace(MARK, f"_{k}") for k in self.draws] if MARK in line else [line]

    def add(self, *lines: str) -> None:
        """Append lines, each for all draws of the thread."""
        self.source.add(*(one for line in lines for one in self.spread(line)))

    def names_of(self, name: str) -> str:
        """Names of a value in the draws of the thread."""
        return ", ".join(self.spread(name)) if MARK in name else ", ".join([name] * self.shape.group)

    def where(self, row: int | str) -> str:
        """Index of the thread's draws in a row."""
        if isinstance(row, int) or row.isdigit():
            return f"int32({int(row) * self.shape.lanes} + lane)"
        return f"int32(({row}) * {self.shape.lanes} + lane)"

    def loaded(self, name: str, index: str) -> str:
        """Write a load of the thread's draws from an index of the workspace on."""
        return f"{self.names_of(name)} = load{self.shape.group}(ws, {index})"

    def stored(self, index: str, value: str) -> str:
        """Write a store, likewise."""
        return f"store{self.shape.group}(ws, {index}, {self.names_of(value)})"

    def sync(self) -> None:
        """Let threads with the same draws wait for each other."""
        if self.shape.rows > 1:
            self.source.add("cuda.syncthreads()")

    def split_loop(self, name: str, extent: int | str, first: str = "0") -> str:
        """Begin a loop whose turns the threads with the same draws share; `advance` ends it."""
        start = "ti" if first == "0" else f"int32({first} + ti)"
        self.source.add(f"{name} = {start if self.shape.rows > 1 else f'int32({first})'}")
        self.source.add(f"while {name} < {extent}:")
        self.source.indent()
        return f"{name} = int32({name} + {self.shape.rows})"

    def end_loop(self, step: str) -> None:
        """End a loop."""
        self.source.add(step)
        self.source.dedent(1)

    def fill_rows(self, first: int, rows: int, value: str, comment: str) -> None:
        """Set rows to a value."""
        self.source.add(f"# {comment}")
        step = self.split_loop("i", rows)
        self.source.add(self.stored(self.where(f"{first} + i"), value))
        self.end_loop(step)

    def combine(self, shares: Sequence[tuple[str, str, int]]) -> None:
        """Put together the shares of reductions: (name of the share, op, row of the result)."""
        if self.shape.rows == 1:
            for name, _, row in shares:
                self.add(self.stored(self.where(row), name))
            return
        rows, scratch = self.shape.rows, self.placement.scratch
        for start in range(0, len(shares), SLOTS):
            batch = shares[start : start + SLOTS]
            if start:
                self.sync()
            for slot, (name, _, _) in enumerate(batch):
                self.add(self.stored(self.where(f"{scratch + slot * rows} + ti"), name))
            self.sync()
            for slot, (_, op, row) in enumerate(batch):
                with self.source.block(f"if ti == {slot % rows}:"):
                    self._combine_one(scratch + slot * rows, op, row)

    def _combine_one(self, first: int, op: str, row: int) -> None:
        self.add(f"y@ = {START[op]}", "i = int32(0)")
        with self.source.block(f"while i < {self.shape.rows}:"):
            self.add(self.loaded("x@", self.where(f"{first} + i")))
            self.add(f"y@ = {REDUCE[op].format('y@', 'x@')}", "i = int32(i + 1)")
        self.add(self.stored(self.where(row), "y@"))

    def matrix(self, fixed: Var, axes: tuple[int, ...], shape: tuple[int, int, int], lead: int) -> str:
        """Return the argument that holds a matrix as (batch, contracted, rows), with zeros up to `lead` rows."""
        key = (fixed, axes, lead)
        if key not in self.padded:
            var = reshape(transpose(fixed, axes), shape)
            if lead > shape[2]:
                var = pad(var, ((0, 0, 0), (0, 0, 0), (0, lead - shape[2], 0)))
            self.padded[key] = f"x{self.matrices.setdefault((var, (0, 1, 2)), len(self.matrices))}"
        return self.padded[key]
