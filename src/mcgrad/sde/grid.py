"""The times of a path, and the steps between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.errors import ParameterError
from mcgrad.reals import count, real_array
from mcgrad.trace.tracer import Tracer, holds_tracer

EQUAL = 1e-9  # relative: steps that differ by less, as those of np.linspace do, are equal
ACCEPTED = "an array of increasing times, the first that of x0: at least two"


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Times and steps.

    Parameters
    ----------
    times : array, shape (steps + 1,)
        The first is that of x0; traced, or numbers.
    dt : float, or array of shape (steps,)
        One number where all steps are equal.
    substeps : int
        How many steps there are between two of the user's times.
    """

    times: Any
    dt: Any
    substeps: int = 1

    @property
    def steps(self) -> int:
        """How many steps there are."""
        return int(self.times.shape[0]) - 1

    @property
    def marks(self) -> Any:
        """The times that the user has given."""
        return self.times[:: self.substeps]

    @property
    def known(self) -> bool:
        """Whether the times are numbers."""
        return not isinstance(self.times, Tracer)

    def since_start(self) -> npt.NDArray[np.float64]:
        """Return how long after the first time the others are; of times that are numbers."""
        found: npt.NDArray[np.float64] = self.times[1:] - self.times[0]
        return found

    def by_step(self) -> dict[str, Any]:
        """Return the arrays with one element for each step: its ends, its length where that differs, and the root."""
        ends = {"t": self.times[:-1], "end": self.times[1:]}
        return ends if np.ndim(self.dt) == 0 else ends | {"dt": self.dt, "root": np.sqrt(self.dt)}

    def of_step(self, now: dict[str, Any]) -> tuple[Any, Any]:
        """Return the length of a step and its root, from the elements of `by_step`."""
        return (now["dt"], now["root"]) if "dt" in now else (self.dt, np.sqrt(self.dt))

    def trapezoid(self) -> Any:
        """Return the weights of the trapezoidal rule, one for each time."""
        half = 0.5 * self.dt if np.ndim(self.dt) else np.full(self.steps, 0.5 * self.dt)
        return np.concatenate([half[:1], half[1:] + half[:-1], half[-1:]])


def grid(times: Any, substeps: int = 1) -> Grid:
    """Check times and return their grid, with some equal steps between two of them.

    Raises
    ------
    ParameterError
        Times that are no array with one axis, fewer than two, or that do not increase; no number of substeps.
    """
    substeps = count("substeps", substeps, 1)
    if isinstance(times, Tracer):
        _check_shape(times.shape)
        fine = _refined(times, times[1:] - times[:-1], substeps)
        return Grid(fine, fine[1:] - fine[:-1], substeps)
    if holds_tracer(times):
        return grid(np.stack(times), substeps)
    found = np.asarray(real_array("times", times, ACCEPTED, "iuf"), np.float64)
    _check_shape(found.shape)
    if not np.isfinite(found).all():
        raise ParameterError("times", str(found[~np.isfinite(found)][0]), "finite numbers")
    dt = np.diff(found)
    if (dt <= 0).any():
        i = int(np.argmax(dt <= 0))
        raise ParameterError("times", f"{found[i + 1]:g} after {found[i]:g}", "times that increase")
    mean = (found[-1] - found[0]) / len(dt)
    if (abs(dt - mean) <= EQUAL * mean).all():
        return Grid(_refined(found, dt, substeps), float(mean) / substeps, substeps)
    return Grid(_refined(found, dt, substeps), np.repeat(dt / substeps, substeps), substeps)


def _refined(times: Any, dt: Any, substeps: int) -> Any:
    if substeps == 1:
        return times
    parts = times[:-1].reshape(-1, 1) + dt.reshape(-1, 1) * (np.arange(substeps) / substeps)
    return np.concatenate([parts.reshape(-1), times[-1:]])


def _check_shape(shape: tuple[int, ...]) -> None:
    if len(shape) != 1 or shape[0] < 2:
        raise ParameterError("times", f"an array of shape {shape}", ACCEPTED)
