"""Warn of the tails of weighted draws: by the first draws of a run, which the reference interprets once more."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from mcgrad.arrays import all_to_host
from mcgrad.engine.call import Call
from mcgrad.engine.derivation import Derivation
from mcgrad.engine.per_draw import PerDraw
from mcgrad.errors import WeightsWarning, user_level
from mcgrad.ir.spaces import Values
from mcgrad.moments import Float64Array
from mcgrad.results.pareto import UNTRUSTED, pareto_k

DRAWS = 16_384  # or as many as there are, or fewer where a draw is expensive
FEWEST = 1_024
BUDGET = 5e7  # multiplications
BLOCK = 1_024
KEPT = 64  # components whose draws are kept, spread evenly where there are more
FITTED = 16  # of these, by the share that the largest draw has in the sum


class Tail(NamedTuple):
    """The heaviest tail of some components: its shape, and which component has it."""

    k: float
    component: str


class Tails:
    """Finds the heaviest tail among the components of one Program: the value, and the gradient.

    Parameters
    ----------
    derived : Derivation
        With a proposal.
    """

    def __init__(self, derived: Derivation) -> None:
        self._components, self._groups = derived.components, derived.groups
        self._per_draw = PerDraw(derived.program)
        end = self._components.derivatives.stop
        kept = np.arange(end) if end <= KEPT else np.linspace(0, end - 1, KEPT).astype(int)
        self._kept = [*kept.tolist(), self._components.weight.start]
        self._most = int(np.clip(BUDGET / max(derived.program.work(), 1.0), FEWEST, DRAWS))

    def later(self, values: Values, call: Call, fixed: Values) -> Callable[[], float]:
        """Return a function that finds the shape when it is asked for.

        Parameters
        ----------
        values : mapping from Input to array
            All inputs, which are copied, but for those in `fixed`.
        call : Call
        fixed : mapping from Input to array
            Inputs that do not change.
        """
        copies = {name: value if value is fixed.get(name) else value.copy() for name, value in values.items()}
        return lambda: self(copies, call).k

    def __call__(self, values: Values, call: Call) -> Tail:
        """Return the heaviest tail of the first draws of a call."""
        first, stop = self._groups.of(call.first), self._groups.of(call.stop)
        return self.of_draws(values, call.seed, first, stop - first)

    def of_draws(self, values: Values, seed: int, first: int, n: int) -> Tail:
        """Return the heaviest tail of n draws of the Program, or of the first of them."""
        n = min(n, self._most)
        here, blocks = all_to_host(values), []
        with self._per_draw.kernel.limits():
            for start in range(first, first + n, BLOCK):
                draws = self._per_draw(here, seed, min(BLOCK, first + n - start), start)
                blocks.append(np.abs(draws[self._kept].astype(np.float64)))
        *sample, weights = np.concatenate(blocks, axis=1)
        of_weights = pareto_k(weights)
        found = [(_with_weights(pareto_k(x), of_weights), int(i)) for x, i in _heaviest(sample, self._kept)]
        known = [pair for pair in found if not math.isnan(pair[0])]
        k, at = max(known, default=(math.nan, 0))
        return Tail(k, str(self._components[at]))


def _heaviest(sample: Sequence[Float64Array], names: Iterable[int]) -> list[tuple[Float64Array, int]]:
    """Return the components, with their names, whose largest draw has the largest share in the sum; or the first."""
    with np.errstate(all="ignore"):
        shares = [float(np.nan_to_num(np.nanmax(x, initial=0.0) / np.nansum(x))) for x in sample]
    ordered = sorted(zip(shares, range(len(sample)), sample, names, strict=False), key=lambda each: (-each[0], each[1]))
    return [(x, i) for share, _, x, i in ordered[:FITTED] if share > 0] or [(sample[0], 0)]


def _with_weights(k: float, of_weights: float) -> float:
    """Return the shape of the tail that weights cause: not that which the integrand has without them."""
    return k if k == math.inf else min(k, of_weights)


def warn_of_tail(tail: Tail, place: str = "") -> None:
    """Warn where a mean of weighted draws is not to be trusted.

    Parameters
    ----------
    tail : Tail
    place : str
        Where the component is, after its name, such as the row of a batch.

    Warns
    -----
    WeightsWarning
    """
    if not tail.k > UNTRUSTED:
        return
    why = f"and the weight have tails with a Pareto k of {tail.k:.2f} or more, above {UNTRUSTED}: few draws decide"
    if not math.isfinite(tail.k):
        why = "is zero but for fewer than five draws of the proposal"
    warnings.warn(
        f"{tail.component}{place}: the integrand times the weight q / proposal {why}, and its standard error is not "
        "to be trusted. A proposal with heavier tails, such as a mixture that q is a part of, bounds the weights; one "
        "closer to where the integrand is large hits it more often",
        WeightsWarning,
        stacklevel=user_level(),
    )
