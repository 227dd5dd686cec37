"""Values that draws change in jumps alone, such as counts: no way from the noise to them has a derivative."""

from __future__ import annotations

from mcgrad.differentiate.elementwise import has_derivatives
from mcgrad.ir.program import Var


class StepFunctions:
    """Finds the Vars that are step functions of the noise; remembers what it found."""

    def __init__(self) -> None:
        self._known: dict[Var, bool] = {}

    def __call__(self, var: Var) -> bool:
        """Whether a Var changes by draw, and in jumps alone. Its arguments have to be asked for first."""
        if var not in self._known:
            self._known[var] = var.by_draw and var.op != "noise" and all(
                not smooth or not arg.by_draw or self(arg)
                for arg, smooth in zip(var.args, has_derivatives(var), strict=True)
            )  # fmt: skip
        return self._known[var]
