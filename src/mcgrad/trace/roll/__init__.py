"""Roll up Python loops: iterations that were traced to the same equations become one loop.

A Python loop in f is traced turn by turn. Its equations are made in order, so those of an iteration come again a
period later, and read what lies a period later, or the same, or the next element of an array (`order`, `repeats`).
What the iterations have in common is a *template* (`template`); iterations before, from which something was folded,
may be of its form, too (`earlier`). A template becomes a loop, or one computation on arrays where no iteration needs
another (`body`). What is read of single iterations, such as a list of all, is put together again (`stacks`); what is
summed of it becomes a carry (`on_the_way`). Loops in a body are rolled up in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence

from mcgrad.ir import build
from mcgrad.ir.infer import recorded
from mcgrad.ir.ops import OPS
from mcgrad.ir.program import Var, toposort
from mcgrad.trace.lines import same_lines
from mcgrad.trace.roll.body import LoopOfTemplate
from mcgrad.trace.roll.earlier import with_earlier
from mcgrad.trace.roll.on_the_way import reduced_on_the_way
from mcgrad.trace.roll.order import Order
from mcgrad.trace.roll.repeats import FEWEST, runs
from mcgrad.trace.roll.stacks import merged
from mcgrad.trace.roll.template import Irregular, Run, Template, template_of

MOST_PASSES = 4


def rolled(roots: Sequence[Var], made: Sequence[Var]) -> list[Var]:
    """Return the roots, computed with loops where equations repeat; the same Vars where none do.

    Parameters
    ----------
    roots : sequence of Var
    made : sequence of Var
        All equations that may become loops, in the order in which they were made, whether roots need them or not.
    """
    roots = list(roots)
    equations = [var for var in made if OPS[var.op].category != "leaf"]
    before = roots
    for _ in range(MOST_PASSES):
        if len(equations) < FEWEST:
            break
        order = Order(equations)
        found = runs(order)
        if not found:
            break
        rolling = _Pass(order, roots)
        rolling.run(found)
        roots = [rolling.current(root) for root in roots]
        live = set(toposort(roots))
        equations = [var for var in dict.fromkeys(rolling.order) if var in live and OPS[var.op].category != "leaf"]
        if not rolling.loops:
            break
    return roots if roots is before else reduced_on_the_way(roots)


class _Pass:
    """One walk over equations in order, with loops in place of runs."""

    def __init__(self, order: Order, roots: Sequence[Var]) -> None:
        self.before, self.roots = order, roots
        self.new: dict[Var, Var] = {}
        self.order: list[Var] = []  # what there is now
        self.loops = 0
        live = set(toposort(roots))
        self._readers: dict[Var, list[int]] = {}
        for i, var in enumerate(order.equations):
            if var in live:
                for arg in var.args:
                    self._readers.setdefault(arg, []).append(i)
        for root in roots:
            self._readers.setdefault(root, []).append(len(order))

    def run(self, found: Sequence[Run]) -> None:
        """Walk over the equations."""
        i = 0
        for run in (*found, None):
            stop = len(self.before) if run is None else run.start
            for var in self.before.equations[i:stop]:
                self.current(var)
            if run is None:
                break
            i = run.stop if self._roll(run) else run.start

    def current(self, var: Var) -> Var:
        """Return what stands for a Var now."""
        if var not in self.new:
            with recorded() as made:
                for each in _missing(var, self.new, self.before.place):
                    self.new[each] = self._again(each, tuple(self.new.get(arg, arg) for arg in each.args))
                    if self.new[each] is each:
                        made.append(each)
            self.order += made
            if var not in self.new:
                return var
        return self.new[var]

    def _again(self, var: Var, args: tuple[Var, ...]) -> Var:
        if args == var.args:
            return var
        if var.op == "concatenate":
            return build.concatenate(merged(args, var.attrs.axis), var.attrs.axis)
        made = build.rebuild(var, args)
        same_lines({var: made})
        return made

    def _roll(self, run: Run) -> bool:
        """Put a loop in place of a run; return whether it is one."""
        try:
            template = with_earlier(self.before, template_of(self.before, run))
            with recorded() as made:
                values = LoopOfTemplate(template, self._read(template), self.current, rolled).values()
        except Irregular:
            return False
        self.order += made
        for (j, i), value in values.items():
            var = _instance(self.before, template, j, i)
            assert var is not None
            self.new[var] = value
        self.loops += bool(values)
        return True

    def _read(self, template: Template) -> dict[int, set[int]]:
        """The iterations of which each node is read elsewhere."""
        run, found = template.run, dict[int, set[int]]()
        own = {var for each in template.earlier for var in each.values()}
        for j in range(run.period):
            for i in range(template.length):
                var = _instance(self.before, template, j, i)
                readers = self._readers.get(var, ()) if var is not None else ()
                if any(not run.start <= k < run.stop and (k == len(self.before) or self.before.equations[k] not in own)
                       for k in readers):  # fmt: skip
                    found.setdefault(j, set()).add(i)
        return found


def _instance(order: Order, template: Template, j: int, i: int) -> Var | None:
    """What was traced for a node in an iteration."""
    i -= len(template.earlier)
    if i < 0:
        return template.earlier[i].get(j)
    return order.equations[template.run.start + i * template.run.period + j]


def _missing(var: Var, new: dict[Var, Var], place: dict[Var, int]) -> list[Var]:
    """The equations, of those in order, that nothing stands for yet and that a Var depends on, in order."""
    found: set[Var] = set()
    work = [var]
    while work:
        each = work.pop()
        if each not in new and each not in found and each in place:
            found.add(each)
            work += each.args
    return sorted(found, key=place.__getitem__)
