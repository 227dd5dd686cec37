"""A traced problem: the integrand of the transformed noise as one expression in parameters, data and noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mcgrad import noise as noises
from mcgrad import tree
from mcgrad.distributions.base import Distribution
from mcgrad.integrand import Integrand
from mcgrad.ir.build import input_
from mcgrad.ir.build import noise as noise_var
from mcgrad.ir.program import Var
from mcgrad.trace.trace import trace, trace_integrand

DATA = "data:"  # keeps the paths of data apart from those of parameters


@dataclass(frozen=True)
class Problem:
    """E f(z), z = g(phi, eps), as Vars.

    Parameters
    ----------
    value : Var
        f of one draw: a random scalar.
    params : dict of str to Var
        The parameters' inputs, by dotted path: q's, then f's own.
    data : dict of str to Var
        The float data's inputs, by name.
    """

    value: Var
    params: dict[str, Var]
    data: dict[str, Var]


def trace_problem(
    f: Callable[..., Any] | Integrand, q: Distribution, params: Mapping[str, Any], data: Mapping[str, Any]
) -> Problem:
    """Trace q's transform and the integrand.

    Parameters
    ----------
    f : callable
        ``f(z, **params, **data)`` of one draw.
    q : Distribution
    params : dict of str to float array
        The integrand's own parameters.
    data : dict of str to array
        Float arrays become inputs; integers and booleans stay as they are, so that they may index.
    """
    own = {path: input_(path, array.shape) for path, array in q.flat_params.items()}
    others = {path: input_(path, np.shape(value)) for path, value in params.items()}
    known = {name: input_(DATA + name, x.shape) if x.dtype.kind == "f" else x for name, x in data.items()}
    sources = noises.sources(q.noise)
    eps = {path: noise_var(i, source.kind, source.shape) for i, (path, source) in enumerate(sources.items())}
    z = trace(q.transform, (tree.unflatten(eps),), tree.unflatten(own) if own else {})
    value = f.trace(z, others, known) if isinstance(f, Integrand) else trace_integrand(f, z, others, known)
    return Problem(value, own | others, {name: x for name, x in known.items() if isinstance(x, Var)})
