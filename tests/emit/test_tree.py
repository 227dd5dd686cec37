"""Loop trees: loops nest to any depth, passes reach every node, and a tree prints what it does."""

from mcgrad.codegen.loops.cells import Buffer, Index, Number, Row, Value
from mcgrad.codegen.loops.show import show
from mcgrad.codegen.loops.tree import Accumulate, Let, Load, Loop, rewrite, walk
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
