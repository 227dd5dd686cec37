"""Shapes of parameters, and conditions on several of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mcgrad.arrays import to_host
from mcgrad.distributions.constraints import FloatArray, Mask
from mcgrad.errors import ParameterError


def broadcast(x: Any, *others: Any) -> Any:
    """Return x in the shape that it and the others broadcast to: plain NumPy that can be traced."""
    return np.broadcast_to(x, np.broadcast_shapes(np.shape(x), *map(np.shape, others)))


def refuse_unless(good: Mask | np.bool_, flat: Mapping[str, FloatArray], accepted: str) -> None:
    """Raise ParameterError with the first values that are not good; `good` is of the shape they broadcast to."""
    if np.all(good):
        return
    good = to_host(good)
    where = tuple(int(i) for i in np.argwhere(~np.asarray(good))[0])
    values = {name: np.broadcast_to(to_host(x), np.shape(good))[where] for name, x in flat.items()}
    *first, last = (f"{name} = {value}" for name, value in values.items())
    place = f" at [{', '.join(str(i) for i in where)}]" if where else ""
    given = f"{', '.join(first)} and {last}" if first else last
    raise ParameterError(", ".join(values), f"{given}{place}", accepted)
