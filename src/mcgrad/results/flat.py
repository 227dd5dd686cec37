"""Values and gradients as single arrays, as frameworks pass them: the numbers of a dict lie on one axis."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad import tree
from mcgrad.noise import Shape
from mcgrad.results.components import Components

Shapes = Mapping[str, Shape]  # of the arrays of a value, by dotted path; a number or an array has the path ""

NUMBER: Shapes = {"": ()}


def flat_shape(value: Shapes) -> Shape:
    """Return the shape of a value as a single array: its own, or of a dict the number of its numbers."""
    return value[""] if "" in value else (sum(map(math.prod, value.values())),)


def flat_value(found: Any, value: Shapes) -> npt.NDArray[Any]:
    """Return a value, or its standard errors, as a single array, behind the axes of a batch."""
    if "" in value:
        return np.asarray(found)
    arrays = tree.flatten(found)
    return np.concatenate([_joined(np.asarray(arrays[name]), shape, ()) for name, shape in value.items()], -1)


def flat_gradient(gradient: Mapping[str, Any], path: str, components: Components) -> npt.NDArray[Any]:
    """Return the gradient in one parameter, or its standard errors, as a single array.

    Parameters
    ----------
    gradient : dict
        By dotted path.
    path : str
        Of the parameter.
    components : Components
        Of one row, with all parameters.
    """
    value, own = components.differentiated, components.shapes[path]
    if "" in value:
        return np.asarray(gradient[path])
    parts = [_joined(np.asarray(gradient[f"{path}.{name}"]), shape, own) for name, shape in value.items()]
    return np.concatenate(parts, axis=-1 - len(own))


def _joined(x: npt.NDArray[Any], shape: Shape, behind: Shape) -> npt.NDArray[Any]:
    """Return an array with one axis in place of those of `shape`, in front of those of `behind`."""
    front = x.shape[: x.ndim - len(shape) - len(behind)]
    return x.reshape(*front, math.prod(shape), *behind)


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
