"""Implicit reparameterization: the pathwise derivative of a draw from its distribution function alone.

F(z; phi) of a draw is uniform whatever phi is. Along a path of draws it stays where it is, so

    dz/dphi = -(dF/dphi) / p(z),    p = dF/dz

(Figurnov, Mohamed and Mnih, *Implicit reparameterization gradients*, 2018, equation 6). How z was drawn does not
matter: by rejection, by choosing a component, by anything that is not differentiable. For a vector, F is its
distributional (Rosenblatt 1952) transform, component i given those before it, and p the lower triangular Jacobian.

The functions here are for transforms in plain NumPy. They do as they say on what is being traced; a plain array has no
derivative to speak of, and comes back as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mcgrad.differentiate.modes import jvp, reverse
from mcgrad.errors import ParameterError
from mcgrad.functions.triangular_solve import solve_lower
from mcgrad.ir.build import apply, broadcast, concatenate, const, reshape, slice_, table as build_table
from mcgrad.ir.lookup import Table
from mcgrad.ir.ops import OPS
from mcgrad.ir.program import Var, toposort
from mcgrad.trace.refuse import refusal
from mcgrad.trace.tracer import Tracer


def is_traced(x: Any) -> bool:
    """Whether x is being traced, rather than a plain array."""
    return isinstance(x, Tracer)


def stop(x: Any) -> Any:
    """Return x as a constant: its value, and no derivative."""
    return Tracer(apply("stop", x._var)) if isinstance(x, Tracer) else x


def implicit(z: Any, cdf: Any, density: Any) -> Any:
    """Return z with the derivative -d(cdf) / density.

    Parameters
    ----------
    z : array
        A draw; its own derivative is not used.
    cdf : array
        The distribution function at z held fixed (see :func:`stop`), as a function of the parameters. Anything of the
        same derivative serves as well, such as minus the survival function in the upper tail.
    density : array
        The density at z; its derivative is not used.
    """
    if not any(isinstance(x, Tracer) for x in (z, cdf, density)):
        return z
    return Tracer(apply("implicit", *(x._var if isinstance(x, Tracer) else x for x in (z, cdf, density))))


def follow(z: Any, cdf: Callable[[Any], Any]) -> Any:
    """Return z with the pathwise derivative that its distribution function implies.

    Parameters
    ----------
    z : array
        A draw, made in any way.
    cdf : callable
        ``cdf(z)`` in plain NumPy, of the shape of z: the distribution function of each component given those before it
        (in C order). Component i must not depend on later ones.

    Raises
    ------
    ParameterError
        A result of another shape.

    Notes
    -----
    Where `cdf` works element by element the components are independent, and the Jacobian is a diagonal. Otherwise it is
    found row by row: d passes of differentiation and O(d^2) work a draw.
    """
    if not isinstance(z, Tracer):
        return z
    held = apply("stop", z._var)
    result = cdf(Tracer(held))
    if not isinstance(result, Tracer) or np.shape(result) != z.shape:
        given = f"one that returns shape {np.shape(result)} for z of shape {z.shape}"
        raise ParameterError("cdf", given, "one value for each component of z, that depends on z")
    value = apply("float", result._var)
    if _is_elementwise(value, held):
        density = jvp(value, held, broadcast(const(1.0), held.shape))
        if density is None:
            raise ParameterError("cdf", "one that has no derivative in z", "one that depends on z smoothly")
        return Tracer(apply("implicit", held, value, density))
    rows = [reshape(row, (1, held.size)) for row in _jacobian(value, held)]
    jacobian = Tracer(apply("stop", concatenate(rows, 0)))
    path = solve_lower(jacobian, Tracer(reshape(value, (value.size,))))._var
    return Tracer(apply("implicit", held, reshape(path, held.shape), 1.0))


def _is_elementwise(value: Var, z: Var) -> bool:
    """Whether each element of a value depends on the same element of z alone."""
    if z.size == 1:
        return True
    on_z = {z}
    for var in toposort([value]):
        if any(arg in on_z for arg in var.args):
            if OPS[var.op].category != "elementwise" or var.shape != z.shape:
                return False
            on_z.add(var)
    return True


def _jacobian(value: Var, z: Var) -> list[Var]:
    """Rows of the Jacobian of a value in z, both in C order."""
    flat = reshape(value, (value.size,))
    return [reverse(reshape(slice_(flat, [(i, i + 1, 1)]), ()), [z])[0] for i in range(value.size)]


def look_up(table: Table, x: Any) -> Any:
    """Return the table's arrays of the elements of x, shape ``(*x.shape, *table.shape)``.

    Raises
    ------
    TraceError
        An x that differs from draw to draw: tables are made once for all draws.
    """
    if not isinstance(x, Tracer):
        return table(np.asarray(x))
    if x._var.by_draw:
        raise refusal(f"{table} of a traced value", "it is made on the host, of parameters that no draw changes")
    return Tracer(build_table(x._var, table))


def slope(y: Any, x: Any) -> Any:
    """Differentiate each element of y in the element of x that it is a function of; 0 where there is none.

    Parameters
    ----------
    y : Tracer
        Element by element a function of x, perhaps with more axes in front.
    x : Tracer
        What :func:`stop` has returned, say.
    """
    found = jvp(y._var, x._var, broadcast(const(1.0), x.shape))
    return Tracer(broadcast(const(0.0) if found is None else found, y.shape))
