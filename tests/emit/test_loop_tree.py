"""Loop trees: loops nest to any depth, passes reach every node, and a tree prints what it does."""

import ast
from dataclasses import replace

import numpy as np

import mcgrad as mg
from mcgrad.codegen.cpu.lanes import Lanes, split_lanes
from mcgrad.codegen.cpu.printer import Printer
from mcgrad.codegen.loops.allocate import allocate
from mcgrad.codegen.loops.build import build
from mcgrad.codegen.loops.cells import Buffer, Index, Number, Row, Value
from mcgrad.codegen.loops.loop_tree import Accumulate, Let, Load, Loop, rewrite, walk
from mcgrad.codegen.loops.lower import lower
from mcgrad.codegen.loops.schedule import schedule
from mcgrad.codegen.loops.show import show
from mcgrad.codegen.loops.signature import Arguments
from mcgrad.ir.build import noise

Z = noise(0, "normal", (3, 4))
X, Y = Value("x0"), Value("y0")
BODY = (
    Load(X, Row(Buffer("value", Z), Index(0, (4, 1), ("i0", "i1"), (3, 4)))),
    Let(Y, "multiply", (X, Number(2.0))),
    Accumulate(Row(Buffer("running", Z)), "sum", Y),
)
LANES = Loop("w", None, "lane", BODY)
OVER_TIME = Loop("time", 50, "serial", (Loop("i0", 3, "serial", (Loop("i1", 4, "serial", (LANES,)),)),))
TREE = (Loop("row", 1000, "row", (OVER_TIME,)),)  # rows of data outside the lanes, a loop over time, and what is in it


def test_a_walk_reaches_every_node_from_outside_in():
    kinds = [node.kind if isinstance(node, Loop) else type(node).__name__ for node in walk(TREE)]
    assert kinds == ["row", "serial", "serial", "serial", "lane", "Load", "Let", "Accumulate"]


def test_a_rule_may_replace_remove_and_add_nodes():
    assert rewrite(TREE, lambda node: node) == TREE
    twice = rewrite(TREE, lambda node: (node, node) if isinstance(node, Let) else node)
    assert sum(isinstance(node, Let) for node in walk(twice)) == 2
    unwrapped = rewrite(TREE, lambda node: node.body if isinstance(node, Loop) else node)
    assert unwrapped == BODY


def test_a_tree_prints_what_it_does():
    assert show((OVER_TIME.body[0],), {Z: "z"}) == "\n".join([
        "serial i0: 3",
        "    serial i1: 4",
        "        lane w: all",
        "            x0 = z[4 i0 + i1]",
        "            y0 = multiply(x0, 2.0)",
        "            running z[0] sum= y0",
    ])  # fmt: skip


def test_the_cpu_prints_loops_over_rows_and_time_around_nests():
    estimator = mg.Estimator(lambda z: np.sum((z[1:] - z[:-1]) ** 2), mg.Normal(np.zeros(4), 0.6), backend="numpy")
    program = lower(estimator.program)
    kernel = build(schedule(program))
    block = (Loop("row", 7, "row", (Loop("time", 5, "serial", kernel.block),)),)
    workspace = allocate(replace(kernel, block=block), program.dtype)
    printer = Printer(program.dtype, workspace, Arguments(program, kernel.names))
    (rows,) = ast.parse("\n".join(printer.lines(split_lanes(block, lambda: Lanes(workspace))))).body
    (time,) = rows.body
    loops = [node.target.id for node in ast.walk(time) if isinstance(node, ast.For)]
    assert (rows.target.id, time.target.id) == ("row", "time")
    assert {"i0", "w"} <= {*loops}
