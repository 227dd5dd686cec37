"""Ratios of two parts of one estimate, with standard errors by the delta method: for self-normalised estimates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad import tree
from mcgrad.errors import ParameterError, shown
from mcgrad.moments import Float64Array, Moments
from mcgrad.results.components import Components
from mcgrad.results.covariance import matrix


@dataclass(frozen=True, eq=False, repr=False)
class Part:
    """A part of the value of an `Estimate`: ``est["name"]`` of a dict of arrays, or ``est[index]`` of an array.

    Attributes
    ----------
    value, stderr : float or array
        Of the estimate.
    positions : array of int
        Where its numbers are among the components of the estimate; of the part's shape.
    moments : Moments
    components : Components
        Of the whole estimate.
    """

    positions: npt.NDArray[np.intp]
    moments: Moments
    components: Components

    @property
    def value(self) -> Any:
        """Estimate of the expectation."""
        return _plain(self.moments.estimate[self.positions])

    @property
    def stderr(self) -> Any:
        """Standard error of `value`."""
        return _plain(self.moments.stderr[self.positions])

    def __getitem__(self, index: Any) -> Part:
        return Part(_indexed(self.positions, index), self.moments, self.components)

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
        the estimate has a cotangent.
    """

    value: Any
    stderr: Any
    grad: dict[str, Any]


def part(moments: Moments, components: Components, name: Any) -> Part:
    """Return a part of a value.

    Parameters
    ----------
    moments : Moments
    components : Components
    name : str, or an index as NumPy takes it
        The dotted path of one array of a dict, or an index of an array.

    Raises
    ------
    ParameterError
        There is no such part.
    """
    flat = components.value_in(np.arange(len(components)))
    if "" in flat:
        return Part(_indexed(flat[""], name), moments, components)
    if not isinstance(name, str) or name not in flat:
        raise ParameterError("name", shown(name), " or ".join(map(repr, flat)))
    return Part(flat[name], moments, components)


def ratio(a: Part, b: Part) -> Ratio:
    """Estimate E a / E b, of two parts of one estimate, with the standard error of the ratio.

    Parameters
    ----------
    a, b : Part
        ``est["numerator"]`` and ``est["denominator"]``, or ``est[0]`` and ``est[1]``, of one `Estimate` that was made
        with ``covariance=True``. Their shapes broadcast.

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
    if a.moments is not b.moments:
        raise ParameterError("b", "a part of another estimate than a", "two parts of one estimate")
    try:
        above, below = np.broadcast_arrays(a.positions, b.positions)
    except ValueError:
        raise ParameterError("b", f"shape {b.positions.shape}", f"a shape that fits a's, {a.positions.shape}") from None
    square = matrix(a.moments, a.components)
    top, bottom = a.moments.estimate[above], a.moments.estimate[below]
    with np.errstate(all="ignore"):
        value = top / bottom
        variance = square[above, above] - 2 * value * square[above, below] + np.square(value) * square[below, below]
        stderr = np.sqrt(np.maximum(variance, 0.0)) / np.abs(bottom)
    return Ratio(_plain(value), _plain(stderr), _gradient(a, above, below, value, bottom))


def _gradient(
    a: Part, above: npt.NDArray[np.intp], below: npt.NDArray[np.intp], value: Float64Array, bottom: Float64Array
) -> dict[str, Any]:
    if a.components.contracted:
        return {}
    found = {}
    for path, rows in a.components.by_parameter(a.moments.estimate).items():
        ones = (1,) * (rows.ndim - 1)
        r, b = (x.reshape((*x.shape, *ones)) for x in (value, bottom))
        with np.errstate(all="ignore"):
            found[path] = _plain((rows[above] - r * rows[below]) / b)
    return dict(tree.unflatten(found))


def _indexed(positions: npt.NDArray[np.intp], index: Any) -> npt.NDArray[np.intp]:
    try:
        return np.asarray(positions[index])
    except (IndexError, TypeError, ValueError) as error:
        accepted = f"an index of an array of shape {positions.shape}"
        raise ParameterError("name", f"{shown(index)} ({error})", accepted) from None


def _plain(x: Float64Array) -> Any:
    """Return a float for an array without axes."""
    x = np.asarray(x)
    return x if x.shape else float(x)
