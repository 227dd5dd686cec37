"""Iterations before a run that are of its form but for what was folded: `total = 0.0` leaves no sum in the first one.

The results of such an iteration are known: they are what the run begins with. What it begins with itself follows by
going through the template from the results, side by side with the equations that were traced.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mcgrad.ir import build
from mcgrad.ir.attributes import Slice
from mcgrad.ir.program import Shape, Var
from mcgrad.trace.roll.order import Order
from mcgrad.trace.roll.template import ByStep, Carried, Inside, Node, Same, Slot, Template, equal_literals

FOLDED = {"add": (0.0, (0, 1)), "subtract": (0.0, (1,)), "multiply": (1.0, (0, 1)), "divide": (1.0, (1,))}
MOST = 3  # iterations that are looked for


class _NoMatchError(Exception):
    pass


def with_earlier(order: Order, template: Template) -> Template:
    """Return the template with the iterations before the run that are of its form."""
    for _ in range(MOST):
        try:
            template = _Match(order, template).result()
        except _NoMatchError:
            break
    return template


class _Match:
    """One iteration more, before the first."""

    def __init__(self, order: Order, template: Template) -> None:
        self.template, self.nodes = template, template.nodes
        self.found: dict[int, Var] = {}  # what was traced for a node
        self.folded: set[int] = set()  # nodes whose result is what they read
        self.begins: dict[Carried, Var] = {}
        self.steps: dict[tuple[int, int], Var] = {}
        self.places: dict[int, Any] = {}
        stop = template.run.start
        self.traced = order.equations[max(0, stop - (len(template.earlier) + 3) * template.run.period) : stop]

    def result(self) -> Template:
        """Return the template with this iteration.

        Raises
        ------
        _NoMatchError
            There is none of this form.
        """
        carried = {slot for node in self.nodes for slot in node.slots if isinstance(slot, Carried)}
        if not carried or any(len(slot.begins) > 1 for slot in carried):
            raise _NoMatchError
        work = [(slot.node, slot.begins[0]) for slot in carried]
        if not any(var.args for _, var in work):
            raise _NoMatchError
        while work:
            node, var = work.pop()
            if node not in self.found:
                self.found[node] = var
                work += self._arguments(node, var)
            elif not _equal(self.found[node], var):
                raise _NoMatchError
        if any(slot not in self.begins for slot in carried):
            raise _NoMatchError
        self._find_others()
        nodes = [self._node(j, node) for j, node in enumerate(self.nodes)]
        found = {j: var for j, var in self.found.items() if j not in self.folded}
        return replace(self.template, nodes=nodes, earlier=[found, *self.template.earlier])

    def _arguments(self, j: int, var: Var) -> list[tuple[int, Var]]:
        """Bind what a node reads, if `var` is what it computes; return the nodes that it reads."""
        node = self.nodes[j]
        if node.places is not None:
            self._place(j, node)
            if var.op != node.var.op or var.attrs != self.places[j]:
                raise _NoMatchError
            return self._bound(j, 0, node.slots[0], var.args[0])
        if self._looks_like(node, var):
            return [more for k, arg in enumerate(var.args) for more in self._bound(j, k, node.slots[k], arg)]
        return self._unfolded(j, node, var)

    def _looks_like(self, node: Node, var: Var) -> bool:
        same = (var.op, var.attrs, var.shape, len(var.args)) == (
            node.var.op, node.var.attrs, node.var.shape, len(node.slots))  # fmt: skip
        if not same or not any(map(_is_free, node.slots)):
            return same
        nodes = (self.nodes[slot.node].var.op if isinstance(slot, Inside) else None for slot in node.slots)
        return all(op is None or op == arg.op for op, arg in zip(nodes, var.args, strict=True))

    def _unfolded(self, j: int, node: Node, var: Var) -> list[tuple[int, Var]]:
        """Bind what was folded to what folds."""
        value, slots = FOLDED.get(node.var.op, (0.0, ()))
        for k in slots:
            slot, other = node.slots[k], node.slots[1 - k]
            like = not isinstance(other, Inside) or self.nodes[other.node].var.op == var.op
            if _is_free(slot) and like:
                self.folded.add(j)
                unit = _filled(value, node.var.args[k].shape)
                return [*self._bound(j, k, slot, unit), *self._bound(j, 1 - k, other, var)]
        raise _NoMatchError

    def _bound(self, j: int, k: int, slot: Slot, var: Var) -> list[tuple[int, Var]]:
        wanted = self.nodes[j].var.args[k]
        if (var.shape, var.kind) != (wanted.shape, wanted.kind):
            raise _NoMatchError
        if isinstance(slot, Inside):
            return [(slot.node, var)]
        if isinstance(slot, Same):
            if not _equal(slot.var, var):
                raise _NoMatchError
        elif isinstance(slot, Carried):
            if not _equal(self.begins.setdefault(slot, var), var):
                raise _NoMatchError
        else:
            if slot.values[0].is_const != var.is_const:
                raise _NoMatchError
            self.steps[j, k] = var
        return []

    def _place(self, j: int, node: Node) -> None:
        """Go on with evenly spaced slices to the one before the first."""
        assert node.places
        first, second = node.places[0], node.places[1]
        if not isinstance(first, Slice):
            raise _NoMatchError
        bounds = tuple((2 * a - b, 2 * c - d, step)
                       for (a, c, step), (b, d, _) in zip(first.bounds, second.bounds, strict=True))  # fmt: skip
        shape = node.var.args[0].shape
        if any(a < 0 or b > n for (a, b, _), n in zip(bounds, shape, strict=True)):
            raise _NoMatchError
        self.places[j] = Slice(bounds)

    def _find_others(self) -> None:
        """Find what was traced for the nodes that no result of the iteration needs."""
        table = {_key(var, var.args): var for var in self.traced}
        for j, node in enumerate(self.nodes):
            if node.places is not None and j not in self.places:
                self._place(j, node)
            if j in self.found:
                continue
            args = [self._value(j, k, slot) for k, slot in enumerate(node.slots)]
            attrs = self.places.get(j, node.var.attrs)
            known = [arg for arg in args if arg is not None]
            if len(known) == len(args):
                var = table.get(_key(node.var, known, attrs))
                if var is not None:
                    self.found[j] = var

    def _value(self, j: int, k: int, slot: Slot) -> Var | None:
        if isinstance(slot, Inside):
            return self.found.get(slot.node, self.nodes[slot.node].fixed)
        if isinstance(slot, Same):
            return slot.var
        if isinstance(slot, Carried):
            return self.begins[slot]
        if (j, k) not in self.steps:  # a literal, or an element, that nothing says
            raise _NoMatchError
        return self.steps[j, k]

    def _node(self, j: int, node: Node) -> Node:
        slots: list[Slot] = []
        for k, slot in enumerate(node.slots):
            if isinstance(slot, Carried):
                slot = Carried(slot.node, (self.begins[slot],))
            elif isinstance(slot, ByStep):
                if (j, k) not in self.steps:
                    raise _NoMatchError
                slot = ByStep((self.steps[j, k], *slot.values))
            slots.append(slot)
        places = None if node.places is None else [self.places[j], *node.places]
        return replace(node, slots=slots, places=places)


def _is_free(slot: Slot) -> bool:
    """Whether what a slot reads may have been folded in the iteration."""
    return isinstance(slot, Carried) or (isinstance(slot, ByStep) and slot.values[0].is_const)


def _equal(a: Var, b: Var) -> bool:
    return a is b or equal_literals(a, b) or (
        a.op == b.op == "broadcast" and a.shape == b.shape and _equal(a.args[0], b.args[0]))  # fmt: skip


def _filled(value: float, shape: Shape) -> Var:
    return build.broadcast(build.const(value), shape)


def _key(var: Var, args: Any, attrs: Any = None) -> Any:
    return var.op, attrs or var.attrs, tuple(("const", arg.attrs) if arg.is_const else arg for arg in args)
