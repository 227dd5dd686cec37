"""The value and the gradient alone, in repeated calls at arrays of the same kinds: what frameworks read.

The first call makes an estimate. Later ones pass the arrays to the kernel and cut its means, without other moments and
without a result, where no sum has to be looked at again (`means_of_draws`, `means_of_rows`). The numbers are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from mcgrad.backends.base import Known
from mcgrad.distributions.constraints import surely_inside
from mcgrad.engine.derivation import Derivation
from mcgrad.engine.dispatch import Running
from mcgrad.engine.earlier_kinds import Place
from mcgrad.engine.means_of_draws import MeansOfDraws, Numbers
from mcgrad.engine.means_of_rows import MeansAtAddresses, MeansOfRows
from mcgrad.engine.runner import Runner
from mcgrad.errors import BackendError
from mcgrad.ir.spaces import Input, Values
from mcgrad.noise import Shape

MISSES = 8  # calls one after the other that had to make an estimate, after which all do

Array = npt.NDArray[Any]


class MeansAlone:
    """The value and the gradient in some parameters, of one Estimator and number of draws.

    Parameters
    ----------
    runner : Runner
        Of the Estimator.
    estimate : callable
        (n, seed, changes, stream) -> the Estimate or BatchEstimate of a call.
    n : int
        Number of draws.
    names : sequence of str
        What is given in each call: parameters that are no dicts, and float data.
    paths : sequence of str
        The parameters of the gradient.

    Notes
    -----
    Threads may call it at the same time: what it keeps of earlier calls is replaced as a whole.
    """

    def __init__(
        self, runner: Runner, estimate: Callable[..., Any], n: int, names: Sequence[str], paths: Sequence[str]
    ) -> None:
        self._runner, self._estimate, self._n = runner, estimate, n
        self._names, self._paths = [*names], [*paths]
        self._short: _Short | None = None
        self._misses = 0

    def __call__(self, seed: int, arrays: Sequence[Array], stream: Any = None) -> Numbers:
        """Return the value, as a single array, and the gradients, flat, one for each path.

        Parameters
        ----------
        seed : int
        arrays : sequence of array
            One for each name.
        stream : optional
            As for a call of an Estimator.

        Raises
        ------
        ParameterError, BackendError, NonFiniteError
            As a call of an Estimator.
        """
        may_be_short = stream is None and self._misses < MISSES
        if may_be_short:
            short = self._short
            if short is not None and short.running is self._runner.dispatched.running:
                found = short(seed, arrays)
                if found is not None:
                    self._misses = 0
                    return found
        changes = dict(zip(self._names, arrays, strict=True))
        est = self._estimate(self._n, seed, changes, stream)
        if may_be_short:
            self._misses += 1
            self._short = self._made(changes) or self._short
        value, *grads = est.flat(self._paths)
        return value, [grad.reshape(-1) for grad in grads]

    def at_addresses(self, seed: int, addresses: Sequence[int], dtype: np.dtype[Any]) -> tuple[Array, Array] | None:
        """Return the value and the gradients, these one after the other in a dtype; None where `self` has to be called.

        Parameters
        ----------
        seed : int
        addresses : sequence of int
            Of contiguous arrays of the shapes and dtypes of those of an earlier call, one for each name.
        dtype : dtype
        """
        short = self._short
        if short is None or short.at_addresses is None or short.running is not self._runner.dispatched.running:
            return None
        try:
            return short.at_addresses(seed, addresses, dtype)
        except BackendError:
            return None

    def _made(self, changes: dict[str, Any]) -> _Short | None:
        """Return what later calls are, after one with these changes; None where each has to make an estimate."""
        runner, derived = self._runner, self._runner.derived
        places = derived.inputs.places(changes) if averages_only(derived) else None
        if places is None or not all(type(x) is np.ndarray for x in changes.values()):
            return None
        given = zip(places, changes.values(), strict=True)
        known = [_Known(place, x.shape, x.dtype, np.dtype(place.dtype)) for place, x in given]
        means: _Means
        if runner.rows:
            means = MeansOfRows(runner, runner.rows, derived.inputs.rows(changes)[1], self._n, self._paths)
        else:
            means = MeansOfDraws(runner, self._n, self._paths)
        short = _Short(runner.dispatched.running, derived.inputs.values({}), known, means)
        with np.errstate(over="ignore", invalid="ignore"):
            values = short.values([*changes.values()])
            if values is None or not means.suit(values):
                return None
            if all(x.dtype == x.width for x in known):
                arrays = [Known(name, shape, bounds) for (name, bounds, _), shape, *_ in known]
                short.at_addresses = means.at_addresses(values, arrays)
        return short


class _Known(NamedTuple):
    """An array of each call: where it goes, its shape and dtype, which stay, and the dtype in which it is read."""

    place: Place
    shape: Shape
    dtype: np.dtype[Any]
    width: np.dtype[Any]


class _Means(Protocol):
    """Means by one kernel."""

    def limits(self) -> AbstractContextManager[Any]:
        """Return a context to average in."""

    def suit(self, values: Values) -> bool:
        """Return whether the kernel can average so, at values like these."""

    def __call__(self, values: Values, seed: int) -> Numbers | None:
        """Return the value and the gradients; None where sums have to be looked at again."""

    def at_addresses(self, values: Values, known: Sequence[Known]) -> MeansAtAddresses | None:
        """Return the same at arrays whose addresses are given, if there is; `values` are of an earlier call."""


class _Short:
    """A call without an estimate.

    Parameters
    ----------
    running : Running
        The backend that it is for.
    others : mapping from Input to array
        Values of all inputs, of which some change.
    known : list of _Known
        Those that change.
    means : _Means
    """

    def __init__(self, running: Running, others: Values, known: list[_Known], means: _Means) -> None:
        self.running, self._others, self._known, self._means = running, others, known, means
        self.at_addresses: MeansAtAddresses | None = None

    def values(self, arrays: Sequence[Array]) -> dict[Input, Array] | None:
        """Return the values of all inputs; None where an array is of another kind, or may not be accepted."""
        values = {**self._others}
        for ((name, bounds, _), shape, dtype, width), x in zip(self._known, arrays, strict=True):
            if type(x) is not np.ndarray or x.shape != shape or x.dtype != dtype:
                return None
            if bounds is not None and not surely_inside(*bounds, x):
                return None
            values[name] = np.asarray(x, width, order="C")
        return values

    @np.errstate(over="ignore", invalid="ignore")
    def __call__(self, seed: int, arrays: Sequence[Array]) -> Numbers | None:
        """Return the value and the gradients; None where a call has to make an estimate."""
        values = self.values(arrays)
        if values is None:
            return None
        try:
            with self._means.limits():
                return self._means(values, seed)
        except BackendError:  # which the estimate raises, or another backend makes
            return None


def averages_only(derived: Derivation) -> bool:
    """Return whether calls average over draws of q and do nothing else: no pilots, no warnings, no further moments."""
    q = derived.q.template
    averages_more = derived.controls or derived.proposal or derived.components.weighted or derived.sampler.is_point_set
    common = derived.batch is not None and derived.batch.common_noise
    return not (averages_more or derived.pilots or common or q.rarity is not None or q.bridges is not None)
