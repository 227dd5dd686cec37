"""Elements of arrays combined with others at constant places."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def combined_at(x: Any, places: Any, values: Any, function: Callable[[Any, Any], Any]) -> Any:
    """Return x with function(element, value) at places; in turn, where one place comes several times.

    Parameters
    ----------
    x : array
    places : array of integers
        In C order; negative ones are left out.
    values : array
        As many as there are places.
    function : callable
        Of arrays, element by element.
    """
    places, flat, values = places.ravel(), np.reshape(x, (x.size,)), np.reshape(values, (places.size,))
    turns = np.array([np.count_nonzero(places[:i] == place) for i, place in enumerate(places)], int)
    for turn in range(1 + max(turns, default=-1)):
        some = np.flatnonzero((turns == turn) & (places >= 0))
        if some.size:
            source = np.arange(x.size)
            source[places[some]] = x.size + np.arange(some.size)
            flat = np.concatenate([flat, function(flat[places[some]], values[some])])[source]
    return np.reshape(flat, x.shape)
