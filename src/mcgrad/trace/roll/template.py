"""What the iterations of a run have in common: one equation for each of an iteration's, and where it reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mcgrad.ir.program import Var
from mcgrad.trace.roll.order import MOVING, Order


class Run(NamedTuple):
    """Consecutive iterations: where the first begins, how many equations each has, how many iterations there are."""

    start: int
    period: int
    iterations: int

    @property
    def stop(self) -> int:
        """Where the last iteration ends."""
        return self.start + self.period * self.iterations


class Irregular(Exception):  # noqa: N818
    """Iterations that are no loop: what one of them does and the others do not."""


@dataclass(frozen=True)
class Inside:
    """What another equation of the same iteration computes."""

    node: int


@dataclass(frozen=True)
class Carried:
    """What an equation computed in an earlier iteration: one, two ... before, as many as there are Vars to begin with.

    `begins` are what stands for its result one, two ... iterations before the first.
    """

    node: int
    begins: tuple[Var, ...]


@dataclass(frozen=True)
class Same:
    """The same Var in all iterations."""

    var: Var


@dataclass(frozen=True)
class ByStep:
    """Another Var in each iteration, from before the first."""

    values: tuple[Var, ...]


Slot = Inside | Carried | Same | ByStep


@dataclass
class Node:
    """An equation of each iteration.

    Parameters
    ----------
    var : Var
        That of the last iteration.
    slots : list of Slot
        Where its arguments come from.
    places : list of attributes, optional
        Of a slice or a take that reads another place in each iteration, and is of the same array.
    fixed : Var, optional
        That of the first iteration, of an equation that computes the same in all.
    """

    var: Var
    slots: list[Slot]
    places: list[Any] | None = None
    fixed: Var | None = None


@dataclass
class Template:
    """The equations of an iteration, in order.

    Parameters
    ----------
    run : Run
    nodes : list of Node
    earlier : list of dict from int to Var
        Iterations before the run that are of the same form, by node, the first one first.
    """

    run: Run
    nodes: list[Node]
    earlier: list[dict[int, Var]] = field(default_factory=list)

    @property
    def length(self) -> int:
        """How many iterations there are."""
        return len(self.earlier) + self.run.iterations


def template_of(order: Order, run: Run) -> Template:
    """Return the template of a run.

    Raises
    ------
    Irregular
        The iterations are not of one form.
    """
    nodes: list[Node] = []
    for offset in range(run.period):
        each = order.equations[run.start + offset : run.stop : run.period]
        slots = [_slot(order, run, [var.args[k] for var in each]) for k in range(len(each[0].args))]
        node = Node(each[-1], slots)
        same = all(isinstance(slot, Same) or _is_fixed(slot, nodes) for slot in slots)
        if any(var.attrs != each[0].attrs for var in each):
            if each[0].op not in MOVING or not same:
                raise Irregular(f"{each[0].op} reads other places of what iterations compute")
            node.places = [var.attrs for var in each]
        elif same:
            node.fixed = each[0]
        nodes.append(node)
    return Template(run, nodes)


def _is_fixed(slot: Slot, nodes: Sequence[Node]) -> bool:
    return isinstance(slot, Inside) and nodes[slot.node].fixed is not None


def _slot(order: Order, run: Run, args: Sequence[Var]) -> Slot:
    """Where an argument comes from, of which `args` are the Vars in all iterations."""
    start, period, iterations = run
    place = order.place.get(args[-1], -1)
    if start <= place < run.stop:
        node, back = (place - start) % period, iterations - 1 - (place - start) // period
        for i in range(back, iterations):
            if order.place.get(args[i]) != start + (i - back) * period + node:
                raise Irregular("iterations read what others of them compute, at no constant distance")
        return Carried(node, tuple(args[:back][::-1])) if back else Inside(node)
    first = args[0]
    if all(arg is first for arg in args) or all(equal_literals(arg, first) for arg in args):
        return Same(first)
    if any(start <= order.place.get(arg, -1) < run.stop for arg in args):
        raise Irregular("some iterations read what the first one computes")
    return ByStep(tuple(args))


def equal_literals(a: Var, b: Var) -> bool:
    """Whether two Vars are the same literal array."""
    return a.is_const and b.is_const and a.attrs == b.attrs
