"""Make a loop of a template: the body, what it begins with, and what is read of its results."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Mapping, Sequence

from mcgrad.ir import build
from mcgrad.ir.infer import recorded
from mcgrad.ir.ops import VIEWS
from mcgrad.ir.program import Level, Shape, Var, with_bodies
from mcgrad.ir.vmap import vmap
from mcgrad.trace.lines import same_lines
from mcgrad.trace.roll.stacks import element, stacked, stacked_places
from mcgrad.trace.roll.template import ByStep, Carried, Inside, Irregular, Same, Slot, Template

FEWEST = 16  # equations, but views, of all iterations together that become one
LEAST = 128  # that become a loop: what compiles in about half a second stays as it is
REPEATING = ("broadcast", "reshape", "transpose")  # views of no more numbers than what they are of
ACCUMULATING = {"add": "sum", "multiply": "prod", "maximum": "max", "minimum": "min"}
ONE_BY_ONE = ("native_value", "native_gradient")  # ops that several at once make no cheaper
_numbers = itertools.count(1 << 40)  # of arguments while a body is made: each another, so that none are equal

Current = Callable[[Var], Var]
Roll = Callable[[Sequence[Var], Sequence[Var]], list[Var]]


class LoopOfTemplate:
    """A loop that computes what the iterations of a template do.

    Parameters
    ----------
    template : Template
    read : dict from int to set of int
        Of each node that is read elsewhere, the iterations whose results are.
    current : callable
        What stands now for a Var from outside.
    roll : callable
        Rolls results of equations, which are given in order, too.
    """

    def __init__(self, template: Template, read: Mapping[int, Collection[int]], current: Current, roll: Roll) -> None:
        self.template, self.nodes, self.length = template, template.nodes, template.length
        self.current, self._roll = current, roll
        self.read = {j: set(each) for j, each in read.items()}
        self.reverse = self._runs_backwards()
        self._by_step: dict[Var, Var] = {}  # array -> leaf
        self._same: dict[Var, Var] = {}  # Var from outside -> leaf
        self._carries: dict[tuple[int, tuple[Var, ...]], Var] = {}  # node and what stood for it before -> leaf
        self._arrays: dict[int, Var | None] = {}
        self._made: dict[int, Var] = {}  # node -> what the body has for it

    def values(self) -> dict[tuple[int, int], Var]:
        """Return what stands for each node, and iteration, that is read.

        Raises
        ------
        Irregular
            What each iteration reads are too many pieces.
        """
        needed = self._needed()
        if not needed:
            return {}
        work = self.length * sum(map(_equations, (self.nodes[j].var for j in needed)))
        if work < FEWEST:
            raise Irregular("")
        carried = [slot for j in needed for slot in self.nodes[j].slots if isinstance(slot, Carried)]
        if not carried:
            return self._side_by_side(needed)
        if len(needed) == 1 and (found := self._accumulated(needed[0])) is not None:
            return found
        if work < LEAST:
            raise Irregular("")
        return self._loop(needed)

    # --- what is needed ----------------------------------------------------------------------------------------------
    def _computes(self, j: int) -> bool:
        """Whether a node is computed in each iteration: not once, nor an element of an array."""
        return self.nodes[j].fixed is None and self._array_of(j) is None

    def _needed(self) -> list[int]:
        """The nodes that the body computes, in order."""
        found: set[int] = set()
        work = [j for j in self.read if self._computes(j)]
        while work:
            j = work.pop()
            if j not in found:
                found.add(j)
                work += [slot.node for slot in self.nodes[j].slots
                         if isinstance(slot, Inside | Carried) and self._computes(slot.node)]  # fmt: skip
        return sorted(found)

    def _runs_backwards(self) -> bool:
        """Whether iterations read arrays from their ends."""
        falls = [
            node.places[1].bounds < node.places[0].bounds
            for node in self.nodes if node.places is not None and node.var.op == "slice"
        ]  # fmt: skip
        return bool(falls) and all(falls)

    def _array_of(self, j: int) -> Var | None:
        """The array of which each iteration has an element, for a node that reads one; else None."""
        if j not in self._arrays:
            self._arrays[j] = self._found_array(j)
        return self._arrays[j]

    def _found_array(self, j: int) -> Var | None:
        node = self.nodes[j]
        if node.places is not None:
            (slot,) = node.slots
            base = slot.var if isinstance(slot, Same) else self.nodes[slot.node].fixed  # type: ignore[union-attr]
            assert base is not None
            places = node.places[::-1] if self.reverse else node.places
            return stacked_places(self.current(base), node.var.op, places)
        if node.var.op == "reshape" and isinstance(node.slots[0], Inside):
            array = self._array_of(node.slots[0].node)
            return None if array is None else build.reshape(array, (self.length, *node.var.shape))
        return None

    def _array(self, slot: Slot) -> Var | None:
        """The array of which each iteration reads an element through a slot; None for other slots."""
        if isinstance(slot, Inside):
            return self._array_of(slot.node)
        if not isinstance(slot, ByStep):
            return None
        values = [self.current(value) for value in slot.values]
        array = stacked(values[::-1] if self.reverse else values)
        if array is None:
            raise Irregular("each iteration reads another value from before the loop, which are no array")
        return array

    # --- the body ----------------------------------------------------------------------------------------------------
    def _body(self, needed: Sequence[int], outside: Callable[[Var], Var]) -> None:
        """Compute the nodes of one iteration from leaves, and from what `outside` makes of Vars from outside."""
        for j in needed:
            node = self.nodes[j]
            args = tuple(self._read(slot, outside) for slot in node.slots)
            inside: dict[Var, Var] = {}
            made = build.loop_again(node.var, args, inside) if node.var.op == "loop" else build.rebuild(node.var, args)
            self._made[j] = made
            same_lines({node.var: made, **inside})

    def _read(self, slot: Slot, outside: Callable[[Var], Var]) -> Var:
        if isinstance(slot, Same):
            return outside(self.current(slot.var))
        if isinstance(slot, Carried):
            return self._carry(slot.node, slot.begins)
        array = self._array(slot)
        if array is not None:
            return self._leaf_of(self._by_step, array, array.shape[1:])
        assert isinstance(slot, Inside)
        return self._result(slot.node, outside)

    def _result(self, j: int, outside: Callable[[Var], Var]) -> Var:
        """What a node is in the body."""
        fixed, array = self.nodes[j].fixed, self._array_of(j)
        if fixed is not None:
            return outside(self.current(fixed))
        if array is not None:
            return self._leaf_of(self._by_step, array, array.shape[1:])
        return self._made[j]

    def _carry(self, j: int, begins: tuple[Var, ...]) -> Var:
        """The leaf for what a node was some iterations ago; those that hand it on are carries, too."""
        for n in range(1, len(begins) + 1):
            key = j, begins[:n]
            if key not in self._carries:
                self._carries[key] = of_kind(leaf_of(begins[0].shape), begins[0])
        return self._carries[j, begins]

    def _leaf_of(self, leaves: dict[Var, Var], var: Var, shape: Shape) -> Var:
        if var not in leaves:
            leaves[var] = of_kind(leaf_of(shape), var)
        return leaves[var]

    def _outside(self, var: Var) -> Var:
        """The leaf for what is the same in all iterations; literals and views of leaves as such."""
        if var.is_const:
            return var
        if var.op in REPEATING:
            return build.rebuild(var, (self._outside(var.args[0]),))
        return self._leaf_of(self._same, var, var.shape)

    # --- loops -------------------------------------------------------------------------------------------------------
    def _loop(self, needed: Sequence[int]) -> dict[tuple[int, int], Var]:
        last = self.length - 1
        read = {j: each for j, each in self.read.items() if self._computes(j)}
        with recorded() as made:
            self._body(needed, self._outside)
            finals: dict[tuple[int, int], int] = {}  # node and iteration -> number of the carry that ends with that
            after: list[Var] = []
            for n, (j, begins) in enumerate([*self._carries]):
                finals.setdefault((j, self.length - len(begins)), n)
                after.append(self._result(j, self._outside) if len(begins) == 1 else self._carries[j, begins[:-1]])
            begin = [self.current(begins[-1]) for _, begins in self._carries]
            leaves = [*self._carries.values()]
            for j, each in read.items():
                if each == {last} and (j, last) not in finals:  # a carry that no iteration reads
                    finals[j, last] = len(after)
                    after.append(self._made[j])
                    leaves.append(leaf_of(self._made[j].shape))
                    begin.append(build.broadcast(build.const(0.0), self._made[j].shape))
            stacks = [j for j, each in read.items() if any((j, i) not in finals for i in each)]
            results = [build.apply("float", x) for x in (*after, *(self._made[j] for j in stacks))]
        results = self._roll(results, made)
        params = [*map(inner, leaves), *map(inner, self._by_step.values()), *map(inner, self._same.values())]
        args = [build.apply("float", x) for x in (*begin, *self._by_step, *self._same)]
        new: dict[Var, Var] = {}
        loop = (len(after), len(self._by_step), self.length, self.reverse)
        var = build.loop(params, results, args, loop, new)
        same_lines(new)
        shapes = [x.shape for x in after] + [(self.length, *self._made[j].shape) for j in stacks]
        parts, start = [], 0
        for shape in shapes:
            parts.append(build.part(var, start, shape))
            start += parts[-1].size
        arrays = dict(zip(stacks, parts[len(after) :], strict=True))
        found = {}
        for j, each in read.items():
            for i in each:
                value = element(arrays[j], self._step(i)) if j in arrays else parts[finals[j, i]]
                found[j, i] = of_kind(value, self.nodes[j].var)
        return found

    def _step(self, i: int) -> int:
        """The step of the loop that is an iteration."""
        return self.length - 1 - i if self.reverse else i

    # --- iterations that do not depend on each other -----------------------------------------------------------------
    def _side_by_side(self, needed: Sequence[int]) -> dict[tuple[int, int], Var]:
        """What iterations compute for which none needs another: arrays."""
        read = {j: each for j, each in self.read.items() if self._computes(j)}
        if any(len(each) == 1 for each in read.values()) or any(self.nodes[j].var.op in ONE_BY_ONE for j in needed):
            raise Irregular("")
        self._body(needed, lambda var: var)
        leaves = {inner(leaf): build.apply("float", array) for array, leaf in self._by_step.items()}
        new: dict[Var, Var] = {}
        arrays = vmap([self._made[j] for j in read], leaves, self.length, new)
        same_lines(new)
        return {
            (j, i): element(array, self._step(i))
            for (j, each), array in zip(read.items(), arrays, strict=True) for i in each
        }  # fmt: skip

    def _accumulated(self, j: int) -> dict[tuple[int, int], Var] | None:
        """What one running sum, product or extremum of an array is; None if it is something else."""
        node, each = self.nodes[j], self.read.get(j, set())
        slots = sorted(node.slots, key=lambda slot: not isinstance(slot, Carried))
        if node.var.op not in ACCUMULATING or len(slots) != 2:
            return None
        carried, array = slots[0], self._array(slots[1])
        if not isinstance(carried, Carried) or (carried.node, len(carried.begins)) != (j, 1) or array is None:
            return None
        op, reduction = node.var.op, ACCUMULATING[node.var.op]
        begin = self.current(carried.begins[0])
        if each == {self.length - 1}:
            return {(j, self.length - 1): build.apply(op, begin, build.reduce(reduction, array, (0,)))}
        if reduction not in ("sum", "prod"):
            return None
        running = build.apply(op, begin, build.scan(f"cum{reduction}", array, 0, self.reverse))
        return {(j, i): element(running, self._step(i)) for i in each}


def _equations(var: Var) -> int:
    """How many equations one is: none if a view, of a loop with those of its body."""
    return 0 if var.op in VIEWS else sum(1 for _ in with_bodies([var]))


def leaf_of(shape: Shape) -> Var:
    """A leaf for an argument of a body that is being made."""
    return build.argument(next(_numbers), shape, Level.CONSTANT)


def of_kind(var: Var, like: Var) -> Var:
    """Numbers as they are; booleans, which a loop hands on as 0 and 1, as booleans again."""
    return var if like.kind == "float" else build.apply("not_equal", var, 0.0)


def inner(leaf: Var) -> Var:
    """The argument of a leaf of booleans."""
    return leaf if leaf.op == "argument" else leaf.args[0]
