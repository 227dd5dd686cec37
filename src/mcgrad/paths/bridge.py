"""The Brownian bridge: the times of a path in the order of their conditional variances, and the path in levels.

Given the path at two times l < r, and nothing between them, W(m) is normal, with the mean by linear interpolation and
the variance (m - l) (r - m) / (r - l). The first coordinate makes the last time, and each further one the time whose
variance is the largest, given those before (Caflisch and Moskowitz, *Modified Monte Carlo methods using quasi-random
sequences*, 1995, for 2**k equal steps, where this is halving; for other numbers and unequal steps it is what stays of
the idea). Glasserman, *Monte Carlo methods in financial engineering*, 2003, section 3.1.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

MOST_LEVELS = 32  # each is a few equations; those of equal steps are about log2(steps)
DIGITS = 12  # of variances: two that agree in these are equal, and the earlier time comes first

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]


class Point(NamedTuple):
    """A time, by its place among time 0 and all times, and those that it lies between; the last has none after it."""

    place: int
    left: int
    right: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """Times that only earlier levels have to be known for: one array of each.

    Parameters
    ----------
    coordinates : int array
        Which coordinates of the noise they read.
    left, right : int array
        Where the path at their neighbours is, in what is known.
    of_left, of_right, deviation : float array
        Weights of these, and the conditional standard deviation.
    """

    coordinates: Places
    left: Places
    right: Places
    of_left: Floats
    of_right: Floats
    deviation: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Bridge:
    """A bridge over fixed times.

    Parameters
    ----------
    first : float
        Standard deviation of the path at the last time.
    levels : tuple of Level
    places : int array
        Where the path at each time is in what is known in the end.
    """

    first: float
    levels: tuple[Level, ...]
    places: Places

    def path(self, eps: Any) -> Any:
        """Return the path at all times: eps has a row for each coordinate, and any number of axes after that."""
        dtype, ones = eps.dtype, (1,) * (eps.ndim - 1)

        def column(x: Floats) -> Any:
            return x.astype(dtype).reshape(-1, *ones)

        known = np.concatenate([np.zeros((1, *eps.shape[1:]), dtype), column(np.array([self.first])) * eps[:1]])
        for level in self.levels:
            ends = column(level.of_left) * known[level.left] + column(level.of_right) * known[level.right]
            known = np.concatenate([known, ends + column(level.deviation) * eps[level.coordinates]])
        return known[self.places]


def order(times: Sequence[float]) -> list[Point]:
    """Return the times in the order of their conditional variances, the largest first."""
    t, last = np.concatenate([[0.0], times]), len(times)

    def next_between(left: int, right: int) -> tuple[float, int, int, int]:
        middle = int(np.searchsorted(t, 0.5 * (t[left] + t[right])))
        near = range(max(middle - 1, left + 1), min(middle + 1, right - 1) + 1)
        return min((-_rounded(conditional_variance(t, Point(m, left, right))), m, left, right) for m in near)

    found = [Point(last, 0, None)]
    waiting = [next_between(0, last)] if last > 1 else []
    while waiting:
        _, place, left, right = heapq.heappop(waiting)
        found.append(Point(place, left, right))
        for low, high in ((left, place), (place, right)):
            if high - low > 1:
                heapq.heappush(waiting, next_between(low, high))
    return found


def conditional_variance(t: Floats, point: Point) -> float:
    """Return the variance of the path at a point, given its neighbours; t has time 0 in front."""
    m, left = t[point.place], t[point.left]
    if point.right is None:
        return float(m - left)
    right = t[point.right]
    return float((m - left) * ((right - m) / (right - left)))


@lru_cache(maxsize=32)
def bridge(times: tuple[float, ...]) -> Bridge | None:
    """Return the bridge over some times; None where it would have more than `MOST_LEVELS` levels."""
    t, points = np.concatenate([[0.0], times]), order(times)
    depth = {0: 0}
    by_level: dict[int, list[tuple[int, Point]]] = {}
    for coordinate, point in enumerate(points):
        ends = [depth[place] for place in (point.left, point.right) if place is not None]
        depth[point.place] = max(ends) + 1
        by_level.setdefault(depth[point.place], []).append((coordinate, point))
    if len(by_level) > MOST_LEVELS:
        return None
    where = {0: 0, points[0].place: 1}
    levels = []
    for number in range(2, len(by_level) + 1):
        chosen = sorted(by_level[number], key=lambda each: each[1].place)
        m, left, right = (np.array([each[1][i] for each in chosen], np.intp) for i in range(3))
        weight = (t[m] - t[left]) / (t[right] - t[left])
        deviation = np.sqrt([conditional_variance(t, point) for _, point in chosen])
        coordinates = np.array([each[0] for each in chosen], np.intp)
        before, after = (np.array([where[int(i)] for i in ends], np.intp) for ends in (left, right))
        levels.append(Level(coordinates, before, after, 1.0 - weight, weight, deviation))
        where |= {int(place): len(where) + i for i, place in enumerate(m)}
    return Bridge(math.sqrt(times[-1]), tuple(levels), np.array([where[i] for i in range(1, len(t))], np.intp))


@lru_cache(maxsize=8)
def matrix(times: tuple[float, ...]) -> Floats:
    """Return the same as a matrix: the path is its product with the coordinates."""
    t, found = np.concatenate([[0.0], times]), np.zeros((len(times) + 1, len(times)))
    for coordinate, point in enumerate(order(times)):
        if point.right is not None:
            weight = (t[point.place] - t[point.left]) / (t[point.right] - t[point.left])
            found[point.place] = (1.0 - weight) * found[point.left] + weight * found[point.right]
        found[point.place, coordinate] = math.sqrt(conditional_variance(t, point))
    return found[1:]


def _rounded(x: float) -> float:
    return float(f"{x:.{DIGITS - 1}e}")
