"""control="auto": a pilot of the control variates that need nothing from the user, and the choice of the best."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mcgrad.arrays import to_host
from mcgrad.engine.auto import BUDGET, DRAWS, FEWEST, SEED, average
from mcgrad.engine.pilot import offset_streams
from mcgrad.engine.pilots import Pilots
from mcgrad.errors import ParameterError, TraceError
from mcgrad.gradients.controls import controlled
from mcgrad.gradients.plan import Plan
from mcgrad.gradients.problem import Problem
from mcgrad.inputs.control import LINEAR, QUADRATIC
from mcgrad.ir.program import Program
from mcgrad.ir.spaces import Input
from mcgrad.noise import streams

CANDIDATES = ((LINEAR,), (QUADRATIC,), (LINEAR, QUADRATIC))
OUTPUT = 16.0  # multiplications that averaging a number takes, as measured for arrays in CPU kernels
GAIN = 1.2  # in variance times work, below which there are none: their pilot takes time before each call


class Trial(NamedTuple):
    """What a pilot found.

    Parameters
    ----------
    names : tuple of str
    cost : float
        Variance of the gradient, or of the value where there is none, all components together, times work.
    """

    names: tuple[str, ...]
    cost: float


def chosen(
    plan: Plan,
    problem: Problem,
    wrt: Sequence[str],
    plain: Program,
    coefficients: str,
    inputs: Mapping[Input, Any],
) -> tuple[tuple[str, ...], str]:
    """Return the control variates with the least variance times work, and the reason; none where they gain little.

    Parameters
    ----------
    plan, problem, wrt, plain, coefficients
        As for `gradients.controls.controlled`.
    inputs : mapping from Input to array
        Values of parameters and data.

    Notes
    -----
    As under ``method="auto"`` work is counted in multiplications, so that the choice is the same wherever it is made.
    Variances are over draws of their own, with coefficients of a pilot.
    """
    values = {name: to_host(x) for name, x in inputs.items()}
    none = _trial((), plan, problem, wrt, plain, coefficients, values)
    trials = []
    for names in CANDIDATES:
        try:
            trials.append(_trial(names, plan, problem, wrt, plain, coefficients, values))
        except (ParameterError, TraceError, TypeError):  # it does not apply
            continue
    best = min(trials, key=lambda trial: trial.cost if math.isfinite(trial.cost) else math.inf, default=none)
    if not math.isfinite(best.cost) or not best.cost * GAIN < none.cost:
        return (), "no control variate gains as much as it costs"
    ratio = f"{none.cost / best.cost:.2g} times" if best.cost > 0 else "infinitely"
    return best.names, f"control variate {' and '.join(best.names)}: {ratio} as efficient as none"


def _trial(
    names: tuple[str, ...],
    plan: Plan,
    problem: Problem,
    wrt: Sequence[str],
    plain: Program,
    coefficients: str,
    values: Mapping[Input, Any],
) -> Trial:
    program, controls = controlled(plan, problem, wrt, plain, names, coefficients) if names else (plain, None)
    given = {**values, **Pilots.of(plan, problem, wrt, plain.dtype, controls)(values, SEED)}
    alone = Program(program.outputs[: 1 + len(wrt)], program.dtype)
    work = max(program.work() + OUTPUT * sum(out.var.size for out in program.outputs if out.var.by_draw), 1.0)
    n = int(np.clip(BUDGET / work, FEWEST, DRAWS))
    deviation = average(offset_streams(alone, streams.AUTO), given, n).deviation
    spread = float(np.hypot.reduce(deviation[problem.result.size if wrt else 0 :]))
    return Trial(names, spread * spread * work)
