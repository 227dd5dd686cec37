"""The sampler of an Estimator: independent draws, or replicates of a randomised point set (quasi-Monte Carlo).

Of a point set, n draws are R replicates of n / R points. Replicates are independent randomisations of the same points:
so the mean over each replicate's points is one observation, and the standard error is that of R observations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mcgrad.errors import ParameterError, shown
from mcgrad.inputs import arguments
from mcgrad.noise.source import PHILOX

SOBOL = "sobol"
SAMPLERS = (PHILOX, SOBOL)
SCRAMBLES = ("matrix", "owen")
REPLICATES = 16  # by default: intervals by Student's t with 15 degrees of freedom are 9% wider than the normal's
MOST_REPLICATES = 1 << 16
MOST_POINTS = 1 << 32  # of a replicate: so many points of 32 bits differ


@dataclass(frozen=True, slots=True)
class Sampler:
    """What the noise of draws is made of.

    Parameters
    ----------
    name : {"philox", "sobol"}
    replicates : int
        Of a point set, at least 2.
    scramble : {"matrix", "owen"}
        How a point set is randomised.

    Raises
    ------
    ParameterError
        One of these is something else.
    """

    name: str = PHILOX
    replicates: int = REPLICATES
    scramble: str = SCRAMBLES[0]

    def __post_init__(self) -> None:
        arguments.one_of("sampler", self.name, SAMPLERS)
        arguments.one_of("scramble", self.scramble, SCRAMBLES)
        replicates = arguments.count("replicates", self.replicates, 0, MOST_REPLICATES)
        if replicates < 2:
            accepted = "at least 2, as the standard error is that of the means of the replicates; 10 to 30 are usual"
            raise ParameterError("replicates", f"{replicates}", accepted)
        object.__setattr__(self, "replicates", replicates)
        if self.name == PHILOX and (self.replicates, self.scramble) != (REPLICATES, SCRAMBLES[0]):
            given = f"{self.replicates} with sampler {self.name!r}" if self.replicates != REPLICATES else None
            name = "replicates" if given else "scramble"
            raise ParameterError(name, given or f"{self.scramble!r} with sampler {self.name!r}", f"sampler={SOBOL!r}")

    @property
    def is_point_set(self) -> bool:
        """Whether draws are points of replicates."""
        return self.name != PHILOX

    @property
    def generator(self) -> str:
        """The generator of noise sources."""
        return self.name if self.scramble == SCRAMBLES[0] else f"{self.name}_{self.scramble}"

    def unit(self, group: int) -> int:
        """Return by how many draws a run grows with one point more in each replicate."""
        return group * self.replicates if self.is_point_set else group

    def whole(self, draws: int, group: int) -> int:
        """Return a number of draws that a run may have: the largest that is not more, or the least of all."""
        if not self.is_point_set:
            return max(draws // group, 2) * group
        unit = self.unit(group)
        return unit << max(draws // unit, 1).bit_length() - 1

    def draw_range(self, n: Any, first: Any, group: int) -> tuple[int, int]:
        """Return the number of draws and the index of the first, checked.

        Parameters
        ----------
        n, first : int
            Of a point set, n / replicates is a power of two, of groups of draws, and `first` a multiple of n: then the
            points of every run are a net.
        group : int
            Draws that are averaged together.

        Raises
        ------
        ParameterError
            They do not fit; names the two nearest n that do.
        """
        if not self.is_point_set:
            return arguments.draw_range(n, first, group)
        unit = self.unit(group)
        n = arguments.count("n", n, 2 * group)
        points = n // unit
        if points * unit != n or points & (points - 1):
            below = 1 << max(points.bit_length() - 1, 0)
            near = f"{below * unit:,} or {2 * below * unit:,}" if points else f"{unit:,}"
            each = f"{self.replicates} replicates" + (f" of groups of {group} draws" if group > 1 else "")
            raise ParameterError("n", f"{n:,}", f"{near}: {each}, each of a power of two of points")
        if points > MOST_POINTS:
            raise ParameterError("n", f"{n:,}", f"at most {MOST_POINTS * unit:,}, or more replicates")
        first = arguments.count("first", first, 0, MOST_POINTS * unit - n)
        if first % n:
            raise ParameterError("first", f"{first:,}", f"a multiple of n = {n:,}, so that the points are a net")
        return n, first

    def __str__(self) -> str:
        if not self.is_point_set:
            return self.name
        return f"{self.name}, {self.replicates} replicates, scramble={self.scramble!r}"


PLAIN = Sampler()  # independent draws


def first_replicate(given: Any, sampler: Sampler) -> int:
    """Return the number of the first replicate, checked.

    Raises
    ------
    ParameterError
        Not a whole number from 0 on, or not 0 without a point set.
    """
    found = arguments.count("first_replicate", given, 0, (1 << 32) - sampler.replicates)
    if found and not sampler.is_point_set:
        raise ParameterError("first_replicate", f"{shown(given)} with sampler {sampler.name!r}", f"sampler={SOBOL!r}")
    return found
