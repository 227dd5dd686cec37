"""The components of a result, as they lie in one vector: the value, then the gradient, parameter by parameter.

What computes a result (the engine) fills such vectors; what shows, stores or compares results reads names, slices and
arrays of the parameters' shapes from here.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from mcgrad.noise import Shape


class Component(NamedTuple):
    """One number of a result, which prints as ``loc[3]``.

    Parameters
    ----------
    path : str
        "value", or the dotted path of a parameter.
    indices : tuple of int
        Where in the parameter it is; empty for scalars.
    """

    path: str
    indices: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"{self.path}[{','.join(map(str, self.indices))}]" if self.indices else self.path


VALUE = Component("value")


@dataclass(frozen=True)
class Components:
    """The value and the entries of its gradient, in their order: parameter by parameter, each in C order.

    A read-only sequence of `Component`, of which the first is the value. None is made before it is asked for: there may
    be millions.

    Parameters
    ----------
    shapes : mapping from str to tuple of int
        Shapes of the parameters of the gradient, by dotted path, in their order.
    """

    shapes: Mapping[str, Shape]

    @cached_property
    def slices(self) -> dict[str, slice]:
        """Where the gradient in each parameter is, by dotted path."""
        return dict(zip(self.shapes, map(slice, self._ends, self._ends[1:]), strict=True))

    @cached_property
    def _ends(self) -> list[int]:
        """Ends of the value and of each parameter."""
        return [*accumulate(map(math.prod, self.shapes.values()), initial=1)]

    def __len__(self) -> int:
        return self._ends[-1]

    @overload
    def __getitem__(self, position: int) -> Component: ...

    @overload
    def __getitem__(self, position: slice) -> list[Component]: ...

    def __getitem__(self, position: int | slice) -> Component | list[Component]:
        if isinstance(position, slice):
            return [self[i] for i in range(len(self))[position]]
        i = range(len(self))[position]
        if i == 0:
            return VALUE
        which = bisect_right(self._ends, i) - 1
        path, shape = [*self.shapes.items()][which]
        return Component(path, tuple(int(j) for j in np.unravel_index(i - self._ends[which], shape)))

    def __iter__(self) -> Iterator[Component]:
        yield VALUE
        for path, shape in self.shapes.items():
            yield from (Component(path, indices) for indices in np.ndindex(shape))

    def split(self, vector: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return the gradient in each parameter, by dotted path: views of a vector, in the parameters' shapes.

        Parameters
        ----------
        vector : array, shape (components,)
            In host memory or on a device.

        Raises
        ------
        ValueError
            Where the vector has another number of components.
        """
        if len(vector) != len(self):
            raise ValueError(f"the shapes ask for {len(self)} components, the vector has {len(vector)}")
        return {path: vector[where].reshape(self.shapes[path]) for path, where in self.slices.items()}
