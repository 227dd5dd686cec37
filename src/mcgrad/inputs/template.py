"""A distribution of a family whose parameters have shapes but no values yet, as while a framework traces."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice, product
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad import tree
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.constraints import real
from mcgrad.errors import ParameterError, shown
from mcgrad.noise import Shape

Array = npt.NDArray[Any]
MOST = 256  # combinations of values that are tried


class UndeterminedError(Exception):
    """No values were found that the family accepts."""


def template(
    family: Callable[..., Distribution],
    settings: Mapping[str, Any],
    shapes: Mapping[str, Shape],
    known: Mapping[str, Array],
) -> Distribution:
    """Return a distribution of a family with parameters of these shapes, at some values that it accepts.

    Parameters
    ----------
    family : callable
    settings : dict of str to object
        Arguments besides parameters, by dotted path.
    shapes : dict of str to tuple of int
        By dotted path.
    known : dict of str to array
        Values of parameters that have them already.

    Raises
    ------
    ParameterError
        The family refuses the names, the shapes, or known values; or it is a class of another library's.
    UndeterminedError
        It refuses all values that were tried, each for a reason of its own.
    """
    check_family(family)
    refusals: list[Exception] = []
    batch_ndim = int(settings.get("batch_ndim", 0))
    places = [_places(family, path, shape, known, batch_ndim) for path, shape in shapes.items()]
    for values in islice(product(*places), MOST):
        try:
            given = {**settings, **dict(zip(shapes, values, strict=True))}
            made = family(**tree.unflatten(given) if given else {})
        except Exception as error:  # NumPy's, too, for shapes that do not broadcast
            refusals.append(error)
        else:
            return _checked(made, shapes)
    if refusals and len({str(error) for error in refusals}) == 1:  # whatever the values
        raise refusals[0]
    raise UndeterminedError


def check_family(q: Callable[..., Any]) -> None:
    """Refuse a class of another library's, such as a distribution of PyTorch's.

    Raises
    ------
    ParameterError
    """
    if isinstance(q, type) and not issubclass(q, Distribution):
        accepted = "a family such as mg.Normal, or a function that makes a distribution of mcgrad's"
        raise ParameterError("q", shown(q), accepted)


def _checked(made: Distribution, shapes: Mapping[str, Shape]) -> Distribution:
    if not isinstance(made, Distribution):
        raise ParameterError("q", f"a function that returns {shown(made)}", "one that returns a distribution")
    for path, shape in shapes.items():
        if made.shapes.get(path) != shape:
            has = ", ".join(f"{name} of shape {own}" for name, own in made.shapes.items())
            raise ParameterError(path, f"an argument of q with shape {shape}", f"a parameter of q: {has}")
    return made


def _places(
    family: Callable[..., Distribution], path: str, shape: Shape, known: Mapping[str, Array], batch_ndim: int
) -> list[Array]:
    if path in known:
        return [known[path]]
    accepted = getattr(family, "constraints", {}).get(path, real)
    of_row = shape[batch_ndim:] if len(shape) >= batch_ndim else shape
    tried = [] if 0 in of_row else _candidates(of_row)
    found = [np.broadcast_to(array, shape) for array in tried if accepted.check(array)]
    return found or [np.ones(shape)]


def _candidates(shape: Shape) -> Iterator[Array]:
    yield np.ones(shape)
    if len(shape) == 2 and shape[0] == shape[1]:
        yield np.eye(shape[0])
    if shape:
        yield np.full(shape, 1 / shape[-1])  # a point of the simplex
    for value in (0.5, 2.0, 0.0):
        yield np.full(shape, value)
