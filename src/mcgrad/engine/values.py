"""Values of a Program's inputs by path: parameters and data as they were at first, and changes to them for a call."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

import numpy.typing as npt

from mcgrad import tree
from mcgrad.arrays import contiguous, on_device
from mcgrad.backends.base import WIDE
from mcgrad.distributions.base import Distribution
from mcgrad.errors import ParameterError
from mcgrad.gradients.problem import DATA
from mcgrad.inputs import arguments

Arrays = dict[str, npt.NDArray[Any]]


class Inputs:
    """The inputs of one Estimator.

    Parameters
    ----------
    q : Distribution
    params : dict of str to array
        Parameters that only the integrand has, by dotted path.
    data : dict of str to array
        Data that were given, by name.
    known : dict of str to array
        These, and those of an objective.
    dtype : str
        The one that runs.

    Attributes
    ----------
    params, data
        As given; of `data` those that are inputs are copies, once `own` has been called.
    fixed : dict of str to array
        Float data that the Program reads, by path.
    """

    def __init__(self, q: Distribution, params: Arrays, data: Arrays, known: Arrays, dtype: str) -> None:
        self.q, self.params, self.data, self.dtype = q, params, data, dtype
        self._known, self._wide = known, frozenset[str]()
        self._of_q = q.validate({}, dtype)
        self.fixed: Arrays = {}

    def read(self, names: Container[str]) -> None:
        """Take the data of these names for inputs; all others are part of the Program."""
        self.fixed = {
            DATA + name: arguments.fitting(name, x, self.dtype) for name, x in self._known.items() if name in names
        }

    def own(self, wide: frozenset[str]) -> None:
        """Copy the data that are inputs, those in `wide` in float64: arithmetic that no draw changes reads them."""
        self._wide = wide
        self.fixed = {
            path: arguments.owned(path.removeprefix(DATA), x, self._width(path)) for path, x in self.fixed.items()
        }
        self.data = {name: self.fixed.get(DATA + name, x) for name, x in self.data.items()}

    def arrays(self) -> list[npt.NDArray[Any]]:
        """Return all arrays, wherever they are."""
        return [*self._of_q.values(), *self.params.values(), *self.fixed.values()]

    def values(self, changes: Mapping[str, Any]) -> Arrays:
        """Return all inputs by path, the changes checked and put in."""
        if not changes:
            return {**self._of_q, **self._fitting(self.params), **self.fixed}
        own: dict[str, Any] = {}
        others, data = dict(self.params), dict(self.fixed)
        for name, value in changes.items():
            if name in self.q.params:
                own[name] = value
            elif name in self.data:
                data[DATA + name] = self._datum(name, value)
            else:
                for path, leaf in tree.flatten({name: value}).items():
                    if path not in self.params:
                        known = ", ".join([*self.q.params, *self.params, *self.data])
                        raise ParameterError(path, "no name of a parameter or of data", known or "(there are none)")
                    others[path] = arguments.parameter(path, leaf, self.params[path].shape)
        of_q = self.q.validate(own, self.dtype) if own else self._of_q
        return {**of_q, **self._fitting(others), **data}

    def _datum(self, name: str, value: Any) -> npt.NDArray[Any]:
        """Return other data of the shape that they had; only what is an input of the Program may change."""
        path = DATA + name
        if path not in self.fixed:
            given = f"other data, but {self.data[name].dtype} data may index and are part of the compiled code"
            raise ParameterError(name, given, "data that are floats from the start, or another Estimator")
        array = arguments.fitting(name, arguments.datum(name, value, self.data[name].shape), self.dtype)
        array = arguments.cast(name, array, self._width(path))
        return array.copy() if on_device(array) else contiguous(array)

    def _width(self, path: str) -> str:
        return WIDE if path in self._wide else self.dtype

    def _fitting(self, params: Arrays) -> Arrays:
        return {name: arguments.fitting(name, value, self.dtype) for name, value in params.items()}
