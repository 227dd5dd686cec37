"""Functions of matrices that draws change, as equations and loops, which are what kernels can run.

Those that no draw changes stay: the host computes them, by NumPy. Derivatives have been taken before, in closed form
(`differentiate.matrices`), so of loops over rows none are needed.
"""

from __future__ import annotations

from collections.abc import Callable

from mcgrad.ir.program import Var
from mcgrad.simplify import eigen_loops, factor_loops, unrolled

UNROLLED = {  # rows up to which each element is an equation: beyond, a loop over the rows compiles sooner
    "cholesky": 4,
    "solve_triangular": 4,
    "solve": 3,
    "slogdet": 3,
    "det": 0,
    "cofactors": 0,
    "eigvalsh": 2,
    "eigenvectors": 2,
}


def _by_rows(var: Var) -> Var | None:
    """A function of matrices that draws change by equations for each element, or by a loop over the rows."""
    if not var.by_draw:
        return None
    how = unrolled if var.args[0].shape[-1] <= UNROLLED[var.op] else factor_loops
    if var.op in ("eigvalsh", "eigenvectors") and how is factor_loops:
        how = eigen_loops
    given = () if var.attrs is None else (var.attrs.transposed,)
    found: Var = getattr(how, var.op)(*var.args, *given)
    return found


MATRICES: dict[str, Callable[[Var], Var | None]] = dict.fromkeys(UNROLLED, _by_rows)
