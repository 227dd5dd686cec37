"""Var and Program: the intermediate representation, and its printed form.

A Var is the result of one equation: an op applied to earlier Vars, with static attributes. Shapes are of one draw of
one row; draws and rows are axes that no op can see. The *level* of a Var says how often its value changes: it is the
highest level of its arguments, and what is below `Level.DRAW` is computed once for all draws.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import accumulate
from typing import Any

from mcgrad.ir.cost import cost
from mcgrad.ir.ops import OPS

Shape = tuple[int, ...]


class Level(IntEnum):
    """How often a value changes, from the seldom to the often; a Var has the highest level of its arguments."""

    CONSTANT = 0  # the same for all draws of a call
    ROW = 1  # another for each row, that is, each problem of a batch
    DRAW = 2  # another for each draw


TITLES = {Level.CONSTANT: "once", Level.ROW: "each row", Level.DRAW: "each draw"}
_DRAW = Level.DRAW  # as attributes of an enumeration are slow to look up


@dataclass(frozen=True, slots=True, eq=False)
class Var:
    """The result of one equation. Identity is equality: two Vars are the same only if they are one object.

    Parameters
    ----------
    op : str
        A name in the table of ops.
    args : tuple of Var
    attrs : record or None
        Of the type in the op's row.
    shape : tuple of int
        Of one draw.
    kind : {"float", "bool"}
    level : Level
    """

    op: str
    args: tuple[Var, ...]
    attrs: Any
    shape: Shape
    kind: str
    level: Level

    @property
    def by_draw(self) -> bool:
        """Whether each draw has its own value; what has not is computed once, on the host."""
        return self.level is _DRAW

    @property
    def size(self) -> int:
        """Number of elements of one draw."""
        size = 1
        for extent in self.shape:
            size *= extent
        return size

    @property
    def is_const(self) -> bool:
        """Whether this is a literal array."""
        return self.op == "const"


@dataclass(frozen=True, slots=True)
class Output:
    """What has to be averaged: the mean over draws of `var`, times the draw-independent `scale` (None for one).

    Of a Program with rows each row has its mean, or the result is the sum over the rows of their means, if `summed`.
    The variance of a sum may be left out, if `error` is false.
    """

    path: str
    var: Var
    scale: Var | None = None
    summed: bool = False
    error: bool = True


@dataclass(frozen=True)
class Program:
    """What an estimator computes of each draw: named outputs, each to be averaged over the draws.

    Parameters
    ----------
    outputs : tuple of Output
    dtype : {"float32", "float64"}
        Of all arithmetic on what changes by draw. What no draw changes is computed in float64, and rounded once.
    """

    outputs: tuple[Output, ...]
    dtype: str

    def roots(self) -> list[Var]:
        """Every Var that an output names."""
        return [var for out in self.outputs for var in (out.var, out.scale) if var is not None]

    def without_errors(self) -> Program:
        """The same, whose sums over the rows may be without their variances."""
        return Program(tuple(replace(out, error=not out.summed) for out in self.outputs), self.dtype)

    def slices(self) -> list[slice]:
        """Where the components of each output are in a vector of those of all outputs, one after the other."""
        ends = [*accumulate((out.var.size for out in self.outputs), initial=0)]
        return [*map(slice, ends, ends[1:])]

    def equations(self) -> list[Var]:
        """All Vars in dependency order."""
        return list(toposort(self.roots()))

    def all_equations(self) -> list[Var]:
        """All Vars, and those in the bodies of loops."""
        return list(with_bodies(self.equations()))

    def body(self) -> list[Var]:
        """The Vars that change by draw, in dependency order: what has to be computed for each draw."""
        return [var for var in toposort(out.var for out in self.outputs) if var.by_draw]

    def hoisted(self) -> list[Var]:
        """The draw-independent Vars that the body or the outputs read: computed once, on the host."""
        body = self.body()
        read = [arg for var in body for arg in var.args if not arg.by_draw]
        read += [var for out in self.outputs for var in (out.var, out.scale) if var is not None and not var.by_draw]
        return list(dict.fromkeys(read))

    @property
    def has_rows(self) -> bool:
        """Whether it is a Program of many rows: some input or output is by row, or summed over them."""
        return any(out.summed for out in self.outputs) or any(var.level is Level.ROW for var in self.equations())

    def multiplies_matrices(self) -> bool:
        """Whether there is a product of matrices, of each draw or before them: BLAS may work it out."""
        return any_by_blas(self.equations())

    def noise(self) -> list[Var]:
        """The noise sources that the body reads, by stream."""
        return sorted((var for var in self.body() if var.op == "noise"), key=lambda var: int(var.attrs.stream))

    def work(self) -> float:
        """Estimated cost of one draw, in multiplications."""
        return sum(cost(var) for var in self.body())

    def to_bytes(self) -> bytes:
        """Return the serial form: the same for equal Programs, in any process. `ir.serial` describes it."""
        from mcgrad.ir import serial  # which makes Programs

        return serial.to_bytes(self)

    @classmethod
    def from_bytes(cls, content: bytes, functions: Sequence[Any] = ()) -> Program:
        """Return the Program of a serial form, and of the Integrands that it calls."""
        from mcgrad.ir import serial

        return serial.from_bytes(content, functions)

    def __reduce__(self) -> tuple[Any, ...]:
        from mcgrad.ir import serial

        return Program.from_bytes, (self.to_bytes(), serial.functions(self))

    def __str__(self) -> str:
        names = dict(zip(self.equations(), _names(), strict=False))
        lines = [f"program ({self.dtype}):"]
        for level, title in TITLES.items():
            rows = [line for var in names if var.level == level for line in described(var, names)]
            if rows:
                lines += [f"  {title}:", *("    " + row for row in rows)]
        lines.append("  mean of:")
        for out in self.outputs:
            scale = f" * {names[out.scale]}" if out.scale is not None else ""
            over = ", summed over the rows" * out.summed + ", without its error" * (not out.error)
            lines.append(f"    {out.path} = {names[out.var]}{scale}{over}")
        return "\n".join(lines)


def toposort(roots: Iterable[Var]) -> Iterator[Var]:
    """All Vars that the roots depend on, the roots included, each once and after its arguments."""
    done: set[Var] = set()
    stack: list[Var] = []
    for root in roots:
        stack.append(root)
        while stack:
            var = stack[-1]
            missing = [arg for arg in var.args if arg not in done]
            if missing:
                stack += reversed(missing)
                continue
            stack.pop()
            if var not in done:
                done.add(var)
                yield var


def numbered(roots: Iterable[Var]) -> Iterator[tuple[Var, list[int]]]:
    """Yield the Vars of `toposort`, each with the positions of its arguments in it."""
    number: dict[Var, int] = {}
    for var in toposort(roots):
        number[var] = len(number)
        yield var, [number[arg] for arg in var.args]


def describe(var: Var, names: dict[Var, str]) -> str:
    """One equation as a line of text."""
    shape = ",".join(map(str, var.shape))
    args = [names[arg] for arg in var.args]
    if var.attrs is not None:
        args.append(str(var.attrs))
    return f"{names[var]}: {var.kind[0]}[{shape}] = {var.op}({', '.join(args)})"


def described(var: Var, names: dict[Var, str]) -> Iterator[str]:
    """One equation as lines of text: of a loop, with its body."""
    yield describe(var, names)
    if var.op == "loop":
        body = var.attrs.body
        inner = dict(zip(body.equations, _names(f"{names[var]}_"), strict=False))
        for equation in body.equations:
            yield from ("  " + line for line in described(equation, inner))
        yield f"  gives {', '.join(inner[result] for result in body.results)}"


def with_bodies(order: Iterable[Var]) -> Iterator[Var]:
    """Yield Vars, and after each loop those in its body."""
    for var in order:
        yield var
        if var.op == "loop":
            yield from with_bodies(var.attrs.body.equations)


def any_by_blas(order: Iterable[Var]) -> bool:
    """Whether BLAS may work out some of these Vars, or some in bodies of loops among them."""
    return any(var.op == "einsum" or OPS[var.op].category == "matrices" for var in with_bodies(order))


def _names(prefix: str = "v") -> Iterator[str]:
    number = 0
    while True:
        yield f"{prefix}{number}"
        number += 1
