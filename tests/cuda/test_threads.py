"""Loop trees bound to a block of threads: no races, no rows shared by what is live together, loops to any depth."""

import ast
import itertools
import re
from dataclasses import replace

import numpy as np
import pytest

import mcgrad as mg
import mcgrad.codegen.loops.lower
import mcgrad.codegen.loops.tile
from mcgrad.codegen.cuda.allocate import allocate
from mcgrad.codegen.cuda.bind import bind
from mcgrad.codegen.cuda.draws import split_draws
from mcgrad.codegen.cuda.printer import ThreadPrinter
from mcgrad.codegen.cuda.sums import Sums
from mcgrad.codegen.cuda.thread_split import Shape, split
from mcgrad.codegen.cuda.tiling import tilings
from mcgrad.codegen.loops.allocate import live, size
from mcgrad.codegen.loops.build import build
from mcgrad.codegen.loops.cells import Buffer, Row
from mcgrad.codegen.loops.loop_tree import (
    Accumulate,
    AddParts,
    Barrier,
    Fill,
    Gemm,
    Load,
    Loop,
    Noise,
    Store,
    StoreParts,
    rewrite,
    touched,
    walk,
)
from mcgrad.codegen.loops.lower import lower
from mcgrad.codegen.loops.schedule import schedule
from mcgrad.codegen.loops.show import show
from mcgrad.codegen.loops.signature import Arguments
from mcgrad.codegen.loops.tile import tile
from tests.cuda.test_blocks import PATHS
from tests.emit.test_tiles import INTEGRANDS

Q = mg.Normal(np.array([0.1, -0.2, 0.3, 0.0]), 0.6)
SHARES = Buffer("shares")


def in_steps(z):
    """Vectors that steps exchange, sums of what a step has and of what it will have, a loop in a loop."""

    def step(carry, x):
        a, b = carry
        inner, _ = mg.scan(lambda c, y: (np.sin(c + y) * np.sum(c), None), a, z)
        return (b[::-1] * np.sum(a), np.cumsum(inner) + x), (a, np.max(b))

    (a, b), (rows, tops) = mg.scan(step, (z, np.ones(4)), z)
    return np.sum(a * b) + np.sum(rows**2) + np.sum(tops)


CASES = {**{name: (f, Q) for name, f in INTEGRANDS.items()}, **PATHS, "loops": (in_steps, Q)}


def made(f, q, checked, shape):
    plan = split(tile(schedule(lower(mg.Estimator(f, q, backend="numpy").program), checked)))
    kernel = build(plan)
    tiled = tilings(kernel.block, shape)
    return plan.program, kernel, tiled, allocate(kernel, shape, tiled, checked)


@pytest.fixture
def _low_thresholds(monkeypatch):
    monkeypatch.setattr(mcgrad.codegen.loops.tile, "SHORTEST", 2)
    monkeypatch.setattr(mcgrad.codegen.loops.lower, "SMALL_CONTRACTION", 1)


def intervals(tree):
    """What threads do between two waits for each other; loops around waits turn twice."""
    found = [[]]
    for node in tree:
        if isinstance(node, Barrier):
            found.append([])
        elif isinstance(node, Loop) and any(isinstance(inner, Barrier) for inner in walk(node.body)):
            first, *rest = intervals((*node.body, *node.body))
            found[-1] += first
            found += rest
        else:
            found[-1].append(node)
    return found


def written(node):
    """Buffers that a node writes, in the rows of all its threads."""
    for inner in walk((node,)):
        if isinstance(inner, Gemm):
            yield from (inner.target, Buffer("parts", inner.var))
        elif isinstance(inner, StoreParts | AddParts):
            yield Buffer("parts", inner.gemm.var) if isinstance(inner, StoreParts) else inner.gemm.target
        elif isinstance(inner, Fill) or (isinstance(inner, Noise | Store | Accumulate) and isinstance(inner.cell, Row)):
            yield inner.buffer if isinstance(inner, Fill) else inner.cell.buffer


def rows(workspace, buffer):
    """The rows of a buffer."""
    found = workspace.rows[buffer]
    if buffer == SHARES:
        return set()  # each sum has some of them
    if not found.strides or buffer.within or buffer.role != "value" or buffer.var.op == "loop":
        return {found.offset + i for i in range(size(buffer))}
    shape = tuple(n for n in buffer.var.shape if n != 1)
    return {int(found.offset + np.dot(found.strides, i)) for i in itertools.product(*map(range, shape))}


def area(workspace, node, *, writes):
    """The rows that a node writes, or touches."""
    buffers = {*written(node)} | (set() if writes else {buffer for inner in walk((node,)) for buffer in touched(inner)})
    found = {row for buffer in buffers if buffer in workspace.rows for row in rows(workspace, buffer)}
    for inner in walk((node,)):
        if isinstance(inner, Store if writes else Store | Load) and getattr(inner.cell, "buffer", None) == SHARES:
            found |= {workspace.rows[SHARES].offset + int(i) for i in inner.cell.index.numbers()}
    return found


def races(tree, workspace):
    """Pairs of nodes between the same two waits of which one writes rows that the other touches."""
    return [
        (node, other)
        for interval in intervals(tree)
        for node, other in itertools.permutations(interval, 2)
        if area(workspace, node, writes=True) & area(workspace, other, writes=False)
    ]


@pytest.mark.usefixtures("_low_thresholds")
@pytest.mark.parametrize("checked", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_no_thread_touches_what_another_may_be_writing(name, checked):
    shape = Shape(3, 2, 2)
    _, kernel, tiled, workspace = made(*CASES[name], checked, shape)
    tree = bind(kernel, shape, tiled)
    assert races(tree, workspace) == []
    assert races(rewrite(tree, lambda node: () if isinstance(node, Barrier) else node), workspace)
    alone = Shape(1, 2, 2)
    assert not any(isinstance(node, Barrier) for node in walk(bind(kernel, alone, tilings(kernel.block, alone))))


@pytest.mark.usefixtures("_low_thresholds")
@pytest.mark.parametrize("name", CASES)
def test_live_buffers_share_no_rows_but_those_that_are_taken_over(name):
    _, kernel, _, workspace = made(*CASES[name], False, Shape(3, 2, 2))
    spans = {buffer: span for buffer, span in live(kernel.block, members=True).items() if buffer in workspace.rows}
    for a, b in itertools.permutations(spans, 2):
        wholes = {a.var, b.var} & {*kernel.assemblies}  # their parts lie inside them
        if wholes or not rows(workspace, a) & rows(workspace, b) or spans[a].until < spans[b].since:
            continue
        if spans[b].until >= spans[a].since:  # they meet in one nest
            assert {spans[a].until, spans[b].until} & {spans[a].since, spans[b].since}, (a, b)
            assert workspace.rows[a] == workspace.rows[b]


def test_a_result_takes_the_rows_of_what_it_is_computed_from():
    def normalised_twice(z):
        once = np.sin(z) / np.sum(np.sin(z))
        return np.max(once / np.sum(np.cos(once)))

    _, kernel, _, workspace = made(normalised_twice, Q, False, Shape(2, 2, 2))
    spans = {buffer: span for buffer, span in live(kernel.block, members=True).items() if buffer in workspace.rows}
    meet = [
        (old, new)
        for old, new in itertools.permutations(spans, 2)
        if spans[old].until == spans[new].since > spans[old].since and workspace.rows[old] == workspace.rows[new]
    ]
    assert meet


def test_a_bound_tree_prints_what_threads_do():
    shape = Shape(3, 2, 2)
    _, kernel, tiled, _ = made(lambda z: np.max(np.cumsum(z)), mg.Normal(np.zeros(4), 1.0), False, shape)
    text = re.sub(r"v\d+", "v", show(bind(kernel, shape, tiled), kernel.names))
    assert text.startswith(
        "runningv = start of cumsum\nsumv = start of max\nsingle 0\n    element i0: 4\n        lane w: all"
    )
    assert "single 0\n    v[0] = sumv\nbarrier\nsumv = 0\nthread i0: 4" in text


def test_a_block_of_threads_runs_nests_inside_loops_over_rows_and_time():
    shape = Shape(3, 2, 2)
    program, kernel, tiled, _ = made(lambda z: np.sum((z[1:] - z[:-1]) ** 2), Q, False, shape)
    inside = (Loop("row", 7, "row", (Loop("time", 5, "serial", kernel.block),)),)
    kernel = replace(kernel, block=inside)
    workspace = allocate(kernel, shape, tiled, checked=False)
    printer = ThreadPrinter(
        program.dtype, workspace, Arguments(program, kernel.names), shape, tiled, Sums(program, inside, checked=False)
    )
    tree = bind(kernel, shape, tiled)
    assert races(tree, workspace) == []
    body = ast.parse("\n".join(printer.lines(split_draws(tree, workspace)))).body
    loops = [ast.unparse(node.test) for node in ast.walk(ast.Module(body, [])) if isinstance(node, ast.While)]
    assert loops[:2] == ["row < 7", "time < time_end"]
    assert {"i0 < 4", "i0 < 3"} <= {*loops}


def test_sums_that_go_on_from_turn_to_turn_of_a_loop_are_refused():
    shape = Shape(3, 2, 2)
    _, kernel, tiled, _ = made(np.sum, Q, False, shape)
    fills = tuple(node for node in kernel.block if isinstance(node, Fill))
    others = tuple(node for node in kernel.block if not isinstance(node, Fill))
    assert fills
    with pytest.raises(TypeError, match="from turn to turn"):
        bind(replace(kernel, block=(*fills, Loop("time", 5, "serial", others))), shape, tiled)
