"""Decide whether a comparison makes the integrand jump, or not, as in `where(S > K, S - K, 0)`, which is continuous."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.arrays import to_host
from mcgrad.ir.build import broadcast, const, rebuild
from mcgrad.ir.interpret import Interpreter
from mcgrad.ir.program import Var, toposort
from mcgrad.ir.rewrite import Sharing, rewrite, substitute
from mcgrad.ir.spaces import Values

ORDERS, EQUALITIES = ("less", "less_equal"), ("equal", "not_equal")
DRAWS = 16  # at which the two sides of a comparison are compared


def is_continuous(root: Var, comparison: Var, values: Values) -> bool:
    """Whether a root is the same on both sides of a comparison, where the numbers compared are equal.

    Parameters
    ----------
    root, comparison : Var
    values : dict of Input to array
        Values of the inputs.

    Notes
    -----
    One of the numbers takes the place of the other in the whole root, and the comparison is once true and once false.
    Both are evaluated for some noise. Where an equality finds the largest or smallest element, as `z == np.max(z)`
    does, all elements are the same, and it holds for the first and then for the second. A root that has the number in
    another form, as the square of what is compared, is taken to jump.
    """
    if comparison.op not in (*ORDERS, *EQUALITIES):
        return False
    shared = _shared(root)
    sides = [_inner(shared[arg]) for arg in comparison.args]
    answers = _answers(comparison)
    for held, replaced in (sides, sides[::-1]):
        extreme = held.op in ("max", "min") and held.size == 1 and held.args[0] is replaced
        if comparison.op in ORDERS:
            skipped = replaced.is_const or held.size > replaced.size or replaced in set(toposort([held]))
        else:
            skipped = not extreme or replaced.shape != comparison.shape
        if skipped:
            continue
        place = {replaced: broadcast(held, replaced.shape)}
        both = []
        for answer in answers:
            both += substitute([shared[root]], {**place, shared[comparison]: const(answer)})
        if _agree(both, values):
            return True
    return False


def _answers(comparison: Var) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """What a comparison says on both sides of where it changes."""
    if comparison.op in ORDERS or comparison.size < 2:
        return np.full(comparison.shape, True), np.full(comparison.shape, False)
    first, second = (np.arange(comparison.size).reshape(comparison.shape) == i for i in (0, 1))
    return (first, second) if comparison.op == "equal" else (~first, ~second)


def _shared(root: Var) -> dict[Var, Var]:
    """Each equation of a root, with equal ones as one."""
    share = Sharing()
    return rewrite([root], lambda var, args: share(rebuild(var, args)))


def _agree(roots: Sequence[Var], values: Values) -> bool:
    """Whether two Vars have the same finite values."""
    interpreter, rng = Interpreter(roots), np.random.default_rng(0)
    leaves: dict[Var, npt.NDArray[Any]] = {}
    for var in interpreter.inputs:
        shape = (*var.shape, DRAWS)
        if var.op == "noise":
            leaves[var] = rng.standard_normal(shape) if var.attrs.law == "normal" else rng.uniform(size=shape)
        else:
            leaves[var] = np.asarray(to_host(values[var.attrs]), np.float64)[..., None]
    one, other = interpreter(leaves)
    with np.errstate(all="ignore"):
        return bool(np.all(np.abs(one - other) <= 1e-9 * (np.abs(one) + np.abs(other))))


def _inner(var: Var) -> Var:
    return var.args[0] if var.op == "broadcast" else var
