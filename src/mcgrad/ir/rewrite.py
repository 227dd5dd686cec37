"""Rewrite Vars: one walk in dependency order, with a rule that returns the replacement of each Var.

Whatever turns Vars into other Vars of the same Program is such a rule: simplification, lowering, other leaves in place
of some, one more axis (`vmap`), equal equations as one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from mcgrad.ir.build import rebuild
from mcgrad.ir.program import Program, Var, toposort

Rule = Callable[[Var, tuple[Var, ...]], Var]


def rewrite(roots: Iterable[Var], rule: Rule, given: Mapping[Var, Var] | None = None) -> dict[Var, Var]:
    """Rewrite all Vars that the roots depend on.

    Parameters
    ----------
    roots : iterable of Var
    rule : callable
        ``rule(var, args)`` returns what stands for a Var whose arguments have become `args`; `build.rebuild` is the
        rule that changes nothing else.
    given : dict from Var to Var, optional
        What stands for some Vars, to which the rule does not apply.

    Returns
    -------
    dict from Var to Var
        What stands for each Var.
    """
    new = dict(given or {})
    for var in toposort(roots):
        if var not in new:
            new[var] = rule(var, tuple(new[arg] for arg in var.args))
    return new


def rewrite_program(program: Program, rule: Rule, given: Mapping[Var, Var] | None = None) -> Program:
    """Return a Program with all its Vars rewritten."""
    new = rewrite(program.roots(), rule, given)
    outputs = (
        replace(out, var=new[out.var], scale=None if out.scale is None else new[out.scale]) for out in program.outputs
    )
    return Program(tuple(outputs), program.dtype)


def substitute(roots: Sequence[Var], replaced: Mapping[Var, Var]) -> list[Var]:
    """Compute each root with other Vars, of the same shapes, in place of some."""
    new = rewrite(roots, rebuild, replaced)
    return [new[root] for root in roots]


class Sharing:
    """Finds equations that are equal: the same op of the same arguments, with equal attributes.

    Parameters
    ----------
    commutative : collection of str
        Ops whose arguments may stand in any order.
    """

    def __init__(self, commutative: Collection[str] = ()) -> None:
        self._commutative = commutative
        self._seen: dict[object, Var] = {}

    def __call__(self, var: Var) -> Var:
        """Return the first Var that was equal to this one: itself where there was none."""
        args = var.args
        if var.op in self._commutative:
            args = tuple(sorted(args, key=id))
        return self._seen.setdefault((var.op, args, var.attrs, var.shape, var.kind), var)
