"""Values that draws change in jumps alone, such as counts: no way from the noise to them has a derivative."""

from __future__ import annotations

from collections.abc import Mapping

from mcgrad.differentiate.elementwise import has_derivatives
from mcgrad.ir.program import Var


class StepFunctions:
    """Finds the Vars that are step functions of the noise; remembers what it found.

    Parameters
    ----------
    known : dict from Var to bool, optional
        What some Vars are.
    """

    def __init__(self, known: Mapping[Var, bool] | None = None) -> None:
        self._known: dict[Var, bool] = dict(known or {})

    def __call__(self, var: Var) -> bool:
        """Whether a Var changes by draw, and in jumps alone. Its arguments have to be asked for first."""
        if var not in self._known:
            if var.op == "loop":
                found = self.of_body(var)
                self._known[var] = var.by_draw and all(found(x) for x in var.attrs.body.results if x.by_draw)
                return self._known[var]
            self._known[var] = var.by_draw and var.op != "noise" and all(
                not smooth or not arg.by_draw or self(arg)
                for arg, smooth in zip(var.args, has_derivatives(var), strict=True)
            )  # fmt: skip
        return self._known[var]

    def of_body(self, loop: Var) -> StepFunctions:
        """Return the same of the equations in the body of a loop."""
        body, carries = loop.attrs.body, loop.attrs.carries
        flags = [not arg.by_draw or self(arg) for arg in loop.args]
        while True:
            known = {param: flag and param.by_draw for param, flag in zip(body.params, flags, strict=True)}
            found = StepFunctions(known)
            for var in body.equations:
                found(var)
            more = [flags[i] and (not var.by_draw or found(var)) for i, var in enumerate(body.results[:carries])]
            if more == flags[:carries]:
                return found
            flags[:carries] = more
