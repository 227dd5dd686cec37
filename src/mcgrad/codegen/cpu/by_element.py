"""Write a scheduled Program as a Numba function whose vector loops run over elements: for few draws of wide events.

The function has the signature of `chunk`. A block of draws goes through the same steps, but each draw has a workspace
of its own, in which the elements of a Var are neighbours; of two steps between which draws meet (noise, which is made
for groups of draws, and matrix products), all others run draw by draw, with the elements of a nest innermost, where
LLVM vectorises; neighbouring axes are one loop where they can be. So the time is in proportion to the draws, down to
one. Moments are those of one draw more at a time, so there is no shift; draws whose sums are not finite are for a
kernel of lanes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mcgrad.codegen.cpu.chunk import Emitted, head, lookups
from mcgrad.codegen.cpu.element_printer import ElementPrinter, filler
from mcgrad.codegen.loops.access import c_strides
from mcgrad.codegen.loops.allocate import Workspace, allocate
from mcgrad.codegen.loops.build import build
from mcgrad.codegen.loops.cells import Buffer, Value
from mcgrad.codegen.loops.layout import Rows
from mcgrad.codegen.loops.loop_tree import (
    CallUser,
    Gather,
    Gemm,
    Let,
    Load,
    Loop,
    Moments,
    Node,
    Noise,
    Tree,
    rewrite,
    walk,
)
from mcgrad.codegen.loops.lower import lower
from mcgrad.codegen.loops.merge import merge_axes
from mcgrad.codegen.loops.schedule import schedule, squeeze
from mcgrad.codegen.loops.signature import Arguments
from mcgrad.codegen.text import SCAN, Source
from mcgrad.ir.cost import NOISE, cost
from mcgrad.ir.ops import OPS
from mcgrad.ir.program import Program, Var
from mcgrad.noise.laws import DRAWS_PER_GROUP
from mcgrad.noise.source import PHILOX

BLOCK = 16  # draws, for each of which there is a workspace
MOST_BYTES = 1 << 25  # of the workspaces of a block
SLOWEST = 3.0  # times the work of a draw in a full block of lanes; above, blocks of few lanes do as well
VECTOR = 64  # bytes
DRAW = 1500.0  # multiplications in the time that loops take to begin and end
MOMENTS = 4.0, 8.0  # multiplications that the moments of an element take in lanes, and here
FIXED = 4.0  # by what lanes shorten polynomials in two variables, of which one is the same in all of them
WAIT = 8.0  # multiplications in the time in which an element of a scan waits for that before it
MARGIN = 1.3  # what counts of work leave out
WORKSPACE = ["add_draw", "at", "at_constant", "at_sum", "put", "put_any", "put_sum"]


@dataclass
class EmittedByElement(Emitted):
    """Source of a chunk function over elements.

    Parameters
    ----------
    slowness : float
        The work of a draw, over that of a draw in a full block of lanes.
    """

    slowness: float

    def suits(self, draws: int, block: int) -> bool:
        """Whether so many draws take less time than a block of so many lanes."""
        return draws * self.slowness * MARGIN <= block


def emit_by_element(program: Program) -> EmittedByElement | None:
    """Write the chunk function of a simplified Program, or return None where lanes of draws do as well or better.

    That is where loops over elements do not fill vectors, as in scans and in events of few elements, where the
    workspaces would be large, where the user's own functions are called, and where gathers read what draws change.
    """
    plan = schedule(lower(program))
    noise = [var for var in plan.program.body() if var.op == "noise"]
    if any(var.attrs.generator != PHILOX for var in noise) or any(var.op == "loop" for var in plan.program.body()):
        return None
    plan.stored.update(dict.fromkeys(noise))
    kernel = build(plan)
    workspace = allocate(kernel, program.dtype, BLOCK)
    rows = workspace.rows
    nodes = merge_axes(_apart(kernel.block), lambda b: b.var is None or _is_plain(rows[b], b.var))
    slowness = _slowness(nodes, [var.size for var in noise], program.dtype)
    too_large = workspace.total * BLOCK * np.dtype(program.dtype).itemsize > MOST_BYTES
    scattered = not all(_is_plain(rows[Buffer("value", v)], v) for v in noise)
    if slowness > SLOWEST or too_large or scattered or workspace.chosen:
        return None
    if any(isinstance(node, CallUser) for node in walk(nodes)):
        return None
    arguments = Arguments(plan.program, kernel.names)
    printer = ElementPrinter(program.dtype, workspace, arguments)
    text = Source()
    text.indent()
    _write_blocks(text, printer, workspace, kernel.zeros, nodes)
    fillers = sorted({filler(var.attrs, program.dtype) for var in noise})
    uses_blas = any(isinstance(node, Gemm) for node in nodes)
    imports = {
        "blas": ["gemm"] if uses_blas else [],
        "intrinsics": ["accumulate", "prefer_vector_width", "select"],
        "jit": ["LOOP", "lane"],
        "vector_products": ["multiply_vectors"] if uses_blas else [],
        "workspace": [*WORKSPACE, *lookups(nodes)],
        "noise_elements": fillers,
    }
    what = "Means and sums of squared deviations over the draws start .. stop."
    return EmittedByElement(
        source=f"{head(plan.program, arguments, imports, what)}{text}",
        lanes=BLOCK,
        rows=workspace.total,
        scalars=list(arguments.scalars.items()),
        matrices=list(arguments.matrices),
        tables=arguments.integers(),
        outputs=list(arguments.outputs.items()),
        user_functions=[],
        uses_blas=uses_blas,
        loops=sum(isinstance(node, Loop) for node in walk(nodes)),
        slowness=slowness,
    )


def _is_plain(rows: Rows, var: Var) -> bool:
    """Whether the rows of a Var lie in C order; the elements of a running value do."""
    return not rows.strides or rows.strides == c_strides(squeeze(var.shape))


def _slowness(tree: Tree, noise: list[int], dtype: str) -> float:
    """Count the work of a draw here, over that in lanes of draws: multiplications, in vectors of elements and draws."""
    vector = VECTOR // np.dtype(dtype).itemsize
    ours, theirs = _work(tree, vector)
    ours += DRAW + NOISE * vector * sum(_turns(size, vector) for size in noise)
    return ours / max(theirs + NOISE * sum(noise), 1.0)


def _work(tree: Tree, vector: int) -> tuple[float, float]:
    """Multiplications of some nodes, by element and in lanes; what is left over of vectors goes one by one."""
    ours = theirs = 0.0
    for node in tree:
        match node:
            case Loop(extent=int(turns), body=body):
                inner, lanes = _work(body, vector)
                if node.backwards or any(isinstance(n, Let) and n.op in SCAN for n in body):
                    ours += turns * vector * (inner + WAIT)
                else:
                    innermost = not any(isinstance(n, Loop) for n in body)
                    ours += inner * (vector * _turns(turns, vector) if innermost else turns)
                theirs += lanes * turns
            case Let(op=op, args=args):
                fixed = any(isinstance(arg, Value) and not arg.lanewise for arg in args)
                ours += OPS[op].cost
                theirs += OPS[op].cost / (FIXED if fixed and op.startswith("gamma_") else 1.0)
            case Gather():
                ours, theirs = ours + OPS["gather"].cost, theirs + OPS["gather"].cost
            case Moments():
                ours, theirs = ours + MOMENTS[1], theirs + MOMENTS[0]
            case Gemm(var=var):
                ours, theirs = ours + cost(var), theirs + cost(var)
    return ours, theirs


def _turns(elements: int, vector: int) -> int:
    """How often a loop over elements goes round: in vectors, in one of half the length, and one by one."""
    half = vector // 2
    return elements // vector + elements % vector // half + elements % half


def _apart(tree: Tree) -> Tree:
    """The steps without loops over lanes, and each noise made as a whole before the step that reads it first."""
    steps: list[Node] = []
    for node in tree:
        noises: list[Node] = []

        def rule(inner: Node, noises: list[Node] = noises) -> Node | Tree:
            if isinstance(inner, Loop) and inner.kind == "lane":
                return inner.body
            if isinstance(inner, Noise):
                noises.append(inner)
                return Load(inner.value, inner.cell)
            return inner

        alone = rewrite((node,), rule)
        steps += [*noises, *alone]
    return tuple(steps)


def _write_blocks(text: Source, printer: ElementPrinter, workspace: Workspace, zeros: Tree, nodes: Tree) -> None:
    """Write the loop over blocks of draws, and in it the loops over the draws of each."""
    total, groups = workspace.total, DRAWS_PER_GROUP[printer.dtype]
    if zeros:
        with text.compound(f"for base in range(0, {BLOCK * total}, {total}):"):
            text.add(*printer.lines(zeros))
    with text.compound(f"for block in range(start // {BLOCK}, (stop - 1) // {BLOCK} + 1):"):
        text.add(f"first = block * {BLOCK}", f"group = uint64(first // {groups})")
        text.add("low = max(start - first, 0)", f"high = min(stop - first, {BLOCK})")
        for together, part in _parts(nodes):
            if together:
                text.add(*printer.lines(part))
                continue
            with text.compound("for draw in range(low, high):"):
                text.add(f"base = draw * {total}", "share = 1.0 / (first + draw - start + 1)")
                text.add(*printer.lines(part))


def _parts(nodes: Tree) -> Iterator[tuple[bool, Tree]]:
    """Consecutive nodes of which all or none are for all draws of a block at once, and which it is."""
    part: list[Node] = []
    for node in nodes:
        if isinstance(node, Gemm | Noise):
            if part:
                yield False, tuple(part)
            yield True, (node,)
            part = []
        else:
            part.append(node)
    if part:
        yield False, tuple(part)
