"""Moments of chunks of draws from sums about a shift: the part of a bound kernel that the CPU and CUDA backends share.

A kernel adds up each component's deviation from a shift, and the square of that. The shift is near the mean, so that
the sum of squares loses no digits where the mean is many standard deviations from zero. It comes from the first chunk
of a run, and goes into every other. Nothing is kept from one chunk to the next but compiled variants.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.backends.base import Array, Partial, Shift
from mcgrad.backends.rescaled import RANGES, exponents, put_back
from mcgrad.moments import Moments

FAR = 10.0  # distance of a mean from zero, in standard deviations, beyond which the first chunk is averaged again
LARGEST = FAR**2 / (1.0 + FAR**2)  # part of the sum of squares that n mean^2 is at this distance
BELOW, ABOVE = 1.0 - 1e-9, 1.0 + 1e-9  # of that part, beyond which rounding does not change the answer


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums over some draws of each component's deviation from the shift, and of its square.

    `used` and `nonfinite` count draws; only the checked variant of a kernel fills them in.
    """

    sums: Array
    squares: Array
    used: int = 0
    nonfinite: int = 0


class ShiftedMoments(ABC):
    """A bound kernel that adds up deviations from a shift.

    A chunk whose sums are not finite runs again by the checked variant, and one whose squares overflowed or vanished by
    the rescaled variant.

    Parameters
    ----------
    components : int
    dtype : dtype
        Of the shift.
    """

    def __init__(self, components: int, dtype: np.dtype[Any]) -> None:
        self._dtype, self._range = dtype, RANGES[dtype.itemsize]
        self._zero = np.zeros(components, dtype)
        self._rescaled: dict[bytes, ShiftedMoments] = {}

    @abstractmethod
    def sums(self, seed: int, start: int, stop: int, shift: Shift, checked: bool, omit: bool) -> Sums:
        """Add up over the draws start .. stop; `checked` counts non-finite draws, and leaves them out with `omit`."""

    @abstractmethod
    def rescaled(self, exponents: npt.NDArray[np.int64]) -> ShiftedMoments:
        """Return the same with each component multiplied by a power of two: by another kernel."""

    @np.errstate(invalid="ignore", over="ignore")  # which takes half as long as a context inside
    def shift(self, seed: int, start: int, stop: int, omit: bool) -> tuple[Shift, Partial]:
        """Average about zero, which gives the shift; once more, about the shift, where that lost digits."""
        found = self._in_range(self._zero, seed, start, stop, omit)
        shift = self._near(found.moments.mean)
        if not self._is_accurate(found.moments):
            found = self._in_range(shift, seed, start, stop, omit)
        return shift, found

    @np.errstate(invalid="ignore", over="ignore")
    def partial(self, shift: Shift, seed: int, start: int, stop: int, omit: bool) -> Partial:
        """Average over the draws start .. stop about the shift."""
        return self._in_range(shift, seed, start, stop, omit)

    def means(self, seed: int, start: int, stop: int) -> Array | None:
        """Return the means that `shift` has of the draws start .. stop; None where other moments have to be looked at.

        It is called with NumPy's errors of overflow and invalid numbers ignored.
        """
        count, about = stop - start, self._zero
        found = self.sums(seed, start, stop, about, checked=False, omit=False)
        if not self._is_plain(found, count, about):
            return None
        means_part, most = found.sums * found.sums, found.squares * (LARGEST * count)
        if not np.logical_and.reduce(means_part <= BELOW * most):
            if not np.logical_or.reduce(means_part > ABOVE * most):  # rounding decides whether a mean is far from zero
                return None
            about = self._near(found.sums / count)
            found = self.sums(seed, start, stop, about, checked=False, omit=False)
            if not self._is_plain(found, count, about):
                return None
        means: Array = about + found.sums / count
        return means

    def _is_plain(self, found: Sums, count: int, about: Shift) -> bool:
        """Whether all sums are finite and no component has lost its digits."""
        if not math.isfinite(np.add.reduce(found.squares)):
            return False
        if self._keeps_digits(found, count):
            return True
        return not exponents(Partial(_moments(count, found, about)), self._range, False).any()

    def _keeps_digits(self, found: Sums, count: int) -> bool:
        return bool(np.minimum.reduce(found.squares, initial=math.inf) >= count * self._range.least)

    def _in_range(self, shift: Shift, seed: int, start: int, stop: int, omit: bool) -> Partial:
        """Average about a shift, and again in powers of two what has squares beyond the range of the sums."""
        found, plain = self._about(shift, seed, start, stop, omit)
        if plain:
            return found
        chosen = exponents(found, self._range, omit)
        if not chosen.any():
            return found
        key = chosen.tobytes()
        other = self._rescaled.get(key)
        if other is None:
            other = self._rescaled.setdefault(key, self.rescaled(chosen))
        return put_back(found, other._alone(seed, start, stop, omit).moments, chosen)

    def _alone(self, seed: int, start: int, stop: int, omit: bool) -> Partial:
        """Average over the draws start .. stop about a shift of their own: by a rescaled variant, for one chunk."""
        found, _ = self._about(self._zero, seed, start, stop, omit)
        if self._is_accurate(found.moments):
            return found
        return self._about(self._near(found.moments.mean), seed, start, stop, omit)[0]

    def _about(self, shift: Shift, seed: int, start: int, stop: int, omit: bool) -> tuple[Partial, bool]:
        """Average about a shift, and say whether all sums are finite and no square has vanished."""
        found = self.sums(seed, start, stop, shift, checked=False, omit=omit)
        if math.isfinite(np.add.reduce(found.squares)):  # then all deviations are
            return Partial(_moments(stop - start, found, shift)), self._keeps_digits(found, stop - start)
        found = self.sums(seed, start, stop, shift, checked=True, omit=omit)
        return Partial(_moments(found.used, found, shift), found.nonfinite), False

    def _near(self, mean: Array) -> Shift:
        """Return the shift for a mean: zero for components whose mean is not finite in the dtype."""
        shift = mean.astype(self._dtype)
        if not math.isfinite(np.add.reduce(shift)):
            shift[~np.isfinite(shift)] = 0.0
        return shift

    def _is_accurate(self, moments: Moments) -> bool:
        """Whether moments about zero kept their digits: no mean is many standard deviations from zero."""
        far = moments.norm * FAR < math.sqrt(moments.count) * np.abs(moments.mean)
        return not np.count_nonzero(far)


def _moments(count: int, found: Sums, shift: Shift) -> Moments:
    if not count:
        return Moments(0, np.full_like(found.sums, np.nan), np.full_like(found.sums, np.nan))
    mean = found.sums / count
    return Moments(count, shift + mean, np.sqrt(np.maximum(found.squares - found.sums * mean, 0.0)))
