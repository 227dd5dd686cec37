"""Means alone of one problem: of draws that are one chunk, by a kernel that has means."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mcgrad.backends.base import Known, suited
from mcgrad.ir.spaces import Values
from mcgrad.results.flat import flat_value

if TYPE_CHECKING:
    from mcgrad.engine.runner import Runner

Numbers = tuple[npt.NDArray[Any], list[npt.NDArray[Any]]]  # the value, of its shape, and flat gradients, in float64


class MeansOfDraws:
    """The value and the gradient in some parameters.

    Parameters
    ----------
    runner : Runner
    n : int
        Number of draws.
    paths : sequence of str
    """

    def __init__(self, runner: Runner, n: int, paths: Sequence[str]) -> None:
        derived = runner.derived
        self._finish, self._components, self._draws = runner.finish, derived.components, derived.groups.of(n)
        self._kernel = suited(runner.dispatched.running.kernel, self._draws)
        self._slices = [derived.components.slices[path] for path in paths]

    def limits(self) -> AbstractContextManager[Any]:
        """Return the kernel's context."""
        return self._kernel.limits()

    def suit(self, values: Values) -> bool:
        """Return whether the kernel has means, and the draws are one chunk."""
        with self._kernel.limits():
            return hasattr(self._kernel.bind(values), "means") and is_one(self._kernel.chunks(0, self._draws))

    def at_addresses(self, values: Values, known: Sequence[Known]) -> None:
        """Return None: kernels of one problem have no means of arrays whose addresses are given."""

    def __call__(self, values: Values, seed: int) -> Numbers | None:
        """Return the value and the gradients; None where sums have to be looked at again."""
        bound: Any = self._kernel.bind(values)
        means = bound.means(seed, 0, self._draws)
        if means is None:
            return None
        means = self._finish.means(means[None], values)[0]
        if not math.isfinite(np.add.reduce(means)):
            return None
        return flat_value(self._components, means), [means[where] for where in self._slices]


def is_one(chunks: Iterable[Any]) -> bool:
    """Return whether there is exactly one chunk."""
    return len([*islice(chunks, 2)]) == 1
