"""The body of a loop: equations of one step that read nothing but the arguments of the step."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcgrad.ir.program import Var


class Body:
    """What one step of a loop computes. Bodies are equal if they say the same.

    Parameters
    ----------
    params : tuple of Var
        Leaves, `argument` equations, that stand for the arguments of a step.
    results : tuple of Var
    equations : tuple of Var
        All Vars that the results depend on, each after its arguments, and all `params`.
    """

    __slots__ = ("_hash", "_key", "equations", "params", "results")

    def __init__(self, params: tuple[Var, ...], results: tuple[Var, ...], equations: tuple[Var, ...]) -> None:
        self.params, self.results, self.equations = params, results, equations
        number = {var: i for i, var in enumerate(equations)}
        rows = [(v.op, *(number[arg] for arg in v.args), v.attrs, v.shape, v.kind, v.level) for v in equations]
        self._key = (tuple(rows), tuple(number[var] for var in params), tuple(number[var] for var in results))
        self._hash = hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Body) and self._hash == other._hash and self._key == other._key

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"<body of {len(self.equations)} equations>"
