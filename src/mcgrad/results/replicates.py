"""The replicates of a point set: which there are, and the means over the points of each, of which errors are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mcgrad.errors import MergeError, ParameterError, shown
from mcgrad.moments import Float64Array, Moments
from mcgrad.results import record
from mcgrad.results.control import Controlled
from mcgrad.results.ranges import Ranges, union

MOST_COORDINATES = 1 << 32


@dataclass(frozen=True, eq=False)
class Replicates:
    """Independent randomisations of a point set.

    Draw R p + r is point p of the r-th of R replicates.

    Parameters
    ----------
    generator : {"sobol", "sobol_owen"}
        Of the points: with a linear matrix scramble and a digital shift, or with Owen's scramble.
    numbers : tuple of (int, int)
        Which replicates, as ranges of their numbers.
    random : int
        Coordinates of a draw beyond those that a point has: these are independent random numbers.
    """

    generator: str
    numbers: Ranges
    random: int = field(default=0, kw_only=True)

    def __len__(self) -> int:
        return sum(stop - start for start, stop in self.numbers)

    @property
    def points(self) -> str:
        """Which points they are, in words."""
        scramble = "Owen's" if self.generator.endswith("_owen") else "a matrix"
        return f"Sobol' points with {scramble} scramble"

    def line(self, n: int) -> str:
        """Say what standard errors are made of, where there are n draws in all."""
        of = f"{len(self)} replicates of {n // len(self):,} draws"
        rest = f"; {self.random:,} coordinates have no points, but independent random numbers" if self.random else ""
        return f"{self.points}: standard errors of {of}{rest}."

    def draws_with(self, other: Replicates, mine: Ranges, others: Ranges) -> Ranges:
        """Return the draws of two estimates together, of which each has those given.

        Raises
        ------
        MergeError
            They have neither the same replicates and other points, nor the same points and other replicates.
        """
        if self.numbers == other.numbers:
            return union(mine, others)
        points, size = _scaled(mine, 1, len(self)), len(self) + len(other)
        if points != _scaled(others, 1, len(other)):
            raise MergeError(
                f"estimates over replicates {_text(self.numbers)} and {_text(other.numbers)} with different points: "
                "what merges has the same replicates, or the same points"
            )
        return _scaled(points, size, 1)

    def both(self, other: Self) -> Self:
        """Return the replicates of both.

        Raises
        ------
        MergeError
            Some are in both.
        """
        try:
            return replace(self, numbers=union(self.numbers, other.numbers))
        except MergeError:
            given = f"{_text(self.numbers)} and {_text(other.numbers)}"
            raise MergeError(f"estimates over replicates {given}, of which some are in both") from None

    # Files

    def to_dict(self) -> dict[str, Any]:
        """Return the fields in a file."""
        random = {"random": self.random} if self.random else {}
        return {"generator": self.generator, "numbers": [list(pair) for pair in self.numbers], **random}


@dataclass(frozen=True, eq=False)
class ReplicateMeans(Replicates):
    """Means over the points of each replicate.

    Parameters
    ----------
    generator, numbers
        As of `Replicates`.
    counts : array of int64, shape (R,)
        Points of each that count; a point is a draw, or a group of draws.
    means : array of float64, shape (R, K)
        Of all components.
    """

    counts: npt.NDArray[np.int64]
    means: Float64Array

    @property
    def moments(self) -> Moments:
        """Moments of the means, of which each counts once: those without a point that counts are left out."""
        return Moments.of(self.means[self.counts > 0].T)

    def controlled(self, control: Controlled) -> Moments:
        """Return the moments of the means of the components, less their controls'."""
        counts = self.counts > 0
        return Moments.of(control.over_replicates(self.means[counts], int(self.counts.sum())).T)

    def merge(self, other: ReplicateMeans) -> ReplicateMeans:
        """Return the means over the points of both, if the replicates are the same, or else of the replicates of both.

        Raises
        ------
        MergeError
            Some of the replicates are in both, but not all.
        """
        return self._with_points(other) if self.numbers == other.numbers else self._with_replicates(other)

    def _with_points(self, other: ReplicateMeans) -> ReplicateMeans:
        counts = self.counts + other.counts
        with np.errstate(invalid="ignore", divide="ignore"):
            share = (other.counts / counts)[:, None]
            change = np.where(other.means == self.means, 0.0, other.means - self.means)  # infinities may be equal
            means = self.means + share * change
        means = np.where((other.counts == 0)[:, None], self.means, means)
        return replace(self, counts=counts, means=np.where((self.counts == 0)[:, None], other.means, means))

    def _with_replicates(self, other: ReplicateMeans) -> ReplicateMeans:
        order = np.argsort(np.concatenate([_listed(self.numbers), _listed(other.numbers)]), kind="stable")
        counts, means = np.concatenate([self.counts, other.counts]), np.concatenate([self.means, other.means])
        return replace(self.both(other), counts=counts[order], means=means[order])

    def to_dict(self) -> dict[str, Any]:
        """Return the fields in a file."""
        return {**super().to_dict(), "counts": self.counts.tolist(), "means": self.means.tolist()}


def of_fields(given: Any) -> Replicates:
    """Return replicates from the fields in a file; raises a ParameterError that names the wrong field."""
    generator, numbers, random = _plain(given, ("generator", "numbers"))
    return Replicates(generator, numbers, random=random)


def means_of_fields(given: Any, groups: int, size: int) -> ReplicateMeans:
    """Return the means of replicates from the fields in a file.

    Parameters
    ----------
    given : object
        What `ReplicateMeans.to_dict` returned.
    groups : int
        How many points all replicates have together.
    size : int
        How many components there are.

    Raises
    ------
    ParameterError
        Names the field that cannot be one of replicates.
    """
    generator, numbers, random = _plain(given, ("generator", "numbers", "counts", "means"))
    count = sum(stop - start for start, stop in numbers)
    if not isinstance(given["counts"], list) or len(given["counts"]) != count or groups % count:
        raise ParameterError("replicates.counts", shown(given["counts"]), f"a list of {count} whole numbers")
    counts = np.array([record.integer("replicates.counts", x, 0, groups // count) for x in given["counts"]], np.int64)
    means, accepted = given["means"], f"{count} lists of {size} numbers"
    if not isinstance(means, list) or len(means) != count:
        raise ParameterError("replicates.means", shown(means), accepted)
    lines = [record.numbers("replicates.means", each) for each in means]
    if any(len(each) != size for each in lines):
        raise ParameterError("replicates.means", "lists of other lengths", accepted)
    return ReplicateMeans(generator, numbers, counts, np.array(lines).reshape(count, size), random=random)


def _plain(given: Any, names: tuple[str, ...]) -> tuple[str, Ranges, int]:
    if not isinstance(given, Mapping) or set(given) - {"random"} != set(names):
        raise ParameterError("replicates", shown(given), f"an object with {', '.join(names)}")
    generator = record.word("replicates.generator", given["generator"])
    random = record.integer("replicates.random", given.get("random", 0), 0, MOST_COORDINATES)
    return generator, record.draw_ranges(given["numbers"], "replicates.numbers"), random


def _listed(numbers: Ranges) -> npt.NDArray[np.int64]:
    return np.concatenate([np.arange(*pair, dtype=np.int64) for pair in numbers])


def _scaled(ranges: Ranges, times: int, over: int) -> Ranges:
    return tuple((start * times // over, stop * times // over) for start, stop in ranges)


def _text(numbers: Ranges) -> str:
    return ", ".join(f"{start} to {stop - 1}" for start, stop in numbers)
