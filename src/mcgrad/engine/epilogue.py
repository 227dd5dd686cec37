"""Complete the moments of a run: those of constant outputs, hoisted factors, and entries that are not free.

The `Averager` passes the moments of random outputs to a `Finisher`; the moments that it returns go into the Estimate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.arrays import computing, flat_to_host
from mcgrad.backends.base import Partial
from mcgrad.backends.finishing import OF_ANY, OF_NONE, Finishing
from mcgrad.backends.host_values import WIDE, HostValues
from mcgrad.ir.program import Program, Var, toposort
from mcgrad.ir.spaces import Values
from mcgrad.moments import Moments
from mcgrad.results.components import Components


class Finisher:
    """Completes the moments of one Program.

    Parameters
    ----------
    program : Program
    free : mapping from path to bool array
        Entries of a parameter that are free; the gradient in the others is zero.
    components : Components, optional
        What the outputs are; the value as one number, and its gradient, if nothing is given.

    Attributes
    ----------
    random : bool array
        Which components of the outputs differ from draw to draw.
    """

    def __init__(
        self, program: Program, free: Mapping[str, npt.NDArray[np.bool_]], components: Components | None = None
    ) -> None:
        self._components = components or Components({out.path: out.var.shape for out in program.outputs[1:]})
        self.size = sum(out.var.size for out in program.outputs)
        self.random = np.concatenate([np.full(out.var.size, out.var.by_draw) for out in program.outputs])
        self._fixed = np.concatenate(
            [
                np.broadcast_to(~free[out.path], out.var.shape).ravel()
                if out.path in free
                else np.zeros(out.var.size, bool)
                for out in program.outputs
            ]
        )
        self._host_values: list[tuple[slice, bool]] = []  # slice of each value, and whether it is a factor
        roots: list[Var] = []
        for out, where in zip(program.outputs, program.slices(), strict=True):
            if not out.var.by_draw:
                roots.append(out.var)
                self._host_values.append((where, False))
            if out.scale is not None:
                roots.append(out.scale)
                self._host_values.append((where, True))
        self._roots, self._host = roots, HostValues(roots, WIDE)
        self._depends = any(var.op == "input" for var in toposort(roots))  # or the values are those of any call
        self._known: list[npt.NDArray[Any]] | None = None
        self._whole: dict[tuple[int, int], Any] | None = None
        self._plain = not roots and not self._fixed.any()

    def __call__(self, moments: Moments, inputs: Values) -> Moments:
        """Return the moments of all outputs, in order."""
        if self._plain:
            return moments
        mean, norm = np.zeros(self.size), np.zeros(self.size)
        mean[self.random], norm[self.random] = moments.mean, moments.norm
        values = self._constants(inputs) if self._host_values else []
        with np.errstate(all="ignore"):
            for (where, is_factor), flat in zip(self._host_values, values, strict=True):
                if is_factor:
                    mean[where] *= flat
                    norm[where] *= np.abs(flat)
                else:
                    mean[where] = flat
        mean[self._fixed] = norm[self._fixed] = 0.0
        return Moments(moments.count, mean, norm)

    def means(self, means: npt.NDArray[np.float64], inputs: Values) -> npt.NDArray[np.float64]:
        """Return the means of all outputs, shape (parts, size), of several parts with those of the random ones each."""
        if self._plain:
            return means
        found = np.zeros((len(means), self.size))
        found[:, self.random] = means
        with np.errstate(all="ignore"):
            for (where, is_factor), flat in zip(self._host_values, self._constants(inputs), strict=True):
                found[:, where] = found[:, where] * flat if is_factor else flat
        found[:, self._fixed] = 0.0
        return found

    def finishing(self) -> Finishing:
        """Return the same rules as plain arrays, for a backend that makes the results on a device."""
        sources = np.where(self.random, np.cumsum(self.random) - 1, -1).astype(np.int32)
        follows = np.full(self.size, OF_NONE, np.int32)
        for rows in self._components.by_parameter(follows).values():
            numbers = np.arange(len(rows)).reshape(-1, *[1] * (rows.ndim - 1))
            rows[...] = OF_ANY if self._components.contracted else numbers
        values = self._components.values.stop
        return Finishing(sources, self._fixed.astype(np.uint8), follows, values)

    def known(self, inputs: Values) -> dict[tuple[int, int], Any]:
        """Return constant outputs and factors, flat in float64, by their first component and the end.

        They are on the device where they depend on an input that is there.
        """
        if self._whole is not None:
            return self._whole
        found: dict[tuple[int, int], Any] = {}
        for (where, _), value in zip(self._host_values, self._host(inputs), strict=True):
            place = where.start, where.stop
            flat = np.broadcast_to(value.ravel(), (where.stop - where.start,))
            found[place] = found[place] * flat if place in found else flat
        if not self._depends:
            self._whole = found
        return found

    @property
    def roots(self) -> list[Var]:
        """Constant outputs and factors."""
        return self._roots

    def _constants(self, inputs: Values) -> list[npt.NDArray[Any]]:
        """Return the values of constant outputs and factors: computed once where they depend on no input."""
        if self._known is not None:
            return self._known
        with computing():
            values = flat_to_host(self._host(inputs))
        if not self._depends:
            self._known = values
        return values

    @np.errstate(invalid="ignore", over="ignore")
    def estimate(self, partial: Partial, inputs: Values, omit: bool) -> Partial:
        """Return the moments of all outputs, of which the first is the value, and how many draws were not finite.

        Parameters
        ----------
        partial : Partial
            Of the random outputs.
        inputs : mapping from Input to array
        omit : bool
            Whether non-finite draws are left out of `partial`.

        Notes
        -----
        A constant output that is not finite, or a factor that makes an output so, is part of every draw, so every draw
        is counted as not finite. With `omit` no draw is left then, and all components are NaN. A constant output keeps
        its value, such as an infinite divergence; a random one is NaN. Where a number of the value is not finite in a
        draw, its gradient does not count either: all its components are NaN, constant ones included.
        """
        before, moments = partial.moments, self(partial.moments, inputs)
        if math.isfinite(np.add.reduce(moments.mean)):
            return partial if moments is before else Partial(moments, partial.nonfinite)
        count, nonfinite = before.count, partial.nonfinite
        mean, norm = moments.mean.copy(), moments.norm.copy()
        every = ~np.isfinite(mean)  # components that are not finite in any draw
        every[self.random] &= np.isfinite(before.mean)
        spoiled = self.random & ~np.isfinite(mean)
        if every.any():
            nonfinite = count + (nonfinite if omit else 0)
            count = 0 if omit else count
        values = self._components.values
        if not count:
            spoiled[:] = True
        elif (bad := every[values] | spoiled[values]).any():
            spoiled[: len(self._components)] |= self._components.derivatives_of(bad)
        spoiled &= ~self._fixed
        mean[spoiled] = norm[spoiled] = np.nan
        return Partial(Moments(count, mean, norm), nonfinite)


def nonfinite_message(nonfinite: int, groups: int, group: int) -> str:
    """Return the message of an error: how many groups of draws were not finite, and the remedy."""
    draws = f"groups of {group} draws" if group > 1 else "draws"
    start = f"{nonfinite:,} of {groups:,} {draws} had a value or gradient that is not finite"
    if nonfinite == groups:
        return f"{start}: what makes them so may be a parameter, data or a constant"
    return f'{start}; nonfinite="omit" leaves them out, "propagate" makes the components affected NaN'
