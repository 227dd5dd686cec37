"""Values and gradients as single arrays, as frameworks pass them: the numbers of a dict lie on one axis."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mcgrad import tree
from mcgrad.noise import Shape
from mcgrad.results.components import Components, flat_shape as flat_shape

Shapes = Mapping[str, Shape]  # of the arrays of a value, by dotted path; a number or an array has the path ""

NUMBER: Shapes = {"": ()}


def flat_value(components: Components, vector: NDArray[Any]) -> NDArray[Any]:
    """Return the value, in a vector of all components, as a single array behind the vector's leading axes: a view."""
    return vector[..., components.values].reshape((*vector.shape[:-1], *components.flat_value))


def flat_gradient(components: Components, vector: NDArray[Any], path: str) -> NDArray[Any]:
    """Return the gradient in one parameter likewise: the axes of the value come before those of the parameter."""
    return vector[..., components.slices[path]].reshape((*vector.shape[:-1], *components.flat_gradients[path]))


def joined(parts: Sequence[NDArray[Any]], dtype: DTypeLike) -> NDArray[Any]:
    """Return the numbers of some arrays with one axis, one after the other, in a dtype."""
    if not parts:
        return np.empty(0, dtype)
    return np.concatenate(parts, dtype=np.dtype(dtype), casting="unsafe")


def cut(joined: Any, value: Shapes, axis: int = 0) -> Any:
    """Return the arrays of a value, nested as f returns them, from one that is flat; of any library of arrays.

    Parameters
    ----------
    joined : array
    value : dict of str to tuple of int
    axis : int
        The one on which the numbers of a dict lie.
    """
    if "" in value:
        return joined
    found, start, front = {}, 0, (slice(None),) * axis
    for name, shape in value.items():
        part = joined[(*front, slice(start, start + math.prod(shape)))]
        found[name] = part.reshape((*part.shape[:axis], *shape, *part.shape[axis + 1 :]))
        start += math.prod(shape)
    return tree.unflatten(found)
