"""Cut a loop over the lanes where one function goes on from another's result: log cosh z from tanh z.

In one loop a turn is a chain of some fifty operations, each of which waits for the one before, and no processor looks
far enough ahead to overlap many turns. In two loops the chains are half as long. The second loop reads what the first
has put into rows; where that is not in rows anyway, the loop stays whole.
"""

from __future__ import annotations

from mcgrad.codegen.loops.cells import Lane, Number, Operand, Value
from mcgrad.codegen.loops.loop_tree import Accumulate, Gather, Let, Load, Node, Store, Tree

CONTINUED = {"log_cosh": ("tanh", "log_cosh_of_tanh")}  # op -> one that it has to do first, and the rest of it
RESTS = {rest: {op, first} for op, (first, rest) in CONTINUED.items()}


def cut(lanes: Tree) -> tuple[Tree, Tree]:
    """The bodies of two loops that do what one did; the second is empty where it stays whole."""
    firsts = {(node.op, node.args): node.value for node in lanes if isinstance(node, Let)}
    for node in lanes:
        if isinstance(node, Let) and node.op in CONTINUED:
            first, rest = CONTINUED[node.op]
            value = firsts.get((first, node.args))
            if value is not None:
                return _cut(lanes, node, Let(node.value, rest, (*node.args, value))) or (lanes, ())
    return lanes, ()


def _cut(lanes: Tree, old: Let, new: Let) -> tuple[Tree, Tree] | None:
    """Move an op, and what needs it, to a second loop, if all that they need can be read there."""
    late, moved, early = {old.value}, list[Node]([new]), list[Node]()
    for node in lanes:
        if node is old:
            continue
        if late.intersection(_read(node)):
            moved.append(node)
            late |= {node.value} if isinstance(node, Let | Gather) else set()
        else:
            early.append(node)
    changed = {node.cell for node in early if isinstance(node, Accumulate)}
    places = {node.value: node.cell for node in early if isinstance(node, Load) and not node.boolean}
    places |= {
        node.operand: node.cell
        for node in early
        if isinstance(node, Store) and not node.boolean and isinstance(node.operand, Value)
    }
    loads = []
    for value in dict.fromkeys(x for node in moved for x in _read(node) if x.lanewise and x not in late):
        place = places.get(value)
        if not isinstance(place, Lane) or place in changed:
            return None
        loads.append(Load(value, place))
    if any(isinstance(x, Lane) and x in changed for node in moved for x in _operands(node)):
        return None
    return tuple(early), (*loads, *moved)


def _operands(node: Node) -> tuple[Operand, ...]:
    if isinstance(node, Let):
        return node.args
    if isinstance(node, Gather):
        return (node.index,)
    return (node.operand,) if isinstance(node, Store | Accumulate) else ()


def _read(node: Node) -> list[Value]:
    return [x for x in _operands(node) if isinstance(x, Value) and not isinstance(x, Number)]
