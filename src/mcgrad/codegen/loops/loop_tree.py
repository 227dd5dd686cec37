"""The loop tree of a kernel: frozen nodes between the schedule and the text of a target.

`build` makes the tree of a schedule, passes return new trees, and a target's printer writes each node by a template.
No node holds text of a target:

- A `Let` names an op of the table `ir/ops` and its operands; an operand is a `Value` that an earlier node defines, a
  `Number`, or a cell that is read in place.
- A cell (`cells`) is a place in memory: a `Row` of the workspace (one number for each lane), an `Element` of an array
  that no draw changes or that holds sums, or a `Register`. Rows belong to a `Buffer`, which the allocator places.
- An `Index` is a number that depends on the axes of the loops around it.

A loop has an axis, an extent and a kind, and a body of any nodes, so loops nest to any depth:

    element  over one axis of a nest, in any order that its scans allow
    serial   one turn after the other, around any steps
    lane     over the draws of a block; its extent is None until the layout gives a row its lanes
    thread   turns that threads with the same draws share
    tile     over a long axis, some elements at a time; loops inside it with `within` run over one tile's elements
    row      over rows of parameters or data, outside the lanes
    single   no loop: once, by one of the threads with the same draws
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from mcgrad.codegen.loops.access import resolve
from mcgrad.codegen.loops.cells import Buffer, Cell, Index, Lane, Operand, Register, Row, Value
from mcgrad.ir.program import Output, Var
from mcgrad.noise.source import NoiseSource

Masked = Literal["always", "partial"]
InTile = Literal["whole", "rows", "inner"]  # the part of a matrix product that a tile makes; whole outside of tiles
Kind = Literal["element", "serial", "lane", "thread", "tile", "row", "single"]


@dataclass(frozen=True)
class Loop:
    """Do the body for each number of an axis.

    Parameters
    ----------
    axis : str
    extent : int or None
        None: all lanes.
    kind : {"element", "serial", "lane", "thread", "tile", "row", "single"}
    body : tuple of Node
    backwards : bool
        From the last number to the first.
    step : int
        Elements of a tile; one in any other loop.
    within : str
        The axis of the tile whose elements the loop runs over.
    thread : int
        Which of the threads with the same draws does what is `single`.
    taken : Buffer, optional
        Where the number of steps that a loop in turn has taken is put: `extent`, where it is not left.
    until : Buffer, optional
        Where the number is of how many of its first steps run.
    """

    axis: str
    extent: int | None
    kind: Kind
    body: tuple[Node, ...]
    backwards: bool = False
    step: int = 1
    within: str = ""
    thread: int = 0
    taken: Buffer | None = None
    until: Buffer | None = None


@dataclass(frozen=True)
class Stage:
    """One of several nests that run in one loop: do the body for the element `delay` turns back.

    Parameters
    ----------
    axis : str
        Of the nest.
    extent : int
    around : str
        The axis of the loop around it.
    delay : int
    body : tuple of Node
    otherwise : tuple of Node
        What is done in turns for which the nest has no element.
    """

    axis: str
    extent: int
    around: str
    delay: int
    body: Tree
    otherwise: Tree = ()


@dataclass(frozen=True)
class Let:
    """Define a value: an op of operands."""

    value: Value
    op: str
    args: tuple[Operand, ...]


@dataclass(frozen=True)
class Address:
    """Define the address of a row in the workspace."""

    value: Value
    index: Index


@dataclass(frozen=True)
class Load:
    """Define a value: what is in a cell, as a truth value if `boolean`."""

    value: Value
    cell: Cell
    boolean: bool = False


@dataclass(frozen=True)
class Gather:
    """Define a value: that at an index, a number of each lane, among so many that lie so far apart from a cell on."""

    value: Value
    cell: Cell
    apart: int
    extent: int
    index: Operand


@dataclass(frozen=True)
class Store:
    """Put an operand into a cell: 1 or 0 if it is `boolean`."""

    cell: Cell
    operand: Operand
    boolean: bool = False


@dataclass(frozen=True)
class Start:
    """Set registers to the neutral element of an op; `note` says what for."""

    registers: tuple[Register, ...]
    op: str = "sum"
    note: str = ""


@dataclass(frozen=True)
class Fill:
    """Set all rows of a buffer to the neutral element of an op (zero where it has none); `note` says what for."""

    buffer: Buffer
    rows: int
    op: str
    note: str


@dataclass(frozen=True)
class Leave:
    """Leave the loop around it if some rows of a buffer, from `first` on, or the registers they are, are all zero.

    With `taken`, note there how many steps of the loop over `axis` were taken.
    """

    buffer: Buffer
    first: int
    rows: int
    registers: tuple[Register, ...] = ()
    taken: Buffer | None = None
    axis: str = ""


@dataclass(frozen=True)
class Accumulate:
    """Combine a cell with an operand (`square`: with its square) by a reduction; `of` is the result's own name."""

    cell: Cell
    op: str
    operand: Operand
    of: str = ""
    square: bool = False


@dataclass(frozen=True)
class Noise:
    """Make the noise of one component, or of some in as many rows; `cell` is the first, `value` its value in a lane."""

    value: Value
    cell: Row | Lane
    source: NoiseSource
    component: Index
    components: int = 1


@dataclass(frozen=True)
class Moments:
    """Add an element of an output about its shift, and its square, to the sums, of the draws that count.

    These are all draws of a whole block if only partial blocks are `masked`.
    """

    output: Output
    index: Index
    operand: Operand
    masked: Masked


@dataclass(frozen=True)
class Gemm:
    """A matrix product, of a draw-independent operand with the rows of a random one.

    In a tile it computes the `rows` of its result that are the tile's, or adds up a contraction over them, `inner`.
    """

    var: Var
    source: Buffer
    target: Buffer
    tile: InTile = "whole"


@dataclass(frozen=True)
class Outer:
    """Moments of an outer product of two Vars, over all draws of a block; `masked` as in `Moments`."""

    output: Output
    masked: Masked


@dataclass(frozen=True)
class Scatter:
    """Moments of a scatter, of the draws of a block that count: of its elements in a buffer, at places in another."""

    output: Output
    elements: Buffer
    places: Buffer


@dataclass(frozen=True)
class CallUser:
    """A user's own function of each lane's draw."""

    var: Var


@dataclass(frozen=True)
class DropNonfinite:
    """Count the draws that the finite row marks, and mask them if that is asked for."""


@dataclass(frozen=True)
class IfPartial:
    """Do one thing in a block of which some draws do not count, and another where all do."""

    partial: Tree
    whole: Tree


@dataclass(frozen=True)
class Section:
    """Do the body in a function of its own, which reads and writes what is in memory alone."""

    body: Tree


@dataclass(frozen=True)
class Barrier:
    """Threads with the same draws wait for each other."""


@dataclass(frozen=True)
class AddMoments:
    """Add what a thread's draws have of an output about its shift, and the squares of that, to the sums."""

    output: Output
    index: Index
    operand: Value


@dataclass(frozen=True)
class AddDraws:
    """Add an element of an output, of which each lane has a draw in a cell, to the sums of each row of the batch."""

    output: Output
    index: Index
    cell: Lane


@dataclass(frozen=True)
class StartSums:
    """Set the sums of a matrix product, which a thread keeps in registers, to zero."""

    gemm: Gemm


@dataclass(frozen=True)
class StoreParts:
    """Put the sums of a matrix product that a thread has kept in registers where the parts lie."""

    gemm: Gemm


@dataclass(frozen=True)
class AddParts:
    """Add up the parts of a matrix product."""

    gemm: Gemm


Node = (
    Loop | Stage | Let | Address | Load | Gather | Store | Start | Fill | Leave | Accumulate | Noise | Moments
    | Gemm | Outer | Scatter | CallUser | DropNonfinite | IfPartial | Section | Barrier
    | AddMoments | AddDraws | StartSums | StoreParts | AddParts
)  # fmt: skip
Tree = tuple[Node, ...]


def bodies(node: Node) -> tuple[Tree, ...]:
    """The nodes inside a node."""
    if isinstance(node, Loop | Section):
        return (node.body,)
    if isinstance(node, Stage):
        return node.body, node.otherwise
    return (node.partial, node.whole) if isinstance(node, IfPartial) else ()


def walk(tree: Tree) -> Iterator[Node]:
    """All nodes, each before those in its body."""
    for node in tree:
        yield node
        for body in bodies(node):
            yield from walk(body)


def rewrite(tree: Tree, rule: Callable[[Node], Node | Tree]) -> Tree:
    """The tree with each node replaced by what the rule makes of it, inner nodes first."""
    new: list[Node] = []
    for node in tree:
        if isinstance(node, Loop | Section):
            node = replace(node, body=rewrite(node.body, rule))
        elif isinstance(node, Stage):
            node = replace(node, body=rewrite(node.body, rule), otherwise=rewrite(node.otherwise, rule))
        elif isinstance(node, IfPartial):
            node = IfPartial(rewrite(node.partial, rule), rewrite(node.whole, rule))
        made = rule(node)
        new += made if isinstance(made, tuple) else (made,)
    return tuple(new)


def touched(node: Node) -> Iterator[Buffer]:
    """The buffers that a node itself reads or writes: in a tree's order, each is written before it is read."""
    for name in ("cell", "operand"):
        cell = getattr(node, name, None)
        if isinstance(cell, Row):
            yield cell.buffer
    if isinstance(node, Fill | Leave):
        yield node.buffer
    elif isinstance(node, Loop):
        yield from (buffer for buffer in (node.taken, node.until) if buffer is not None)
    elif isinstance(node, Let):
        yield from (arg.buffer for arg in node.args if isinstance(arg, Row))
    elif isinstance(node, Gemm):
        yield from (node.source, node.target)
    elif isinstance(node, CallUser):
        yield from (Buffer("value", resolve(arg).base) for arg in node.var.args if arg.by_draw)
        yield Buffer("value", node.var)
    elif isinstance(node, Scatter):
        yield from (node.elements, node.places)
    elif isinstance(node, Outer):
        yield from (Buffer("value", resolve(arg).base) for arg in node.output.var.args)
