"""Move nodes that are equal in all lanes, or run for all at once, out of each loop over the lanes.

That is the making of noise, and the start and the end of sums. What is left is scalar code of one lane, which LLVM
vectorises. Where moments are much of it there are two versions, as a whole block of draws needs no masks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from mcgrad.codegen.cpu.cut import cut
from mcgrad.codegen.loops.allocate import Workspace
from mcgrad.codegen.loops.cells import Buffer, Element, Operand, Register, Row, Value
from mcgrad.codegen.loops.lane_split import LaneSplit
from mcgrad.codegen.loops.loop_tree import (
    Accumulate,
    IfPartial,
    Let,
    Load,
    Loop,
    Moments,
    Node,
    Noise,
    Start,
    Tree,
    rewrite,
)

LIGHT = 4  # equations of a loop, for each moment, up to which a version of it without masks is worth its code


def split_lanes(tree: Tree, lanes: Callable[[], LaneSplit]) -> Tree:
    """The tree with what is before, in and after each loop over the lanes, as `lanes` splits it."""
    return rewrite(
        tree, lambda node: lanes().split(node.body) if isinstance(node, Loop) and node.kind == "lane" else node
    )


def _unmasked(node: Node) -> Node:
    if isinstance(node, Let) and node.op == "masked_difference":
        return Let(node.value, "subtract", node.args[:2])
    return node


class Lanes(LaneSplit):
    """One loop over the lanes of a block of draws."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self._moments = 0
        self._repeated = False  # whether there are moments of many elements, masked in partial blocks alone

    def loops(self) -> Tree:
        """The loop over the lanes, or two, and these in two versions where masks are a good part of their work."""
        (whole,) = super().loops()
        assert isinstance(whole, Loop)
        loops = tuple(replace(whole, body=body) for body in cut(whole.body) if body)
        lets = sum(isinstance(node, Let) for node in self.lanes)
        if self._repeated and lets <= LIGHT * self._moments:
            return (IfPartial(loops, rewrite(loops, _unmasked)),)
        return loops

    def noise(self, node: Noise, row: Row) -> None:
        """Fill a row with noise."""
        cell = self.lane(row)
        self.before.append(Noise(node.value, cell, node.source, node.component))
        self.lanes.append(Load(node.value, cell))
        self.number()

    def count(self, node: Moments) -> int:
        """Count an output with moments in this loop, and return its number."""
        self._repeated |= node.masked == "partial" and not node.index.is_constant
        self._moments += 1
        return self._moments - 1

    def moments(self, node: Moments) -> None:
        """Add up the lanes in two registers, and these to the sums."""
        number = self.count(node)
        shift, difference = Value(f"p{number}", lanewise=False), Value(f"d{number}")
        total, squares = Register(Value(f"s{number}")), Register(Value(f"q{number}"))
        self.before += [Load(shift, Element("shift", node.output, node.index)), Start((total, squares))]
        args: tuple[Operand, ...] = (self.operand(node.operand), shift)
        self.lanes += [
            Let(difference, "masked_difference", (*args, self.lane(Row(Buffer("mask"))))),
            Accumulate(total, "lane_sum", difference),
            Accumulate(squares, "lane_sum", difference, square=True),
        ]
        self.after += [
            Accumulate(Element("sums", node.output, node.index), "sum", total.value),
            Accumulate(Element("squares", node.output, node.index), "sum", squares.value),
        ]
