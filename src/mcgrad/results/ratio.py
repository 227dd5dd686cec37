"""Ratios of two parts of one estimate, with standard errors by the delta method: for self-normalised estimates."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad import tree
from mcgrad.errors import ParameterError, shown
from mcgrad.moments import Float64Array
from mcgrad.noise import Shape
from mcgrad.results.covariance import nested_twice


@dataclass(frozen=True, eq=False)
class Whole:
    """The value of an estimate, of which there are parts.

    Attributes
    ----------
    shapes : mapping from str to tuple of int
        Of the arrays of the value, by dotted path.
    estimate, stderr : array, shape (..., K)
        Its numbers; of a batch the batch axes lead.
    covariance : callable
        Returns their covariance, of shape (..., K, K), or raises.
    gradients : callable
        Returns their gradients by the path of a parameter: how many axes lead, and the array, of shape (..., K, *shape
        of the parameter).
    """

    shapes: Mapping[str, Shape]
    estimate: Float64Array
    stderr: Float64Array
    covariance: Callable[[], Float64Array]
    gradients: Callable[[], Mapping[str, tuple[int, Float64Array]]]

    @cached_property
    def square(self) -> Float64Array:
        """The covariance."""
        return self.covariance()

    def nested_covariance(self) -> Any:
        """Return the covariance, nested twice as the value is."""
        return nested_twice(self.square, self.shapes)

    def part(self, name: Any) -> Part:
        """Return a part of the value.

        Parameters
        ----------
        name : str, or an index as NumPy takes it
            The dotted path of one array of a dict, or an index of an array.

        Raises
        ------
        ParameterError
            There is no such part.
        """
        start, flat = 0, {}
        for path, shape in self.shapes.items():
            stop = start + math.prod(shape)
            flat[path], start = np.arange(start, stop).reshape(shape), stop
        if "" in flat:
            return Part(_indexed(flat[""], name), self)
        if not isinstance(name, str) or name not in flat:
            raise ParameterError("name", shown(name), " or ".join(map(repr, flat)))
        return Part(flat[name], self)

    def parts(self) -> Iterator[Any]:
        """Return what iteration gives: the parts along the first axis of an array, the names of a dict's arrays.

        Raises
        ------
        TypeError
            The value is one number.
        """
        return iter(self.part(())) if "" in self.shapes else iter(self.shapes)


@dataclass(frozen=True, eq=False, repr=False)
class Part:
    """A part of the value of an estimate: ``est["name"]`` of a dict of arrays, or ``est[index]`` of an array.

    Attributes
    ----------
    value, stderr : float or array
        Of the estimate; of a batch whose value is by row with the batch axes in front.
    positions : array of int
        Where its numbers are among those of the value; of the part's shape.
    whole : Whole
        The value that it is a part of.
    """

    positions: npt.NDArray[np.intp]
    whole: Whole

    @property
    def value(self) -> Any:
        """Estimate of the expectation."""
        return _plain(self.whole.estimate[..., self.positions])

    @property
    def stderr(self) -> Any:
        """Standard error of `value`."""
        return _plain(self.whole.stderr[..., self.positions])

    def __getitem__(self, index: Any) -> Part:
        return Part(_indexed(self.positions, index), self.whole)

    def __iter__(self) -> Iterator[Part]:
        if not self.positions.shape:
            raise TypeError("iteration over a number: it has value and stderr, but no parts")
        return (Part(np.asarray(x), self.whole) for x in self.positions)

    def __repr__(self) -> str:
        return f"Part(value={self.value}, stderr={self.stderr})"


@dataclass(frozen=True, eq=False)
class Ratio:
    """A ratio of two expectations.

    Attributes
    ----------
    value, stderr : float or array
        Estimate of E a / E b, and its standard error by the delta method.
    grad : nested dict
        Estimate of its gradient in each parameter, of shape (*shape of the ratio, *shape of the parameter). Without
        standard errors: those take covariances of values and gradients, which an estimate does not hold. Empty where
        the estimate has a cotangent. Of the rows of a batch it is in the parameters that have rows, of shape
        (*batch, *shape of the ratio, *shape of the parameter), and with ``reduce="none"`` in all.
    """

    value: Any
    stderr: Any
    grad: dict[str, Any]


def ratio(a: Part, b: Part) -> Ratio:
    """Estimate E a / E b, of two parts of one estimate, with the standard error of the ratio.

    Parameters
    ----------
    a, b : Part
        ``est["numerator"]`` and ``est["denominator"]``, or ``est[0]`` and ``est[1]``, of one `Estimate` that was made
        with ``covariance=True``. Their shapes broadcast. Of a `BatchEstimate` the ratio is by row, as its value is;
        with ``reduce="sum"`` or ``"mean"`` it is that of the sums.

    Returns
    -------
    Ratio
        ``value``, ``stderr``, and ``grad`` without standard errors.

    Raises
    ------
    ParameterError
        Not two parts of one estimate, or an estimate without covariance.

    Notes
    -----
    The delta method: with R = A / B the variance is [var A - 2 R cov(A, B) + R**2 var B] / B**2. The ratio of means has
    a bias of the order 1 / n, below its standard error of 1 / sqrt(n); both grow without bound as the standard error of
    B nears its size. The gradient is (grad A - R grad B) / B. Owen, Monte Carlo theory, methods and examples, 2013,
    sections 2.7 and 9.2 (self-normalised importance sampling).
    """
    for name, given in {"a": a, "b": b}.items():
        if not isinstance(given, Part):
            raise ParameterError(name, shown(given), 'a part of an estimate, such as est["name"] or est[0]')
    if a.whole is not b.whole:
        raise ParameterError("b", "a part of another estimate than a", "two parts of one estimate")
    try:
        above, below = np.broadcast_arrays(a.positions, b.positions)
    except ValueError:
        raise ParameterError("b", f"shape {b.positions.shape}", f"a shape that fits a's, {a.positions.shape}") from None
    square, numbers = a.whole.square, a.whole.estimate
    top, bottom = numbers[..., above], numbers[..., below]
    with np.errstate(all="ignore"):
        value = top / bottom
        variance = square[..., above, above] - 2 * value * square[..., above, below]
        variance += np.square(value) * square[..., below, below]
        stderr = np.sqrt(np.maximum(variance, 0.0)) / np.abs(bottom)
    return Ratio(_plain(value), _plain(stderr), _gradient(a.whole, above, below, value, bottom))


def _gradient(
    whole: Whole, above: npt.NDArray[np.intp], below: npt.NDArray[np.intp], value: Float64Array, bottom: Float64Array
) -> dict[str, Any]:
    found = {}
    for path, (lead, rows) in whole.gradients().items():
        ones = (1,) * (rows.ndim - lead - 1)
        r, b = (x.reshape((*x.shape, *ones)) for x in (value, bottom))
        with np.errstate(all="ignore"):
            found[path] = _plain((np.take(rows, above, lead) - r * np.take(rows, below, lead)) / b)
    return dict(tree.unflatten(found)) if found else {}


def _indexed(positions: npt.NDArray[np.intp], index: Any) -> npt.NDArray[np.intp]:
    try:
        return np.asarray(positions[index])
    except (IndexError, TypeError, ValueError) as error:
        accepted = f"an index of an array that f returns, of shape {positions.shape}"
        raise ParameterError("name", f"{shown(index)} ({error})", accepted) from None


def _plain(x: Float64Array) -> Any:
    """Return a float for an array without axes."""
    x = np.asarray(x)
    return x if x.shape else float(x)
