"""Descriptors for the attributes `log_prob`, `entropy`, `cdf` and `survival` of families and distributions.

On a class each is the function of parameters that the family states; on a distribution it has the parameters filled in.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import numpy as np

from mcgrad import tree
from mcgrad.distributions import ends
from mcgrad.errors import ParameterError, shown
from mcgrad.reals import obstacle

if TYPE_CHECKING:
    from mcgrad.distributions.base import Distribution
    from mcgrad.distributions.family import Family

REAL = "a real number or an array of float32, float64 or integers, not empty"


class LogProb:
    """The attribute `log_prob` of distributions and of families: the log density at a value, as users call it.

    Of a distribution it is a method: ``q.log_prob(z)``, or with parameters, all of them, other than its own. Of a
    family whose density needs nothing but parameters it is a function: ``Normal.log_prob(z, loc=0.0, scale=1.0)``.

    Parameters
    ----------
    home : type, optional
        The class whose `log_density` and `chart` it reads, so that ``super().log_prob`` is that of the base; by default
        those of the instance.
    """

    def __init__(self, home: type[Family] | None = None) -> None:
        self._home = home

    def __get__(self, instance: Distribution | None, owner: type[Distribution]) -> Callable[..., Any]:
        own = None if instance is None else instance.template
        subject = owner if own is None else own
        density, chart = subject.log_density, subject.chart
        home = self._home
        if home is not None and inspect.getattr_static(owner, "log_density") is not vars(home)["log_density"]:
            density, chart = vars(home)["log_density"].__get__(own, owner), home.chart  # by super()

        def at_value(z: Any, /, **params: Any) -> Any:
            found, inside = density(chart.coordinates(z), **params), chart.inside(z)
            return found if inside is True else np.where(inside, found, -np.inf)

        def log_prob(z: Any, /, **params: Any) -> Any:
            """Return the log density at z, summed over the components of the event.

            Parameters
            ----------
            z : array_like, or nested dict of them
                Of a distribution: values of its event shape, with any axes before those; where it has batch axes these
                are the last of them, and each row has its own density. Of a family: one value, whose components are
                summed.
            **params
                The parameters; by default, where there are none here, those of the distribution.

            Returns
            -------
            A number, or an array of the shape of the leading axes. At an end of the support the limit, where nothing
            is traced; -inf outside.

            Raises
            ------
            ParameterError
                A distribution without a density.
            """
            z = tree.map(_value, z)
            for path, x in tree.flatten(params).items() if params else ():
                found = obstacle(x)
                if found:
                    raise ParameterError(path, *found)
            if instance is None:
                return _plain(ends.with_limits(lambda one, z: one(z, **params), at_value, density, chart, z))
            from mcgrad.distributions import batches  # which traces

            if instance.batch and not params:
                batch, event_shape = instance, instance.event_shape
                of_rows = lambda one, z: batches.of_rows(one, batch, event_shape, z)  # noqa: E731
                return _plain(ends.with_limits(of_rows, at_value, density, chart, z))
            event_shape = instance.event_shape
            if params:
                shapes = {path: np.shape(x) for path, x in tree.flatten(params).items()}
                event_shape = event_shape if shapes == subject.shapes else instance.template.event_shape_of(shapes)
            given = params or instance.params
            every = lambda one, z: batches.log_prob(one, event_shape, z, given)  # noqa: E731
            return _plain(ends.with_limits(every, at_value, density, chart, z))

        return log_prob


class ClosedForm:
    """The attribute `entropy` or `cdf`: of a class as it is written, of a distribution by default at its parameters."""

    def __init__(self, written: Any) -> None:
        self._written = written

    def __get__(self, instance: Distribution | None, owner: type[Distribution]) -> Callable[..., Any]:
        function: Callable[..., Any] = self._written.__get__(instance.template if instance else None, owner)
        if instance is None:
            return function

        @wraps(function)
        def closed_form(*z: Any, **params: Any) -> Any:
            if instance.batch and not params:
                from mcgrad.distributions import batches  # which traces

                return batches.of_rows(function, instance, instance.event_shape, *map(_value, z))
            return function(*map(_value, z), **(params or instance.params))

        return closed_form


def _value(z: Any) -> Any:
    """Numbers, and lists and arrays of whole ones, as an array of floats; all else, as what is traced, as it is."""
    found = obstacle(z)
    if found:
        raise ParameterError("z", *found)
    if not isinstance(z, list | tuple | np.ndarray | np.generic | int | float | complex | str | bytes | None):
        if not isinstance(getattr(z, "shape", None), tuple):  # neither traced nor an array of some library's
            raise ParameterError("z", shown(z), REAL)
        return z
    try:
        array = np.asarray(z)
    except ValueError:  # lists of different lengths
        raise ParameterError("z", shown(z), REAL) from None
    if array.dtype.kind not in "biuf":
        raise ParameterError("z", shown(z), REAL)
    return z if isinstance(z, np.ndarray | np.generic) and array.dtype.kind == "f" else array.astype(np.float64)


def _plain(density: Any) -> Any:
    """Return a number for an array without axes; all else as it is."""
    return density[()] if isinstance(density, np.ndarray) else density
