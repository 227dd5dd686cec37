"""Check that a proposal has density wherever q has density and f is not zero: else a part of the mean is left out."""

from __future__ import annotations

from typing import Any

import numpy as np

from mcgrad import tree
from mcgrad.arrays import to_host
from mcgrad.distributions.coverage import outside
from mcgrad.distributions.draw import Draw
from mcgrad.errors import ParameterError
from mcgrad.gradients.problem import Problem
from mcgrad.ir.build import noise
from mcgrad.ir.interpret import Interpreter
from mcgrad.ir.program import Var


def check_coverage(problem: Problem) -> None:
    """Evaluate f where q has density and the proposal has none: there it has to be zero.

    Parameters
    ----------
    problem : Problem
        With a proposal.

    Raises
    ------
    ParameterError
        f is not zero at one of these values.

    Notes
    -----
    Owen 2013, section 9.1: the condition of unbiasedness is p(z) > 0 wherever f(z) q(z) is not zero. The values are
    draws of q, and points beyond the ends of the proposal's support, at the parameters that q and f have at first.
    """
    assert problem.proposal
    p = problem.proposal.p.template
    values = outside(problem.q, p)
    if values is None:
        return
    places = {path: noise(i, "normal", np.shape(x)[1:]) for i, (path, x) in enumerate(tree.flatten(values).items())}
    found = problem.integrand_at(Draw(tree.unflatten(places)), problem.fixed)
    run = Interpreter([found])
    leaves: dict[Var, Any] = {}
    for var in run.inputs:
        if var.op == "input":
            leaves[var] = np.asarray(to_host(problem.values[var.attrs]), np.float64)[..., None]
    columns = {places[path]: np.moveaxis(np.asarray(x, np.float64), 0, -1) for path, x in tree.flatten(values).items()}
    (results,) = run({**leaves, **{var: x for var, x in columns.items() if var in run.inputs}})
    flat = results.reshape(-1, results.shape[-1])
    missing = np.flatnonzero((flat != 0).any(axis=0))
    if missing.size:
        i = int(missing[0]) if results.shape[-1] > 1 else 0
        at = {path: x[i] for path, x in tree.flatten(values).items()}
        place = ", ".join(f"{path or 'z'}={np.array2string(np.asarray(x), precision=4)}" for path, x in at.items())
        given = f"{type(p).__name__} ({p.support.describe}), whose density is 0 at {place}, where q has density and f "
        raise ParameterError("proposal", f"{given}is not 0", "one with density wherever q has, and f is not 0")
