"""Bind the loops of a tree to a block of threads, which share the elements of the draws that they have in common.

The outermost loop of a nest becomes one that threads share, reductions and the running values of scans go into
registers where the order of the loops allows it, and threads wait for each other after each step. What a step needs
before its loops, and what it does after them, lies outside of the loop over tiles that may be around these.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from mcgrad.codegen.cuda.allocate import SLOTS
from mcgrad.codegen.cuda.draws import INSIDE, X, Y
from mcgrad.codegen.cuda.nest import NestLoops
from mcgrad.codegen.cuda.thread_split import Shape
from mcgrad.codegen.cuda.tiling import Tiling
from mcgrad.codegen.loops.build import Kernel
from mcgrad.codegen.loops.cells import Buffer, Index, Register, Row, Value
from mcgrad.codegen.loops.loop_tree import (
    Accumulate,
    AddParts,
    Barrier,
    CallUser,
    DropNonfinite,
    Fill,
    Gemm,
    Kind,
    Leave,
    Let,
    Load,
    Loop,
    Node,
    Outer,
    Start,
    StartSums,
    Store,
    StoreParts,
    Tree,
    walk,
)
from mcgrad.ir.program import Var

BAD = Register(Value("bad"))  # NaN in draws of which an output is not finite, otherwise zero
MASK = Loop(  # writes which draws count, for the other threads
    "", None, "single", (Let(Y.value, "float", (INSIDE,)), Store(Row(Buffer("mask")), Y.value))
)


@dataclass(frozen=True)
class Share:
    """What one thread has of a reduction, and the row where the result goes."""

    register: Register
    op: str
    row: Row


@dataclass(frozen=True)
class Bound:
    """A step: what goes before its loops (in a tile: before the loop over tiles), the loops, and what goes after."""

    before: Tree
    loops: Tree
    after: Tree = ()


def bind(kernel: Kernel, shape: Shape, tilings: dict[Var, Tiling]) -> Tree:
    """Return what a block of threads does for its draws.

    Parameters
    ----------
    kernel : Kernel
    shape : Shape
        Of the block of threads.
    tilings : dict of Var to Tiling
        How threads share each matrix product.
    """
    binder = _Binder(kernel, shape, tilings)
    return _without_repeats(tuple(inner for node in kernel.block for inner in binder.step(node)))


class _Binder:
    def __init__(self, kernel: Kernel, shape: Shape, tilings: dict[Var, Tiling]) -> None:
        self.names, self.shape, self.tilings = kernel.names, shape, tilings
        self.has_outer = any(isinstance(node, Outer) for node in walk(kernel.block))
        self.barrier: Tree = (Barrier(),) if shape.rows > 1 else ()
        self.fills: dict[Buffer, Fill] = {}  # of sums and running values, until it is clear whether they have rows

    def step(self, node: Node) -> Tree:
        """What becomes of a node at the top of the tree."""
        match node:
            case Fill(buffer) if buffer.var is not None:
                self.fills[buffer] = node
                return ()
            case Fill() | Start() | Leave():
                return (node,)
            case DropNonfinite():
                together = self.combine([Share(BAD, "sum", Row(Buffer("finite")))])
                mask: Tree = (*self.barrier, MASK) if self.has_outer else ()
                return (*together, *self.barrier, node, *mask, *self.barrier)
            case Loop(kind="tile"):
                return self.tile(node)
            case Loop(kind="serial" | "row"):
                if carried := _carried(node):
                    raise TypeError(f"threads cannot share sums that go on from turn to turn of a loop: {carried}")
                return (replace(node, body=tuple(inner for member in node.body for inner in self.step(member))),)
        bound = self.bound(node)
        is_check = any(isinstance(inner, Accumulate) and inner.op == "nonfinite" for inner in walk((node,)))
        return (*bound.before, *bound.loops, *bound.after, *(() if is_check else self.barrier))

    def tile(self, node: Loop) -> Tree:
        inside = [self.bound(member) for member in node.body]
        body = tuple(inner for bound in inside for inner in (*bound.loops, *self.barrier))
        return (
            *(inner for bound in inside for inner in bound.before),
            replace(node, body=body),
            *(inner for bound in inside for inner in (*bound.after, *self.barrier)),
        )

    def bound(self, node: Node) -> Bound:
        match node:
            case Loop():
                return self.nest(NestLoops(node))
            case Gemm():
                return self.gemm(node)
            case Outer() | CallUser():
                return Bound((), (node,))
        raise TypeError(f"threads cannot share {node}")

    def gemm(self, node: Gemm) -> Bound:
        tiling = self.tilings[node.var]
        if not tiling.partial:
            return Bound((), (node,))
        if node.tile != "inner":
            return Bound((), (node,), (*self.barrier, AddParts(node)))
        if tiling.is_kept(self.shape):
            return Bound((StartSums(node),), (node,), (StoreParts(node), *self.barrier, AddParts(node)))
        parts = Fill(Buffer("parts", node.var), tiling.partial, "sum", f"parts of {self.names[node.var]}")
        return Bound((parts, *self.barrier), (node,), (*self.barrier, AddParts(node)))

    def nest(self, nest: NestLoops) -> Bound:
        body = _Registers(nest, self.names)
        fills = tuple(self.fills[buffer] for buffer in body.in_rows)
        tree: Tree = (
            *body.outside(len(nest.axes)),
            Loop("w", None, "lane", body.lanes),
            *body.finished(len(nest.axes)),
        )
        for level, axis in reversed(list(enumerate(nest.axes))):
            kind: Kind = "thread" if level == 0 and not nest.serial else "element"
            tree = (replace(nest.loops[axis], kind=kind, body=tree),)
            if level:
                tree = (*body.outside(level), *tree, *body.finished(level))
        if nest.serial and self.shape.rows > 1:
            tree = (Loop("", None, "single", tree),)
        before = (*fills, *(self.barrier if fills else ()), *(body.outside(0) if nest.axes else ()))
        return Bound(before, tree, self.combine(body.full, alone=nest.serial))

    def combine(self, shares: list[Share], alone: bool = False) -> Tree:
        """Reduce the shares that threads with the same draws have; if `alone`, one thread has all of each."""
        rows = self.shape.rows
        stores = tuple(Store(share.row, share.register.value) for share in shares)
        if rows == 1 or not shares:
            return stores
        if alone:
            return (Loop("", None, "single", stores),)
        tree: list[Node] = []
        for start in range(0, len(shares), SLOTS):
            batch = list(enumerate(shares[start : start + SLOTS]))
            tree += self.barrier if start else ()
            tree += (Store(_share_row(slot, "ti", rows), share.register.value) for slot, share in batch)
            tree += self.barrier
            for slot, share in batch:
                add = (Load(X.value, _share_row(slot, "i", rows)), Accumulate(Y, share.op, X.value))
                body = (Start((Y,), share.op), Loop("i", rows, "element", add), Store(share.row, Y.value))
                tree.append(Loop("", None, "single", body, thread=slot % rows))
        return tuple(tree)


def _share_row(slot: int, axis: str, rows: int) -> Row:
    """The share of a sum that a thread has."""
    return Row(Buffer("shares"), Index(slot * rows, (1,), (axis,), (rows,)))


def _without_repeats(tree: Tree) -> Tree:
    """The tree without barriers that follow one, or a loop that ends with one."""
    kept: list[Node] = []
    for node in tree:
        if isinstance(node, Loop):
            node = replace(node, body=_without_repeats(node.body))
        if not (isinstance(node, Barrier) and kept and _waits(kept[-1])):
            kept.append(node)
    return tuple(kept)


def _waits(node: Node) -> bool:
    return isinstance(node, Barrier) or (isinstance(node, Loop) and bool(node.body) and _waits(node.body[-1]))


def _carried(loop: Loop) -> set[Buffer]:
    """Sums that nodes in a loop add to, and that are set to their start before it: nests would start them anew."""
    inside = list(walk(loop.body))
    filled = {node.buffer for node in inside if isinstance(node, Fill)}
    return {node.cell.buffer for node in inside if isinstance(node, Accumulate) and isinstance(node.cell, Row)} - filled


class _Registers:
    """What is done for one element of a nest, with sums and running values in registers where loops allow it."""

    def __init__(self, nest: NestLoops, names: dict[Var, str]) -> None:
        self.nest, self.names = nest, names
        self.in_rows: list[Buffer] = []  # sums and running values that have to be in rows
        self.full: list[Share] = []  # of reductions along all axes
        self._outside: dict[int, list[Node]] = {}  # what comes before a loop, by the number of loops around it
        self._finished: dict[int, list[Node]] = {}  # and what comes after it
        self.lanes: Tree = tuple(made for node in nest.body for made in self._node(node))

    def outside(self, level: int) -> Tree:
        """What comes before the loop that has so many loops around it."""
        return tuple(self._outside.get(level, ()))

    def finished(self, level: int) -> Tree:
        """What comes after that loop."""
        return tuple(self._finished.get(level, ()))

    def _node(self, node: Node) -> Tree:
        match node:
            case Accumulate(Row(Buffer("finite"))):
                return (replace(node, cell=BAD),)
            case Accumulate(Row() as row):
                return self._reduction(node, row)
            case Let(_, _, (Row(), *_)):
                return self._scan(node)
            case Store(Row(Buffer("running", var)), operand) if var and self.nest.scan_depth(var) is not None:
                return (Store(self._running(var), operand),)
        return (node,)

    def _reduction(self, node: Accumulate, row: Row) -> Tree:
        var = row.buffer.var
        assert var is not None
        level = self.nest.depth(var)
        if level is None:
            self.in_rows.append(row.buffer)
            return (replace(node, of=""),)
        total = Register(Value(f"sum{self.names[var]}"))
        self._outside.setdefault(level, []).append(Start((total,), var.op, var.op))
        if self.nest.is_full(var):
            self.full.append(Share(total, var.op, row))
        else:
            self._finished.setdefault(level, []).append(Store(row, total.value))
        return (replace(node, cell=total, of=""),)

    def _scan(self, node: Let) -> Tree:
        row, *args = node.args
        assert isinstance(row, Row)
        var = row.buffer.var
        assert var is not None
        register, level = self._running(var), self.nest.scan_depth(var)
        if level is None:
            self.in_rows.append(row.buffer)
            return (node,)
        self._outside.setdefault(level, []).append(Start((register,), var.op, var.op))
        return (replace(node, args=(register.value, *args)),)

    def _running(self, var: Var) -> Register:
        return Register(Value(f"running{self.names[var]}"))
