"""The components of a result, as they lie in one vector: value, gradient by parameter, then second derivatives.

What computes a result (the engine) fills such vectors; what shows, stores or compares results reads names, slices and
arrays of the parameters' shapes from here. The value is a number, an array, or a nested dict of arrays; then the
gradient in a parameter is a Jacobian, with the axes of the value first.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from itertools import accumulate
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from mcgrad.noise import Shape
from mcgrad.results.second import NOTHING, Second

Part = tuple[str, slice, Shape]  # of a vector: a path, where it is, and the shape of the array

VALUE = "value"
COVARIANCE = "covariance"
WEIGHT = "importance weight"


class Component(NamedTuple):
    """One number of a result, which prints as ``loc[3]``, or as ``d value[2] / d loc[3]``.

    Parameters
    ----------
    path : str
        "value", or the dotted path of a parameter.
    indices : tuple of int
        Where in the parameter it is; empty for scalars.
    of : str
        What it is the derivative of, where the value has several numbers.
    position : int
        Where that is among the numbers of the value, in C order.
    """

    path: str
    indices: tuple[int, ...] = ()
    of: str = ""
    position: int = 0

    def __str__(self) -> str:
        name = f"{self.path}[{','.join(map(str, self.indices))}]" if self.indices else self.path
        return f"d {self.of} / d {name}" if self.of else name


def _number() -> dict[str, Shape]:
    return {"": ()}


@dataclass(frozen=True)
class Components:
    """The value and the entries of its gradient, in their order: parameter by parameter, each in C order.

    A read-only sequence of `Component`, of which the first are the value's. None is made before it is asked for: there
    may be millions.

    Parameters
    ----------
    shapes : mapping from str to tuple of int
        Shapes of the parameters of the gradient, by dotted path, in their order.
    value : mapping from str to tuple of int
        Shapes of the arrays that the value consists of, by dotted path; a number or an array has the path "".
    contracted : bool
        Whether the gradient is that of one linear combination of the value, rather than a Jacobian.
    covariance : bool
        Whether the numbers that the covariance of the value is made of follow: deviations from a fixed point, and the
        products of two of them, those with i <= j row by row.
    weighted : bool
        Whether the importance weight of a draw follows, at the end.
    second : Second
        Second derivatives, which follow the gradient.
    others : mapping from str to tuple of int
        Shapes of parameters whose gradients are elsewhere, as those are that the rows of a batch share: so are second
        derivatives in these alone. Those in one of them and in one of `shapes` are here.
    """

    shapes: Mapping[str, Shape]
    value: Mapping[str, Shape] = field(default_factory=_number)
    contracted: bool = False
    covariance: bool = False
    weighted: bool = False
    second: Second = NOTHING
    others: Mapping[str, Shape] = field(default_factory=dict)

    def __getstate__(self) -> dict[str, Any]:
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Set the fields; pickles made before values could be arrays have the shapes alone."""
        vars(self).update(
            {"value": _number(), "second": NOTHING, "others": {}}
            | {x.name: state[x.name] for x in fields(self) if x.name in state}
        )

    @property
    def of_number(self) -> bool:
        """Whether the value is one number, not an array."""
        return dict(self.value) == _number()

    @property
    def differentiated(self) -> Mapping[str, Shape]:
        """Shapes of what the gradient is of, by dotted path."""
        return _number() if self.contracted else self.value

    @cached_property
    def values(self) -> slice:
        """Where the value is."""
        return slice(0, _size(self.value))

    @cached_property
    def gradient(self) -> slice:
        """Where the gradient is."""
        return slice(self.values.stop, self._ends[len(self.shapes)])

    @cached_property
    def derivatives(self) -> slice:
        """Where the gradient and the second derivatives are."""
        return slice(self.values.stop, self._ends[-1])

    @cached_property
    def products(self) -> slice:
        """Where the numbers are that the covariance is made of."""
        count = self.values.stop
        return slice(self._ends[-1], self._ends[-1] + (count + count * (count + 1) // 2 if self.covariance else 0))

    @cached_property
    def weight(self) -> slice:
        """Where the importance weight is, if it is there."""
        return slice(self.products.stop, self.products.stop + int(self.weighted))

    @cached_property
    def slices(self) -> dict[str, slice]:
        """Where the gradient in each parameter is, by dotted path, and second derivatives, by name."""
        return dict(zip(self._shapes, map(slice, self._ends, self._ends[1:]), strict=True))

    @cached_property
    def _shapes(self) -> dict[str, Shape]:
        """Shapes of all derivatives, of a number: of the gradient by path, then of second derivatives by name."""
        return {**self.shapes, **self.second_here.shapes(self._parameters)}

    @cached_property
    def second_here(self) -> Second:
        """The second derivatives among the components."""
        return self.second.beyond(self.others)

    @property
    def _parameters(self) -> dict[str, Shape]:
        """Shapes of all parameters that second derivatives are in."""
        return {**self.shapes, **self.others}

    @cached_property
    def _ends(self) -> list[int]:
        """Ends of the value and of each derivative."""
        count = _size(self.differentiated)
        return [*accumulate((count * math.prod(x) for x in self._shapes.values()), initial=_size(self.value))]

    def __len__(self) -> int:
        return int(self.weight.stop)

    @overload
    def __getitem__(self, position: int) -> Component: ...

    @overload
    def __getitem__(self, position: slice) -> list[Component]: ...

    def __getitem__(self, position: int | slice) -> Component | list[Component]:
        if isinstance(position, slice):
            return [self[i] for i in range(len(self))[position]]
        i = range(len(self))[position]
        if i < self.values.stop:
            return _named(self.value, i)
        if i >= self.weight.start:
            return Component(WEIGHT)
        if i >= self.products.start:
            return self._product(i - self.products.start)
        which = bisect_right(self._ends, i) - 1
        path, shape = [*self._shapes.items()][which]
        row, entry = divmod(i - self._ends[which], math.prod(shape))
        of = "" if self.contracted or self.of_number else str(_named(self.value, row))
        if path not in self.shapes:
            return Component(self.second.described(path, _indices(entry, shape), self._parameters, of))
        return Component(path, _indices(entry, shape), of, row)

    def __iter__(self) -> Iterator[Component]:
        return (self[i] for i in range(len(self)))

    def _product(self, i: int) -> Component:
        count = self.values.stop
        if i < count:
            return Component(COVARIANCE, (i,))
        first, second = (int(x[i - count]) for x in np.triu_indices(count))
        return Component(COVARIANCE, (first, second))

    @property
    def split_shapes(self) -> dict[str, Shape]:
        """Shapes of the arrays that `split` returns."""
        return {
            _joined(path, name): (*of, *shape)
            for path, shape in self.shapes.items()
            for name, of in self.differentiated.items()
        }

    @property
    def second_shapes(self) -> dict[str, dict[str, Shape]]:
        """Shapes of the arrays that `second_in` returns, under the name that results have them by."""
        shapes = {path: x.shape for path, x in self.second_in(np.zeros(len(self))).items()} if self.second_here else {}
        return {self.second.of_results: shapes}

    def paths(self, path: str) -> list[str]:
        """Return the paths, in what `split` returns, of the gradient in a parameter."""
        return [_joined(path, name) for name in self.differentiated]

    def over_rows(self, shapes: Mapping[str, Shape]) -> Components:
        """Return the components of sums over the rows of a batch: of the value, and of derivatives in parameters.

        They are kept, as all estimates of one Estimator ask for the same.
        """
        found: Components | None = vars(self).get("_over_rows")
        if found is None or found.shapes is not shapes:
            found = vars(self)["_over_rows"] = Components(
                shapes, self.value, self.contracted, second=self.second.within(shapes)
            )
        return found

    def value_in(self, vector: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return the arrays of the value, by dotted path: views of a vector, in their shapes after its leading axes."""
        return _taken(vector, self._value_parts)

    def split(self, vector: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return the gradient in each parameter, by dotted path: views of a vector, in the parameters' shapes.

        The axes of an array that is differentiated come before those of the parameter. Where it is a dict, there is one
        array for each of its arrays: their paths follow the parameter's.

        Parameters
        ----------
        vector : array, shape (..., components)
            In host memory or on a device. Its leading axes stay in front.

        Raises
        ------
        ValueError
            Where the vector has another number of components.
        """
        self._check_size(vector)
        return _taken(vector, self._parts)

    def second_in(self, vector: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return second derivatives by dotted path: of a parameter, of the other, and of an array of the value."""
        self._check_size(vector)
        blocks = {
            name: _taken(vector, [*_parts(self.differentiated, self.slices[name].start, shape)])
            for name, shape in self.second_here.shapes(self._parameters).items()
        }
        return self.second_here.by_path(blocks, self._parameters)

    def by_parameter(self, vector: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return the gradients of all numbers of the value in each parameter, by its path.

        Parameters
        ----------
        vector : array, shape (..., components)

        Returns
        -------
        dict of str to array, shape (..., numbers of what is differentiated, *shape of the parameter)

        Raises
        ------
        ValueError
            Where the vector has another number of components.
        """
        self._check_size(vector)
        count, lead = _size(self.differentiated), vector.shape[:-1]
        return {
            path: vector[..., self.slices[path]].reshape((*lead, count, *shape)) for path, shape in self.shapes.items()
        }

    def _check_size(self, vector: NDArray[Any]) -> None:
        if vector.shape[-1] != self.weight.stop:
            raise ValueError(f"the shapes ask for {len(self)} components, the vector has {vector.shape[-1]}")

    @cached_property
    def _value_parts(self) -> list[Part]:
        """Of each array of the value its path, and where it is."""
        return [*_parts(self.value, 0, ())]

    @cached_property
    def _parts(self) -> list[Part]:
        """Of each array that `split` returns its path, and where it is."""
        return [
            (_joined(path, name), where, whole)
            for (path, shape), start in zip(self.shapes.items(), self._ends, strict=False)
            for name, where, whole in _parts(self.differentiated, start, shape)
        ]

    @cached_property
    def flat_value(self) -> Shape:
        """Shape of the value as a single array."""
        return flat_shape(self.value)

    @cached_property
    def flat_gradients(self) -> dict[str, Shape]:
        """Shape of the gradient in each parameter as a single array: the axes of the value come before its own."""
        return {path: (*flat_shape(self.differentiated), *shape) for path, shape in self.shapes.items()}

    def derivatives_of(self, values: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which components are derivatives of some numbers of the value; of any, for a linear combination.

        Parameters
        ----------
        values : bool array, shape (..., numbers of the value)

        Returns
        -------
        bool array, shape (..., components)
        """
        found = np.zeros((*values.shape[:-1], len(self)), bool)
        chosen = values.any(axis=-1, keepdims=True) if self.contracted else values
        for path, where in self.slices.items():
            found[..., where] = np.repeat(chosen, math.prod(self._shapes[path]), axis=-1)
        return found


def _joined(path: str, name: str) -> str:
    """Return the path of the gradient of a named array in a parameter."""
    return f"{path}.{name}" if name else path


def _size(shapes: Mapping[str, Shape]) -> int:
    return sum(map(math.prod, shapes.values()))


def flat_shape(value: Mapping[str, Shape]) -> Shape:
    """Return the shape of a value as a single array: its own, or of a dict the number of its numbers."""
    return value[""] if "" in value else (_size(value),)


def _parts(value: Mapping[str, Shape], start: int, own: Shape) -> Iterator[Part]:
    """Yield paths, places and shapes of derivatives, by a parameter of a shape, of arrays one after the other."""
    for name, shape in value.items():
        stop = start + math.prod(shape) * math.prod(own)
        yield name, slice(start, stop), (*shape, *own)
        start = stop


def _taken(vector: NDArray[Any], parts: list[Part]) -> dict[str, NDArray[Any]]:
    """Return arrays by path: views of a vector, behind its leading axes."""
    if vector.ndim == 1:
        return {path: vector[where].reshape(shape) for path, where, shape in parts}
    lead = vector.shape[:-1]
    return {path: vector[..., where].reshape(lead + shape) for path, where, shape in parts}


def _named(shapes: Mapping[str, Shape], i: int) -> Component:
    """Return the component that a number of the value is."""
    for path, shape in shapes.items():
        size = math.prod(shape)
        if i < size:
            return Component(f"{VALUE}.{path}" if path else VALUE, _indices(i, shape), "", 0)
        i -= size
    raise IndexError(i)


def _indices(i: int, shape: Shape) -> tuple[int, ...]:
    return tuple(int(j) for j in np.unravel_index(i, shape))
