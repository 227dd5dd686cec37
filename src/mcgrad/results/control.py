"""Control variates in a result: coefficients by regression on the same draws, and the moments of what they leave.

A controlled Program averages g - b0 c instead of g, with coefficients b0 of a pilot and controls c of mean zero, and,
where coefficients are to come from the same draws, also c and the products (g - b0 c - m) c, with m near the mean. The
controls of one component have variance 1 and are uncorrelated, but for what the pilot's sample misses. So the mean
product, over the variance of c, is the correction of b0. `coefficients` makes it of moments, `adjusted` applies it to
any means of the same outputs, such as those of a replicate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mcgrad.errors import ParameterError, shown
from mcgrad.moments import Float64Array, Moments
from mcgrad.results.components import Components

MOST = 0.5  # of the variance that a pilot's coefficients leave, that several corrections may explain
FIELDS = {"names", "coefficients", "entries", "controls", "deviation", "pilot"}
KINDS = ("sample", "pilot")


class Entry(NamedTuple):
    """Components of a result with some of their controls: numbers of the first of each, and how many.

    Parameters
    ----------
    component, components : int
    control, controls : int
    every : bool
        Whether each component has all these controls; if not, component i has control i modulo `controls`.
    """

    component: int
    components: int
    control: int
    controls: int
    every: bool

    @property
    def products(self) -> int:
        """How many products of a component and a control there are."""
        return self.components * (self.controls if self.every else 1)

    def pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return component and control of each product."""
        i = np.arange(self.products)
        row = i // self.controls if self.every else i
        return self.component + row, self.control + i % self.controls


@dataclass(frozen=True, eq=False)
class Controlled:
    """The controls of a result.

    Parameters
    ----------
    names : tuple of str
        Of the controls that were asked for.
    coefficients : {"sample", "pilot"}
    entries : tuple of Entry
        In the order of their products; none where coefficients are the pilot's.
    controls : int
        Means of controls that follow the components.
    deviation : array, shape (components,)
        Standard deviations of one draw (group) without controls, by the pilot.
    pilot : int
        Draws (groups) of the pilot.
    """

    names: tuple[str, ...]
    coefficients: str
    entries: tuple[Entry, ...]
    controls: int
    deviation: Float64Array
    pilot: int

    @property
    def kinds(self) -> str:
        """What results that merge have in common, in words."""
        return f"{', '.join(self.names)} (coefficients: {self.coefficients})"

    @property
    def size(self) -> int:
        """Components, means of controls, and products together."""
        return len(self.deviation) + self.controls + sum(entry.products for entry in self.entries)

    @cached_property
    def _pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Component and control of each product."""
        pairs = [entry.pairs() for entry in self.entries]
        empty = np.zeros(0, np.int64)
        return np.concatenate([empty, *(x for x, _ in pairs)]), np.concatenate([empty, *(x for _, x in pairs)])

    @cached_property
    def _counts(self) -> NDArray[np.int64]:
        """How many controls each component has."""
        return np.bincount(self._pairs[0], minlength=len(self.deviation))

    def coefficients_of(self, moments: Moments) -> Float64Array:
        """Return the corrections of the pilot's coefficients: one for each product.

        Parameters
        ----------
        moments : Moments
            Of all outputs, over at least one group of draws.

        Notes
        -----
        They are those of the regression over these draws, times n / (n + draws of the pilot): the coefficients of both
        samples together. So few draws keep the pilot's, and many have their own. Of a component or a control without
        variance, and where a moment is not finite, they are zero; so they are for a component of whose variance several
        controls seem to explain more than half, although the pilot did not see that: how far controls are correlated
        would then count.
        """
        size, (component, control) = len(self.deviation), self._pairs
        controls = slice(size, size + self.controls)
        with np.errstate(all="ignore"):
            variance = np.square(moments.norm[controls]) / moments.count
            found = self._weight(moments) * moments.mean[controls.stop :] / variance[control]
            share = np.abs(found) * moments.norm[controls][control] / moments.norm[component]
        found[~np.isfinite(share)] = 0.0
        explained = np.bincount(component, np.where(found == 0, 0.0, np.square(share)), minlength=size)
        found[((explained > MOST) & (self._counts > 1))[component]] = 0.0
        return found

    def _weight(self, moments: Moments) -> float:
        return moments.count / (moments.count + self.pilot)

    def adjusted(self, means: Float64Array, coefficients: Float64Array) -> Float64Array:
        """Return the means of the components, shape (..., components), less their controls'.

        Parameters
        ----------
        means : array, shape (..., size)
            Means of all outputs over any draws: those that the coefficients are of, or a part of them.
        coefficients : array
            Of `coefficients_of`.
        """
        size, (component, control) = len(self.deviation), self._pairs
        found = means[..., :size].copy()
        if len(coefficients):
            with np.errstate(invalid="ignore"):
                taken = np.where(coefficients == 0, 0.0, coefficients * means[..., size + control])
            rows = taken.reshape(-1, taken.shape[-1])
            sums = np.stack([np.bincount(component, row, minlength=size) for row in rows])
            found -= sums.reshape(found.shape)
        return found

    def finished(self, moments: Moments) -> Moments:
        """Return the moments of the components: what their controls leave of them.

        Notes
        -----
        With residuals r = g - w b c, of a regression b over the same draws of which the share w is taken, the mean of r
        has about the variance (sum r^2 + 2 w sum_k Var(r c_k)) / n (n - 1). The second term is what the sum misses as b
        was made to fit, and the variance of b itself: degrees of freedom, but for residuals whose variance may depend
        on the controls (White 1980). The products' moments have it.
        """
        size, (component, control) = len(self.deviation), self._pairs
        norm = moments.norm[:size]
        if not self.entries or moments.count < 2:
            return Moments(moments.count, moments.mean[:size], norm)
        coefficients, weight = self.coefficients_of(moments), self._weight(moments)
        with np.errstate(all="ignore"):
            share = np.abs(coefficients / weight) * moments.norm[size + control] / norm[component]
            of_product = moments.norm[size + self.controls :] * math.sqrt(moments.count / (moments.count - 1))
            own = of_product / (moments.norm[size + control] * norm[component])
            change = 2 * weight * np.square(own) - weight * (2 - weight) * np.square(share)
            change[(coefficients == 0) | ~np.isfinite(change)] = 0.0
            norm = norm * np.sqrt(np.maximum(1.0 + np.bincount(component, change, minlength=size), 0.0))
        return Moments(moments.count, self.adjusted(moments.mean, coefficients), norm)

    def over_replicates(self, means: Float64Array, points: int) -> Float64Array:
        """Return the means of the components over the points of each replicate, less their controls'.

        Parameters
        ----------
        means : array, shape (replicates, size)
            Of all outputs.
        points : int
            Of all replicates together.

        Notes
        -----
        The coefficients are of all points, and so the same for all replicates; controls have variance 1 over them.
        """
        products = slice(len(self.deviation) + self.controls, None)
        with np.errstate(all="ignore"):
            coefficients = points / (points + self.pilot) * means.mean(axis=0)[products]
        return self.adjusted(means, np.where(np.isfinite(coefficients), coefficients, 0.0))

    def gains(self, moments: Moments) -> Float64Array:
        """Return by how much the controls divide the variance of each component; NaN where it has none."""
        with np.errstate(all="ignore"):
            ratio: Float64Array = np.square(self.deviation / moments.deviation)
        none = (moments.norm == 0) & (moments.mean == 0)  # as entries of a parameter that are not free
        ratio[(self.deviation == 0) | np.isnan(moments.deviation) | none] = np.nan
        return ratio

    # Files

    def to_dict(self) -> dict[str, Any]:
        """Return the fields of a file."""
        return {
            "names": list(self.names),
            "coefficients": self.coefficients,
            "entries": [[*entry[:4], int(entry.every)] for entry in self.entries],
            "controls": self.controls,
            "deviation": self.deviation.tolist(),
            "pilot": self.pilot,
        }


def described(control: Controlled, moments: Moments, components: Components, of_means: tuple[int, int] = (1, 1)) -> str:
    """Say which controls there were, and what they gained, in one line.

    Parameters
    ----------
    control : Controlled
    moments : Moments
        Of the components, finished.
    components : Components
        What they are of: the value, the gradient, and others.
    of_means : (int, int)
        Where the moments are over means of replicates, how many replicates and how many draws (groups) there are.
    """
    replicates, draws = of_means
    gains = control.gains(moments) * replicates / draws
    parts = [("value", gains[components.values]), ("gradient", gains[components.gradient])]
    said = [f"{text} ({what})" for what, part in parts if (text := _range(part))]
    names = ", ".join(control.names)
    how = "of the same draws" if control.coefficients == "sample" else "of a pilot"
    noun = "control variate" if len(control.names) == 1 else "control variates"
    points = ", points included" if replicates > 1 else ""
    return f"{noun} {names}, coefficients {how}: variance divided by {' and by '.join(said) or '1'}{points}"


def _range(gains: Float64Array) -> str:
    found = gains[~np.isnan(gains)]
    if not found.size:
        return ""
    low, high = (f"{x:.2g}" for x in (found.min(), found.max()))
    return low if low == high else f"{low} to {high}"


def of_fields(given: Any, components: int, numbers: Any) -> Controlled:
    """Return the controls that the fields of a file describe.

    Parameters
    ----------
    given : dict
        What `Controlled.to_dict` returns.
    components : int
    numbers : callable
        Reads a list of numbers.

    Raises
    ------
    ParameterError
        Names the field.
    """
    if not isinstance(given, Mapping) or given.keys() != FIELDS:
        raise ParameterError("control", shown(given), f"an object with {', '.join(sorted(FIELDS))}")
    names = given["names"]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        raise ParameterError("control.names", shown(names), "a list of names")
    if given["coefficients"] not in KINDS:
        raise ParameterError("control.coefficients", shown(given["coefficients"]), "'sample' or 'pilot'")
    controls, pilot = (_whole(name, given[name]) for name in ("controls", "pilot"))
    deviation = numbers("control.deviation", given["deviation"])
    if len(deviation) != components:
        raise ParameterError("control.deviation", f"{len(deviation)} numbers", f"{components}, one a component")
    entries = tuple(_entry(each, components, controls) for each in _listed(given["entries"]))
    return Controlled(tuple(names), given["coefficients"], entries, controls, deviation, pilot)


def _whole(name: str, given: Any) -> int:
    if type(given) is not int or given < 0:
        raise ParameterError(f"control.{name}", shown(given), "a whole number, 0 or more")
    return given


def _listed(given: Any) -> Sequence[Any]:
    if not isinstance(given, list):
        raise ParameterError("control.entries", shown(given), "a list of lists of 5 whole numbers")
    return given


def _entry(given: Any, components: int, controls: int) -> Entry:
    whole = isinstance(given, list) and len(given) == 5 and all(type(x) is int and x >= 0 for x in given)
    if whole:
        entry = Entry(given[0], given[1], given[2], given[3], bool(given[4]))
        inside = entry.component + entry.components <= components and entry.control + entry.controls <= controls
        if inside and entry.components and entry.controls and given[4] in (0, 1):
            return entry
    raise ParameterError("control.entries", shown(given), "lists of 5 whole numbers, of components and controls")
