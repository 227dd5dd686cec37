"""Write a scheduled Program as a Numba function whose vector loops run over elements: for few draws of wide events.

The function has the signature of `chunk`. A block of draws goes through the same steps, but each draw has a workspace
of its own, in which the elements of a Var are neighbours; of two steps between which draws meet (noise, which is made
for groups of draws, and matrix products), all others run draw by draw, with the elements of a nest innermost, where
LLVM vectorises. So the time is in proportion to the draws, down to one. Moments are those of one draw more at a time,
so there is no shift; draws whose sums are not finite are for a kernel of lanes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from mcgrad.codegen.cpu.chunk import Emitted, head
from mcgrad.codegen.cpu.element_printer import ElementPrinter, filler
from mcgrad.codegen.loops.access import c_strides
from mcgrad.codegen.loops.allocate import Workspace, allocate
from mcgrad.codegen.loops.build import build
from mcgrad.codegen.loops.cells import Buffer
from mcgrad.codegen.loops.loop_tree import CallUser, Gemm, Load, Loop, Node, Noise, Tree, rewrite, walk
from mcgrad.codegen.loops.lower import lower
from mcgrad.codegen.loops.schedule import Nest, Schedule, schedule, squeeze
from mcgrad.codegen.loops.signature import Arguments
from mcgrad.codegen.text import Source
from mcgrad.ir.ops import OPS
from mcgrad.ir.program import Program
from mcgrad.noise.laws import DRAWS_PER_GROUP
from mcgrad.noise.source import PHILOX

BLOCK = 16  # draws, for each of which there is a workspace
MOST_BYTES = 1 << 25  # of the workspaces of a block
WIDE = 16  # elements of an innermost loop that fill vectors
SHARE = 0.75  # of the work, which is to be in such loops
WORKSPACE = ["add_draw", "at", "at_constant", "at_sum", "put", "put_any", "put_sum"]


def emit_by_element(program: Program) -> Emitted | None:
    """Write the chunk function of a simplified Program, or return None where lanes of draws do as well or better.

    That is where most of the work is not in wide loops over elements, as in scans and in events of few elements, where
    the workspaces would be large, and where the user's own functions are called.
    """
    plan = schedule(lower(program))
    noise = [var for var in plan.program.body() if var.op == "noise"]
    if not _is_wide(plan) or any(var.attrs.generator != PHILOX for var in noise):
        return None
    plan.stored.update(dict.fromkeys(noise))
    kernel = build(plan)
    workspace = allocate(kernel, program.dtype, BLOCK)
    nodes = _apart(kernel.block)
    too_large = workspace.total * BLOCK * np.dtype(program.dtype).itemsize > MOST_BYTES
    scattered = any(workspace.rows[Buffer("value", v)].strides != c_strides(squeeze(v.shape)) for v in noise)
    if too_large or scattered or any(isinstance(node, CallUser) for node in walk(nodes)):
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
        "workspace": WORKSPACE,
        "noise_elements": fillers,
    }
    what = "Means and sums of squared deviations over the draws start .. stop."
    return Emitted(
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
    )


def _is_wide(plan: Schedule) -> bool:
    """Whether most of the work of nests is in loops that fill vectors with elements of an event."""
    wide, total = 0.0, 0.0
    for step in plan.steps:
        if isinstance(step, Nest):
            work = math.prod(step.shape) * sum(OPS[var.op].cost for var in step.body)
            total += work
            scanned = len(step.shape) - 1 in step.backwards
            wide += work if step.shape and step.shape[-1] >= WIDE and not scanned else 0.0
    return total > 0 and wide >= SHARE * total


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
