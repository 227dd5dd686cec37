"""Values of a Program's inputs: the parameters and data of the Estimator, and changes to them for a call."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad import tree
from mcgrad.arrays import all_to_host, contiguous, on_device, to_host
from mcgrad.backends.host_values import WIDE
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.constraints import bounds_of, real
from mcgrad.engine.earlier_kinds import EarlierKinds, Place
from mcgrad.errors import ParameterError, shown
from mcgrad.gradients.problem import described
from mcgrad.inputs import arguments, second
from mcgrad.inputs.batch import Batch, spread
from mcgrad.ir.spaces import Input, Space, Values, named, param
from mcgrad.noise import Shape

Arrays = dict[str, npt.NDArray[Any]]


class Inputs:
    """The inputs of one Estimator.

    Parameters
    ----------
    q : Distribution
    params : dict of str to array
        Parameters that only the integrand has, by dotted path.
    data : dict of str to array
        Data as given, by name.
    known : dict of Input to array
        These, and the arrays of an objective.
    dtype : str
        Dtype of the Program.
    batch : Batch, optional
        Of many rows: arrays have the batch axes.

    Attributes
    ----------
    params, data
        As given; of `data` those that are inputs are copies, once `own` has been called.
    fixed : dict of Input to array
        Float data and cotangents that the Program reads.
    """

    def __init__(
        self, q: Distribution, params: Arrays, data: Arrays, known: Values, dtype: str, batch: Batch | None = None
    ) -> None:
        self.q, self.params, self.data, self.dtype, self.batch = q, params, data, dtype, batch
        self._known, self._wide = known, frozenset[Input]()
        self._names = {path: param(path) for path in [*q.flat_params, *params]}
        self._start()
        self.fixed: dict[Input, npt.NDArray[Any]] = {}

    def _start(self) -> None:
        """Set what follows from the distribution."""
        self._of_q = self._named(self.q.validate({}, self.dtype))
        self._names_of_q = {path.partition(".")[0] for path in self.q.shapes}
        self._earlier = EarlierKinds()

    def read(self, names: Container[Input]) -> None:
        """Make the data of these names inputs; all others are constants of the Program."""
        self.fixed = {
            name: arguments.fitting(name.path, x, self.dtype) for name, x in self._known.items() if name in names
        }

    def own(self, wide: frozenset[Input]) -> None:
        """Copy the data that are inputs; those in `wide` in float64, for arithmetic that no draw changes."""
        self._wide, self._earlier = wide, EarlierKinds()
        self.fixed = {name: arguments.owned(name.path, x, self._width(name)) for name, x in self.fixed.items()}
        self.data = {path: self.fixed.get(Input(Space.DATA, path), x) for path, x in self.data.items()}

    def __getstate__(self) -> dict[str, Any]:
        """Return the fields that calls read, with arrays in host memory; data that are inputs are included once."""
        data = {path: None if Input(Space.DATA, path) in self.fixed else to_host(x) for path, x in self.data.items()}
        arrays = {"params": all_to_host(self.params), "fixed": all_to_host(self.fixed), "data": data}
        kept = {"q": self.q, "dtype": self.dtype, "batch": self.batch}
        return {**kept, "_wide": self._wide, "_names": self._names, **arrays}

    def __setstate__(self, fields: Mapping[str, Any]) -> None:
        """Set the fields, and make arrays read-only again, which pickle does not."""
        vars(self).update({"batch": None, **fields})  # earlier pickles have no batch
        self._known = {}
        self._start()
        for array in self.fixed.values():
            array.flags.writeable = False
        self.data = {path: self.fixed.get(Input(Space.DATA, path), x) for path, x in self.data.items()}

    def arrays(self) -> list[npt.NDArray[Any]]:
        """Return all arrays, on host or device."""
        return [*self._of_q.values(), *self.params.values(), *self.fixed.values()]

    def values(self, changes: Mapping[str, Any], cotangent: Any = None, direction: Any = None) -> Values:
        """Return the values of all inputs, with the checked changes applied.

        A cotangent, or the vector of products with the Hessian, of None stays as it is.
        """
        return self._with_shape(changes, cotangent, direction)[0]

    def _with_shape(self, changes: Mapping[str, Any], cotangent: Any, direction: Any = None) -> tuple[Values, Shape]:
        """Return the values of all inputs, and the batch shape."""
        batch, alone = self.batch, cotangent is None and direction is None
        if not changes and alone:
            return {**self._of_q, **self._fitting(self.params), **self.fixed}, batch.shape if batch else ()
        found = self._earlier.find(changes) if alone else None
        if found is not None:
            return found
        values = self._checked(changes, cotangent, direction)
        shape = batch.shape_of(values) if batch else ()
        if alone:
            places = self.places(changes)
            if places is not None:
                self._earlier.keep(changes, self._with_shape({}, None)[0], places, shape)
        return values, shape

    def places(self, changes: Mapping[str, Any]) -> list[Place] | None:
        """Return where accepted changes go; None where more than their numbers has to be checked in each call."""
        places = [self._place(name, given) for name, given in changes.items()]
        known = [place for place in places if place is not None]
        return known if len(known) == len(places) else None

    def _place(self, name: str, given: Any) -> Place | None:
        """Return where a change goes; None where more than its numbers has to be checked in each call."""
        if type(given) not in (float, np.ndarray) or not np.size(given) or np.asarray(given).dtype != self.dtype:
            return None
        if name in self.data:
            at = Input(Space.DATA, name)
            return Place(at, None, self._width(at))
        if name in self.params:
            return Place(self._names[name], bounds_of(real), self.dtype)
        bounds = self.q.bounds(name) if name in self.q.shapes else None
        return None if bounds is None else Place(self._names[name], bounds, self.dtype)

    def _checked(self, changes: Mapping[str, Any], cotangent: Any, direction: Any) -> Values:
        own: dict[str, Any] = {}
        params, others, data = self.params, dict(self.params), dict(self.fixed)
        if cotangent is not None:
            data.update(self._cotangent(cotangent))
        for name, value in changes.items():
            if name in self._names_of_q:
                own[name] = value
            elif name in self.data:
                data[Input(Space.DATA, name)] = self._datum(name, value)
            else:
                leaves = {name: value} if type(value) is np.ndarray and "." not in name else tree.flatten({name: value})
                for path, leaf in leaves.items():
                    if path not in params:
                        known = ", ".join([*self.q.params, *params, *self.data]) or "(there are none)"
                        accepted = f"{known}; options of an Estimator are given when it is made"
                        raise ParameterError(path, "no name of a parameter or of data", accepted)
                    ndim = self._batch_ndim(self._names[path])
                    others[path] = arguments.parameter(path, leaf, params[path].shape, ndim)
        of_q = self._named(self.q.validate(own, self.dtype)) if own else self._of_q
        values = {**of_q, **self._fitting(others), **data}
        return values if direction is None else {**values, **self._direction(direction, values)}

    def rows(self, changes: Mapping[str, Any], cotangent: Any = None, direction: Any = None) -> tuple[Values, Shape]:
        """Return the values of all inputs, those by row with the rows on the first axis, and the batch shape."""
        assert self.batch is not None
        values, shape = self._with_shape(changes, cotangent, direction)
        return self.batch.rows(values), shape

    def first_row(self) -> Values:
        """Return the values of all inputs: of a batch those of its first row."""
        values = self.values({})
        return self.batch.first(values) if self.batch else values

    def few_rows(self, most: int) -> list[Values]:
        """Return the values of all inputs in at most so many rows that may differ; without a batch once.

        The first row, those in which an input by row is largest and least in size, and others at equal distances.
        """
        batch = self.batch
        if not batch or not batch.size:
            return [self.first_row()]
        rows = {name: to_host(x) for name, x in batch.rows(self.values({})).items()}
        sizes = [np.abs(x).reshape(batch.size, -1).sum(axis=1) for name, x in rows.items() if name in batch.by_row]
        ends = [int(find(size)) for size in sizes for find in (np.argmax, np.argmin)]
        some = [*dict.fromkeys([0, *ends, *spread(batch.size, most)])][:most]
        return [{name: x[row] if name in batch.by_row else x for name, x in rows.items()} for row in some]

    def _batch_ndim(self, name: Input) -> int:
        """Return how many batch axes an input has, whose extents may change from call to call."""
        return self.batch.ndim if self.batch and name in self.batch.by_row else 0

    def _cotangent(self, given: Any) -> Values:
        """Return a new cotangent; raise where there was none at first, or one of another shape."""
        found = named(arguments.cotangent(given) or {}, Space.COTANGENT)
        before = {at: x for at, x in self.fixed.items() if at.space is Space.COTANGENT}
        if found and not before:
            raise ParameterError("cotangent", shown(given), "None, as at first, or an Estimator with a cotangent")
        for at in {**found, **before} if found else ():
            lead = self._batch_ndim(at)
            if at not in found or at not in before or found[at].shape[lead:] != before[at].shape[lead:]:
                new, old = (described({path: x.shape for (_, path), x in each.items()}) for each in (found, before))
                raise ParameterError("cotangent", new, f"{old}, as at first")
        return {at: contiguous(arguments.cast(at.path, x, self._width(at))) for at, x in found.items()}

    def _direction(self, given: Any, values: Values) -> Values:
        """Return a new vector of products with the Hessian; parameters that it does not name have zeros.

        `values` are those of all other inputs, by which a batch has its rows.
        """
        before = {at: x for at, x in self.fixed.items() if at.space is Space.DIRECTION}
        found = named(second.direction(given), Space.DIRECTION)
        if not before:
            raise ParameterError("hvp", shown(given), "None, as at first, or an Estimator with a vector, hvp=")
        for at, x in found.items():
            lead = self._batch_ndim(at)
            if at not in before or x.shape[lead:] != before[at].shape[lead:]:
                known = described({path: x.shape for (_, path), x in before.items()})
                raise ParameterError(f"hvp.{at.path}", f"shape {x.shape}", f"{known}, as at first")
        others = {at: x for at, x in values.items() if at.space is not Space.DIRECTION}
        batch_shape = self.batch.shape_of(others) if self.batch else ()
        shapes = {
            at: (*batch_shape[: self._batch_ndim(at)], *x.shape[self._batch_ndim(at) :]) for at, x in before.items()
        }
        new = {at: found.get(at, np.zeros(shapes[at], x.dtype)) for at, x in before.items()}
        return {at: contiguous(arguments.cast(at.path, x, self._width(at))) for at, x in new.items()}

    def _datum(self, name: str, value: Any) -> npt.NDArray[Any]:
        """Return new data of the same shape; raise for data that are constants of the Program."""
        at = Input(Space.DATA, name)
        if at not in self.fixed:
            given = f"other data, but {self.data[name].dtype} data may index and are part of the compiled code"
            raise ParameterError(name, given, "data that are floats from the start, or another Estimator")
        array = arguments.datum(name, value, self.data[name].shape, self._batch_ndim(at))
        if array.dtype.kind != "f":
            array = arguments.as_floats(name, array, self.dtype) if self._batch_ndim(at) else array
        array = arguments.fitting(name, array, self.dtype)
        array = arguments.cast(name, array, self._width(at))
        return array.copy() if on_device(array) else contiguous(array)

    def _width(self, name: Input) -> str:
        return WIDE if name in self._wide else self.dtype

    def _fitting(self, params: Arrays) -> Values:
        names, dtype = self._names, self.dtype
        for path, value in params.items():
            if value.dtype != dtype:
                arguments.fitting(path, value, dtype)
        return {names[path]: value for path, value in params.items()}

    def _named(self, params: Arrays) -> Values:
        names = self._names
        return {names[path]: value for path, value in params.items()}
