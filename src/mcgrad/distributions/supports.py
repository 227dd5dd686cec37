"""Supports: where a density is positive, and the parameters that move the ends of that set.

Methods that use E[d log q / d phi] = 0 (`gradients/score_mean.py`) are biased in those parameters. The derivative
of the integral of a density over its support, which is zero, has a term at each end that moves, density times speed;
what is left, the mean of the score, is not zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mcgrad.system.public_names import listed

__all__ = [
    "Support",
    "counts",
    "indicator",
    "interval",
    "nonnegative",
    "positive",
    "real",
    "simplex",
    "sphere",
    "unit_interval",
    "unstated",
]
__dir__ = listed(__name__)

End = float | str | Callable[..., Any]  # a number, the name of a parameter, or a function of the parameters


def _everywhere(z: Any, **params: Any) -> Any:
    return True


@dataclass(frozen=True, slots=True)
class Support:
    """Where the density of a draw z is positive.

    Parameters
    ----------
    describe : str
        What is true of z there, such as ``"z > 0"``.
    inside : callable
        ``inside(z, **params) -> mask``, to be broadcast with z. Plain NumPy, traced.
    ends : callable or None
        ``ends(**params) -> (low, high)`` of each component, to be broadcast with z and infinite where there is no end;
        None for what is no box of intervals, as a simplex, and where it is not known.
    moving : tuple of str
        Paths of the parameters that move an end. There the mean of the score is not zero, or, where the density falls
        to zero at the end, its variance may be infinite.
    discrete : bool
        Whether z takes isolated values.
    """

    describe: str
    inside: Callable[..., Any] = _everywhere
    ends: Callable[..., tuple[Any, Any]] | None = None
    moving: tuple[str, ...] = ()
    discrete: bool = False


def interval(
    low: End = -math.inf, high: End = math.inf, *, closed: bool = False, moving: tuple[str, ...] | None = None
) -> Support:
    """Return the support between two ends.

    Parameters
    ----------
    low, high : float, str or callable
        A number; the name of a parameter, infinite where a distribution lacks it; or a function of the parameters,
        ``end(**params)``.
    closed : bool
        Whether the density is positive at the ends as well.
    moving : tuple of str, optional
        By default the names among the ends.
    """
    above, below = (np.greater_equal, np.less_equal) if closed else (np.greater, np.less)

    def ends(**params: Any) -> tuple[Any, Any]:
        return _end(low, params, -math.inf), _end(high, params, math.inf)

    def inside(z: Any, **params: Any) -> Any:
        sides = zip((above, below), ends(**params), strict=True)
        masks = [compare(z, end) for compare, end in sides if not (isinstance(end, float) and math.isinf(end))]
        return masks[0] & masks[-1]

    names = tuple(end for end in (low, high) if isinstance(end, str))
    left, right = (_name(end, name) for end, name in ((low, "low"), (high, "high")))
    sign = "<=" if closed else "<"
    words = f"{left} {sign} z {sign} {right}".removeprefix(f"-inf {sign} ").removesuffix(f" {sign} inf")
    return Support(words, inside, ends, names if moving is None else moving)


def _end(end: End, params: Any, missing: float) -> Any:
    if isinstance(end, str):
        value = params.get(end)
        return missing if value is None else value
    return end(**params) if callable(end) else end


def _name(end: End, other: str) -> str:
    return end if isinstance(end, str) else other if callable(end) else f"{end:g}"


def _on_simplex(z: Any, **params: Any) -> Any:
    return np.all((z > 0) & (z < 1), axis=-1, keepdims=True)


def _is_count(z: Any, **params: Any) -> Any:
    return (z >= 0) & (z == np.floor(z))


def _is_indicator(z: Any, **params: Any) -> Any:
    return np.all((z == 0) | (z == 1), axis=-1, keepdims=True) & (np.sum(z, axis=-1, keepdims=True) == 1)


def counts(most: float = math.inf) -> Support:
    """Return the support of whole numbers from 0 to `most`."""
    words = "z a whole number >= 0" if math.isinf(most) else f"z a whole number from 0 to {most:g}"
    return Support(words, lambda z, **params: _is_count(z) & (z <= most), discrete=True)


unstated = Support("not stated")
real = Support("any z", ends=lambda **params: (-math.inf, math.inf))
positive = interval(0.0, math.inf)
nonnegative = interval(0.0, math.inf, closed=True)
unit_interval = interval(0.0, 1.0)
simplex = Support("z on the simplex, no component 0", _on_simplex)
sphere = Support("z a unit vector")
indicator = Support("z 1 at one place and 0 elsewhere", _is_indicator, discrete=True)
