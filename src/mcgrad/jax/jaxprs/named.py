"""Functions of JAX itself for which mcgrad has one op, or the same in fewer steps: known by their jaxprs.

A call of a function is known by its name and by its jaxpr, which is that of the function for such arguments: under
`jax.vmap` a call has the same name, and another jaxpr.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.extend import core

jnp = jax.numpy

BODIES = ("call_jaxpr", "fun_jaxpr", "jaxpr")  # the names under which equations hold the jaxpr that they call
NAMED: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "logaddexp": (jnp.logaddexp, np.logaddexp),
    "hypot": (jnp.hypot, np.hypot),
    "remainder": (jnp.remainder, np.remainder),
    "floor_divide": (jnp.floor_divide, np.floor_divide),
    "sinc": (jnp.sinc, np.sinc),
    "copysign": (jnp.copysign, np.copysign),
    "signbit": (jnp.signbit, lambda x: np.copysign(1.0, x) < 0.0),
    "det": (jnp.linalg.det, np.linalg.det),
    "slogdet": (jnp.linalg.slogdet, np.linalg.slogdet),
}


def named(function: str | None, equation: core.JaxprEqn, args: list[Any]) -> list[Any] | None:
    """Return the results of a call of one of these functions with floats, else None.

    Parameters
    ----------
    function : str or None
        The name of the function of JAX's that an equation calls.
    equation : JaxprEqn
    args : list of Tracer or array
    """
    if function not in NAMED or not all(x.dtype.kind == "f" for x in args):
        return None
    original, rule = NAMED[function]
    shapes = [jax.ShapeDtypeStruct(atom.aval.shape, atom.aval.dtype, weak_type=atom.aval.weak_type)
              for atom in equation.invars]  # fmt: skip
    calls = jax.make_jaxpr(original)(*shapes).eqns
    if len(calls) != 1 or str(body(calls[0])) != str(body(equation)):
        return None
    made = rule(*args)
    return list(made) if len(equation.outvars) > 1 else [made]


def body(equation: core.JaxprEqn) -> Any:
    """Return the jaxpr that an equation calls, or None."""
    return next((equation.params[name] for name in BODIES if name in equation.params), None)
