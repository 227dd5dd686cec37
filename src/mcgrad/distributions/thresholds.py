"""Discrete draws by comparing a uniform with probabilities, also those below the 24 bits of a float32 uniform.

A float32 uniform is a multiple of 2**-24, so events of probability 1e-8 happen never, or six times too often. Two
uniforms make one: the whole number of 2**-24 that the first has, and the second in place of what is below it. That has
48 bits in float32 and 77 in float64. Probabilities are split in the same way; where no draw changes them, that is done
in float64, and both parts of the split are exact, or nearly so, in float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mcgrad import noise
from mcgrad.noise import NoiseSpec, Shape

STEPS = 2.0**24


def two_uniforms(shape: Shape) -> NoiseSpec:
    """Return the noise of the functions below."""
    return {"coarse": noise.uniform(shape), "fine": noise.uniform(shape)}


def split(probability: Any) -> tuple[Any, Any]:
    """Return the whole number of steps of 2**-24 in a probability, and the rest of a step."""
    steps = probability * STEPS
    whole = np.floor(steps)
    return whole, steps - whole


def is_below(eps: Mapping[str, Any], parts: tuple[Any, Any]) -> Any:
    """Whether the uniform of two parts is below a probability that :func:`split` has split.

    The left side is a whole number, exactly; the right one is between -1 and 1.
    """
    whole, rest = parts
    return np.less(np.floor(eps["coarse"] * STEPS) - whole, rest - eps["fine"])


def is_above(eps: Mapping[str, Any], parts: tuple[Any, Any]) -> Any:
    """Whether it is not."""
    whole, rest = parts
    return np.less_equal(rest - eps["fine"], np.floor(eps["coarse"] * STEPS) - whole)


def minus_log(eps: Mapping[str, Any]) -> Any:
    """Return -log of the uniform of two parts, an exponential variable, to relative precision at both of its ends."""
    whole = np.floor(eps["coarse"] * STEPS)
    lower = (whole + eps["fine"]) * (1 / STEPS)
    upper = ((STEPS - 1.0 - whole) + (1.0 - eps["fine"])) * (1 / STEPS)
    small = whole < STEPS / 2
    return np.where(small, -np.log(np.where(small, lower, 0.5)), -np.log1p(-np.where(small, 0.5, upper)))


def along(eps: Mapping[str, Any]) -> dict[str, Any]:
    """Give the uniforms an axis for several probabilities of each."""
    return {name: np.asarray(u)[..., None] if isinstance(u, float) else u[..., None] for name, u in eps.items()}
