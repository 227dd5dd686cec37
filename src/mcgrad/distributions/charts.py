"""Charts: the coordinates in which a log density is computed, in place of the draw itself.

A draw z is rounded: near 1 to 1, where log(1 - z) has no digits left; far from zero to multiples of 1e-7 of itself,
where z - loc has none. The numbers that z is computed from have them: log z, log odds, a standardized draw and its
offset. So a family makes *coordinates* x beside z, from the same noise, and its log density, which is that of z, is
computed at x. A chart is the smooth map from z to x: it has no parameters, so that holding x holds z.

Most coordinates are a sum of two, ``{"point": p, "offset": o}``: o depends on the parameters alone, such as a location,
and ``about(x, c)`` subtracts c from o before p is added.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from mcgrad.distributions import supports
from mcgrad.errors import ParameterError
from mcgrad.functions.special import expit

POINT, OFFSET = "point", "offset"
SPAN = 40.0  # distance from the middle, in log z or log odds, beyond which a draw counts as at the end


def shifted(point: Any, offset: Any) -> dict[str, Any]:
    """Return the coordinate point + offset, not added up."""
    return {POINT: point, OFFSET: offset}


def about(x: Mapping[str, Any], center: Any) -> Any:
    """Return x - center, to the digits of the point where the centre is close to the offset."""
    return x[POINT] + (x[OFFSET] - center)


def total(x: Mapping[str, Any]) -> Any:
    """Return the coordinate as one number."""
    return x[POINT] + x[OFFSET]


@dataclass(frozen=True)
class Chart:
    """The identity: the density is computed from the draw as it is."""

    def coordinates(self, z: Any) -> Any:
        """Return the coordinates of a value; those of some value inside if it is not `inside`."""
        return z

    def inside(self, z: Any) -> Any:
        """Return whether the value has coordinates: True, or an array of shape ()."""
        return True

    def slope(self, x: Any) -> Any:
        """Return dz/dx at coordinates, element by element."""
        return 1.0

    @property
    def open(self) -> bool:
        """Whether there are values at an end of the support that have no coordinates."""
        return False

    def near(self, z: Any, distance: float) -> Any:
        """Return the coordinates of a value; a value at an end has those at `distance` from the middle."""
        return self.coordinates(z)

    def reached(self, z: Any) -> Any:
        """Return whether the value is inside or at an end: True, or an array of shape ()."""
        return self.inside(z)


class _Open(Chart):
    """A chart of values between two ends, or above one; the ends have no coordinates."""

    @property
    def open(self) -> bool:
        return True


@dataclass(frozen=True)
class _Real(Chart):
    def coordinates(self, z: Any) -> Any:
        return shifted(z, 0.0)


@dataclass(frozen=True)
class _Log(_Open):
    def coordinates(self, z: Any) -> Any:
        return shifted(np.log(np.where(self._inside(z), z, 1.0)), 0.0)

    def inside(self, z: Any) -> Any:
        return np.all(self._inside(z))

    def _inside(self, z: Any) -> Any:
        return (z > 0) & (z < np.inf)

    def slope(self, x: Any) -> Any:
        return np.exp(total(x))

    def near(self, z: Any, distance: float) -> Any:
        return shifted(np.where(z == 0, -distance, self.coordinates(z)[POINT]), 0.0)

    def reached(self, z: Any) -> Any:
        return np.all(self._inside(z) | (z == 0))


@dataclass(frozen=True)
class _Logit(_Open):
    def coordinates(self, z: Any) -> Any:
        safe = np.where(self._inside(z), z, 0.5)
        return shifted(np.log(safe) - np.log1p(-safe), 0.0)

    def inside(self, z: Any) -> Any:
        return np.all(self._inside(z))

    def _inside(self, z: Any) -> Any:
        return (z > 0) & (z < 1)

    def slope(self, x: Any) -> Any:
        return expit(total(x)) * expit(-total(x))

    def near(self, z: Any, distance: float) -> Any:
        end = np.where(z == 0, -distance, distance)
        return shifted(np.where(self._inside(z), self.coordinates(z)[POINT], end), 0.0)

    def reached(self, z: Any) -> Any:
        return np.all((z >= 0) & (z <= 1))


@dataclass(frozen=True)
class _Simplex(_Open):
    def coordinates(self, z: Any) -> Any:
        return np.log(np.where(z > 0, z, 1.0 / np.shape(z)[-1]))

    def inside(self, z: Any) -> Any:
        return np.all((z > 0) & (z <= 1))

    def near(self, z: Any, distance: float) -> Any:
        return np.where(z == 0, -distance, self.coordinates(z))

    def reached(self, z: Any) -> Any:
        return np.all((z >= 0) & (z <= 1))


@dataclass(frozen=True)
class Image(Chart):
    """The chart of the image of a bijection: a point of its domain, with the coordinates of that in the chart `base`.

    Where `base` is `REAL` the coordinates are those of the point.
    """

    fn: Any
    base: Chart

    def coordinates(self, z: Any) -> Any:
        """Return the coordinates of a value."""
        if self.fn.inverse is None or self.fn.log_det is None:
            name = "inverse" if self.fn.inverse is None else "log_det"
            raise ParameterError(name, "none", f"transformed(fn, {name}=...) for the density at a value")
        point = self.fn.inverse(self._safe(z))
        return shifted(point, 0.0) if self.base == REAL else carried(point, self.base.coordinates(point))

    def inside(self, z: Any) -> Any:
        """Return whether the value is one of the bijection, and its point inside of the base's chart."""
        here = True if self.fn.image is supports.real else np.all(self.fn.image.inside(z))
        there = self.base.inside(self.fn.inverse(self._safe(z)))
        return there if here is True else here if there is True else here & there

    def _safe(self, z: Any) -> Any:
        if self.fn.image is supports.real:
            return z
        domain = np.zeros_like(self.fn.inverse(np.zeros_like(z) + 0.5))
        return np.where(self.fn.image.inside(z), z, self.fn.forward(domain))


@dataclass(frozen=True)
class Parts(Chart):
    """The chart of a Joint: a chart for each part."""

    parts: tuple[tuple[str, Chart], ...]

    def coordinates(self, z: Any) -> Any:
        """Return the coordinates of each part."""
        return {name: chart.coordinates(z[name]) for name, chart in self.parts}

    def inside(self, z: Any) -> Any:
        """Return whether all parts are inside."""
        return _all(chart.inside(z[name]) for name, chart in self.parts)

    @property
    def open(self) -> bool:
        """Whether a part is."""
        return any(chart.open for _, chart in self.parts)

    def near(self, z: Any, distance: float) -> Any:
        """Return those of each part."""
        return {name: chart.near(z[name], distance) for name, chart in self.parts}

    def reached(self, z: Any) -> Any:
        """Return whether all parts are inside or at an end."""
        return _all(chart.reached(z[name]) for name, chart in self.parts)


def _all(answers: Iterable[Any]) -> Any:
    found = [answer for answer in answers if answer is not True]
    return reduce(operator.and_, found) if found else True


def carried(draw: Any, coordinates: Any) -> dict[str, Any]:
    """Return the coordinates of a mapped draw: the draw before the map, and that draw's coordinates."""
    return {"draw": draw, "base": coordinates}


VALUE = Chart()
REAL = _Real()
"""z = point + offset."""
LOG = _Log()
"""log z = point + offset, of z > 0."""
LOGIT = _Logit()
"""log(z / (1 - z)) = point + offset, of z on (0, 1)."""
SIMPLEX = _Simplex()
"""log z, of z on the simplex, along the last axis."""
